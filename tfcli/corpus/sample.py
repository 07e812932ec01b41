"""Lines for the tokenizer to be trained on, spread evenly over the training corpora."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tfcli.text.pairs import lines_of, side_texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tfcli.text.files import CorpusFiles


def spread(lines: Iterable[str], count: int, limit: int) -> Iterator[str]:
    """Yield at most `limit` of about `count` lines, spread evenly over them; all are read."""
    for number, line in enumerate(lines):
        if (number + 1) * limit // count > number * limit // count:
            yield line


def spread_lines(corpora: Sequence[CorpusFiles], side: int, lines: int, limit: int) -> Iterator[str]:
    """Yield at most `limit` lines of the sources (side 0) or targets (1) of corpora that have so many lines.

    All lines are read, so that one that cannot be is found before minutes are spent on the others.

    Raises: DataError when a line cannot be read.
    """
    done = 0
    for text in side_texts(corpora, side):
        texts = lines_of(text)
        if limit >= lines:
            yield from texts
            continue
        # of n / limit lines one is taken: the one at which i * limit / n reaches the next whole number
        reached = np.arange(done, done + len(texts) + 1) * limit // lines
        for i in np.flatnonzero(np.diff(reached)):
            yield texts[i]
        done += len(texts)
