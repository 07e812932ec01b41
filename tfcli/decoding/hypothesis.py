"""What every search finds: the hypothesis and its score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PenaltyKind = Literal["average", "gnmt"]


@dataclass(frozen=True)
class LengthPenalty:
    """What a log-probability is divided by, so that long hypotheses can compete with short ones.

    Both divisors grow with the length, or stay: the beam's early stopping relies on it.

    Source: "gnmt" is lp of equation 14 of Wu et al., 2016, without their coverage penalty.
    """

    exponent: float
    kind: PenaltyKind = "average"

    def divisor(self, length: int) -> float:
        """Return length ** exponent, or ((5 + length) / 6) ** exponent; `length` counts the end mark."""
        scale = float(length) if self.kind == "average" else (5 + length) / 6
        return float(scale**self.exponent)


@dataclass(frozen=True)
class Hypothesis:
    """A finished translation as piece ids, end mark left out.

    `log_prob` is the sum over its pieces and the end mark, in nats; `score` is what hypotheses are ranked by.
    """

    ids: tuple[int, ...]
    log_prob: float
    score: float


@dataclass(frozen=True)
class ForcedTarget:
    """A given translation as the network sees it: its pieces, the end mark last, and the log-probability of each."""

    ids: tuple[int, ...]
    log_probs: tuple[float, ...]


def normalized(log_prob: float, length: int, length_penalty: LengthPenalty) -> float:
    """Return the log-probability divided as the penalty says; `length` counts the end mark."""
    return log_prob / length_penalty.divisor(length)
