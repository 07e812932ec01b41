"""Text to encoded blocks: what a worker process does with a block of lines.

It encodes, cleans and counts; duplicates, which need a memory of all blocks, are left to whoever adds them up.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np

from tfcli.corpus.shards import IdBlock, id_dtype
from tfcli.corpus.suspicions import Evenness, evenness
from tfcli.text.cleaning import BLANK, CleaningRules, pair_keys
from tfcli.text.counts import words_and_characters
from tfcli.text.pairs import TextBlock, lines_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from tfcli.corpus.labels import Labels
    from tfcli.text.tokenizer import Tokenizer


# The ids of so many sentences, as Python has them, stay in a core's cache until they are packed: the ids of 8,192 do
# not, and made encoding a seventh slower.
_SENTENCES_AT_A_TIME = 512
_NO_ID = -1  # labels have no unknown piece


@dataclass(frozen=True)
class EncodedSide:
    """One side of pairs of a block. Shapes: words (pairs,), unknown (pairs,)."""

    block: IdBlock
    words: NDArray[np.int32]
    unknown: NDArray[np.int32]

    @classmethod
    def of(cls, block: IdBlock, words: NDArray[np.int32], unk_id: int) -> EncodedSide:
        """Count the unknown pieces of sentences; they have the end mark."""
        unknown = np.zeros(len(block.lengths), dtype=np.int32)
        found = np.flatnonzero(block.ids == unk_id)
        ends = np.cumsum(block.lengths, dtype=np.int64)
        np.add.at(unknown, np.searchsorted(ends, found, side="right"), 1)
        return cls(block, words, unknown)

    @property
    def pieces(self) -> NDArray[np.int32]:
        """Pieces of each sentence, end mark not counted."""
        return self.block.lengths - np.int32(1)

    def select(self, chosen: NDArray[np.bool_]) -> EncodedSide:
        """Return the pairs that are chosen. Shapes: chosen (pairs,)."""
        if chosen.all():
            return self
        return EncodedSide(self.block.select(chosen), self.words[chosen], self.unknown[chosen])


@dataclass(frozen=True)
class EncodedBlock:
    """A block of lines encoded: what was kept, and what was dropped and why.

    `keys` tell duplicates, None where they are of no interest. Shapes: keys (pairs kept, 2).
    """

    corpus: int
    first_line: int
    lines: int
    src: EncodedSide
    tgt: EncodedSide
    dropped: Counter[str]
    keys: NDArray[np.uint64] | None
    evenness: Evenness | None
    cut: int = 0  # texts of a classifier that were too long


@dataclass(frozen=True)
class Encoder:
    """Encode blocks of text; `rules` None keeps every pair. With `labels`, targets are these, and sources are cut."""

    tokenizer: Tokenizer
    rules: CleaningRules | None
    labels: Labels | None = None
    max_pieces: int = 0  # of a text with a label

    def __call__(self, block: TextBlock) -> EncodedBlock:
        """Encode one block.

        Raises: DataError naming the first line that cannot be read.
        """
        tokenizer, rules = self.tokenizer, self.rules
        src_text, tgt_text = block.sides()
        src_lines, tgt_lines = lines_of(src_text), lines_of(tgt_text)
        src_words, src_characters = words_and_characters(src_text)
        tgt_words, tgt_characters = words_and_characters(tgt_text)
        src_ids = _packed(tokenizer.encode_src_many, src_lines, tokenizer.src_vocab_size)
        cut = 0
        if self.labels is None:
            tgt_ids = _packed(tokenizer.encode_tgt_many, tgt_lines, tokenizer.tgt_vocab_size)
        else:
            tgt_ids = self.labels.ids(tgt_lines, block)
            src_ids, cut = src_ids.cut(self.max_pieces + 1)
        src = EncodedSide.of(src_ids, src_words, tokenizer.unk_id)
        tgt = EncodedSide.of(tgt_ids, tgt_words, tokenizer.unk_id if self.labels is None else _NO_ID)
        kept = np.ones(len(src_lines), dtype=np.bool_)
        dropped: Counter[str] = Counter({BLANK: block.lines - len(src_lines)})  # of text with labels
        keys = None
        if rules is not None:
            pieces, words = (src.pieces, tgt.pieces), (src_words, tgt_words)
            if self.labels is not None:  # a label is not measured: the text stands for both sides
                pieces, words = (src.pieces, src.pieces), (src_words, src_words)
            for reason, holds in rules.objections(src_lines, tgt_lines, pieces, words).items():
                dropped[reason] += int(np.count_nonzero(holds))
                kept &= ~holds
            if rules.drop_duplicates:
                keys = pair_keys(compress(src_lines, kept), compress(tgt_lines, kept))
        return EncodedBlock(
            corpus=block.corpus,
            first_line=block.first_line,
            lines=block.lines,
            src=src.select(kept),
            tgt=tgt.select(kept),
            dropped=dropped,
            keys=keys,
            evenness=evenness(src_characters, tgt_characters, block.first_line)
            if self.labels is None
            else None,
            cut=cut,
        )


def _packed(encode: Callable[..., list[list[int]]], lines: Sequence[str], vocab_size: int) -> IdBlock:
    """Encode sentences, with their end marks, some at a time."""
    starts = range(0, max(1, len(lines)), _SENTENCES_AT_A_TIME)
    dtype = id_dtype(vocab_size)
    return IdBlock.joined(
        [IdBlock.of(encode(lines[i : i + _SENTENCES_AT_A_TIME], end_mark=True), dtype) for i in starts]
    )
