"""Batches of blocks of running text, all of one length and without padding, in an order drawn anew each epoch.

    ids     [ ... head | block 0 | block 1 | ... | block n - 1 | rest ]      head: 0 .. context - 1 pieces

Where the first block begins is drawn for each epoch, so that a piece stands in another place of its block each time;
what head and rest hold is left out until the next epoch. A block is read behind a begin mark, which stands for
whatever came before it: the network learns to go on from nothing but the mark as it is going to be asked to.

The order is a permutation that can be computed at any of its places: starting anywhere costs no time, and a corpus
of any size no memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tfcli.corpus.batches import Batch, Position, random_keys
from tfcli.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tfcli.corpus.stream import TextIds

_OFFSET, _ORDER = range(2)
_ROUNDS = 6


class BlockBatches:
    """Endless batches of blocks of running text; started at any position, it goes on from there."""

    def __init__(self, ds: TextIds, batch_tokens: int, seed: int, position: Position | None = None) -> None:
        if len(ds) < ds.context:
            raise ValueError("the text has no block")
        self._ds = ds
        self._blocks_each = max(1, batch_tokens // ds.context)
        self._seed = seed
        self._position = position or Position()
        self._begin_epoch()
        if self._position.batch >= self._n_batches:
            raise ValueError(f"{self._position} lies behind the end of its epoch")

    @property
    def position(self) -> Position:
        """Where `next_batch` will take up: a `Position` to start from again."""
        return self._position

    def next_batch(self) -> Batch:
        """Return the next batch and move on; an epoch follows the other without end."""
        return blocks_at(self._ds, *self._take())

    def skip_batch(self) -> None:
        """Move on without reading the next batch."""
        self._take()

    def _take(self) -> tuple[NDArray[np.int64], Position]:
        position = self._position
        first = position.batch * self._blocks_each
        places = np.arange(first, min(first + self._blocks_each, self._n_blocks))
        starts = self._offset + permuted(places, self._n_blocks, self._keys) * self._ds.context
        if position.batch + 1 < self._n_batches:
            self._position = Position(position.epoch, position.batch + 1)
        else:
            self._position = Position(position.epoch + 1, 0)
            self._begin_epoch()
        return starts, position

    def _begin_epoch(self) -> None:
        epoch, size, context = self._position.epoch, len(self._ds), self._ds.context
        # a text of less than two blocks has fewer places for its first
        places = min(context, size - context + 1)
        self._offset = int(random_keys(1, self._seed, epoch, _OFFSET)[0] % np.uint64(places))
        self._n_blocks = (size - self._offset) // context
        self._n_batches = -(-self._n_blocks // self._blocks_each)
        self._keys = random_keys(_ROUNDS, self._seed, epoch, _ORDER)


def permuted(places: NDArray[np.int64], size: int, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return where a permutation of 0 .. size - 1, one for each choice of keys, sends places.

    A Feistel network permutes the numbers of an even number of bits; what it sends beyond `size` goes through it
    again until it comes back (Black and Rogaway, 2002, "Ciphers with Arbitrary Finite Domains", section 4).

    Shapes: places (n,), keys (rounds,).
    """
    half = np.uint64(max(1, -(-(size - 1).bit_length() // 2)))
    mask = np.uint64((1 << int(half)) - 1)
    found = places.astype(np.uint64)
    outside = np.ones(len(found), dtype=np.bool_)
    while outside.any():
        left, right = found[outside] >> half, found[outside] & mask
        for key in keys:
            left, right = right, left ^ (_mixed(right ^ key) & mask)
        found[outside] = left << half | right
        outside = found >= size
    return found.astype(np.int64)


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return numbers each of whose bits depends on all of the given ones. Source: Steele et al., 2014, SplitMix64."""
    numbers = (numbers ^ numbers >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ numbers >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return numbers ^ numbers >> np.uint64(31)


def blocks_at(
    ds: TextIds, starts: NDArray[np.int64], position: Position | None = None, length: int | None = None
) -> Batch:
    """Gather the blocks that start at some pieces into a batch; its source side is empty.

    Shapes: starts (B,); the batch's tgt_in and tgt_out are (B, T) with T the context, or `length` if it is given.
    """
    tgt_out = ds.ids[starts[:, None] + np.arange(length or ds.context)].astype(np.int64)  # (B, T)
    tgt_in = np.empty_like(tgt_out)
    tgt_in[:, 0] = Tokenizer.bos_id
    tgt_in[:, 1:] = tgt_out[:, :-1]
    return Batch(np.zeros((len(starts), 0), dtype=np.int64), tgt_in, tgt_out, starts, position)


def always_fills_a_batch(ds: TextIds, batch_tokens: int) -> bool:
    """Return whether every epoch has a batch of the largest size, wherever its first block begins."""
    return max(1, batch_tokens // ds.context) * ds.context + ds.context - 1 <= len(ds)


def worst_blocks(ds: TextIds, batch_tokens: int) -> Batch:
    """Return a batch of the largest size, as all but an epoch's last one are where the text fills one."""
    n_blocks = min(max(1, batch_tokens // ds.context), len(ds) // ds.context)
    return blocks_at(ds, np.arange(n_blocks) * ds.context)


def fixed_blocks(ds: TextIds, batch_tokens: int) -> Iterator[Batch]:
    """Yield every piece once, in blocks one behind the other, the last of them shorter: for validation."""
    starts = np.arange(len(ds) // ds.context) * ds.context
    blocks_each = max(1, batch_tokens // ds.context)
    for first in range(0, len(starts), blocks_each):
        yield blocks_at(ds, starts[first : first + blocks_each])
    rest = len(ds) % ds.context
    if rest:
        yield blocks_at(ds, np.array([len(ds) - rest]), length=rest)
