"""What translates piece ids, behind one protocol: the network in torch, or another program that runs the same weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tfcli.decoding.hypothesis import Hypothesis


@dataclass(frozen=True)
class SearchSettings:
    """How to search, how to rank, and how many hypotheses are wanted of each source.

    Units: batch_tokens in padded source pieces times `beam_size`.
    """

    beam_size: int
    length_penalty: float
    n_best: int = 1
    batch_tokens: int = 4096


class Engine(Protocol):
    """Searches for translations of sources that are given as piece ids."""

    @property
    def name(self) -> str:
        """What it is called in --engine."""

    @property
    def device(self) -> str:
        """Where it computes."""

    @property
    def precision(self) -> str:
        """The arithmetic of its matrix products."""

    @property
    def max_positions(self) -> int:
        """Pieces that a sequence may have, marks included."""

    def search(
        self, sources: Sequence[Sequence[int]], max_lengths: Sequence[int], settings: SearchSettings
    ) -> Iterator[tuple[int, list[Hypothesis]]]:
        """Yield each source's place and up to `n_best` hypotheses of it, best first, in the order they are found.

        `sources` end with the end mark; of each, `max_lengths` bounds the output, end mark counted.
        """
