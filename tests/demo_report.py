"""Reports of the embedded corpus for tests: its references with words dropped and changed stand for translations."""

import gzip
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tfcli.recipe.schema import ScoringSection
from tfcli.scoring.analysis import count_words
from tfcli.scoring.evaluation import HeldOutSet
from tfcli.scoring.measure import measure
from tfcli.scoring.plan import Plan
from tfcli.scoring.report import Report
from tfcli.scoring.results import SetResult

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


def scored(
    name: str,
    src: list[str] | None,
    references: list[list[str]],
    systems: dict[str, list[str]],
    *,
    compared: bool = False,
    only: int | None = None,
) -> SetResult:
    """Return a set with its scores, of only so many lines where all would take their time."""
    some = {system: lines[:only] for system, lines in systems.items()}
    held_out = HeldOutSet(name, src, [reference[:only] for reference in references])
    found = measure(held_out, some, Plan(resamples=100), compared=compared)
    whole = [replace(one, hypotheses=systems[one.name]) for one in found.systems]
    return replace(found, references=references, systems=whole)


def demo_report(count: int, *, only: int | None = None) -> Report:
    """Return a report of a system and its baseline on so many lines."""
    src, ref = demo_lines("train.en", count), demo_lines("train.de", count)
    systems = {"worse": disturbed(ref, 0.25, 2), "better": disturbed(ref, 0.1, 1)}
    return Report(
        "better against worse",
        [scored("news", src, [ref], systems, compared=True, only=only)],
        SETTINGS,
        count_words(demo_lines("valid.de", 300), SETTINGS),
        provenance=[("command", "tfcli eval better --baseline worse"), ("commit", "0123456789abcdef")],
    )
