"""What is dropped from the training text, and why: each dropped pair is counted under one reason.

The reasons, in the order in which they are tried: held out for validation, a blank side, source and target
identical, a side too long, lengths too unlike, a duplicate of a pair that was kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from tfcli.recipe.corpora import DataSection

    Counts = tuple[NDArray[np.int32], NDArray[np.int32]]

HELD_OUT, BLANK, IDENTICAL, TOO_LONG, LENGTH_RATIO, DUPLICATE = REASONS = (
    "held_out",
    "blank",
    "identical",
    "too_long",
    "length_ratio",
    "duplicate",
)
KEYS = {
    HELD_OUT: "data.valid",
    IDENTICAL: "data.drop_identical",
    TOO_LONG: "data.max_pieces",
    LENGTH_RATIO: "data.max_length_ratio",
    DUPLICATE: "data.drop_duplicates",
}
"""Which key of a recipe drops pairs for a reason; blank ones are dropped always."""
# Short pairs may differ by a large factor honestly: "Ja." and "Of course it is.". Unit: pieces, see the recipe.
_RATIO_SLACK = 10


@dataclass(frozen=True)
class HoldOut:
    """Which pairs are held out for validation: those whose source's hash is below `threshold`.

    Units: hashes are numbers below 2 ** 64.
    """

    threshold: int

    def takes(self, src: Sequence[str]) -> NDArray[np.bool_]:
        """Say of each source whether the pairs with it are held out. Shapes: (sources,)."""
        return self.below(self.numbers(src))

    def below(self, numbers: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Say of each hash whether it is below the threshold. Shapes: numbers (sources,) -> (sources,)."""
        if not self.threshold:
            return np.zeros(len(numbers), dtype=np.bool_)
        return numbers <= np.uint64(self.threshold - 1)  # itself, it may be 2 ** 64

    @staticmethod
    def numbers(src: Iterable[str]) -> NDArray[np.uint64]:
        """Return the hash of each source, white space aside. Shapes: (sources,)."""
        digests = (blake2b(" ".join(text.split()).encode(), digest_size=8).digest() for text in src)
        return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)


@dataclass(frozen=True)
class CleaningRules:
    """The cleaning keys of a recipe's data section, and what is held out of it.

    Units: max_pieces in pieces, end mark not counted.
    """

    max_pieces: int
    max_length_ratio: float | None
    drop_identical: bool
    drop_duplicates: bool
    hold_out: HoldOut | None = None

    @classmethod
    def of(cls, data: DataSection, hold_out: HoldOut | None = None) -> CleaningRules:
        """Take the rules from a recipe."""
        return cls(
            data.max_pieces, data.max_length_ratio, data.drop_identical, data.drop_duplicates, hold_out
        )

    def objections(
        self, src: Sequence[str], tgt: Sequence[str], pieces: Counts, words: Counts
    ) -> dict[str, NDArray[np.bool_]]:
        """Say for each reason which pairs are dropped for it; a pair stands under the first reason that holds.

        A side whose pieces are none, or whose words are none, such as a line of spaces, is blank. Duplicates, which
        need a memory, are another's.

        Shapes: `pieces` and `words` (pairs,) for the source and for the target.
        """
        left = np.ones(len(src), dtype=np.bool_)
        found = {}
        for reason, holds in self._tests(src, tgt, pieces, words):
            found[reason] = holds & left
            left &= ~holds
        return found

    def _tests(
        self, src: Sequence[str], tgt: Sequence[str], pieces: Counts, words: Counts
    ) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        if self.hold_out is not None:
            yield HELD_OUT, self.hold_out.takes(src)
        shorter, longer = np.minimum(*pieces), np.maximum(*pieces)
        yield BLANK, (shorter == 0) | (np.minimum(*words) == 0)
        if self.drop_identical:
            same = (ours.strip() == theirs.strip() for ours, theirs in zip(src, tgt, strict=True))
            yield IDENTICAL, np.fromiter(same, np.bool_, len(src))
        yield TOO_LONG, longer > self.max_pieces
        if self.max_length_ratio is not None:
            yield (
                LENGTH_RATIO,
                (longer > self.max_length_ratio * shorter) & (longer - shorter > _RATIO_SLACK),
            )


def pair_keys(src: Iterable[str], tgt: Iterable[str]) -> NDArray[np.uint64]:
    """Return 16 bytes that stand for each pair; different pairs share them never in practice.

    Shapes: (pairs, 2).
    """
    keys = b"".join(_pair_key(*pair) for pair in zip(src, tgt, strict=True))
    return np.frombuffer(keys, dtype="<u8").reshape(-1, 2)


def _pair_key(src: str, tgt: str) -> bytes:
    # The length in front tells ("a", "bc") from ("ab", "c") whatever the texts hold.
    text = src.encode()
    return blake2b(b"%d:%b%b" % (len(text), text, tgt.encode()), digest_size=16).digest()
