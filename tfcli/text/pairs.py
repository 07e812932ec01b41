"""Sentence pairs from two aligned files or from one TSV file, line i facing line i.

Nothing is dropped here: a blank line facing text is a pair too. Files of unequal length are refused, with a
guess at the place where they part when the lengths of the lines show it clearly.
"""

from __future__ import annotations

from itertools import islice, zip_longest
from typing import TYPE_CHECKING

import numpy as np

from tfcli.errors import DataError
from tfcli.text.lines import count_lines, decode_strictly, read_lines, read_raw_lines
from tfcli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from tfcli.text.files import CorpusFiles

# Where two files part is looked for among this many lines, so that a huge corpus costs no memory.
_LINES_EXAMINED = 2_000_000
# Lines before and after the suspected place whose lengths must bear it out.
_NEIGHBOURHOOD = 100


def read_pairs(files: CorpusFiles) -> Iterator[tuple[str, str]]:
    """Yield (source, target) of every line.

    Raises: DataError when the counts differ, a TSV line has not exactly one tab, or a line is no UTF-8.
    """
    if files.tsv is not None:
        yield from _tsv_pairs(files.tsv)
        return
    src, tgt = _two_paths(files)
    for src_line, tgt_line in zip_longest(read_lines(src), read_lines(tgt)):
        if src_line is None or tgt_line is None:
            raise _unequal(src, tgt, count_lines(src), count_lines(tgt))
        yield src_line, tgt_line


def count_pairs(files: CorpusFiles) -> int:
    """Count the pairs without decoding them.

    Raises: DataError when the counts of the two files differ.
    """
    if files.tsv is not None:
        return count_lines(files.tsv)
    src, tgt = _two_paths(files)
    n_src, n_tgt = count_lines(src), count_lines(tgt)
    if n_src != n_tgt:
        raise _unequal(src, tgt, n_src, n_tgt)
    return n_src


def _two_paths(files: CorpusFiles) -> tuple[Path, Path]:
    if files.src is None or files.tgt is None:
        raise ValueError("corpus files need a source and a target, or a TSV file")
    return files.src, files.tgt


def _tsv_pairs(path: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(decode_strictly(read_raw_lines(path), path), start=1):
        columns = line.split("\t")
        if len(columns) != 2:
            raise DataError(
                f"{path}:{number}: expected source, one tab, target; got {len(columns) - 1} tabs",
                "keep two columns, as in `cut -f 1,2`, and replace tabs inside a sentence by spaces",
            )
        yield columns[0], columns[1]


def _unequal(src: Path, tgt: Path, n_src: int, n_tgt: int) -> DataError:
    hint = "line i of one file must be the translation of line i of the other"
    place = _where_they_part(src, tgt, n_tgt - n_src)
    if place is not None and place >= min(n_src, n_tgt):
        shorter = src if n_src < n_tgt else tgt
        hint += f"; all lines seem to match up to the end of {shorter}, so it may be cut short"
    elif place is not None:
        hint += f"; lengths stop matching near line {place + 1}"
    return DataError(f"{src} has {counted(n_src, 'line')}, {tgt} has {n_tgt:,}", hint)


def _where_they_part(src: Path, tgt: Path, surplus: int) -> int | None:
    """Return how many lines match before `surplus` lines of the target are too many; None when it is not clear.

    Supposes one gap: before it line i faces line i, behind it line i + surplus. The place where both halves
    together have the most even length ratios is taken if its neighbours bear it out.
    """
    ours, theirs = _line_lengths(src), _line_lengths(tgt)
    if surplus < 0:
        ours, theirs, surplus = theirs, ours, -surplus
    n = min(len(ours), len(theirs) - surplus)
    if n < 2 * _NEIGHBOURHOOD or surplus > n:
        return None
    ours = ours[:n] - np.median(ours[:n]) + np.median(theirs)
    before = np.abs(ours - theirs[:n])  # unevenness of line i if it lies before the gap
    behind = np.abs(ours - theirs[surplus : n + surplus])  # and if it lies behind it
    cost = np.concatenate(([0.0], np.cumsum(before - behind)))
    place = int(np.argmin(cost))
    if place == n and len(theirs) == _LINES_EXAMINED:
        return None  # it may lie anywhere behind the lines that were examined
    left = slice(max(0, place - _NEIGHBOURHOOD), place)
    right = slice(place, place + _NEIGHBOURHOOD)
    for side, right_guess, wrong_guess in ((left, before, behind), (right, behind, before)):
        if not len(ours[side]):
            continue  # the gap is at an end of the file
        clear = right_guess[side].mean() < 0.75 * wrong_guess[side].mean()
        if not clear or len(ours[side]) < _NEIGHBOURHOOD // 4:
            return None
    return place


def _line_lengths(path: Path) -> NDArray[np.float64]:
    """Return the logarithms of the lengths of the first lines of a file."""
    lengths = np.fromiter(
        (len(raw) for raw in islice(read_raw_lines(path), _LINES_EXAMINED)), dtype=np.float64
    )
    return np.log1p(lengths)
