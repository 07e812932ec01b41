"""`scores.json`: the present scores, the history of all evaluations, old files and damaged ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from tfcli import __version__
from tfcli.errors import CheckpointError, DataError
from tfcli.scoring.baseline import read_baseline
from tfcli.scoring.evaluation import HeldOutSet
from tfcli.scoring.history import Origin, read_history, write_scores
from tfcli.scoring.results import Interval, Score, SetResult, SystemResult

OLD = {
    "sets": {"near": {"bleu": {"score": 31.0, "signature": "old"}}},
    "model": {"step": 400, "sha256": "1"},
    "decoding": {"beam_size": 5},
    "created": "2026-01-02T03:04:05+00:00",
}


def result(name: str, src: str = "a", **scores: float) -> SetResult:
    found = {metric: Score(value, "new", "details", Interval(value, 1.0)) for metric, value in scores.items()}
    return SetResult(name, [src], [["b"]], [SystemResult("run", ["c"], found)])


def origin(sha256: str = "1") -> Origin:
    return Origin({"step": 400, "sha256": sha256}, {"beam_size": 5}, ["tfcli", "eval", "run"], "abc")


def written(path: Path, *results: SetResult, sha256: str = "1") -> Any:
    warnings: list[str] = []
    write_scores(path, results, origin(sha256), warnings.append)
    assert warnings == []
    return json.loads(path.read_text())


def test_every_evaluation_is_kept_with_what_it_was_of(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    first = written(path, result("near", bleu=31.0, ter=50.0))
    assert first["history"] == [
        {
            "created": first["created"],
            "command": ["tfcli", "eval", "run"],
            "tfcli_version": __version__,
            "commit": "abc",
            "model": {"step": 400, "sha256": "1"},
            "decoding": {"beam_size": 5},
            "sets": first["sets"],
        }
    ]
    assert first["sets"]["near"]["bleu"]["interval"] == {"mean": 31.0, "low": 30.0, "high": 32.0}
    second = written(path, result("near", bleu=32.0), sha256="2")
    assert [entry["model"]["sha256"] for entry in second["history"]] == ["1", "2"]
    assert second["history"][0] == first["history"][0]
    assert list(second["sets"]["near"]) == ["bleu"]  # the other score was that of other weights
    assert read_history(path) == second["history"]


def test_a_metric_or_set_that_is_not_counted_again_keeps_the_score_of_the_same_weights_and_text(
    tmp_path: Path,
) -> None:
    path = tmp_path / "scores.json"
    written(path, result("near", bleu=31.0, ter=50.0), result("far", bleu=9.0))
    found = written(path, result("near", bleu=32.0))
    assert {name: list(scores) for name, scores in found["sets"].items()} == {
        "near": ["bleu", "ter"],
        "far": ["bleu"],
    }
    assert found["sets"]["near"]["bleu"]["score"] == 32.0
    other_text = written(path, result("near", src="another", bleu=33.0))
    assert list(other_text["sets"]["near"]) == ["bleu"]


def test_a_file_from_before_there_was_a_history_is_its_first_entry(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    path.write_text(json.dumps(OLD))
    assert read_history(path) == [OLD]
    found = written(path, result("far", bleu=9.0))
    assert found["history"][0] == OLD
    assert len(found["history"]) == 2
    assert list(found["sets"]) == ["near", "far"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{half", "Expecting property name"),
        (b"\xff", "can't decode byte 0xff"),
        (b"[]", "the file: should be a valid dictionary"),
        (b'{"sets": []}', "sets: should be a valid dictionary"),
        (b'{"sets": {"near": {"bleu": 31}}}', "sets.near.bleu: should be a valid dictionary"),
        (b'{"test_sets": {"near": []}}', "test_sets.near: should be a valid dictionary"),
        (b'{"history": {}}', "history: should be a valid list"),
        (b'{"history": [{}, 1]}', "history.1: should be a valid dictionary"),
        (b'{"history": [{"created": 2026}]}', "history.0.created: should be a valid string"),
        (b'{"history": [{"model": []}]}', "history.0.model: should be a valid dictionary"),
        (b'{"history": [{"decoding": null}]}', "history.0.decoding: should be a valid dictionary"),
        (b'{"history": [{"sets": []}]}', "history.0.sets: should be a valid dictionary"),
        (b'{"history": [{"sets": {"near": 1}}]}', "history.0.sets.near: should be a valid dictionary"),
        (b'{"history": [{"sets": {"near": {"ter": {}}}}]}', "history.0.sets.near.ter.score: field required"),
        (b'{"sets": {"near": {"ter": {"score": "31"}}}}', "sets.near.ter.score: should be a valid number"),
        (b'{"sets": {"near": {"ter": {"score": NaN}}}}', "sets.near.ter.score: should be a finite number"),
        (
            b'{"sets": {"near": {"ter": {"score": 31.0, "interval": {"low": 30.0}}}}}',
            "sets.near.ter.interval.high: field required",
        ),
    ],
)
def test_a_damaged_file_is_named_and_put_aside_not_thrown_away(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "scores.json"
    for number in (1, 2):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"scores\.json: damaged: ") as caught:
            read_history(path)
        assert reason in caught.value.message
        warnings: list[str] = []
        write_scores(path, [result("near", bleu=31.0)], origin(), warnings.append)
        (warning,) = warnings
        assert warning.startswith(caught.value.message)
        assert warning.endswith(f"; it is now scores.damaged-{number}.json, and a new one is begun")
        assert (tmp_path / f"scores.damaged-{number}.json").read_bytes() == content
        assert len(read_history(path)) == 1


def test_no_file_is_no_history(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file: nothing was scored yet") as caught:
        read_history(tmp_path / "scores.json")
    assert caught.value.hint == f"`tfcli eval {tmp_path}` does so"


def test_a_baseline_that_was_scored_on_another_text_of_the_same_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "near.hyp").write_text("c\n")
    here = HeldOutSet("near", ["a"], [["b"]])
    assert read_baseline(tmp_path, here) == ["c"]  # whose text is not known
    written(tmp_path / "scores.json", result("near", bleu=31.0))
    assert read_baseline(tmp_path, here) == ["c"]
    for text, what in (
        (HeldOutSet("near", ["other"], [["b"]]), "the sources differ"),
        (HeldOutSet("near", ["other"], [["b"], ["c"]]), "the sources and the references differ"),
    ):
        with pytest.raises(DataError, match=f"its near is another text: {what}"):
            read_baseline(tmp_path, text)
    with pytest.raises(DataError, match="has 1 line, reference 1 of near has 2 lines"):
        read_baseline(tmp_path / "eval" / "near.hyp", HeldOutSet("near", None, [["b", "b"]]))
    with pytest.raises(CheckpointError, match="it has no translations of far: no file"):
        read_baseline(tmp_path, HeldOutSet("far", ["a"], [["b"]]))
