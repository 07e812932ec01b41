"""A language model from the command line: tokenize, train, eval, predict, and what is refused on the way."""

import gzip
import json
import math
import re

import pytest
import torch

from tests.small_text import TEST, write_text
from tfcli.app import main
from tfcli.training import compiled


def test_tokenize_tells_what_the_text_is_like_and_has_nothing_to_do_the_second_time(tmp_path, capsys):
    write_text(tmp_path)
    command = ["tokenize", str(tmp_path / "text.yaml"), "--out", str(tmp_path / "run"), "--json"]
    assert main(command) == 0
    first = json.loads(capsys.readouterr().out)
    train, valid = first["corpora"]
    whole = (tmp_path / "train.txt").read_text() + gzip.decompress(
        (tmp_path / "more.txt.gz").read_bytes()
    ).decode()
    assert train["characters"] == int(len(whole) * 0.9)
    assert train["characters"] + valid["characters"] == len(whole)
    assert train["pieces"] == train["characters"]  # of characters there is a piece each
    assert train["byte_pieces"] == 0
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out) == {**first, "reused": True}
    assert main(command[:-1]) == 0
    assert "pieces/word" in capsys.readouterr().out


def test_another_fraction_is_another_text(tmp_path, capsys):
    write_text(tmp_path)
    command = ["tokenize", str(tmp_path / "text.yaml"), "--out", str(tmp_path / "run"), "--json"]
    assert main(command) == 0
    assert main([*command, "--set", "data.valid.fraction=0.2"]) == 0
    assert not json.loads(capsys.readouterr().out.split("\n}\n")[1] + "\n}")["reused"]


