"""Random choices that are the same on every machine and in every Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

Item = TypeVar("Item")


class Dice:
    """A linear congruential generator; its upper half is used.

    Source: Knuth, The Art of Computer Programming, volume 2, section 3.3.4 (the MMIX multiplier).
    """

    def __init__(self, seed: int) -> None:
        self._state = seed

    def below(self, n: int) -> int:
        """Return a whole number from 0 to n - 1."""
        self._state = (self._state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self._state >> 33) % n

    def chance(self, percent: int) -> bool:
        """Return True that often."""
        return self.below(100) < percent

    def pick(self, items: Sequence[Item]) -> Item:
        """Return one of the items."""
        return items[self.below(len(items))]

    def weighted(self, items: dict[Item, int]) -> Item:
        """Return one of the keys, as often as its value says."""
        left = self.below(sum(items.values()))
        for item, weight in items.items():
            left -= weight
            if left < 0:
                return item
        raise AssertionError("weights are not negative")
