"""Intervals and paired tests for measures that are not sacreBLEU's own, by its method and from its random numbers.

Each line has a number (whether a label is right, which label was taken for which, COMET's verdict), and a measure is a
function of the numbers of all lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfcli.scoring.results import Comparison, Interval, Score

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from tfcli.scoring.plan import Plan

    Lines = NDArray[Any]
    Measure = Callable[[Lines], float]


@dataclass(frozen=True)
class Measured:
    """A measure by its name, as a function of the numbers of all lines; `signature` is without the resamples'."""

    metric: str
    of_lines: Measure
    signature: str


def verdicts(
    measured: Measured, systems: Mapping[str, Lines], plan: Plan, *, compared: bool
) -> list[tuple[Score, Comparison | None]]:
    """Return each system's score with its interval, and how it compares with the first."""
    measure, signature = measured.of_lines, measured.signature
    resampled = [_resampled(measure, lines, plan) for lines in systems.values()] if plan.resamples else []
    with_interval = f"{signature}|bs:{plan.resamples}|seed:{plan.seed}" if resampled else signature
    found: list[tuple[Score, Comparison | None]] = []
    names, baseline = list(systems), next(iter(systems.values()))
    for number, (name, lines) in enumerate(systems.items()):
        score = measure(lines)
        interval = _interval(resampled[number]) if resampled else None
        comparison = None
        if compared and number:
            if plan.paired == "bs":
                differences = np.abs(resampled[number] - resampled[0])
                differences, tested = differences - differences.mean(), with_interval
            else:
                differences = _swapped(measure, baseline, lines, plan)
                tested = f"{signature}|ar:{plan.trials}|seed:{plan.seed}"
            difference = score - measure(baseline)
            p = _p(differences, abs(difference))
            comparison = Comparison(measured.metric, name, names[0], difference, p, tested)
        found.append((Score(score, with_interval, f"{score:.2f}", interval), comparison))
    return found


def _resampled(measure: Measure, lines: Lines, plan: Plan) -> NDArray[np.float64]:
    drawn = np.random.default_rng(plan.seed).choice(
        len(lines), size=(plan.resamples, len(lines)), replace=True
    )
    return np.array([measure(lines[chosen]) for chosen in drawn])


def _swapped(measure: Measure, one: Lines, other: Lines, plan: Plan) -> NDArray[np.float64]:
    """Return how far the two are apart after lines changed sides by chance."""
    swaps = np.random.default_rng(plan.seed).integers(2, size=(plan.trials, len(one)), dtype=bool)
    return np.array(
        [abs(measure(np.where(swap, one, other)) - measure(np.where(swap, other, one))) for swap in swaps]
    )


def _interval(resampled: NDArray[np.float64]) -> Interval:
    from sacrebleu.significance import estimate_ci

    mean, half_width = estimate_ci(resampled)
    return Interval(float(mean), float(half_width))


def _p(differences: NDArray[np.float64], observed: float) -> float:
    from sacrebleu.significance import _compute_p_value

    return float(_compute_p_value(differences, observed))
