"""Several networks as one: a `NextPiece` that averages what its members say."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tfcli.decoding.search import NextPiece


def average(log_probs: Sequence[Tensor]) -> Tensor:
    """Return the logarithm of the arithmetic mean of the probabilities, piece by piece.

    So one member that is sure of a piece counts for it; a mean of logarithms would let one that doubts forbid it.

    Source: the linear opinion pool of Stone, 1961, with equal weights.
    """
    if len(log_probs) == 1:
        return log_probs[0]
    return torch.logsumexp(torch.stack(tuple(log_probs)), dim=0) - math.log(len(log_probs))


class EnsembleNextPiece:
    """`NextPiece` by several of them, which have the same vocabulary."""

    def __init__(self, members: Sequence[NextPiece]) -> None:
        self._members = members

    def step(self, last: Tensor) -> Tensor:
        """Take the newest piece of each row (R,), return the averaged log-probabilities of the next one (R, V)."""
        return average([member.step(last) for member in self._members])

    def select(self, rows: Tensor, sentences: Tensor | None) -> None:
        """Go on with `rows` (R',) in that order and, if given, with these `sentences` (B',) alone."""
        for member in self._members:
            member.select(rows, sentences)
