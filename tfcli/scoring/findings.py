"""What a report has found: each set with the analysis of its systems, and how they compare, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfcli.scoring.analysis import FREQUENCIES, WordScore, analyse, largest_changes, worst_lines
from tfcli.scoring.results import LOWER_IS_BETTER, METRIC_NAMES
from tfcli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tfcli.scoring.analysis import SystemAnalysis
    from tfcli.scoring.report import Report
    from tfcli.scoring.results import SetResult, SystemResult

CHANGES_SHOWN = 5
WORST_SHOWN = 10


@dataclass(frozen=True)
class SystemFindings:
    """A system, its analysis, and the lines worth a look by their index."""

    system: SystemResult
    analysis: SystemAnalysis
    worst: list[int]
    gains: list[int]
    losses: list[int]


@dataclass(frozen=True)
class SetFindings:
    """A set with the systems that are compared, and the baseline where there is one."""

    of: SetResult
    systems: list[SystemFindings]
    baseline: SystemFindings | None

    @property
    def all_systems(self) -> list[SystemFindings]:
        """Return the systems, the baseline last."""
        return [*self.systems, *([self.baseline] if self.baseline is not None else [])]

    @property
    def frequency_labels(self) -> list[str]:
        """Return the ranges of frequency in which any system has a word, the rarest first."""
        labels = {found.label for one in self.all_systems for found in one.analysis.frequencies}
        return [label for label in FREQUENCIES if label in labels]

    def frequency(self, one: SystemFindings, label: str) -> WordScore:
        """Return what a system scores on the words of a range; the reference may have none, and a system neither."""
        return next(
            (found for found in one.analysis.frequencies if found.label == label), WordScore(label, 0, 0, 0)
        )


def find(report: Report, advance: Callable[[int], None] = lambda _: None) -> list[SetFindings]:
    """Analyse every set of a report; `advance` is told how many lines of how many systems are done."""
    return [_find_in_set(report, of, advance) for of in report.sets]


def _find_in_set(report: Report, of: SetResult, advance: Callable[[int], None]) -> SetFindings:
    analyses = {
        system.name: analyse(
            of.src, of.references, system.hypotheses, report.settings, report.training_words, advance
        )
        for system in of.systems
    }
    if len(analyses) != len(of.systems):
        raise ValueError("systems must have names of their own")
    found = []
    for system in of.systems:
        mine = analyses[system.name]
        gains: list[int] = []
        losses: list[int] = []
        if of.baseline is not None and system.name != of.baseline:
            gains, losses = largest_changes(mine.chrf, analyses[of.baseline].chrf, CHANGES_SHOWN)
        found.append(SystemFindings(system, mine, worst_lines(mine.chrf, WORST_SHOWN), gains, losses))
    baseline = next((one for one in found if one.system.name == of.baseline), None)
    return SetFindings(of, [one for one in found if one is not baseline], baseline)


def headline(of: SetResult, system: SystemResult) -> str:
    """Say in a sentence what a system scores on a set."""
    told = [f"{METRIC_NAMES[metric]} {score.score:.2f}" for metric, score in system.scores.items()]
    first = next(iter(system.scores.values()))
    if first.interval is not None:
        told[0] += f" (95 % interval {first.interval.low:.2f} to {first.interval.high:.2f})"
    return (
        f"On {of.name} ({counted(len(system.hypotheses), 'line')}), {system.name} scores {', '.join(told)}."
    )


def verdicts(found: Sequence[SetFindings]) -> list[str]:
    """Say of each comparison with a baseline how it came out; with the set's name where there are several."""
    return [
        f"On {one.of.name}, {comparison.words}." if len(found) > 1 else f"{comparison.words}."
        for one in found
        for system in one.systems
        for comparison in system.system.comparisons.values()
    ]


def notes(of: Sequence[SetResult], intervals: str) -> str:
    """Say how to read the table of scores; `intervals` says where in it they stand."""
    scores = [
        (metric, score) for one in of for system in one.systems for metric, score in system.scores.items()
    ]
    told = [f"{intervals} 95 % intervals."] if any(score.interval is not None for _, score in scores) else []
    lower = [METRIC_NAMES[name] for name in LOWER_IS_BETTER if name in dict(scores)]
    return " ".join([*told, *(f"Of {name}, less is better." for name in lower)])


def words_basis(report: Report) -> str:
    """Say in which text the words were counted."""
    words = report.training_words
    if words is None:
        return "by how often each occurs in the references, since the training text is not at hand"
    lines = counted(words.n_lines, "line")
    return (
        f"by how often each occurs in {'the' if words.complete else 'the first'} {lines} of the training text"
    )
