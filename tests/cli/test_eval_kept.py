"""What `tfcli eval RUN` keeps: scores.json, its history, translations; and what leaves a run alone."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_eval import as_json, refused
from tests.lookup_run import WEIGHTS
from tfcli.app import main
from tfcli.recipe.schema import DecodingSection


def test_scores_json_says_what_was_scored_and_how_and_info_shows_it(
    toy_run: Path, loaded: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    found = as_json(capsys, toy_run)
    record = json.loads((toy_run / "scores.json").read_text())
    assert list(found) == ["sets"]
    assert record["sets"] == found["sets"]
    assert list(record["sets"]) == ["near", "far"]
    assert record["model"] == {
        "step": 800,
        "validation_bleu": 33.5,
        "sha256": hashlib.sha256(WEIGHTS).hexdigest(),
    }
    assert record["decoding"] == {
        **DecodingSection(beam_size=5).model_dump(),
        "device": "cpu",
        "engine": "torch",
        "precision": "fp32",
    }
    age = datetime.now(UTC) - datetime.fromisoformat(record["created"])
    assert timedelta(seconds=-2) < age < timedelta(minutes=1)
    assert main(["info", str(toy_run)]) == 0
    assert f"{found['sets']['near']['bleu']['score']:.2f}" in capsys.readouterr().out
    assert sorted(path.name for path in toy_run.iterdir()) == ["best", "eval", "recipe.yaml", "scores.json"]
    assert sorted(path.name for path in (toy_run / "eval").iterdir()) == ["far.hyp", "near.hyp"]


def test_one_set_may_be_chosen_and_the_others_keep_the_scores_of_the_same_weights_and_decoding(
    toy_run: Path, loaded: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    def sets_after(*options: str, folder: Path = toy_run) -> list[str]:
        as_json(capsys, toy_run, *options)
        return list(json.loads((folder / "scores.json").read_text())["sets"])

    assert list(as_json(capsys, toy_run, "--test", "far", "--test", "far")["sets"]) == ["far"]
    assert sets_after("--test", "near") == ["far", "near"]
    out = toy_run.parent / "out"
    greedy = ("--out", str(out), "--beam-size", "1")
    assert sets_after("--test", "near", "--out", str(out), folder=out) == ["near"]
    assert sets_after("--test", "far", *greedy, folder=out) == ["far"]
    assert sets_after("--test", "near", *greedy, folder=out) == ["far", "near"]
    (toy_run / "best" / "model.safetensors").write_bytes(b"other weights")
    assert sets_after("--test", "far") == ["far"]
    (toy_run / "scores.json").write_text("{damaged")
    assert main(["eval", str(toy_run), "--test", "near", "-q"]) == 0
    assert "; it is now scores.damaged-1.json, and a new one is begun" in capsys.readouterr().err
    assert list(json.loads((toy_run / "scores.json").read_text())["sets"]) == ["near"]


def test_the_history_of_a_run_is_shown_and_nothing_is_evaluated_for_it(
    toy_run: Path, loaded: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "nothing was scored yet" in refused(capsys, 3, toy_run, "--history")
    as_json(capsys, toy_run, "--resamples", "0")
    (toy_run / "best" / "model.safetensors").write_bytes(b"other weights")
    as_json(capsys, toy_run, "--test", "far", "--metric", "ter")
    before = len(loaded)
    entries = as_json(capsys, toy_run, "--history")["history"]
    assert [list(entry["sets"]) for entry in entries] == [["near", "far"], ["far"]]
    assert entries[0]["command"]
    assert entries[0]["model"]["sha256"] != entries[1]["model"]["sha256"]
    assert main(["eval", str(toy_run), "--history"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.split("\n")[:-1]]
    assert rows[0] == ["when", "(UTC)", "step", "weights", "search", "set", "BLEU", "chrF", "TER"]
    bleu = entries[0]["sets"]["near"]["bleu"]["score"]
    assert rows[2][1:3] == ["800", entries[0]["model"]["sha256"][:8]]
    assert rows[2][3:9] == ["beam", "5,", "torch", "fp32", "near", f"{bleu:.2f}"]
    assert rows[4][7] == "far"
    assert rows[4][9] == "+-"
    assert len(rows) == 5
    assert len(loaded) == before
    assert "--history: expected a RUN and nothing else" in refused(
        capsys, 2, toy_run, "--history", "--test", "far"
    )
    assert "--history: expected a RUN and nothing else" in refused(capsys, 2, "--history")
    assert "gone: no such folder" in refused(capsys, 4, "gone", "--history")


@pytest.mark.parametrize(
    "content", ["{}", '{"sets": {}, "history": []}', '{"history": [{"sets": {"near": {}}}]}']
)
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_history_without_a_score_is_no_empty_table(
    toy_run: Path, capsys: pytest.CaptureFixture[str], content: str, more: list[str]
) -> None:
    (toy_run / "scores.json").write_text(content)
    said = refused(capsys, 3, toy_run, "--history", *more)
    assert f"{toy_run / 'scores.json'}: no score in it: nothing was scored yet" in said


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--beam-size", "1"], "--beam-size"),
        (["--precision", "fp32"], "--precision"),
        (["--precision", "fp32", "--beam-size", "1", "--test", "near"], "--beam-size and --precision"),
    ],
)
def test_what_is_tried_with_other_settings_is_printed_and_leaves_the_run_alone(
    options: list[str],
    named: str,
    toy_run: Path,
    loaded: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    as_json(capsys, toy_run)
    before = {path: path.read_bytes() for path in toy_run.rglob("*") if path.is_file()}
    assert main(["eval", str(toy_run), *options]) == 0
    out, err = capsys.readouterr()
    assert "near" in out
    assert f"{named}: the scores are only printed, {toy_run / 'scores.json'} is for the recipe's own" in err
    assert {path: path.read_bytes() for path in toy_run.rglob("*") if path.is_file()} == before


def test_another_folder_takes_translations_and_scores_and_leaves_the_run_alone(
    toy_run: Path, loaded: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "greedy"
    found = as_json(capsys, toy_run, "--out", out, "--beam-size", "1")
    assert sorted(path.name for path in out.iterdir()) == ["far.hyp", "near.hyp", "scores.json"]
    assert json.loads((out / "scores.json").read_text())["sets"] == found["sets"]
    assert sorted(path.name for path in toy_run.iterdir()) == ["best", "recipe.yaml"]
