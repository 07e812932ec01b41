"""`tfcli eval RUN`: test sets translated, scored, and compared with a baseline and with what the recipe expects."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import sacrebleu
from sacrebleu.dataset import DATASETS

from tests.cli.test_eval import as_json, refused
from tests.lookup_run import HYPOTHESES, REFERENCE, SOURCE, TABLE, as_text
from tfcli.app import main


def test_a_run_is_scored_on_all_test_sets_and_compared_with_what_is_expected(
    toy_run: Path, loaded: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", str(toy_run), "--device", "cpu"]) == 0
    out, err = capsys.readouterr()
    bleu = sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCE], lowercase=True).score
    shown = [line.split() for line in out.split("\n")]
    table = {row[0]: row[1:] for row in shown if len(row) == 11 and "reproduced:" not in row}
    assert table["near"][:3] == ["4", f"{bleu:.2f}", "+-"]
    assert table["far"][0] == "2"
    assert "tok:13a" in out
    assert out.count("|case:lc|") == 3  # the same signature for both sets is shown once
    verdicts = [line for line in out.split("\n") if "reproduced" in line]
    assert verdicts[0].split() == [
        "near", "70.00", "+-", "15", f"{bleu:.2f}", "+-", table["near"][3], f"{bleu - 70:+.2f}", "reproduced",
    ]  # fmt: skip
    assert verdicts[1].startswith("far")
    assert verdicts[1].rstrip().endswith("not reproduced: worse")
    assert f"translations are in {toy_run / 'eval'}, scores in {toy_run / 'scores.json'}" in err
    (load,) = loaded
    assert (load["folder"], load["device"], load["precision"], load["beam_size"]) == (
        toy_run, "cpu", None, None,
    )  # fmt: skip
    assert load["translator"].asked == [SOURCE, SOURCE[2:]]
    assert (toy_run / "eval" / "near.hyp").read_bytes() == as_text(HYPOTHESES)
    assert (toy_run / "eval" / "far.hyp").read_bytes() == as_text(HYPOTHESES[2:])


def test_the_kept_translations_score_the_same_as_a_file(
    toy_run: Path, loaded: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    of_run = as_json(capsys, toy_run, "--test", "near")["sets"]["near"]
    reference = toy_run.parent / "data" / "near.tgt.gz"
    of_file = as_json(capsys, "--hyp", toy_run / "eval" / "near.hyp", "--ref", reference, "--lowercase")
    assert of_file["sets"] == {"near.hyp": of_run}


def test_a_run_is_compared_with_another_run_or_with_what_it_said_before(
    toy_run: Path,
    loaded: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = toy_run.parent / "other"
    said = refused(capsys, 4, toy_run, "--baseline", other.parent)
    assert f"--baseline {other.parent}: it has no translations of near: no file" in said
    assert not loaded
    as_json(capsys, toy_run, "--out", other)
    for key in TABLE:
        monkeypatch.setitem(TABLE, key, f"nothing of {key}")
    options = ("--metric", "bleu", "--resamples", "100")
    assert main(["eval", str(toy_run), "--test", "near", "--baseline", str(other), *options]) == 0
    shown = capsys.readouterr().out
    assert shown.split("\n")[0].split() == ["set", "system", "lines", "BLEU"]
    words = rf"^near: ({other} beats {toy_run} by|{toy_run} and {other} cannot be told apart:) \d+\.\d\d BLEU \(p = "
    assert re.search(words, shown, flags=re.MULTILINE)
    found = as_json(capsys, toy_run, "--test", "near", "--baseline", toy_run, *options)
    assert found["baselines"] == found["sets"]
    (comparison,) = found["comparisons"]
    assert (comparison["baseline"], comparison["verdict"]) == (f"{toy_run} before", "undecided")
    assert "baselines" not in json.loads((toy_run / "scores.json").read_text())
    file = as_json(capsys, toy_run, "--test", "near", "--baseline", toy_run / "eval" / "near.hyp", *options)
    assert file["baselines"] == found["sets"]
    said = refused(capsys, 3, toy_run, "--baseline", toy_run / "eval" / "near.hyp", *options)
    assert "near.hyp has 4 lines, reference 1 of far has 2 lines" in said


def test_a_warning_names_the_set_and_beside_a_baseline_the_system(
    toy_run: Path,
    loaded: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = ["eval", str(toy_run), "--test", "near", "--metric", "ter", "--resamples", "0"]
    assert main(command) == 0
    assert "warning:" not in capsys.readouterr().err
    monkeypatch.setitem(TABLE, SOURCE[0], "")
    empty = "1 of 4 hypotheses is empty, the first in line 1\n"
    assert main([*command, "--baseline", str(toy_run)]) == 0
    assert f"warning: near, {toy_run}: {empty}" in capsys.readouterr().err
    assert main(command) == 0
    assert f"warning: near: {empty}" in capsys.readouterr().err


def test_a_run_translates_a_test_set_that_sacrebleu_knows_by_name(
    toy_run: Path,
    loaded: list[dict[str, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(DATASETS["multi30k/2016"], "_outdir", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "multi30k_2016.en-de.src").write_bytes(as_text(SOURCE))
    (tmp_path / "home" / "multi30k_2016.en-de.ref").write_bytes(as_text(REFERENCE))
    named = ("--testset", "multi30k/2016", "--langpair", "en-de")
    of_set = as_json(capsys, toy_run, "--test", "near", "--out", tmp_path / "out")["sets"]["near"]
    assert main(["eval", str(toy_run), *named, "--tokenize", "char"]) == 0
    out, err = capsys.readouterr()
    assert "|case:lc|eff:no|tok:char|" in out
    assert "--testset: the scores are only printed" in err
    found = as_json(capsys, toy_run, *named, "--out", tmp_path / "out")["sets"]
    assert found == {"multi30k_2016-en-de": of_set}
    assert (tmp_path / "out" / "multi30k_2016-en-de.hyp").read_bytes() == as_text(HYPOTHESES)


def test_data_may_lie_elsewhere(
    toy_run: Path, loaded: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").rename(tmp_path / "moved")
    said = refused(capsys, 3, toy_run)
    assert "data.tests.near.src: no file near.src; looked for" in said
    assert not loaded  # found before the network was loaded
    assert list(as_json(capsys, toy_run, "--data-root", tmp_path / "moved")["sets"]) == ["near", "far"]
