"""Scores with intervals and paired tests: equal to what sacreBLEU's own command prints, and the same by seed."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from sacrebleu.metrics.chrf import CHRF

from tfcli.errors import DataError
from tfcli.recipe.schema import ScoringSection
from tfcli.scoring import counting
from tfcli.scoring.evaluation import HeldOutSet
from tfcli.scoring.measure import measure, seeded
from tfcli.scoring.plan import Plan
from tfcli.scoring.results import METRIC_NAMES, Comparison, SetResult, as_json

ALL = ("bleu", "chrf", "chrf++", "ter")
WORDS = ["the", "a", "cat", "dog", "sat", "ran", "on", "under", "mat", "tree", ",", ".", "quickly", "house"]


def sentence(number: int, changed: int = 0) -> str:
    """Return a line of words that depends on its number; every `changed`-th of its words is another one."""
    length = 5 + number * 7 % 11
    words = [WORDS[(number * 5 + position * (3 + number % 4)) % len(WORDS)] for position in range(length)]
    return " ".join(
        "other" if changed and (position + number) % changed == 0 else word
        for position, word in enumerate(words)
    )


REFERENCE = [sentence(number) for number in range(60)]
SYSTEMS = {
    "old": [sentence(number, changed=4) for number in range(60)],
    "near": [sentence(number, changed=4 if number % 9 else 3) for number in range(60)],
    "new": [sentence(number, changed=7) for number in range(60)],
}
HELD_OUT = HeldOutSet("set", None, [REFERENCE])
SACREBLEU = [sys.executable, "-m", "sacrebleu", "ref", "-m", "bleu", "chrf", "ter", "--ter-case-sensitive"]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, lines in (("ref", REFERENCE), *SYSTEMS.items()):
        (tmp_path / name).write_text("".join(line + "\n" for line in lines))
    return tmp_path


def printed(folder: Path, *args: str, seed: int = 12345) -> list[list[str]]:
    """Return the numbers in the rows of the table that sacreBLEU's command prints: eight places, p four."""
    done = subprocess.run(
        [*SACREBLEU, *args, "-w", "8", "-f", "latex"],
        cwd=folder,
        env={**os.environ, "SACREBLEU_SEED": str(seed), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [line for line in done.stdout.split("\n") if re.search(r"& +\d", line)]
    return [re.findall(r"\d+\.\d+", row) for row in rows]


def written(result: SetResult, *, with_interval: bool = True) -> list[list[str]]:
    """Return our numbers as sacreBLEU's command writes them."""
    rows = []
    for system in result.systems:
        rows.append([])
        for metric, score in system.scores.items():
            assert score.interval is not None
            numbers = [score.score, score.interval.mean, score.interval.half_width]
            rows[-1] += [f"{number:.8f}" for number in numbers[: 3 if with_interval else 1]]
            if metric in system.comparisons:
                rows[-1].append(f"{system.comparisons[metric].p_value:.4f}")
    return rows


@pytest.mark.parametrize("seed", [12345, 7])
def test_intervals_and_p_of_a_paired_bootstrap_are_those_of_sacrebleus_command(
    files: Path, seed: int
) -> None:
    theirs = printed(files, "-i", *SYSTEMS, "--paired-bs", "--paired-bs-n", "200", seed=seed)
    result = measure(HELD_OUT, SYSTEMS, Plan(resamples=200, seed=seed), compared=True)
    assert written(result) == theirs
    assert [len(row) for row in theirs] == [9, 12, 12]
    for system in result.systems:
        for metric, score in system.scores.items():
            assert f"nrefs:1|bs:200|seed:{seed}|" in score.signature
            if metric in system.comparisons:
                assert system.comparisons[metric].signature == score.signature


def test_p_of_approximate_randomization_is_that_of_sacrebleus_command(files: Path) -> None:
    theirs = printed(files, "-i", *SYSTEMS, "--paired-ar", "--paired-ar-n", "300")
    plan = Plan(resamples=200, paired="ar", trials=300)
    result = measure(HELD_OUT, SYSTEMS, plan, compared=True)
    assert written(result, with_interval=False) == theirs
    new = result.systems[-1]
    for system in result.systems:  # each has an interval of its own, as it has alone
        alone = measure(HELD_OUT, {system.name: SYSTEMS[system.name]}, replace(plan, metrics=("bleu",)))
        assert system.scores["bleu"].interval == alone.judged.scores["bleu"].interval
    assert "|bs:200|seed:12345|" in new.scores["ter"].signature
    assert "|ar:300|seed:12345|" in new.comparisons["ter"].signature


def test_the_interval_of_a_single_system_is_that_of_sacrebleus_command(files: Path) -> None:
    command = [*SACREBLEU, "-i", "new", "--confidence", "--confidence-n", "200", "-w", "8", "-f", "text"]
    done = subprocess.run(command, cwd=files, capture_output=True, text=True, check=True)
    theirs = re.findall(r"= (\d+\.\d+) \(μ = (\d+\.\d+) ± (\d+\.\d+)\)", done.stdout)
    signatures = re.findall(r"^ *\w+\|(\S+) =", done.stdout, flags=re.MULTILINE)
    result = measure(HELD_OUT, {"new": SYSTEMS["new"]}, Plan(resamples=200))
    assert written(result) == [[number for found in theirs for number in found]]
    assert sorted(score.signature for score in result.judged.scores.values()) == sorted(signatures)


def test_a_resample_in_which_nothing_matches_is_one_like_any_other() -> None:
    hypotheses, reference = ["a b", "", "c d e f"], ["x", "", "c d e g"]
    with pytest.raises(TypeError):  # the trap
        CHRF().corpus_score(hypotheses, [reference], n_bootstrap=200)
    result = measure(HeldOutSet("set", None, [reference]), {"new": hypotheses}, Plan(resamples=200))
    for score in result.judged.scores.values():
        assert score.interval is not None
        assert score.interval.low <= score.interval.mean <= score.interval.high


def test_every_metric_is_counted_in_processes_as_without(monkeypatch: pytest.MonkeyPatch) -> None:
    two = HeldOutSet("set", None, [REFERENCE * 5, [sentence(n, changed=9) for n in range(60)] * 5])
    systems = {name: lines * 5 for name, lines in SYSTEMS.items()}
    plan = Plan(metrics=ALL, settings=ScoringSection(tokenize="char", lowercase=True), resamples=0)
    told: list[int] = []
    alone = measure(two, systems, plan, advance=told.append)
    assert sum(told) == 4 * 300
    assert all(isinstance(n, int) for n in told)
    monkeypatch.setattr(counting, "WORTH_MILLISECONDS", 1)
    monkeypatch.setattr("tfcli.corpus.workers.os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert measure(two, systems, plan) == alone
    assert [system.name for system in alone.systems] == list(SYSTEMS)
    assert alone.baseline is None
    assert len({system.scores["chrf"].score for system in alone.systems}) == 3
    for score in alone.judged.scores.values():
        assert "nrefs:2|case:lc" in score.signature
        assert score.interval is None
    assert "nw:2" in alone.judged.scores["chrf++"].signature


def test_the_seed_of_the_environment_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    for before in ("none", None):
        if before is None:
            monkeypatch.delenv("SACREBLEU_SEED")
        else:
            monkeypatch.setenv("SACREBLEU_SEED", before)
        plan = Plan(metrics=("bleu",), resamples=100)
        found = [measure(HELD_OUT, SYSTEMS, plan, compared=True) for _ in range(2)]
        assert found[0] == found[1]
        assert os.environ.get("SACREBLEU_SEED") == before
        with seeded(5):
            assert os.environ["SACREBLEU_SEED"] == "5"
        assert os.environ.get("SACREBLEU_SEED") == before


def comparison(metric: str, difference: float, p: float) -> Comparison:
    return Comparison(metric, "A", "B", difference, p, "signature")


@pytest.mark.parametrize(
    ("metric", "difference", "p", "verdict", "words"),
    [
        ("bleu", 0.8, 0.01, "better", "A beats B by 0.80 BLEU (p = 0.0100)"),
        ("chrf++", -0.8, 0.01, "worse", "B beats A by 0.80 chrF++ (p = 0.0100)"),
        ("ter", -0.8, 0.0001, "better", "A beats B by 0.80 TER (p = 0.0001)"),
        ("ter", -0.8, 0.00001, "better", "A beats B by 0.80 TER (p < 0.0001)"),
        ("ter", 0.8, 0.0496, "worse", "B beats A by 0.80 TER (p = 0.0496)"),
        ("bleu", 0.8, 0.05, "undecided", "A and B cannot be told apart: 0.80 BLEU (p = 0.0500)"),
        ("bleu", 0.004, 0.31, "undecided", "A and B cannot be told apart: under 0.01 BLEU (p = 0.3100)"),
        ("bleu", 0.0, 0.001, "undecided", "A and B cannot be told apart: the same BLEU"),
    ],
)
def test_a_comparison_is_told_in_words(
    metric: str, difference: float, p: float, verdict: str, words: str
) -> None:
    found = comparison(metric, difference, p)
    assert (found.verdict, found.words) == (verdict, words)


def test_a_system_does_not_beat_itself_whatever_p_sacrebleu_gives_it() -> None:
    systems = {"one": SYSTEMS["new"], "two": list(SYSTEMS["new"])}
    result = measure(HELD_OUT, systems, Plan(resamples=200), compared=True)
    for found in result.judged.comparisons.values():
        assert found.p_value < 0.01  # the trap
        assert found.verdict == "undecided"


def test_without_resamples_there_are_neither_intervals_nor_comparisons() -> None:
    result = measure(HELD_OUT, SYSTEMS, Plan(resamples=0), compared=True)
    assert result.baseline is None
    assert not any(system.comparisons for system in result.systems)
    assert as_json([result], by_system=True).keys() == {"sets"}


def test_unequal_counts_are_refused_for_every_system() -> None:
    with pytest.raises(DataError, match="the hypotheses have 59 lines, reference 1 has 60"):
        measure(HELD_OUT, {**SYSTEMS, "short": REFERENCE[:59]}, Plan())


def test_json_tells_a_run_from_its_baseline_and_names_systems_where_files_are_scored() -> None:
    plan = Plan(metrics=("bleu",), resamples=100)
    systems = {"old": SYSTEMS["old"], "new": SYSTEMS["new"]}
    result = measure(HELD_OUT, systems, plan, compared=True)
    of_run, of_files = as_json([result]), as_json([result], by_system=True)
    assert of_run["sets"]["set"] == of_files["sets"]["new"]
    assert of_run["baselines"]["set"] == of_files["sets"]["old"]
    assert of_run["comparisons"] == of_files["comparisons"]
    (found,) = of_run["comparisons"]
    assert (found["set"], found["system"], found["baseline"]) == ("set", "new", "old")
    interval = of_run["sets"]["set"]["bleu"]["interval"]
    assert interval["low"] < interval["mean"] < interval["high"]


def test_every_metric_has_a_name_for_people() -> None:
    assert set(ALL) <= set(METRIC_NAMES)
