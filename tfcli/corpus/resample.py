"""Batches whose pairs are cut into pieces anew each time, for subword regularization.

The encoded corpus is all it takes: pieces tell the text they are of, a word is a run of pieces from one that begins
with the word mark to the next. What is no ordinary piece, such as <unk>, a byte or a tag, stays as it is.

    ids of a sentence -> words -> a segmentation drawn for each -> ids

The random numbers of a side of a pair follow from (seed, epoch, pair, side) alone: neither the order in which pairs are
drawn nor who draws them makes a difference. Which pairs make up a batch is decided by the lengths of the corpus as
it is stored, and remains the same. A sentence that would become longer than `data.max_pieces` keeps the pieces it has.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from tfcli.corpus.batches import Batch, Position, collate
from tfcli.corpus.shards import IdBlock, IdColumn, ParallelIds
from tfcli.text.sampling import WORD_MARK, Segmenter

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tfcli.corpus.batches import Gather
    from tfcli.recipe.schema import Recipe
    from tfcli.text.tokenizer import Tokenizer

# Words whose segmentations are kept in memory; when there are more, it begins anew. One of ten characters takes about
# two kilobytes.
KEPT_WORDS = 1 << 15


def gather_anew(recipe: Recipe, tokenizer: Tokenizer, ds: ParallelIds) -> Gather | None:
    """Return what makes batches of pairs cut into pieces anew; None where the recipe does not ask for it."""
    if recipe.training.subword_regularization is None:
        return None
    return Resampler(recipe, tokenizer, ds).batch


class Resampler:
    """Makes batches of a corpus with other segmentations each epoch, on one side or both."""

    def __init__(self, recipe: Recipe, tokenizer: Tokenizer, ds: ParallelIds) -> None:
        """Take what the recipe says of subword regularization, which is switched on in it."""
        strength = recipe.training.subword_regularization
        kind = recipe.tokenizer.kind
        if strength is None or kind == "char" or kind == "byte":
            raise ValueError("the recipe asks for no subword regularization")
        self._ds = ds
        self._seed = recipe.seed
        longest = recipe.data.max_pieces + 1
        sides = "src" if recipe.task == "classification" else recipe.training.subword_sides
        models = (tokenizer.src_model, tokenizer.tgt_model)
        self._sides = [
            _Side(Segmenter(model, kind, strength), longest) if sides in ("both", name) else None
            for name, model in zip(("src", "tgt"), models, strict=True)
        ]

    def batch(self, indices: NDArray[np.int64], position: Position) -> Batch:
        """Gather pairs into a batch, as `collate` does, cut into pieces as befits the epoch of `position`.

        Shapes: indices (B,).
        """
        columns = []
        for number, column in enumerate((self._ds.src_column, self._ds.tgt_column)):
            sentences = [
                self._sentence(number, column[index], int(index), position.epoch) for index in indices
            ]
            columns.append(IdColumn.of(IdBlock.of(sentences, column.ids.dtype)))
        batch = collate(ParallelIds(*columns), np.arange(len(indices)), position)
        return replace(batch, indices=indices)

    def _sentence(self, number: int, ids: NDArray[Any], index: int, epoch: int) -> list[int]:
        side = self._sides[number]
        if side is None:
            return list(ids.tolist())
        # each in bits of its own, so that no two sentences have the same random numbers
        key = (((self._seed << 32 | epoch) << 48) | index) << 1 | number
        return side.draw(ids, key)


class _Side:
    """Draws sentences of one side; random numbers come from Python's own generator, the same in all versions."""

    def __init__(self, segmenter: Segmenter, longest: int) -> None:
        self._segmenter = segmenter
        self._longest = longest
        self._is_fixed = np.array([not piece.is_normal for piece in segmenter.pieces])
        self._begins = self._is_fixed | np.array([piece.text[:1] == WORD_MARK for piece in segmenter.pieces])
        self._random = Random()
        self._words: dict[bytes, Callable[[Callable[[], float]], list[int]]] = {}

    def draw(self, ids: NDArray[Any], key: int) -> list[int]:
        """Return another segmentation of a sentence; the one it has where the new one would be too long."""
        is_first = self._begins[ids]
        is_first[1:] |= self._is_fixed[ids[:-1]]
        starts = np.flatnonzero(is_first).tolist()
        if not starts or starts[0] != 0:
            starts.insert(0, 0)
        size, content = ids.itemsize, ids.tobytes()
        self._random.seed(key)
        uniform, words = self._random.random, self._words
        drawn: list[int] = []
        for start, end in zip(starts, [*starts[1:], len(ids)], strict=True):
            word = content[start * size : end * size]
            draw = words.get(word)
            if draw is None:
                draw = self._remember(word, ids[start:end].tolist())
            drawn += draw(uniform)
        return drawn if len(drawn) <= self._longest else list(ids.tolist())

    def _remember(self, word: bytes, ids: list[int]) -> Callable[[Callable[[], float]], list[int]]:
        if len(self._words) >= KEPT_WORDS:
            self._words.clear()
        fixed = self._is_fixed[ids[0]]
        self._words[word] = draw = (lambda _: ids) if fixed else self._segmenter.word(ids).draw
        return draw
