"""Text classification with the real commands: from labelled text to a run, to scores, to labels of other text."""

import json
import re
import shutil
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.labelled_text import RECIPE, labelled, tsv, write_labelled
from tfcli.app import main
from tfcli.commands import console


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return the folder of a finished run."""
    folder = tmp_path_factory.mktemp("animals")
    recipe = write_labelled(folder)
    console._console.cache_clear()
    assert main(["train", str(recipe), "--out", str(folder / "run"), "-q"]) == 0
    return folder / "run"


def failed(capsys, code, *args):
    """Run a command that ends with an error; return what it says, having said no result."""
    assert main([str(arg) for arg in args]) == code
    streams = capsys.readouterr()
    assert streams.out == ""
    return streams.err


def test_a_run_keeps_labels_accuracy_and_nothing_of_translations(run):
    assert json.loads((run / "labels.json").read_text()) == [
        {"label": label, "texts": sum(found == label for _, found in labelled(300, 0))}
        for label in ("farm", "pet", "wild")
    ]
    config = json.loads((run / "best" / "config.json").read_text())
    assert config["task"] == "classification"
    assert config["labels"] == ["farm", "pet", "wild"]
    assert config["model"]["n_labels"] == 3
    assert "decoding" not in config
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().split("\n")[:-1]]
    assert max(row["accuracy"] for row in rows if row["kind"] == "valid") == 100.0
    recipe = (run / "recipe.yaml").read_text()
    assert "decoding" not in recipe
    assert "label_smoothing: 0.0" in recipe
    card = (run / "best" / "README.md").read_text()
    assert "Labels: farm, pet, wild" in card
    assert "tfcli predict" in card


def test_eval_gives_accuracy_and_f1_with_intervals_and_what_was_taken_for_which(run, capsys):
    assert main(["eval", str(run), "--json"]) == 0
    streams = capsys.readouterr()
    found = json.loads(streams.out)
    scores = found["sets"]["test"]
    assert scores.keys() == {"accuracy", "macro-f1"}
    assert scores["accuracy"]["score"] > 90
    assert scores["accuracy"]["interval"]["low"] <= scores["accuracy"]["score"]
    confusion = found["confusions"]["test"]
    assert confusion["labels"] == ["farm", "pet", "wild"]
    assert sum(map(sum, confusion["counts"])) == 40
    said = (run / "eval" / "test.hyp").read_text().split("\n")[:-1]
    right = sum(label == expected for label, (_, expected) in zip(said, labelled(40, 2), strict=True))
    assert scores["accuracy"]["score"] == 100 * right / 40
    assert json.loads((run / "scores.json").read_text())["sets"]["test"]["accuracy"] == scores["accuracy"]
    assert "labels are in" in streams.err
    assert main(["info", str(run)]) == 0
    assert "validation accuracy" in capsys.readouterr().out


def test_eval_puts_the_accuracy_beside_the_expected_one(run, capsys):
    assert main(["eval", str(run)]) == 0
    shown = [line.split() for line in capsys.readouterr().out.split("\n")]
    assert ["set", "expected", "accuracy", "obtained", "difference", "verdict"] in shown
    (row,) = (row for row in shown if row[-1:] == ["reproduced"])
    assert row[:4] == ["test", "99.00", "+-", "9"]


def test_info_counts_texts_and_the_layers_of_the_one_stack(run, capsys):
    assert main(["info", str(run)]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^speed +[\d,]+ texts/s lately", shown, re.MULTILINE)
    n_layers = json.loads((run / "best" / "config.json").read_text())["model"]["n_encoder_layers"]
    assert n_layers == 1
    assert ", 1 layer, " in shown


def test_nothing_that_is_said_of_a_classifier_speaks_of_translations(run, tmp_path, capsys):
    recipe = str(run.parent / "animals.yaml")
    holds_out = ["--set", "data.valid={fraction: 0.2}"]
    for command in (
        ["tokenize", recipe, "--out", str(tmp_path / "run"), *holds_out],
        ["train", recipe, "--out", str(tmp_path / "run"), *holds_out, "--dry-run"],
        ["train", recipe, "--out", str(run)],
        ["eval", str(run)],
        ["eval", str(run), "--history"],
        ["info", recipe],
        ["info", str(run)],
    ):
        assert main(command) == 0
    said = re.sub(r"(?m)^command .*", "", "".join(capsys.readouterr()))  # which names these tests
    assert re.search(r"held out for validation: \d\d texts of the training text", said)
    assert "tokenizer.vocab_size lowered from 60 to 26: the text has no more characters" in said
    assert re.search(r"^corpus +vocabulary +pieces/word", said, re.MULTILINE)
    assert not re.search(r"pair|BLEU|target|sides?\b|beam|translat", said)


def test_info_says_how_many_texts_are_held_out(run, tmp_path, capsys):
    (tmp_path / "some.yaml").write_text(RECIPE.replace("{tsv: valid.tsv}", "{fraction: 0.25}"))
    assert main(["info", str(tmp_path / "some.yaml")]) == 0
    assert re.search(r"^valid +25.0% of the texts held out$", capsys.readouterr().out, re.MULTILINE)
    (tmp_path / "some.yaml").write_text(RECIPE.replace("{tsv: valid.tsv}", "{pairs: 12}"))
    assert main(["info", str(tmp_path / "some.yaml")]) == 0
    assert re.search(r"^valid +12 texts held out$", capsys.readouterr().out, re.MULTILINE)


def test_a_batch_of_texts_is_named_as_such(run):
    from tfcli.corpus.batches import Position, collate
    from tfcli.corpus.shards import ParallelIds
    from tfcli.training.guards import name_batches

    ds = ParallelIds.open(run / "corpus" / "train")
    one, two = (collate(ds, np.array(rows), Position(0, 3)) for rows in ([7], [1, 2]))
    assert name_batches([one, two], run) == (
        f"epoch 1, batch 4: text 7; epoch 1, batch 4: texts 1, 2; texts of {run / 'corpus' / 'train'}, counted from 0"
    )


def test_eval_scores_other_text_as_well(run, tmp_path, capsys):
    (tmp_path / "in.txt").write_text("the dog runs\nmy cow sits\n")
    (tmp_path / "gold.txt").write_text("pet\nwild\n")
    args = ["eval", run, "--src", tmp_path / "in.txt", "--ref", tmp_path / "gold.txt", "--json"]
    assert main([str(arg) for arg in args]) == 0
    assert json.loads(capsys.readouterr().out)["sets"]["in.txt"]["accuracy"]["score"] == 50.0


def test_predict_gives_a_label_for_each_line_and_a_blank_one_for_a_blank_line(run, stdin, capsysbinary):
    stdin("the dog runs\n\n   \nmy cow sits\u2028now\nthe wolf eats".encode())
    assert main(["predict", str(run)]) == 0
    assert capsysbinary.readouterr().out == b"pet\n\n\nfarm\nwild"


def test_predict_gives_the_most_probable_labels_with_their_probabilities(run, tmp_path, capsys):
    (tmp_path / "in.txt").write_text("the dog runs\n\n")
    assert main(["predict", str(run), str(tmp_path / "in.txt"), "--top", "2"]) == 0
    first, blank, end = capsys.readouterr().out.split("\n")
    label, p, second, q = first.split("\t")
    assert (label, blank, end) == ("pet", "", "")
    assert second in ("farm", "wild")
    assert 1 >= float(p) > 0.5 > float(q)
    assert main(["predict", str(run), str(tmp_path / "in.txt"), "--top", "9", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.split("\n")[:-1]]
    assert [(row["line"], row["text"], len(row["labels"])) for row in rows] == [
        (1, "the dog runs", 3),
        (2, "", 0),
    ]
    assert sum(each["probability"] for each in rows[0]["labels"]) == pytest.approx(1, abs=1e-5)


def test_predict_writes_files_whole_and_counts_long_lines(run, tmp_path, capsys):
    (tmp_path / "in.txt").write_text("the dog runs\n" + "the dog " * 30 + "\n")
    out = tmp_path / "out.txt"
    assert main(["predict", str(run), str(tmp_path / "in.txt"), "-o", str(out)]) == 0
    assert out.read_text() == "pet\npet\n"
    assert "1 line was too long for the model and was cut off there" in capsys.readouterr().err
    assert main(["predict", str(run), str(tmp_path / "in.txt"), "-o", str(out)]) == 0
    assert "up to date" in capsys.readouterr().err


def test_predict_reads_a_column_or_a_field_and_puts_the_label_behind_what_was_there(
    run, tmp_path, capsysbinary
):
    table = tmp_path / "table.tsv"
    table.write_bytes(b"1\tthe dog runs\r\n\n2\t\n\xff\tmy cow sits\tx")
    assert main(["predict", str(run), str(table), "--column", "2"]) == 0
    labelled_table = b"1\tthe dog runs\tpet\r\n\n2\t\t\n\xff\tmy cow sits\tx\tfarm"
    assert capsysbinary.readouterr().out == labelled_table
    objects = tmp_path / "objects.jsonl"
    objects.write_bytes(b'{"label": "farm", "text": "my\\ncow"}\n\n{"text": "the wolf"}\n')
    assert main(["predict", str(run), str(objects), "--field", "text", "-o", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out").read_bytes() == (
        b'{"label": "farm", "text": "my\\ncow", "prediction": "farm"}\n\n{"text": "the wolf", "prediction": "wild"}\n'
    )


@pytest.mark.parametrize(
    ("code", "args", "message"),
    [
        (2, ["--column", "1", "--field", "text"], "--column 1 and --field text contradict each other"),
        (2, ["--column", "1", "--top", "2"], "--column 1 and --top contradict each other"),
        (2, ["--field", "text", "--json"], "--field text and --format jsonl contradict each other"),
        (2, ["--column", "1", "--score-only"], "--column 1 and --score-only contradict each other"),
        (3, ["--column", "2"], "in.txt:2: expected 2 columns or more, parted by tabs, got 1 column"),
        (3, ["--field", "text"], "in.txt:1: expected a JSON object, got what is no JSON"),
    ],
)
def test_a_column_or_field_that_is_not_there_or_does_nothing_is_refused(
    run, tmp_path, capsys, code, args, message
):
    (tmp_path / "in.txt").write_text("a\tb\nc\n")
    assert message in failed(capsys, code, "predict", run, tmp_path / "in.txt", *args)


def test_an_output_with_the_labels_of_another_column_is_not_taken_for_up_to_date(run, tmp_path, capsys):
    (tmp_path / "in.tsv").write_text("the dog\tmy cow\n")
    command = ["predict", run, tmp_path / "in.tsv", "-o", tmp_path / "out.tsv", "--column"]
    assert main([str(arg) for arg in [*command, 1]]) == 0
    capsys.readouterr()
    assert "exists already" in failed(capsys, 2, *command, 2)


def test_a_text_has_the_same_label_and_probability_whatever_stands_beside_it(run):
    from tfcli.decoding.labeller import load_labeller
    from tfcli.model.description import describe_model

    labeller = load_labeller(describe_model(run), "cpu", "fp32")
    texts = [text for text, _ in labelled(30, 7)] + ["", "x", "the dog " * 40]
    together = labeller.label(texts, 3)
    assert [found.truncated for found in together] == [False] * 32 + [True]
    for text, found in zip(texts, together, strict=True):
        [alone] = labeller.label([text], 3)
        assert [label for label, _ in alone.labels] == [label for label, _ in found.labels]
        assert [p for _, p in alone.labels] == pytest.approx([p for _, p in found.labels], abs=1e-5)


def test_a_long_text_is_cut_as_it_is_for_training(run):
    import torch

    from tfcli.corpus.shards import IdBlock
    from tfcli.decoding.labeller import load_labeller
    from tfcli.model.description import describe_model
    from tfcli.model.folder import load_network

    description = describe_model(run)
    text = "the dog runs and the cow eats and the wolf sits"
    [ids] = description.tokenizer.encode_src_many([text], end_mark=True)
    cut, n = IdBlock.of([ids], "<u2").cut(description.max_source_pieces + 1)
    assert n == 1
    with torch.no_grad():
        logits = load_network(description)(torch.tensor(cut.ids.astype(int))[None])
    [found] = load_labeller(description, "cpu", "fp32").label([text], 3)
    expected = logits.softmax(dim=-1).sort(descending=True).values[0].tolist()
    assert [p for _, p in found.labels] == pytest.approx(expected, rel=1e-5)


def test_a_classifier_that_is_resumed_has_the_weights_of_one_that_never_stopped(tmp_path, capsys):
    recipe = write_labelled(tmp_path)

    def train(out, steps):
        args = ["train", recipe, "--out", tmp_path / out, "-q", "--set", f"training.max_steps={steps}"]
        args += ["--set", "training.checkpoint_every=2", "--set", "training.class_weights=balanced"]
        args += ["--set", "model.dropout=0.2", "--set", "training.average_checkpoints=false"]
        assert main([str(arg) for arg in args]) == 0

    train("whole", 6)
    train("halves", 2)
    train("halves", 6)
    weights = [
        load_file(tmp_path / out / "checkpoints" / "step-00000006" / "model.safetensors")
        for out in ("whole", "halves")
    ]
    assert weights[0].keys() == weights[1].keys()
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])


def test_class_weights_change_what_is_learnt_from_labels_of_unequal_number(tmp_path, capsys):
    recipe = write_labelled(tmp_path)
    rare = [row for i, row in enumerate(labelled(300, 0)) if row[1] != "wild" or i % 10 == 0]
    (tmp_path / "train.tsv").write_text(tsv(rare))
    for out, weights in (("plain", "null"), ("again", "null"), ("balanced", "balanced")):
        args = ["train", str(recipe), "--out", str(tmp_path / out), "-q", "--set", "training.max_steps=1"]
        assert main([*args, "--set", f"training.class_weights={weights}"]) == 0
    plain, again, balanced = (
        load_file(tmp_path / out / "best" / "model.safetensors") for out in ("plain", "again", "balanced")
    )
    assert all((plain[name] == again[name]).all() for name in plain)
    assert any((plain[name] != balanced[name]).any() for name in plain)


def test_a_pair_of_texts_from_json_lines_has_one_label(tmp_path, stdin, capsys):
    recipe = (
        RECIPE.replace("tsv: ", "jsonl: ")
        .replace(".tsv", ".jsonl")
        .replace("valid: {jsonl: valid.jsonl}", "valid: {pairs: 20}")
    )
    recipe = recipe.replace(
        "max_pieces: 20", "max_pieces: 40\n  text_field: one\n  second_text_field: two\n  label_field: same"
    )
    path = write_labelled(tmp_path, recipe)
    for name, seed in (("train", 0), ("test", 1)):
        rows = labelled(120, seed)
        lines = [json.dumps({"one": a, "two": b, "same": int(x == y)}) for (a, x), (b, y) in pairwise(rows)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    assert main(["train", str(path), "--out", str(tmp_path / "run"), "--set", "training.max_steps=2"]) == 0
    assert "held out for validation: 20 texts" in capsys.readouterr().err
    assert "<sep>" in (tmp_path / "run" / "recipe.yaml").read_text()
    assert main(["eval", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["confusions"]["test"]["labels"] == ["0", "1"]
    stdin(b"the dog runs\tmy cat sits\n\n")
    assert main(["predict", str(tmp_path / "run")]) == 0
    assert re.fullmatch("[01]\n\n", capsys.readouterr().out)
    stdin(b"the dog runs\n")
    error = failed(capsys, 3, "predict", tmp_path / "run")
    assert "standard input:1: expected two texts, parted by a tab; got 0 tabs" in error
    error = failed(capsys, 2, "predict", tmp_path / "run", "--column", 1)
    assert f"--column 1: takes one text of a line, and {tmp_path / 'run'} tells the label of two" in error


def test_texts_that_are_taken_for_labels_are_doubted(tmp_path, capsys):
    recipe = write_labelled(tmp_path)
    swapped = "".join(f"pet\tdog number {n}\n" for n in range(40))
    for name in ("train", "valid", "test"):
        (tmp_path / f"{name}.tsv").write_text(swapped)
    assert main(["tokenize", str(recipe), "--out", str(tmp_path / "run")]) == 0
    doubt = "warning: 40 labels for 40 texts: are data.text_field and data.label_field the right way round?"
    assert doubt in " ".join(capsys.readouterr().err.split())


def test_tokenize_prepares_labelled_text_and_tells_which_texts_are_cut(tmp_path, capsys):
    recipe = write_labelled(tmp_path)
    args = ["tokenize", str(recipe), "--out", str(tmp_path / "run"), "--set", "data.max_pieces=10", "--json"]
    assert main(args) == 0
    streams = capsys.readouterr()
    found = json.loads(streams.out)
    assert [row["kept"] for row in found["corpora"]] == [300, 40]
    assert found["corpora"][0]["src"]["length_max"] == 10
    assert re.search(
        r"train: \d+ texts have more than data.max_pieces \(10\) pieces and are cut there", streams.err
    )
    assert main(args[:-1]) == 0
    out = capsys.readouterr()
    assert "nothing has changed" in out.err
    assert "tgt" not in out.out
    assert re.search(r"label +training texts\n.*\nfarm +\d+", out.out)


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


def test_a_label_of_a_test_set_that_was_never_learnt_is_told_by_its_line(run, tmp_path, capsys):
    test = run.parent / "test.tsv"
    before = test.read_text()
    try:
        test.write_text(before + "a whale sings\tsea\n")
        error = failed(capsys, 3, "eval", run)
    finally:
        test.write_text(before)
    assert f"{test}:41: the label 'sea' is not one of the training text's" in error
    assert "farm, pet, wild" in error


def test_verbs_and_options_for_another_task_say_what_to_use(run, tiny_model_folder, tmp_path, capsys):
    (tmp_path / "in.txt").write_text("the dog runs\n")
    error = failed(capsys, 4, "translate", run, tmp_path / "in.txt")
    assert "a network for classification, expected one for translation" in error
    assert "`tfcli predict` runs such a network" in error
    error = failed(capsys, 4, "predict", tiny_model_folder, tmp_path / "in.txt")
    assert "a network for translation, expected one for classification" in error
    assert "`tfcli translate` runs such a network" in error
    assert "--metric bleu: for translations, but" in failed(capsys, 2, "eval", run, "--metric", "bleu")
    assert "--metric accuracy: for files of labels" in failed(
        capsys, 2, "eval", tiny_model_folder, "--metric", "accuracy"
    )
    assert "--beam-size: for translations, but" in failed(capsys, 2, "eval", run, "--beam-size", 2)
    error = failed(capsys, 2, "predict", run, tmp_path / "in.txt", "--top", 2, "--format", "text")
    assert "--top 2 and --format text contradict each other" in error


def test_labels_of_a_model_folder_that_do_not_fit_its_network_are_refused(run, tmp_path, capsys):
    folder = tmp_path / "model"
    shutil.copytree(run / "best", folder)
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
    assert main([*map(str, args), "-q", "--fresh"]) == 0
    assert [row["label"] for row in json.loads((tmp_path / "run" / "labels.json").read_text())] == [
        "farm",
        "pet",
        "zoo",
    ]


def test_a_classifier_may_start_from_the_encoder_of_a_translator_or_from_a_classifier(run, tmp_path, capsys):
    import torch

    from tfcli.model.config import ModelConfig
    from tfcli.model.folder import save_model_folder
    from tfcli.model.networks import build_network
    from tfcli.text.tokenizer import Tokenizer

    config = json.loads((run / "best" / "config.json").read_text())
    sizes = config["model"] | {"n_decoder_layers": 1, "n_labels": None}
    torch.manual_seed(5)
    translator = build_network(ModelConfig(**sizes))
    tokenizer = Tokenizer.load(run)
    info = {"task": "translation", "decoding": {}, "max_source_pieces": 20, "tfcli_version": "0.0.1"}
    save_model_folder(tmp_path / "translator", translator, tokenizer, info, "card")
    recipe = write_labelled(tmp_path)
    frozen = "training.freeze=[src_embedding, encoder, encoder_norm]"

    def start(init, out):
        args = ["train", recipe, "--init", init, "--out", tmp_path / out, "--set", frozen]
        assert main([*map(str, args), "--set", "training.max_steps=1"]) == 0
        return load_file(tmp_path / out / "best" / "model.safetensors"), capsys.readouterr().err

    weights, said = start(tmp_path / "translator", "one")
    before = load_file(tmp_path / "translator" / "model.safetensors")
    assert f"starting from the weights of {tmp_path / 'translator'}; random: output" in said
    taken = [name for name in weights if not name.startswith("output.")]
    assert len(taken) > 10
    assert all((weights[name] == before[name]).all() for name in taken)
    same, said = start(run, "two")
    assert f"starting from the weights of {run / 'best'}\n" in said
    for name in ("train", "valid", "test"):  # other labels than those of the run
        text = (tmp_path / f"{name}.tsv").read_text()
        (tmp_path / f"{name}.tsv").write_text(text.replace("wild", "zoo"))
    other, said = start(run, "three")
    assert "; random: output" in said
    assert (other["output.weight"] != same["output.weight"]).any()
    assert all((other[name] == same[name]).all() for name in taken)


def test_info_names_the_files_of_a_recipe_with_json_lines(tmp_path, capsys):
    recipe = write_labelled(tmp_path, RECIPE.replace("tsv: ", "jsonl: ").replace(".tsv", ".jsonl"))
    assert main(["info", str(recipe)]) == 0
    rows = dict(re.split(" {2,}", line, maxsplit=1) for line in capsys.readouterr().out.split("\n")[:-1])
    assert (rows["task"], rows["train"], rows["valid"]) == ("classification", "train.jsonl", "valid.jsonl")
    assert "languages" not in rows


def test_no_garbage_is_searched_for_while_torch_is_imported_nor_at_exit_in_what_it_made(run):
    program = (
        "import gc, sys; from tfcli.app import main; early = []\n"
        "gc.callbacks.append(lambda *_: early.append(1) if 'torch' in sys.modules and not gc.get_freeze_count() else None)\n"
        "main(['predict', sys.argv[1]]); print(len(early), gc.get_freeze_count() > 100_000, gc.isenabled())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(run)], input="a cat\n", capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[-2] == "0 True True"


def test_files_of_labels_that_are_scored_as_translations_are_doubted(run, tmp_path, capsys):
    labels = "".join(f"{label}\n" for _, label in labelled(60, 4))
    for name in ("said", "gold"):
        (tmp_path / name).write_text(labels)
    files = ["eval", "--hyp", str(tmp_path / "said"), "--ref", str(tmp_path / "gold"), "--resamples", "0"]
    assert main(files) == 0
    doubt = (
        "warning: said: 60 lines, and no more than 3 different ones: if they are labels, --metric accuracy"
    )
    assert doubt in " ".join(capsys.readouterr().err.split())
    assert main([*files, "--metric", "accuracy"]) == 0
    assert "different" not in capsys.readouterr().err


def test_line_feeds_in_a_text_from_json_are_spaces_as_they_were_in_training(run):
    from tfcli.decoding.labeller import Labeller, load_labeller
    from tfcli.model.description import describe_model

    class Listening(Labeller):
        def label(self, texts, top=1, advance=None):
            self.heard = texts
            return []

    listening = load_labeller(describe_model(run), "cpu")
    listening.__class__ = Listening
    listening.begin(["the dog\nruns"])
    assert listening.heard == ["the dog runs"]
