"""What is dropped from the training text, and why: each dropped pair is counted under one reason.

The reasons, in the order in which they are tried: held out for validation, a blank side, source and target
identical, a side too long, lengths too unlike, a duplicate of a pair that was kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tfcli.recipe.schema import DataSection

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

    def takes(self, src: str) -> bool:
        """Say whether the pairs with this source are held out."""
        return self.number(src) < self.threshold

    @staticmethod
    def number(src: str) -> int:
        """Return the hash of a source, white space aside."""
        words = " ".join(src.split()).encode()
        return int.from_bytes(blake2b(words, digest_size=8).digest(), "big")


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

    def objection(self, src: str, tgt: str, src_pieces: int, tgt_pieces: int) -> str | None:
        """Return why a pair is dropped, or None; duplicates, which need a memory, are `PairMemory`'s.

        A side whose pieces are none, such as a line of spaces, is blank.
        """
        if self.hold_out is not None and self.hold_out.takes(src):
            return HELD_OUT
        if src_pieces == 0 or tgt_pieces == 0 or src.isspace() or tgt.isspace():
            return BLANK
        if self.drop_identical and src.strip() == tgt.strip():
            return IDENTICAL
        shorter, longer = sorted((src_pieces, tgt_pieces))
        if longer > self.max_pieces:
            return TOO_LONG
        if self.unlike(shorter, longer):
            return LENGTH_RATIO
        return None

    def unlike(self, shorter: int, longer: int) -> bool:
        """Say whether two lengths are too unlike for a translation."""
        return (
            self.max_length_ratio is not None
            and longer > self.max_length_ratio * shorter
            and longer - shorter > _RATIO_SLACK
        )


def pair_key(src: str, tgt: str) -> bytes:
    """Return 16 bytes that stand for a pair; different pairs share them never in practice."""
    # The length in front tells ("a", "bc") from ("ab", "c") whatever the texts hold.
    text = src.encode()
    return blake2b(b"%d:%b%b" % (len(text), text, tgt.encode()), digest_size=16).digest()


@dataclass
class PairMemory:
    """The pairs that were kept so far, to know a duplicate by: about 100 bytes of memory for each."""

    _seen: set[bytes] = field(default_factory=set)

    def first_time(self, keys: Iterable[bytes]) -> list[bool]:
        """Say of each pair whether it comes for the first time, and remember it."""
        news = []
        for key in keys:
            news.append(key not in self._seen)
            self._seen.add(key)
        return news
