"""What translates piece ids, behind one protocol: the network in torch, or another program that runs the same weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from tfcli.decoding.hypothesis import LengthPenalty
from tfcli.recipe.schema import DecodingSection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tfcli.decoding.hypothesis import ForcedTarget, Hypothesis


@dataclass(frozen=True)
class Sampling:
    """How pieces are drawn at random: from the `top_k` most probable, of these from the nucleus of mass `top_p`."""

    seed: int = 1
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None


@dataclass(frozen=True)
class SearchSettings:
    """How to search, how to rank, and how many hypotheses are wanted of each source.

    With `sampling`, `n_best` translations are drawn of each source, and `beam_size` means nothing. `batch_size` takes
    the place of `batch_tokens`.

    Units: batch_tokens in padded source pieces times `rows`; batch_size in sentences; min_output_ratio in pieces for
    each source piece, end marks not counted.
    """

    beam_size: int
    length_penalty: LengthPenalty
    n_best: int = 1
    batch_tokens: int = DecodingSection.model_fields["batch_tokens"].default
    batch_size: int | None = None
    no_repeat_ngram: int | None = None
    min_output_ratio: float = 0.0
    sampling: Sampling | None = None

    @classmethod
    def of(
        cls, decoding: DecodingSection, n_best: int = 1, sampling: Sampling | None = None
    ) -> SearchSettings:
        """Return how a recipe searches, or samples."""
        return cls(
            beam_size=decoding.beam_size,
            length_penalty=LengthPenalty(decoding.length_penalty, decoding.length_penalty_kind),
            n_best=n_best,
            batch_tokens=decoding.batch_tokens,
            batch_size=decoding.batch_size,
            no_repeat_ngram=decoding.no_repeat_ngram,
            min_output_ratio=decoding.min_output_ratio,
            sampling=sampling,
        )

    @property
    def rows(self) -> int:
        """Hypotheses of one source that are worked on at a time."""
        return self.beam_size if self.sampling is None else self.n_best

    def min_length(self, src_length: int, max_length: int) -> int:
        """Return the fewest pieces of an output, its end mark not counted; both arguments count theirs."""
        return min(math.ceil(self.min_output_ratio * (src_length - 1)), max_length - 1)


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
        self,
        sources: Sequence[Sequence[int]],
        max_lengths: Sequence[int],
        settings: SearchSettings,
        prefixes: Sequence[Sequence[int]] | None = None,
    ) -> Iterator[tuple[int, list[Hypothesis]]]:
        """Yield each source's place and up to `n_best` hypotheses of it, best first, in the order they are found.

        `sources` end with the end mark; of each, `max_lengths` bounds the output, end mark counted.
        Each output begins with its prefix, which is shorter than the bound. An engine with threads of its own begins
        when this is called, others when the first result is asked for.
        """


@runtime_checkable
class Scorer(Protocol):
    """An engine that can also say how probable given translations are."""

    def score(
        self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], settings: SearchSettings
    ) -> Iterator[tuple[int, ForcedTarget]]:
        """Yield each pair's place and its target with log-probabilities; both sides end with the end mark."""
