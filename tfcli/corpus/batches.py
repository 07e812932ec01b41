"""Batches of about equal padded size, in an order that is a pure function of (seed, epoch).

1. The corpus is divided into blocks of consecutive pairs, whose order is drawn anew each epoch.
2. Blocks fill a pool; the pool is sorted by length and cut into batches that keep to the token budget.
3. The batches of the pool are shuffled.

Pools bound the memory, blocks keep reading nearly sequential, and to resume only lengths need be read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from tfcli.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tfcli.corpus.shards import ParallelIds

BLOCK_PAIRS = 4096
POOL_PAIRS = 1 << 19
POOLS_TRIED = 4  # for the largest batch: 20 million pairs would take six seconds otherwise


@dataclass(frozen=True)
class Batch:
    """Sentence pairs padded on the right; `tgt_in` is `tgt_out` one position later, behind the begin mark.

    `position` is where it stands in the order of training, None outside of it.

    Shapes: src (B, S), tgt_in (B, T), tgt_out (B, T), indices (B,): where the pairs stand in the corpus.
    """

    src: NDArray[np.int64]
    tgt_in: NDArray[np.int64]
    tgt_out: NDArray[np.int64]
    indices: NDArray[np.int64]
    position: Position | None = None

    @property
    def is_running_text(self) -> bool:
        """Whether the rows are blocks of running text; `indices` are then the pieces that they begin at."""
        return bool(self.src.shape[1] == 0)

    @property
    def has_labels(self) -> bool:
        """Whether the rows are texts with a label each; a translation has its end mark behind a piece or more."""
        return bool(self.tgt_out.shape[1] == 1)

    @property
    def n_tokens(self) -> int:
        """Target tokens to predict: end marks counted, padding not."""
        return int(np.count_nonzero(self.tgt_out != Tokenizer.pad_id))


@dataclass(frozen=True)
class Position:
    """Where in the order of training a run stands: batches of the epoch that are done."""

    epoch: int = 0
    batch: int = 0


# Makes a batch of pairs, by their places in the corpus, for a position in the order of training.
Gather = Callable[["NDArray[np.int64]", Position], Batch]


def collate(ds: ParallelIds, indices: NDArray[np.int64], position: Position | None = None) -> Batch:
    """Gather pairs into a batch.

    Shapes: indices (B,) with B at least 1.
    """
    indices = np.asarray(indices, dtype=np.int64)
    src = ds.src_column.padded(indices, Tokenizer.pad_id)  # (B, S)
    tgt_out = ds.tgt_column.padded(indices, Tokenizer.pad_id)  # (B, T)
    tgt_in = np.empty_like(tgt_out)
    tgt_in[:, :1] = Tokenizer.bos_id
    # The end mark is no input: where a shorter row would show it, there is padding instead.
    is_token = tgt_out[:, 1:] != Tokenizer.pad_id
    tgt_in[:, 1:] = np.where(is_token, tgt_out[:, :-1], Tokenizer.pad_id)
    return Batch(src, tgt_in, tgt_out, indices, position)


class TrainingBatches:
    """Endless batches over a corpus, each pair once an epoch; started at any position, it goes on from there.

    `gather` makes a batch of the pairs that were chosen by their lengths in `ds`, where `collate` is not to.
    """

    def __init__(
        self,
        ds: ParallelIds,
        batch_tokens: int,
        seed: int,
        position: Position | None = None,
        gather: Gather | None = None,
    ) -> None:
        if len(ds) == 0:
            raise ValueError("no pairs to make batches of")
        self._ds = ds
        self._gather = gather or partial(collate, ds)
        self._batch_tokens = batch_tokens
        self._seed = seed
        self._n_pools = -(-_n_blocks(ds) // _BLOCKS_PER_POOL)
        self._position = position or Position()
        self._pool = 0
        self._batches: list[NDArray[np.int64]] = []
        self._next_in_pool = 0
        self._seek()

    @property
    def position(self) -> Position:
        """Where `next_batch` will take up: a `Position` to start from again."""
        return self._position

    def next_batch(self) -> Batch:
        """Return the next batch and move on; an epoch follows the other without end."""
        return self._gather(*self._take())

    def skip_batch(self) -> None:
        """Move on without reading the next batch."""
        self._take()

    def _take(self) -> tuple[NDArray[np.int64], Position]:
        indices, position = self._batches[self._next_in_pool], self._position
        self._next_in_pool += 1
        self._position = Position(self._position.epoch, self._position.batch + 1)
        if self._next_in_pool == len(self._batches):
            self._pool += 1
            if self._pool == self._n_pools:
                self._pool = 0
                self._position = Position(self._position.epoch + 1, 0)
            self._plan_pool()
        return indices, position

    def _plan_pool(self) -> None:
        pairs = _pool_pairs(self._ds, self._seed, self._position.epoch, self._pool)
        ties = random_keys(len(pairs), self._seed, self._position.epoch, _TIES, self._pool)
        pairs = pairs[np.lexsort((ties, self._ds.src_lengths[pairs], _longer(self._ds, pairs)))]
        batches = np.split(pairs, _cuts(_longer(self._ds, pairs), self._batch_tokens))
        keys = random_keys(len(batches), self._seed, self._position.epoch, _BATCHES, self._pool)
        self._batches = [batches[i] for i in np.argsort(keys, kind="stable")]
        self._next_in_pool = 0

    def _seek(self) -> None:
        """Plan the pool that the position lies in; of the pools before it only the lengths are read."""
        epoch, skip = self._position.epoch, self._position.batch
        for pool in range(self._n_pools):
            longer = np.sort(_longer(self._ds, _pool_pairs(self._ds, self._seed, epoch, pool)))
            n_batches = len(_cuts(longer, self._batch_tokens)) + 1
            if skip < n_batches:
                self._pool = pool
                self._plan_pool()
                self._next_in_pool = skip
                return
            skip -= n_batches
        raise ValueError(f"{self._position} lies behind the end of its epoch")


def worst_batch(ds: ParallelIds, batch_tokens: int) -> Batch:
    """Return the batch with the most source and target positions, padding included, of the corpus cut in order.

    Of a large corpus only some pools are cut, and one more of the longest pair of each pool.

    Units: batch_tokens in pieces, padded.
    """
    worst, worst_size = np.zeros(0, dtype=np.int64), (-1, -1)
    for pool in _pools_to_try(ds):
        pairs, cuts = _cut_by_length(ds, pool, batch_tokens)
        starts = np.concatenate(([0], cuts)).astype(np.int64)
        sentences = np.diff(np.append(starts, len(pairs)))
        src = np.maximum.reduceat(ds.src_lengths[pairs].astype(np.int64), starts)
        tgt = np.maximum.reduceat(ds.tgt_lengths[pairs].astype(np.int64), starts)
        # Of equal sizes the longest sentences, since attention grows with the square of the length.
        best = int(np.lexsort((np.maximum(src, tgt), sentences * (src + tgt)))[-1])
        size = (int(sentences[best] * (src[best] + tgt[best])), int(max(src[best], tgt[best])))
        if size > worst_size:
            worst, worst_size = pairs[starts[best] : starts[best] + sentences[best]], size
    return collate(ds, worst)


def fixed_batches(ds: ParallelIds, batch_tokens: int) -> Iterator[Batch]:
    """Yield all pairs once, short ones first, always in the same order: for validation.

    Units: batch_tokens in pieces, padded.
    """
    pairs, cuts = _cut_by_length(ds, np.arange(len(ds)), batch_tokens)
    for indices in np.split(pairs, cuts):
        if len(indices):
            yield collate(ds, indices)


_BLOCKS_PER_POOL = POOL_PAIRS // BLOCK_PAIRS
_BLOCKS, _TIES, _BATCHES = range(3)


def _n_blocks(ds: ParallelIds) -> int:
    return -(-len(ds) // BLOCK_PAIRS)


def random_keys(count: int, *stream: int) -> NDArray[np.uint64]:
    """Return random numbers that follow from `stream` alone."""
    # NumPy promises that raw bits and seed sequences stay the same in all versions; its shuffles may change.
    return np.asarray(np.random.PCG64(np.random.SeedSequence(stream)).random_raw(count), dtype=np.uint64)


def _pool_pairs(ds: ParallelIds, seed: int, epoch: int, pool: int) -> NDArray[np.int64]:
    """Return the pairs of one pool, block after block in this epoch's order."""
    order = np.argsort(random_keys(_n_blocks(ds), seed, epoch, _BLOCKS), kind="stable")
    blocks = order[pool * _BLOCKS_PER_POOL : (pool + 1) * _BLOCKS_PER_POOL]
    pairs = (blocks[:, None] * BLOCK_PAIRS + np.arange(BLOCK_PAIRS)).ravel()
    return pairs[pairs < len(ds)].astype(np.int64)


