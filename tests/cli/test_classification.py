"""Text classification with the real commands: from labelled text to a run, to scores, to labels of other text."""

import json
import re
import subprocess
import sys
from itertools import pairwise

import numpy as np
from safetensors.numpy import load_file

from tests.labelled_text import RECIPE, labelled, tsv, write_labelled
from tfcli.app import main


def failed(capsys, code, *args):
    """Run a command that ends with an error; return what it says, having said no result."""
    assert main([str(arg) for arg in args]) == code
    streams = capsys.readouterr()
    assert streams.out == ""
    return streams.err


def test_a_run_keeps_labels_accuracy_and_nothing_of_translations(labelled_run):
    assert json.loads((labelled_run / "labels.json").read_text()) == [
        {"label": label, "texts": sum(found == label for _, found in labelled(300, 0))}
        for label in ("farm", "pet", "wild")
    ]
    config = json.loads((labelled_run / "best" / "config.json").read_text())
    assert config["task"] == "classification"
    assert config["labels"] == ["farm", "pet", "wild"]
    assert config["model"]["n_labels"] == 3
    assert "decoding" not in config
    rows = [json.loads(line) for line in (labelled_run / "metrics.jsonl").read_text().split("\n")[:-1]]
    assert max(row["accuracy"] for row in rows if row["kind"] == "valid") == 100.0
    recipe = (labelled_run / "recipe.yaml").read_text()
    assert "decoding" not in recipe
    assert "label_smoothing: 0.0" in recipe
    card = (labelled_run / "best" / "README.md").read_text()
    assert "Labels: farm, pet, wild" in card
    assert "tfcli predict" in card


def test_the_log_of_a_classifier_tells_no_perplexity_which_labels_do_not_have(labelled_run):
    log = (labelled_run / "log.txt").read_text()
    assert "accuracy" in log
    assert "perplexity" not in log


def test_eval_gives_accuracy_and_f1_with_intervals_and_what_was_taken_for_which(labelled_run, capsys):
    assert main(["eval", str(labelled_run), "--json"]) == 0
    streams = capsys.readouterr()
    found = json.loads(streams.out)
    scores = found["sets"]["test"]
    assert scores.keys() == {"accuracy", "macro-f1"}
    assert scores["accuracy"]["score"] > 90
    assert scores["accuracy"]["interval"]["low"] <= scores["accuracy"]["score"]
    confusion = found["confusions"]["test"]
    assert confusion["labels"] == ["farm", "pet", "wild"]
    assert sum(map(sum, confusion["counts"])) == 40
    said = (labelled_run / "eval" / "test.hyp").read_text().split("\n")[:-1]
    right = sum(label == expected for label, (_, expected) in zip(said, labelled(40, 2), strict=True))
    assert scores["accuracy"]["score"] == 100 * right / 40
    assert (
        json.loads((labelled_run / "scores.json").read_text())["sets"]["test"]["accuracy"]
        == scores["accuracy"]
    )
    assert "labels are in" in streams.err
    assert main(["info", str(labelled_run)]) == 0
    assert "validation accuracy" in capsys.readouterr().out


def test_eval_puts_the_accuracy_beside_the_expected_one(labelled_run, capsys):
    assert main(["eval", str(labelled_run)]) == 0
    shown = [line.split() for line in capsys.readouterr().out.split("\n")]
    assert ["set", "expected", "accuracy", "obtained", "difference", "verdict"] in shown
    (row,) = (row for row in shown if row[-1:] == ["reproduced"])
    assert row[:4] == ["test", "99.00", "+-", "9"]


