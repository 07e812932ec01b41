"""Reports of the embedded corpus for tests: its references with words dropped and changed stand for translations."""

import gzip
import random
from collections.abc import Sequence
from pathlib import Path

from tfcli.recipe.schema import ScoringSection
from tfcli.scoring.analysis import count_words
from tfcli.scoring.metrics import score
from tfcli.scoring.report import Report, ReportComparison, ReportScore, ReportSet, ReportSystem

DEMO = Path(__file__).resolve().parents[1] / "data" / "demo"
SETTINGS = ScoringSection()


def demo_lines(name: str, count: int) -> list[str]:
    """Return the first lines of a file of the embedded corpus."""
    return gzip.decompress((DEMO / f"{name}.gz").read_bytes()).decode().split("\n")[:count]


def disturbed(lines: Sequence[str], share: float, seed: int) -> list[str]:
    """Return lines with that share of their words changed, and a quarter as many dropped."""
    chance = random.Random(seed)
    words = sorted({word for line in lines for word in line.split()})
    return [
        " ".join(
            chance.choice(words) if chance.random() < share else word
            for word in line.split()
            if chance.random() > share / 4
        )
        for line in lines
    ]


def system(
    name: str, hypotheses: Sequence[str], references: Sequence[Sequence[str]], scored: int | None = None
) -> ReportSystem:
    """Return a system with its scores, of only the first lines where many would take their time."""
    found = score(hypotheses[:scored], [reference[:scored] for reference in references], SETTINGS)
    scores = {
        metric: ReportScore(one.score, one.signature, (one.score - 1.5, one.score + 1.5))
        for metric, one in found.items()
    }
    return ReportSystem(name, hypotheses, scores)


def demo_report(count: int, *, scored: int | None = None) -> Report:
    """Return a report of a system and its baseline on so many lines."""
    src, ref = demo_lines("train.en", count), demo_lines("train.de", count)
    better = system("better", disturbed(ref, 0.1, 1), [ref], scored)
    worse = system("worse", disturbed(ref, 0.25, 2), [ref], scored)
    comparisons = [
        ReportComparison(
            "better", metric, better.scores[metric].score - worse.scores[metric].score, (0.5, 2.5), 0.0004
        )
        for metric in better.scores
    ]
    return Report(
        "better against worse",
        [ReportSet("news", src, [ref], [better, worse], "worse", comparisons)],
        SETTINGS,
        count_words(demo_lines("valid.de", 300), SETTINGS),
        provenance=[("command", "tfcli eval better --baseline worse"), ("commit", "0123456789abcdef")],
    )
