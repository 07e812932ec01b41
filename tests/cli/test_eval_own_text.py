"""`tfcli eval RUN --src FILE --ref FILE`: a run scored on text that its recipe does not name."""

import gzip
import json
import shutil

import pytest

from tests.cli.test_bad_input import refused, tree
from tfcli.app import main
from tfcli.recipe.loader import dump_recipe, load_recipe


def as_json(capsys, *args):
    assert main(["eval", *map(str, args), "--json", "-q"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)["sets"]


@pytest.fixture
def run(small_run, tmp_path, monkeypatch):
    """Return a run as it is without a recipe of one's own: no test sets."""
    monkeypatch.delenv("TFCLI_DATA", raising=False)
    shutil.copytree(small_run / "best", tmp_path / "run" / "best")
    recipe = load_recipe(
        small_run / "recipe.yaml", ["data.tests={}", "expected={}", "scoring.lowercase=true"]
    )
    (tmp_path / "run" / "recipe.yaml").write_text(dump_recipe(recipe))
    return tmp_path / "run"


@pytest.fixture
def own(small_run, tmp_path):
    """Return a source, compressed, and its reference."""
    (tmp_path / "own.en.gz").write_bytes(gzip.compress((small_run.parent / "valid.en").read_bytes()))
    return tmp_path / "own.en.gz", shutil.copy(small_run.parent / "valid.de", tmp_path / "own.de")


def test_the_hint_for_a_run_without_test_sets_can_be_followed(run, own, capsys):
    [error], hint = refused(capsys, 2, "eval", run)
    assert error == "data.tests: the recipe names no test set"
    words = hint.split("`")[1].split()
    given = dict(zip(("--src", "--ref"), own, strict=True))
    command = [str(given[words[n - 1]]) if word == "FILE" else word for n, word in enumerate(words)]
    assert main(command[1:]) == 0
    out, err = capsys.readouterr()
    assert ["own.en", "20"] in [line.split()[:2] for line in out.split("\n")]
    assert "|case:lc|" in out  # as the run's recipe says
    assert f"--src: the scores are only printed, {run / 'scores.json'} is for the recipe's own" in err
    assert sorted(path.name for path in run.iterdir()) == ["best", "recipe.yaml"]


def test_text_scores_what_it_scores_as_a_test_set_in_a_model_folder_too(
    small_run, run, own, tmp_path, capsys
):
    of_set = as_json(capsys, small_run, "--out", tmp_path / "set")["held-out"]
    before = tree(run)
    of_text = as_json(capsys, run / "best", "--src", own[0], "--ref", own[1], "--out", tmp_path / "text")
    assert of_text == {"own.en": of_set}
    assert tree(run) == before
    assert (tmp_path / "text" / "own.en.hyp").read_bytes() == (tmp_path / "set" / "held-out.hyp").read_bytes()
    assert json.loads((tmp_path / "text" / "scores.json").read_text())["sets"] == of_text


def test_options_for_scoring_and_further_references_count(run, own, tmp_path, capsys):
    as_json(capsys, run, "--src", own[0], "--ref", own[1], "--out", tmp_path / "out")
    said = tmp_path / "out" / "own.en.hyp"
    found = as_json(capsys, run, "--src", own[0], "--ref", own[1], "--ref", said, "--tokenize", "char")
    score = found["own.en"]["bleu"]
    assert score["score"] == pytest.approx(100)  # against what it says itself
    assert "nrefs:2|bs:1000|seed:12345|case:lc|" in score["signature"]
    assert "tok:char" in score["signature"]
    greedy = as_json(capsys, run / "best", "--src", own[0], "--ref", own[1], "--lowercase")
    assert "|case:lc|" in greedy["own.en"]["bleu"]["signature"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["RUN", "--src", "SRC"], "--src alone: --src and --ref belong together"),
        (["RUN", "--ref", "REF"], "--ref alone: --src and --ref belong together"),
        (["RUN", "--src", "SRC", "--ref", "REF", "--test", "x"], "--test: for the run's test sets, but --src"),
        (["RUN", "--src", "SRC", "--ref", "REF", "--data-root", "."], "--data-root: for the run's test sets"),
        (["RUN", "--src", "SRC", "--ref", "REF", "--hyp", "REF"], "--hyp, --ref: for scoring files, but a run"),
        (["RUN", "--src", "SRC", "--ref", "REF", "--tokenize", "13b"], "--tokenize 13b: unknown tokenizer"),
        (["--src", "SRC", "--ref", "REF"], "--src: only a run has use for it"),
    ],
)  # fmt: skip
def test_options_that_do_not_go_together_are_refused(run, own, capsys, args, message):
    names = {"RUN": run, "SRC": own[0], "REF": own[1]}
    [error], _ = refused(capsys, 2, "eval", *(names.get(word, word) for word in args))
    assert error.startswith(message)


def test_text_that_cannot_be_scored_is_told_before_the_network_is_read(run, own, capsys):
    src, ref = own
    shutil.rmtree(run / "best")  # else this would be the error
    [error], hint = refused(capsys, 3, "eval", run, "--src", src, "--ref", f"{ref}x")
    assert (error, hint) == (f"--ref: no file {ref}x", f"hint: did you mean {ref}?")
    lines = ref.read_bytes().split(b"\n")
    ref.write_bytes(b"\n".join(lines[:19]) + b"\n")
    [error], _ = refused(capsys, 3, "eval", run, "--src", src, "--ref", ref)
    assert error == f"{src} has 20 lines, {ref} has 19"
    ref.write_bytes(b"")
    [error], _ = refused(capsys, 3, "eval", run, "--src", src, "--ref", ref)
    assert error == f"--ref: {ref} is empty"
    [error], _ = refused(capsys, 4, "eval", run / "gone", "--src", src, "--ref", src)
    assert error == f"{run / 'gone'}: no such folder"