def test_info_counts_texts_and_the_layers_of_the_one_stack(labelled_run, capsys):
    assert main(["info", str(labelled_run)]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^speed +[\d,]+ texts/s lately", shown, re.MULTILINE)
    n_layers = json.loads((labelled_run / "best" / "config.json").read_text())["model"]["n_encoder_layers"]
    assert n_layers == 1
    assert ", 1 layer, " in shown


def test_nothing_that_is_said_of_a_classifier_speaks_of_translations(labelled_run, tmp_path, capsys):
    recipe = str(labelled_run.parent / "animals.yaml")
    holds_out = ["--set", "data.valid={fraction: 0.2}"]
    for command in (
        ["tokenize", recipe, "--out", str(tmp_path / "run"), *holds_out],
        ["train", recipe, "--out", str(tmp_path / "run"), *holds_out, "--dry-run"],
        ["train", recipe, "--out", str(labelled_run)],
        ["eval", str(labelled_run)],
        ["eval", str(labelled_run), "--history"],
        ["info", recipe],
        ["info", str(labelled_run)],
    ):
        assert main(command) == 0
    said = re.sub(r"(?m)^command .*", "", "".join(capsys.readouterr()))  # which names these tests
    assert re.search(r"held out for validation: \d\d texts of the training text", said)
    assert "tokenizer.vocab_size lowered from 60 to 26: the text has no more characters" in said
    assert re.search(r"^corpus +vocabulary +pieces/word", said, re.MULTILINE)
    assert not re.search(r"pair|BLEU|target|sides?\b|beam|translat", said)


def test_info_says_how_many_texts_are_held_out(labelled_run, tmp_path, capsys):
    (tmp_path / "some.yaml").write_text(RECIPE.replace("{tsv: valid.tsv}", "{fraction: 0.25}"))
    assert main(["info", str(tmp_path / "some.yaml")]) == 0
    assert re.search(r"^valid +25.0% of the texts held out$", capsys.readouterr().out, re.MULTILINE)
    (tmp_path / "some.yaml").write_text(RECIPE.replace("{tsv: valid.tsv}", "{pairs: 12}"))
    assert main(["info", str(tmp_path / "some.yaml")]) == 0
    assert re.search(r"^valid +12 texts held out$", capsys.readouterr().out, re.MULTILINE)


def test_a_batch_of_texts_is_named_as_such(labelled_run):
    from tfcli.corpus.batches import Position, collate
    from tfcli.corpus.shards import ParallelIds
    from tfcli.training.guards import name_batches

    ds = ParallelIds.open(labelled_run / "corpus" / "train")
    one, two = (collate(ds, np.array(rows), Position(0, 3)) for rows in ([7], [1, 2]))
    assert name_batches([one, two], labelled_run) == (
        f"epoch 1, batch 4: text 7; epoch 1, batch 4: texts 1, 2; texts of {labelled_run / 'corpus' / 'train'}, counted from 0"
    )


def test_eval_scores_other_text_as_well(labelled_run, tmp_path, capsys):
    (tmp_path / "in.txt").write_text("the dog runs\nmy cow sits\n")
    (tmp_path / "gold.txt").write_text("pet\nwild\n")
    args = ["eval", labelled_run, "--src", tmp_path / "in.txt", "--ref", tmp_path / "gold.txt", "--json"]
    assert main([str(arg) for arg in args]) == 0
    assert json.loads(capsys.readouterr().out)["sets"]["in.txt"]["accuracy"]["score"] == 50.0


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
    command = ["eval", str(tmp_path / "run"), "--json", "--resamples", "0"]
    assert main([*command, "--src", str(tmp_path / "test.jsonl"), "--test", "valid"]) == 2
    assert main([*command, "--test", "valid", "--test", "test"]) == 0
    assert (tmp_path / "run" / "eval" / "valid.hyp").read_text().count("\n") == 20
    expected = json.loads(capsys.readouterr().out)["sets"]["test"]
    pairs = [json.loads(line) for line in (tmp_path / "test.jsonl").read_text().split("\n")[:-1]]
    (tmp_path / "texts").write_text("".join(f"{pair['one']}\t{pair['two']}\n" for pair in pairs))
    (tmp_path / "labels").write_text("".join(f"{pair['same']}\n" for pair in pairs))
    two_files = ["--src", str(tmp_path / "texts"), "--ref", str(tmp_path / "labels")]
    for own in (["--src", str(tmp_path / "test.jsonl")], two_files):
        assert main([*command, *own]) == 0
        assert list(json.loads(capsys.readouterr().out)["sets"].values()) == [expected]
    (tmp_path / "texts").write_text("the dog runs\n" * len(pairs))
    error = failed(capsys, 3, *command, *two_files)
    assert f"{tmp_path / 'texts'}:1: expected two texts, parted by a tab; got 0 tabs" in error
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


def test_a_classifier_may_start_from_the_encoder_of_a_translator_or_from_a_classifier(
    labelled_run, tmp_path, capsys
):
    import torch

    from tfcli.model.config import ModelConfig
    from tfcli.model.folder import save_model_folder
    from tfcli.model.networks import build_network
    from tfcli.text.tokenizer import Tokenizer

    config = json.loads((labelled_run / "best" / "config.json").read_text())
    sizes = config["model"] | {"n_decoder_layers": 1, "n_labels": None}
    torch.manual_seed(5)
    translator = build_network(ModelConfig(**sizes))
    tokenizer = Tokenizer.load(labelled_run)
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
    same, said = start(labelled_run, "two")
    assert f"starting from the weights of {labelled_run / 'best'}\n" in said
    for name in ("train", "valid", "test"):  # other labels than those of the run
        text = (tmp_path / f"{name}.tsv").read_text()
        (tmp_path / f"{name}.tsv").write_text(text.replace("wild", "zoo"))
    other, said = start(labelled_run, "three")
    assert "; random: output" in said
    assert (other["output.weight"] != same["output.weight"]).any()
    assert all((other[name] == same[name]).all() for name in taken)


def test_info_names_the_files_of_a_recipe_with_json_lines(tmp_path, capsys):
    recipe = write_labelled(tmp_path, RECIPE.replace("tsv: ", "jsonl: ").replace(".tsv", ".jsonl"))
    assert main(["info", str(recipe)]) == 0
    rows = dict(re.split(" {2,}", line, maxsplit=1) for line in capsys.readouterr().out.split("\n")[:-1])
    assert (rows["task"], rows["train"], rows["valid"]) == ("classification", "train.jsonl", "valid.jsonl")
    assert "languages" not in rows


def test_no_garbage_is_searched_for_while_torch_is_imported_nor_at_exit_in_what_it_made(labelled_run):
    program = (
        "import gc, sys; from tfcli.app import main; early = []\n"
        "gc.callbacks.append(lambda *_: early.append(1) if 'torch' in sys.modules and not gc.get_freeze_count() else None)\n"
        "main(['predict', sys.argv[1]]); print(len(early), gc.get_freeze_count() > 100_000, gc.isenabled())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(labelled_run)],
        input="a cat\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n")[-2] == "0 True True"


def test_files_of_labels_that_are_scored_as_translations_are_doubted(labelled_run, tmp_path, capsys):
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


def test_line_feeds_in_a_text_from_json_are_spaces_as_they_were_in_training(labelled_run):
    from tfcli.decoding.labeller import Labeller, load_labeller
    from tfcli.model.description import describe_model

    class Listening(Labeller):
        def label(self, texts, top=1, advance=None):
            self.heard = texts
            return []

    listening = load_labeller(describe_model(labelled_run), "cpu")
    listening.__class__ = Listening
    listening.begin(["the dog\nruns"])
    assert listening.heard == ["the dog runs"]