def test_eval_tells_perplexity_in_three_units_and_keeps_it(text_run, capsys):
    assert main(["eval", str(text_run), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (scores,), (sizes,) = told["sets"].values(), told["texts"].values()
    assert list(told["sets"]) == ["held-out"]
    assert "context:24|stride:12|" in scores["loss"]["signature"]
    assert (sizes["bytes"], sizes["words"]) == (len(TEST.encode()), len(TEST.split()) + TEST.count("\n"))
    # the no-break space and ö are two bytes each, U+2581 is three
    assert sizes["pieces"] == len(TEST) + 1 + 1 + 2
    nats = sizes["nats"]
    assert scores["token-perplexity"]["score"] == pytest.approx(math.exp(nats / sizes["pieces"]))
    assert scores["word-perplexity"]["score"] == pytest.approx(math.exp(nats / sizes["words"]))
    assert scores["bits-per-byte"]["score"] == pytest.approx(nats / math.log(2) / sizes["bytes"])
    assert json.loads((text_run / "scores.json").read_text())["sets"] == told["sets"]
    assert main(["eval", str(text_run), "--history"]) == 0
    assert "context 24" in capsys.readouterr().out
    assert main(["info", str(text_run)]) == 0
    assert "perplexity/word" in capsys.readouterr().out


def test_the_validation_text_scores_about_as_it_did_in_training(text_run, capsys):
    assert main(["eval", str(text_run), "--test", "valid", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["sets"]["valid"]["loss"]["score"]
    best = json.loads((text_run / "finished.json").read_text())["best_score"]
    assert 0.7 * best < found <= best  # half a context at least is seen, in training as little as nothing
    assert found < 2.6  # letters alone, by their frequency, would cost 2.9


def test_eval_puts_bits_per_byte_beside_the_expected_ones_of_which_more_is_worse(text_run, capsys):
    assert main(["eval", str(text_run)]) == 0
    shown = [line.split() for line in capsys.readouterr().out.split("\n")]
    assert ["set", "expected", "bits/byte", "obtained", "difference", "verdict"] in shown
    score = json.loads((text_run / "scores.json").read_text())["sets"]["held-out"]["bits-per-byte"]["score"]
    difference = f"{score - 1:+.4f}"
    assert score > 1.01
    assert [
        "held-out",
        "1.0000",
        "+-",
        "0.01",
        f"{score:.4f}",
        difference,
        "not",
        "reproduced:",
        "worse",
    ] in shown


@pytest.mark.parametrize(
    ("asked", "batch_tokens", "how"),
    [
        (True, 64, "on cpu in fp32, compiled"),
        (None, 64, "on cpu in bf16\n"),
        (True, 10**6, "on cpu in fp32\n"),  # the text does not fill a batch
    ],
)
def test_a_language_model_is_compiled_where_that_is_asked_for(
    tmp_path, monkeypatch, capsys, asked, batch_tokens, how
):
    monkeypatch.setattr(compiled, "_has_compiler", lambda device: True)
    monkeypatch.setattr(torch, "compile", lambda model, dynamic: made.append(dynamic) or model)
    made = []
    write_text(tmp_path)
    command = ["train", str(tmp_path / "text.yaml"), "--out", str(tmp_path / "run"), "--device", "cpu"]
    # as long as a translator's training that is compiled unasked
    values = [
        f"training.compile={'true' if asked else 'null'}",
        f"training.precision={'fp32' if asked else 'bf16'}",
    ]
    values += [f"training.max_steps={2 if asked else 200_000}"]
    values.append(f"training.batch_tokens={batch_tokens}")
    rest = [] if asked else ["--dry-run"]
    assert main([*command, *(word for value in values for word in ("--set", value)), *rest]) == 0
    said = capsys.readouterr().err
    assert how in said
    assert made == ([False] if how.endswith("compiled") else [])
    assert ("not compiled: the text does not fill a batch" in said) == (batch_tokens > 64)


def test_nothing_that_is_said_of_a_language_model_speaks_of_translations(text_run, tmp_path, capsys):
    recipe = str(text_run.parent / "text.yaml")
    for command in (
        ["tokenize", recipe, "--out", str(tmp_path / "run")],
        ["train", recipe, "--out", str(tmp_path / "run"), "--dry-run"],
        ["train", recipe, "--out", str(text_run)],
        ["eval", str(text_run)],
        ["eval", str(text_run), "--history"],
        ["info", recipe],
        ["info", str(text_run)],
    ):
        assert main(command) == 0
    said = re.sub(r"(?m)^command .*", "", "".join(capsys.readouterr()))  # which names these tests
    assert "10.0% of the text held out" in said
    assert not re.search(r"pairs?\b|BLEU|target|sides?\b|beam|translat", said)


def test_eval_scores_a_file_and_shows_a_table(text_run, tmp_path, capsys):
    (tmp_path / "held-out").write_text(TEST)  # the name of the test set
    before = (text_run / "scores.json").read_bytes() if (text_run / "scores.json").exists() else None
    assert main(["eval", str(text_run), "--src", str(tmp_path / "held-out")]) == 0
    told = capsys.readouterr()
    assert "held-out" in told.out
    assert "reproduced" not in told.out
    assert "perplexity/word" in told.out
    assert "windows of 24 tokens, 12 further on" in told.err
    after = (text_run / "scores.json").read_bytes() if (text_run / "scores.json").exists() else None
    assert before == after


def test_predict_continues_each_line_and_keeps_its_beginning(text_run, stdin, capsysbinary):
    prompts = "The dog\n\nToday \u2581 ä\nThe old"
    stdin(prompts.encode())
    assert main(["predict", str(text_run), "--max-pieces", "9"]) == 0
    lines = capsysbinary.readouterr().out.decode().split("\n")
    assert len(lines) == 4
    for prompt, line in zip(prompts.split("\n"), lines, strict=True):
        assert line.startswith(prompt)
        assert len(line) <= len(prompt) + 9
    assert any(line != prompt for prompt, line in zip(prompts.split("\n"), lines, strict=True))


def test_predict_continues_a_column_or_a_field_and_puts_it_behind_what_was_there(
    text_run, tmp_path, stdin, capsysbinary
):
    stdin(b"The dog")
    assert main(["predict", str(text_run), "--max-pieces", "9"]) == 0
    continued = capsysbinary.readouterr().out
    assert continued.startswith(b"The dog")
    stdin(b"The dog\t1\n\n")
    assert main(["predict", str(text_run), "--max-pieces", "9", "--column", "1"]) == 0
    assert capsysbinary.readouterr().out == b"The dog\t1\t" + continued + b"\n\n"
    stdin(b'{"a": "The dog"}\n')
    assert main(["predict", str(text_run), "--max-pieces", "9", "--field", "a"]) == 0
    assert json.loads(capsysbinary.readouterr().out) == {"a": "The dog", "prediction": continued.decode()}
    stdin(b"x")
    assert main(["predict", str(text_run), "--column", "1", "--score-only"]) == 2


def test_samples_are_the_same_again_and_others_with_another_seed(text_run, stdin, capsys):
    told = []
    for seed in ("1", "1", "2"):
        stdin(b"The \nA ")
        assert (
            main(["predict", str(text_run), "--sample", "--seed", seed, "--top-k", "20", "--top-p", "0.99"])
            == 0
        )
        told.append(capsys.readouterr().out)
    assert told[0] == told[1] != told[2]


def test_several_continuations_are_told_with_their_scores(text_run, stdin, capsys):
    stdin(b"The dog\n")
    assert (
        main(["predict", str(text_run), "--beam-size", "3", "--n-best", "3", "--json", "--max-pieces", "6"])
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert (found["line"], found["prompt"], found["truncated"]) == (1, "The dog", False)
    scores = [each["score"] for each in found["continuations"]]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    stdin(b"The dog\n")
    assert main(["predict", str(text_run), "--beam-size", "2", "--n-best", "2", "--format", "tsv"]) == 0
    assert [row.split("\t")[2:] for row in capsys.readouterr().out.split("\n")[:-1]] == [
        ["1", "1"],
        ["1", "2"],
    ]


def test_of_a_prompt_longer_than_the_context_the_end_is_read_and_that_is_said(text_run, stdin, capsys):
    told = []
    for start in ("x" * 40, "yz" * 30):
        stdin(f"{start} the old woman\n".encode())
        assert main(["predict", str(text_run), "--max-pieces", "10"]) == 0
        shown = capsys.readouterr()
        assert "the beginning, all but the last 12 pieces, was not read" in " ".join(shown.err.split())
        told.append(shown.out.removeprefix(start))
    assert told[0] == told[1]  # 12 pieces are seen: what stands before them makes no difference


def test_the_probability_of_lines_is_that_of_their_continuations(text_run, stdin, capsys):
    stdin(b"The dog\n")
    assert main(["predict", str(text_run), "--json", "--max-pieces", "8"]) == 0
    (best,) = json.loads(capsys.readouterr().out)["continuations"]
    stdin(f"The dog\nThe dog{best['text']}\n".encode())
    assert main(["predict", str(text_run), "--score-only", "--json"]) == 0
    prompt, whole = map(json.loads, capsys.readouterr().out.split("\n")[:-1])
    assert [(one["line"], one["text"]) for one in (prompt, whole)] == [
        (1, "The dog"),
        (2, f"The dog{best['text']}"),
    ]
    assert whole["log_prob"] == pytest.approx(sum(whole["piece_log_probs"]), abs=1e-3)
    of_prompt = sum(prompt["piece_log_probs"][:-1])  # all but its line end
    assert whole["log_prob"] - of_prompt == pytest.approx(best["log_prob"], abs=1e-3)
    stdin(b"The dog\n")
    assert main(["predict", str(text_run), "--score-only"]) == 0
    assert float(capsys.readouterr().out) == pytest.approx(prompt["log_prob"], abs=1e-4)


def test_a_file_becomes_a_file(text_run, tmp_path, capsys):
    (tmp_path / "in.txt").write_text("The\nA\n")
    assert main(["predict", str(text_run), str(tmp_path / "in.txt"), "-o", str(tmp_path / "out.txt")]) == 0
    assert (tmp_path / "out.txt").read_text().count("\n") == 2
    assert main(["predict", str(text_run), str(tmp_path / "in.txt"), "-o", str(tmp_path / "out.txt")]) == 0
    assert "up to date" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--score-only", "--beam-size", "2"], "--score-only and --beam-size contradict"),
        (["--sample", "--beam-size", "2"], "--sample and --beam-size contradict"),
        (["--n-best", "2", "--beam-size", "2"], "--n-best 2 needs a format"),
        (["--n-best", "3", "--beam-size", "2", "--json"], "a beam of 2 finds no more"),
        (["--precision", "int8"], "--precision int8: unknown"),
        (["--top", "3"], "--top: for labels"),
        (["--top-k", "3"], "--top-k is an option of sampling"),
    ],
)
def test_options_of_predict_that_cannot_be_are_refused(text_run, stdin, capsys, options, message):
    stdin(b"The\n")
    assert main(["predict", str(text_run), *options]) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.out == ""


def test_verbs_for_another_task_name_the_right_one(text_run, small_run, stdin, capsys):
    stdin(b"The\n")
    assert main(["translate", str(text_run)]) == 4
    assert "`tfcli predict` runs such a network" in " ".join(capsys.readouterr().err.split())
    stdin(b"The\n")
    assert main(["predict", str(small_run)]) == 4
    said = " ".join(capsys.readouterr().err.split())
    assert "`tfcli translate` runs such a network" in said
    assert "with task: classification or language_model" in said
    assert main(["eval", str(text_run), "--ref", "x"]) == 2
    assert "--ref: for translations" in capsys.readouterr().err
    assert main(["eval", str(text_run), "--test", "nothing"]) == 2
    assert "the recipe has held-out, valid" in capsys.readouterr().err
    assert main(["eval", str(text_run), "--test", "valid", "--src", str(text_run / "recipe.yaml")]) == 2
    assert "--src is scored in their place" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["char", "byte"])
def test_a_run_can_start_from_another_ones_weights(tmp_path, capsys, kind):
    write_text(tmp_path)
    command = ["train", str(tmp_path / "text.yaml"), "--set", f"tokenizer.kind={kind}", "-q", "--out"]
    assert main([*command, str(tmp_path / "first"), "--set", "training.max_steps=6"]) == 0
    again = [
        *command,
        str(tmp_path / "second"),
        "--init",
        str(tmp_path / "first"),
        "--set",
        "training.max_steps=1",
    ]
    assert main([*again, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["step"] == 1
    assert json.loads((tmp_path / "second" / "best" / "config.json").read_text())["initial"]["folder"]
    assert main([*again, "--set", "model.d_model=16", "--fresh"]) == 2
    assert "model.d_model: 16 in the recipe, 32 in the model" in capsys.readouterr().err


def test_info_tells_of_a_recipe_what_its_task_has(tmp_path, capsys):
    write_text(tmp_path)
    assert main(["info", str(tmp_path / "text.yaml")]) == 0
    told = capsys.readouterr().out
    assert "train.txt, more.txt.gz" in told
    assert "context" in told
    assert "encoder" not in told.replace("n_decoder", "")
    assert "languages" not in told


def test_a_context_that_is_damaged_is_named(text_run, tmp_path, stdin, capsys):
    import shutil

    shutil.copytree(text_run / "best", tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps({**config, "context": "long"}))
    stdin(b"The\n")
    assert main(["predict", str(tmp_path / "model")]) == 4
    assert "expected a context from 1 to" in " ".join(capsys.readouterr().err.split())
