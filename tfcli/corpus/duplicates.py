"""The pairs of a corpus that were kept, to know a duplicate by: a hash table of their keys in two arrays.

Its size is settled when it is made, at 24 to 48 bytes for each line of the corpus, of which pages without a key
take no memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Slots for each key, at least: with fewer, the way to a free one grows long.
_SPARE = 1.5


class PairMemory:
    """The keys of pairs seen so far, at most `capacity` of them."""

    def __init__(self, capacity: int) -> None:
        slots = 1 << max(4, int(_SPARE * capacity)).bit_length()
        self._mask = np.uint64(slots - 1)
        self._table = np.zeros((slots, 2), dtype=np.uint64)
        self._zero_seen = False

    def first_time(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Say of each pair whether it comes for the first time, and remember it.

        Shapes: keys (pairs, 2) -> (pairs,).
        """
        news = np.zeros(len(keys), dtype=np.bool_)
        order = np.lexsort(keys.T)
        others = np.ones(len(keys), dtype=np.bool_)
        others[1:] = (keys[order[1:]] != keys[order[:-1]]).any(axis=1)
        first = order[others]  # of equal keys, the one that stands first: the sort is stable
        is_zero = ~keys[first].any(axis=1)  # which stands for an empty slot
        if is_zero.any():
            news[first[is_zero]] = not self._zero_seen
            self._zero_seen = True
            first = first[~is_zero]
        slots = keys[first, 0] & self._mask
        while len(first):
            found, own = self._table[slots], keys[first]
            empty = ~found.any(axis=1)
            self._table[slots[empty]] = own[empty]
            # of several that found the same slot empty, one has it now, and the others go on
            placed = empty.copy()
            placed[empty] = (self._table[slots[empty]] == own[empty]).all(axis=1)
            news[first[placed]] = True
            going_on = ~placed & (empty | (found != own).any(axis=1))
            first, slots = first[going_on], (slots[going_on] + np.uint64(1)) & self._mask
        return news
