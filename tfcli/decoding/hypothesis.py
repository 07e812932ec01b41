"""What every search finds: the hypothesis and its score."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hypothesis:
    """A finished translation as piece ids, end mark left out.

    `log_prob` is the sum over its pieces and the end mark, in nats; `score` is what hypotheses are ranked by.
    """

    ids: tuple[int, ...]
    log_prob: float
    score: float


def normalized(log_prob: float, length: int, length_penalty: float) -> float:
    """Return log_prob / length ** length_penalty; `length` counts the end mark."""
    return log_prob / divisor(length, length_penalty)


def divisor(length: int, length_penalty: float) -> float:
    """Return what `normalized` divides by."""
    return float(float(length) ** length_penalty)
