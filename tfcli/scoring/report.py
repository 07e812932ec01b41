"""What a report is made of: the sets with their lines and scores as the verb found them, before any analysis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tfcli.recipe.schema import ScoringSection
    from tfcli.scoring.analysis import WordCounts


@dataclass(frozen=True)
class ReportScore:
    """One metric of one system, in percent, with the 95 % interval where it was counted."""

    score: float
    signature: str
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class ReportSystem:
    """What one system translated, and what it scored by metric."""

    name: str
    hypotheses: Sequence[str]
    scores: Mapping[str, ReportScore]


@dataclass(frozen=True)
class ReportComparison:
    """A system against the baseline by one metric: `difference` is its score less the baseline's."""

    system: str
    metric: str
    difference: float
    interval: tuple[float, float] | None
    p_value: float
    """How likely chance alone makes such a difference."""


@dataclass(frozen=True)
class ReportSet:
    """A test set, translated by one system or more; `baseline` names the one that the others are compared with."""

    name: str
    src: Sequence[str] | None
    references: Sequence[Sequence[str]]
    systems: Sequence[ReportSystem]
    baseline: str | None = None
    comparisons: Sequence[ReportComparison] = ()


@dataclass(frozen=True)
class Picture:
    """A figure as SVG, which tfcli itself has drawn."""

    title: str
    caption: str
    svg: str


@dataclass(frozen=True)
class Report:
    """All that a report shows."""

    title: str
    sets: Sequence[ReportSet]
    settings: ScoringSection
    training_words: WordCounts | None = None
    """How often the words occur in the training text's target side; None where it is not at hand."""
    pictures: Sequence[Picture] = ()
    provenance: Sequence[tuple[str, str]] = ()
