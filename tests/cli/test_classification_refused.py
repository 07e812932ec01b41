"""What a classifier does not take: text, recipes, labels and options that are told as errors."""

import json
import re
import shutil

import pytest

from tests.cli.test_classification import failed
from tests.labelled_text import RECIPE, labelled, tsv, write_labelled
from tfcli.app import main


@pytest.mark.parametrize(
    ("name", "content", "code", "complaint"),
    [
        ("train", "a dog\tpet\na cow\n", 3, "train.tsv:2: expected 2 fields, parted by tabs, got 1 field"),
        ("train", "a dog\tpet\nno\ta cow\tfarm\n", 3, "train.tsv:2: expected 2 fields, parted by tabs, got 3 fields"),
        ("train", "a dog\tpet\na cow\t \n", 3, "train.tsv:2: the label is empty"),
        ("train", "a dog\ta cat\n", 3, "all texts of .*train.tsv have the label 'a cat'"),
        ("train", "a dog\n", 3, "train.tsv:1: expected 2 fields, parted by tabs, got 1 field"),
        ("valid", "a dog\tpet\na cow\tfram\n", 3, "valid.tsv:2: the label 'fram' is not one of the training text's, "
         "did you mean 'farm'?"),
    ],
)  # fmt: skip
def test_labelled_text_that_cannot_be_used_is_told_by_its_line(
    tmp_path, capsys, name, content, code, complaint
):
    recipe = write_labelled(tmp_path)
    (tmp_path / f"{name}.tsv").write_text(content)
    error = failed(capsys, code, "train", recipe, "--out", tmp_path / "run")
    assert re.search(complaint, error)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            "decoding.beam_size=2",
            "decoding: belongs to task translation, and the task here is classification",
        ),
        ("model.n_decoder_layers=2", "model.n_decoder_layers: belongs to task translation or language_model"),
        ("data.text_field=text", "data.text_field: TSV files have columns, counted from 1, got 'text'"),
        ("data.label_field=0", "data.label_field: must be at least 1, got 0"),
        ("data.train=[{jsonl: a, tsv: b}]", "data.train[0].jsonl: give either 'tsv' or 'jsonl', not both"),
    ],
)
def test_recipe_keys_that_do_not_suit_a_classifier_are_refused(tmp_path, capsys, change, complaint):
    recipe = write_labelled(tmp_path)
    assert complaint in failed(capsys, 2, "train", recipe, "--set", change)


def test_keys_of_a_classifier_are_refused_in_a_recipe_for_translation(tmp_path, capsys):
    recipe = write_labelled(
        tmp_path, RECIPE.replace("task: classification\n", "").replace("tsv: test", "jsonl: test")
    )
    error = failed(capsys, 2, "train", recipe, "--set", "data.label_field=2")
    assert "data.label_field: belongs to task classification, and the task here is translation" in error
    assert "data.tests.test.jsonl: belongs to task classification, and the task here is translation" in error


def test_a_label_of_a_test_set_that_was_never_learnt_is_told_by_its_line(labelled_run, tmp_path, capsys):
    test = labelled_run.parent / "test.tsv"
    before = test.read_text()
    try:
        test.write_text(before + "\na whale sings\tsea\n")
        error = failed(capsys, 3, "eval", labelled_run)
    finally:
        test.write_text(before)
    assert f"{test}:42: the label 'sea' is not one of the training text's" in error
    assert "farm, pet, wild" in error


def test_verbs_and_options_for_another_task_say_what_to_use(
    labelled_run, tiny_model_folder, tmp_path, capsys
):
    (tmp_path / "in.txt").write_text("the dog runs\n")
    error = failed(capsys, 4, "translate", labelled_run, tmp_path / "in.txt")
    assert "a network for classification, expected one for translation" in error
    assert "`tfcli predict` runs such a network" in error
    error = failed(capsys, 4, "predict", tiny_model_folder, tmp_path / "in.txt")
    assert "a network for translation, expected one for classification" in error
    assert "`tfcli translate` runs such a network" in error
    assert "--metric bleu: for translations, but" in failed(
        capsys, 2, "eval", labelled_run, "--metric", "bleu"
    )
    assert "--metric accuracy: for files of labels" in failed(
        capsys, 2, "eval", tiny_model_folder, "--metric", "accuracy"
    )
    assert "--beam-size: for translations, but" in failed(capsys, 2, "eval", labelled_run, "--beam-size", 2)
    error = failed(capsys, 2, "predict", labelled_run, tmp_path / "in.txt", "--top", 2, "--format", "text")
    assert "--top 2 and --format text contradict each other" in error


