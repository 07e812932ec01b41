"""What an evaluation found, as plain values: scores with intervals, comparisons, and the text that they are of.

SetResult                a test set: source, references, and in order the systems that translated it
  systems: SystemResult  a system: its hypotheses, its scores, and how it compares with the baseline
    scores: Score        a metric's verdict, with its signature
      interval: Interval
    comparisons: Comparison
    confusion: Confusion (labels only)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tfcli.scoring.history import Origin

METRIC_NAMES = {
    "bleu": "BLEU",
    "chrf": "chrF",
    "chrf++": "chrF++",
    "ter": "TER",
    "comet": "COMET",
    "accuracy": "accuracy",
    "macro-f1": "macro-F1",
    "loss": "loss",
    "token-perplexity": "perplexity/token",
    "word-perplexity": "perplexity/word",
    "bits-per-byte": "bits/byte",
}
"""The metrics by the names that options, JSON and files use, with the names that people read."""
LOWER_IS_BETTER = ("ter", "loss", "token-perplexity", "word-perplexity", "bits-per-byte")
ALPHA = 0.05
"""Above this p, two systems cannot be told apart; as in sacreBLEU."""


@dataclass(frozen=True)
class Interval:
    """A 95 % confidence interval by bootstrap, as sacreBLEU states it; unit: that of the score."""

    mean: float
    """The mean of the resampled scores."""
    half_width: float
    """How far the interval reaches on either side of the mean."""

    @property
    def low(self) -> float:
        """Return the lower end."""
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        """Return the upper end."""
        return self.mean + self.half_width


@dataclass(frozen=True)
class Score:
    """One metric's verdict: `score` in percent (TER may exceed 100), `signature` names all that could change it."""

    score: float
    signature: str
    details: str
    """The score as sacreBLEU writes it; for BLEU with n-gram precisions, brevity penalty and lengths."""
    interval: Interval | None = None


@dataclass(frozen=True)
class Comparison:
    """A system beside the baseline, in one metric, by a paired test."""

    metric: str
    system: str
    baseline: str
    difference: float
    """The system's score less the baseline's."""
    p_value: float
    signature: str
    """As that of a score, with what the test counted."""

    @property
    def winner(self) -> str | None:
        """Return the name of the better one, None if they cannot be told apart."""
        # the same score is no difference, yet sacreBLEU's p is tiny for a system against itself
        if self.p_value >= ALPHA or self.difference == 0:
            return None
        system_is_better = (self.difference > 0) != (self.metric in LOWER_IS_BETTER)
        return self.system if system_is_better else self.baseline

    @property
    def verdict(self) -> str:
        """Return the outcome for the system: better, worse or undecided."""
        if self.winner is None:
            return "undecided"
        return "better" if self.winner == self.system else "worse"

    @property
    def words(self) -> str:
        """Return the outcome as a sentence."""
        unit = METRIC_NAMES[self.metric]
        if self.difference == 0:
            return f"{self.system} and {self.baseline} cannot be told apart: the same {unit}"
        size = f"{abs(self.difference):.2f} {unit}" if abs(self.difference) >= 0.005 else f"under 0.01 {unit}"
        # four places, as sacreBLEU has them: three would round 0.0496 to the 0.05 that it is below
        p = f"p = {self.p_value:.4f}" if self.p_value >= 0.0001 else "p < 0.0001"
        if self.winner is None:
            return f"{self.system} and {self.baseline} cannot be told apart: {size} ({p})"
        loser = self.baseline if self.winner == self.system else self.system
        return f"{self.winner} beats {loser} by {size} ({p})"


@dataclass(frozen=True)
class Confusion:
    """How often each label was taken for which."""

    labels: list[str]
    counts: list[list[int]]
    """A row for each label of the reference, a column for each of the system, in the order of `labels`."""


@dataclass(frozen=True)
class SystemResult:
    """What one system said and scored; `comparisons` and `scores` by metric."""

    name: str
    hypotheses: list[str]
    scores: dict[str, Score]
    comparisons: dict[str, Comparison] = field(default_factory=dict)
    """With the baseline; empty for the baseline itself, and where nothing is compared."""
    confusion: Confusion | None = None


@dataclass(frozen=True)
class SetResult:
    """What the systems scored on one test set; line i of all its lists belongs together."""

    name: str
    src: list[str] | None
    references: list[list[str]]
    systems: list[SystemResult]
    baseline: str | None = None
    """The name of the system that the others are compared with, the first one."""
    origin: Origin | None = None
    """What translated, where it was done here."""

    @property
    def n_lines(self) -> int:
        """Return how many lines the set has."""
        return len(self.references[0])

    @property
    def judged(self) -> SystemResult:
        """Return the system that the evaluation is about; a run's baseline stands before it."""
        return self.systems[-1]


def metrics_of(results: Sequence[SetResult]) -> dict[str, str]:
    """Return the metrics that anything was scored with, and their names for people."""
    used = {metric for result in results for system in result.systems for metric in system.scores}
    return {metric: name for metric, name in METRIC_NAMES.items() if metric in used}


def signatures_of(results: Sequence[SetResult]) -> list[tuple[str, str]]:
    """Return each metric's name with its signatures, and those of its comparisons, all different ones once."""
    found = {
        (name, quoted.signature): None
        for metric, name in metrics_of(results).items()
        for result in results
        for system in result.systems
        for quoted in (system.scores.get(metric), system.comparisons.get(metric))
        if quoted is not None
    }
    return list(found)


def score_as_json(found: Score) -> dict[str, Any]:
    """Return a score for `--json` and `scores.json`, at full precision."""
    if found.interval is None:
        return {"score": found.score, "signature": found.signature}
    interval = {"mean": found.interval.mean, "low": found.interval.low, "high": found.interval.high}
    return {"score": found.score, "signature": found.signature, "interval": interval}


def as_json(results: Sequence[SetResult], *, by_system: bool = False) -> dict[str, Any]:
    """Return `{"sets": {NAME: {METRIC: {"score", "signature", "interval"}}}}`, and comparisons where there are any.

    `by_system`: one test set was translated by several systems, whose names take the place of the set's.
    """
    record: dict[str, Any] = {"sets": {}}
    comparisons, confusions = [], {}
    for result in results:
        for system in result.systems:
            name = system.name if by_system else result.name
            home = "sets" if by_system or system is result.judged else "baselines"
            scores = {metric: score_as_json(found) for metric, found in system.scores.items()}
            record.setdefault(home, {})[name] = scores
            comparisons += [comparison_as_json(result.name, found) for found in system.comparisons.values()]
            if system.confusion is not None:
                confusions[name] = {"labels": system.confusion.labels, "counts": system.confusion.counts}
    if comparisons:
        record["comparisons"] = comparisons
    if confusions:
        record["confusions"] = confusions
    return record


def comparison_as_json(set_name: str, found: Comparison) -> dict[str, Any]:
    """Return a comparison for `--json` and `scores.json`."""
    return {
        "set": set_name,
        "metric": found.metric,
        "system": found.system,
        "baseline": found.baseline,
        "difference": found.difference,
        "p_value": found.p_value,
        "verdict": found.verdict,
        "signature": found.signature,
    }
