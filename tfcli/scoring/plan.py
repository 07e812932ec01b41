"""What is to be counted: which metrics, with how many resamples, and by which test systems are compared."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tfcli.recipe.schema import ScoringSection

if TYPE_CHECKING:
    from tfcli.scoring.comet import Comet

TRANSLATION_METRICS = ("bleu", "chrf", "chrf++", "ter")
"""What sacreBLEU counts."""
LABEL_METRICS = ("accuracy", "macro-f1")
METRICS = ("bleu", "chrf", "ter")
"""What is counted when nothing else is asked for."""
RESAMPLES = 1000
TRIALS = 10_000
SEED = 12345
"""sacreBLEU's own defaults, of the bootstrap, of approximate randomization and of the random numbers for both."""
LEAST_RESAMPLES = 100
"""A 95 % interval leaves out a fortieth on either side: of fewer resamples that is next to nothing."""


@dataclass(frozen=True)
class Plan:
    """How test sets are scored."""

    settings: ScoringSection = field(default_factory=ScoringSection)
    metrics: tuple[str, ...] = METRICS
    resamples: int = RESAMPLES
    """For each interval, and each paired bootstrap; 0: neither."""
    paired: Literal["bs", "ar"] = "bs"
    """The test of a comparison, in sacreBLEU's abbreviations: bootstrap or approximate randomization."""
    trials: int = TRIALS
    """Of approximate randomization."""
    seed: int = SEED
    """At least 1: `PairedTest` takes 0 for no seed at all."""
    comet: Comet | None = None
    """For the metric comet."""