def test_labels_of_a_model_folder_that_do_not_fit_its_network_are_refused(labelled_run, tmp_path, capsys):
    folder = tmp_path / "model"
    shutil.copytree(labelled_run / "best", folder)
    (tmp_path / "in.txt").write_text("the dog runs\n")
    config = json.loads((folder / "config.json").read_text())
    for labels, complaint in (
        (["farm", "pet"], "2 labels, but the network has 3"),
        (["farm", "pet", "two\nlines"], "labels are missing or damaged"),
        (None, "labels are missing or damaged"),
    ):
        (folder / "config.json").write_text(json.dumps(config | {"labels": labels}))
        assert complaint in failed(capsys, 4, "predict", folder, tmp_path / "in.txt")


def test_a_run_with_checkpoints_refuses_other_labels(tmp_path, capsys):
    recipe = write_labelled(tmp_path)
    args = ["train", recipe, "--out", tmp_path / "run", "--set", "training.max_steps=2"]
    assert main([*map(str, args), "-q"]) == 0
    capsys.readouterr()
    rows = labelled(300, 0)
    (tmp_path / "train.tsv").write_text(tsv([(text, label.replace("wild", "zoo")) for text, label in rows]))
    (tmp_path / "valid.tsv").write_text(
        tsv([(text, label.replace("wild", "zoo")) for text, label in labelled(40, 1)])
    )
    assert "has checkpoints of a classifier for other labels" in failed(capsys, 4, *args)
    error = failed(capsys, 3, *args, "--fresh")  # before anything is dropped
    assert error.count("test.tsv:") == 10
    assert re.search(r"test.tsv:6: the label 'wild' is not one of .*\n(.*\n)*error: 5 more lines", error)
    assert list((tmp_path / "run" / "checkpoints").iterdir())
    (tmp_path / "test.tsv").write_text((tmp_path / "valid.tsv").read_text())
    assert main([*map(str, args), "-q", "--fresh"]) == 0
    assert [row["label"] for row in json.loads((tmp_path / "run" / "labels.json").read_text())] == [
        "farm",
        "pet",
        "zoo",
    ]


def test_labels_that_would_be_learnt_as_translations_are_doubted(tmp_path, capsys):
    recipe = write_labelled(tmp_path, RECIPE.replace("task: classification\n", "").split("expected:")[0])
    assert main(["tokenize", str(recipe), "--out", str(tmp_path / "run")]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert (
        "warning: train: the targets of 300 pairs are no more than 3 different lines: if they are labels, the recipe "
        "needs task: classification" in said
    )
    assert "valid: the targets" not in said


def test_train_and_tokenize_tell_the_labels_and_doubt_them(tmp_path, capsys):
    recipe = write_labelled(tmp_path)
    file = tmp_path / "train.tsv"
    file.write_text("text\tlabel\n" + file.read_text() + "my wolf\tWild\nmy wolf\twidl\n\n")
    assert main(["train", str(recipe), "--out", str(tmp_path / "run"), "--dry-run"]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "training texts by label: Wild 1, farm 1" in said
    for doubt in (
        f"warning: {file}:1: no line but the first has the label 'label'",
        "warning: labels that differ in case alone: 'Wild' (1 text,",
        f"warning: {file}:303: no other text has the label 'widl', did you mean 'wild'?",
    ):
        assert said.count(doubt) == 1
    assert main(["tokenize", str(recipe), "--out", str(tmp_path / "run"), "--json"]) == 0
    streams = capsys.readouterr()
    assert "widl" in " ".join(json.loads(streams.out)["warnings"])
    assert streams.err.count("'widl'") == 1
    file.write_text(file.read_text() + "".join(f"my wolf\tlabel number {n}\n" for n in range(20)))
    assert main(["tokenize", str(recipe), "--out", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr().out.split("training texts")[1]
    assert shown.endswith("and 6 more labels\n")
    assert len(shown.strip().split("\n")) == 22


@pytest.mark.parametrize("verb", ["tokenize", "train"])
def test_a_label_of_a_test_set_that_is_not_learnt_is_told_before_training(tmp_path, capsys, verb):
    recipe = write_labelled(tmp_path)
    (tmp_path / "test.tsv").write_text("\nthe dog runs\tpte\n")
    assert main([verb, str(recipe), "--out", str(tmp_path / "run"), "-q"]) == 3
    error = capsys.readouterr().err
    assert (
        f"{tmp_path / 'test.tsv'}:2: the label 'pte' is not one of the training text's, did you mean 'pet'?"
        in error
    )
    assert not (tmp_path / "run" / "checkpoints").exists()