def _pools_to_try(ds: ParallelIds) -> Iterator[NDArray[np.int64]]:
    n_pools = -(-len(ds) // POOL_PAIRS)
    step = -(-n_pools // POOLS_TRIED)
    longest = []
    for number in range(n_pools):
        pool = np.arange(number * POOL_PAIRS, min((number + 1) * POOL_PAIRS, len(ds)))
        if number % step == 0:
            yield pool
        longest.append(pool[np.argmax(_longer(ds, pool))])
    if step > 1:
        yield np.array(longest)


def _longer(ds: ParallelIds, pairs: NDArray[np.int64]) -> NDArray[np.int32]:
    return np.maximum(ds.src_lengths[pairs], ds.tgt_lengths[pairs])


def _cut_by_length(
    ds: ParallelIds, pairs: NDArray[np.int64], batch_tokens: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs sorted by length, and where to cut them into batches."""
    longer = _longer(ds, pairs)
    order = np.lexsort((ds.src_lengths[pairs], longer))
    return pairs[order], _cuts(longer[order], batch_tokens)


def _cuts(longer: NDArray[np.int32], batch_tokens: int) -> NDArray[np.int64]:
    """Return where to cut sorted lengths so that longest * sentences keeps to the budget, first start left out."""
    cuts = []
    start, end = 0, len(longer)
    while start < end:
        # No batch from here on can have more sentences than fit at the shortest length, which stands first.
        window = longer[start : start + max(1, batch_tokens // max(1, int(longer[start])))].astype(np.int64)
        sizes = window * np.arange(1, len(window) + 1)
        start += max(1, int(np.searchsorted(sizes, batch_tokens, side="right")))
        cuts.append(start)
    return np.array(cuts[:-1], dtype=np.int64)
