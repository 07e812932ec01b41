"""What looks wrong in a corpus although it can be read: sides that do not match, that are swapped, that are the same.

All are guesses from counts, meant to be silent unless they are nearly sure; they warn and never refuse.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from tfcli.text.pairs import read_pairs
from tfcli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tfcli.text.files import CorpusFiles

# Fewer pairs tell nothing about a block: the means below vary by several per cent.
_FEWEST_PAIRS = 500
# Variance of the log length ratio over that of pairs drawn at random, which is the sum of both sides' variances:
# 1 is chance; Multi30k and Tatoeba have 0.13, TED talks 0.02.
_CHANCE = 0.87
# A corpus whose sentences are all about as long tells nothing either. Unit: variance of the log length ratio.
_LEAST_VARIANCE = 0.01
_FIRST_LINES = 10_000
# Crawled text has some per cent of pairs whose sides are the same; above half, a file was given or copied twice.
_IDENTICAL_SHARE = 0.5
# Sentences are seldom the same twice, labels nearly always.
_MOST_LABELS = 50
_FEWEST_LABELLED = 200


@dataclass(frozen=True)
class Evenness:
    """How well the lengths of both sides agree in a block of lines: moments of the logarithms of the lengths.

    Shapes: mean (2,), variance (2,), for source and target.
    """

    first_line: int
    pairs: int
    ratio_variance: float
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]


def evenness(src: NDArray[np.int32], tgt: NDArray[np.int32], first_line: int) -> Evenness | None:
    """Measure a block of lines by their characters; None when it has too few pairs.

    Shapes: src (lines,), tgt (lines,).
    """
    lengths = np.stack((src, tgt), axis=1).astype(np.float64)
    lengths = lengths[lengths.all(axis=1)]  # blank sides tell nothing
    if len(lengths) < _FEWEST_PAIRS:
        return None
    logs = np.log1p(lengths)  # (pairs, 2)
    ratio_variance = float(np.var(logs[:, 0] - logs[:, 1]))
    return Evenness(first_line, len(logs), ratio_variance, logs.mean(axis=0), logs.var(axis=0))


def misalignment(name: str, blocks: Sequence[Evenness]) -> str | None:
    """Return a warning when the lengths of both sides agree no better than by chance in a part of a corpus."""
    if not blocks:
        return None
    weights = np.array([block.pairs for block in blocks], dtype=np.float64)
    total = weights.sum()
    means = np.stack([block.mean for block in blocks])  # (blocks, 2)
    within = weights @ np.stack([block.variance for block in blocks]) / total
    between = weights @ (means - weights @ means / total) ** 2 / total
    by_chance = float((within + between).sum())
    if by_chance < _LEAST_VARIANCE:
        return None
    # Against the whole corpus as well: where it is sorted by length, a block's own chance is no worse than truth.
    odd = [
        block
        for block in blocks
        if block.ratio_variance >= _CHANCE * block.variance.sum() and block.ratio_variance >= 0.64 * by_chance
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


def identical_sides(files: CorpusFiles, name: str) -> str | None:
    """Return a warning when most pairs of a corpus have the same text on both sides.

    One file given for both sides is not warned of here: whoever located it has done so.
    """
    if files.src is not None and files.tgt is not None and files.src.samefile(files.tgt):
        return None
    same = total = 0
    for src, tgt in islice(read_pairs(files), _FIRST_LINES):
        if not src.isspace() and src:
            total += 1
            same += src.strip() == tgt.strip()
    if same <= _IDENTICAL_SHARE * total:
        return None
    return (
        f"{name}: source and target are the same text in {same / total:.0%} of the lines; was one file given for "
        "both sides? data.drop_identical: true drops such pairs"
    )


def labels_as_targets(files: CorpusFiles, name: str) -> str | None:
    """Return a warning when the targets of many different sources are the same few lines again and again."""
    sources, targets, total = set(), set(), 0
    for src, tgt in islice(read_pairs(files), _FIRST_LINES):
        if src.strip() and tgt.strip():
            total += 1
            sources.add(src.strip())
            targets.add(tgt.strip())
    if total < _FEWEST_LABELLED or len(targets) > _MOST_LABELS or len(sources) < 2 * len(targets):
        return None
    return (
        f"{name}: the targets of {counted(total, 'pair')} are no more than {counted(len(targets), 'different line')}: "
        "if they are labels, the recipe needs task: classification"
    )


def _words(files: CorpusFiles) -> tuple[set[str], set[str]]:
    src_words: set[str] = set()
    tgt_words: set[str] = set()
    for src, tgt in islice(read_pairs(files), _FIRST_LINES):
        src_words.update(src.split())
        tgt_words.update(tgt.split())
    return src_words, tgt_words
