"""What looks wrong in a corpus although it can be read: sides that do not match, sides that are swapped.

Both are guesses from counts, meant to be silent unless they are nearly sure; they warn and never refuse.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from tfcli.text.pairs import read_pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tfcli.text.files import CorpusFiles

# Fewer pairs tell nothing about a block: the means below vary by several per cent.
_FEWEST_PAIRS = 500
# Mean deviation of the log length ratio over that of shuffled pairs: 1 is chance; Multi30k has 0.4, TED talks 0.13.
_CHANCE = 0.93
# A corpus whose sentences are all about as long tells nothing either. Unit: deviation of the log length ratio.
_LEAST_VARIATION = 0.1
_FIRST_LINES = 10_000


@dataclass(frozen=True)
class Evenness:
    """How well the lengths of both sides agree in a block of lines, and how well they do by chance."""

    first_line: int
    pairs: int
    aligned: float
    by_chance: float


def evenness(pairs: Sequence[tuple[str, str]], first_line: int) -> Evenness | None:
    """Measure a block of lines; None when it has too few pairs."""
    lengths = np.array([(len(src), len(tgt)) for src, tgt in pairs if src and tgt], dtype=np.float64)
    if len(lengths) < _FEWEST_PAIRS:
        return None
    src, tgt = np.log1p(lengths).T

    def deviation(ratio: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
        return float(np.abs(ratio - np.median(ratio)).mean())

    # Facing a sentence half a block away is chance enough, and the same each time.
    by_chance = deviation(src - np.roll(tgt, len(tgt) // 2))
    return Evenness(first_line, len(lengths), deviation(src - tgt), by_chance)


def misalignment(name: str, blocks: Sequence[Evenness]) -> str | None:
    """Return a warning when the lengths of both sides agree no better than by chance in a part of a corpus."""
    total = sum(block.pairs for block in blocks)
    if not total:
        return None
    by_chance = sum(block.by_chance * block.pairs for block in blocks) / total
    if by_chance < _LEAST_VARIATION:
        return None
    # Against the whole corpus as well: where it is sorted by length, neighbours are alike and chance is even.
    odd = [
        block
        for block in blocks
        if block.aligned >= _CHANCE * block.by_chance and block.aligned >= 0.8 * by_chance
    ]
    share = sum(block.pairs for block in odd) / total
    if share < 0.05:
        return None
    return (
        f"{name}: in {share:.0%} of the lines, from about line {odd[0].first_line} on, the lengths of source and "
        "target agree no better than by chance; are the two sides aligned line by line?"
    )


def swapped_sides(reference: CorpusFiles, other: CorpusFiles, name: str) -> str | None:
    """Return a warning when the sides of a corpus share their words with the opposite sides of the reference."""
    ours, theirs = _words(reference), _words(other)
    if not all((*ours, *theirs)):
        return None

    def known(words: set[str], vocabulary: set[str]) -> float:
        return len(words & vocabulary) / len(words)

    straight = known(theirs[0], ours[0]) + known(theirs[1], ours[1])
    crossed = known(theirs[0], ours[1]) + known(theirs[1], ours[0])
    if crossed < 0.4 or crossed < 2 * straight:
        return None
    return (
        f"{name}: its source looks like the target of the first training corpus, and its target like the source; "
        "are its two sides swapped?"
    )


def _words(files: CorpusFiles) -> tuple[set[str], set[str]]:
    src_words: set[str] = set()
    tgt_words: set[str] = set()
    for src, tgt in islice(read_pairs(files), _FIRST_LINES):
        src_words.update(src.split())
        tgt_words.update(tgt.split())
    return src_words, tgt_words
