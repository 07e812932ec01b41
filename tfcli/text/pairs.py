"""Sentence pairs from two aligned files or from one TSV file, line i facing line i.

Nothing is dropped here, but for blank lines of text with labels: a blank line facing text is a pair too. Files of unequal length are refused, with a
guess at the place where they part when the lengths of the lines show it clearly. Text is read in blocks of raw
lines, which may be sent elsewhere to be decoded.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from tfcli.errors import DataError
from tfcli.text.labelled import LabelledLines, UnfitLines
from tfcli.text.lines import count_lines, decode_strictly, open_binary, read_raw_lines, reading
from tfcli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tfcli.text.files import CorpusFiles
    from tfcli.text.labelled import LabelFields

# Large enough to make the way to a worker cheap, small enough that a few per core cost little memory.
BLOCK_LINES = 8192
# Lines that are documents rather than sentences end a block earlier. Unit: bytes of all files.
BLOCK_BYTES = 1 << 24
# Lines that are taken from one file before the other catches up.
_STRIDE = 256
# Where two files part is looked for among this many lines, so that a huge corpus costs no memory.
_LINES_EXAMINED = 2_000_000
# Lines before and after the suspected place whose lengths must bear it out.
_NEIGHBOURHOOD = 100


@dataclass(frozen=True)
class TextBlock:
    """Consecutive lines of one corpus as they stand in its files, line feeds included; `first_line` counts from 1."""

    corpus: int
    paths: tuple[Path, ...]
    is_tsv: bool
    first_line: int
    lines: int
    raw: tuple[bytes, ...]
    fields: LabelFields | None = None

    def sides(self) -> tuple[str, str]:
        """Return the text of the source and of the target, or of texts and labels, every line ended by a line feed.

        Blank lines of text with labels are passed over.

        Raises: DataError naming the first line that is no UTF-8, or has not exactly one tab in a TSV file, or the first
        ones that have not the fields of text with labels.
        """
        if self.fields is not None:
            found, unfit = self.labelled(), UnfitLines()
            unfit.add(self.paths[0], found.unfit)
            unfit.refuse()
            return "\n".join((*found.texts, "")), "\n".join((*found.labels, ""))
        texts = self.texts()
        if not self.is_tsv:
            return texts[0], texts[1]
        columns = [line.split("\t") for line in lines_of(texts[0])]
        if any(len(fields) != 2 for fields in columns):
            raise self._complaint()
        src, tgt = zip(*columns, strict=True)
        return "\n".join((*src, "")), "\n".join((*tgt, ""))

    def labelled(self) -> LabelledLines:
        """Return the texts with labels of a block that has fields, and what is wrong with other lines.

        Raises: DataError naming the first line that is no UTF-8.
        """
        assert self.fields is not None
        return LabelledLines.of(lines_of(self.texts()[0]), self.first_line, self.fields)

    def line_number(self, pair: int) -> int:
        """Return the line in which a pair of `sides` stands, counted from 0."""
        return self.first_line + pair if self.fields is None else self.labelled().numbers[pair]

    def texts(self) -> list[str]:
        """Return the text of each file, every line ended by a line feed.

        Raises: DataError naming the first line that is no UTF-8.
        """
        try:
            texts = [raw.decode("utf-8") for raw in self.raw]
        except UnicodeDecodeError:
            raise self._complaint() from None
        return [text if text.endswith("\n") else text + "\n" for text in texts]

    def _complaint(self) -> DataError:
        """Return the error for the first line that cannot be read, having looked line by line."""
        decoded = [
            decode_strictly(raw.split(b"\n"), path, self.first_line)
            for raw, path in zip(self.raw, self.paths, strict=True)
        ]
        try:
            for number, texts in enumerate(zip(*decoded, strict=False), start=self.first_line):
                if self.is_tsv and texts[0].count("\t") != 1:
                    return _not_one_tab(self.paths[0], number, texts[0].count("\t"))
        except DataError as error:
            return error
        raise AssertionError("a block that could not be read can be read")


def text_blocks(corpora: Iterable[CorpusFiles]) -> Iterator[TextBlock]:
    """Yield the lines of the corpora, one after the other, in blocks.

    Raises: DataError when a file cannot be read or the counts of two files differ.
    """
    for corpus, files in enumerate(corpora):
        yield from _blocks(corpus, files.paths, is_tsv=files.tsv is not None, fields=files.fields)


def side_texts(corpora: Iterable[CorpusFiles], side: int) -> Iterator[str]:
    """Yield the text of all sources (0) or targets (1) in blocks, every line ended by a line feed.

    Raises: DataError when a line cannot be read.
    """
    for files in corpora:
        if len(files.paths) == 1:
            yield from (block.sides()[side] for block in text_blocks([files]))
        else:
            yield from (block.texts()[0] for block in _blocks(0, (files.paths[side],), is_tsv=False))


def _blocks(
    corpus: int, paths: tuple[Path, ...], *, is_tsv: bool, fields: LabelFields | None = None
) -> Iterator[TextBlock]:
    first_line = 1
    with ExitStack() as opened:
        streams = [opened.enter_context(open_binary(path)) for path in paths]
        while (block := _next_block(streams, paths))[0]:
            if fields is not None and first_line == 1:
                fields = fields.fitting(_first_filled(block[1][0]).decode("utf-8", "replace"))
            yield TextBlock(corpus, paths, is_tsv, first_line, *block, fields)
            first_line += block[0]


def _first_filled(raw: bytes) -> bytes:
    """Return the first line that is not blank."""
    return next((line for line in raw.split(b"\n") if line.strip()), b"")


def read_pairs(files: CorpusFiles) -> Iterator[tuple[str, str]]:
    """Yield (source, target) of every line.

    Raises: DataError when the counts differ, a TSV line has not exactly one tab, or a line is no UTF-8.
    """
    for block in text_blocks([files]):
        yield from zip(*map(lines_of, block.sides()), strict=True)


def line_numbers(files: CorpusFiles) -> list[int] | None:
    """Return in which line each text with its label stands; None where there is a pair in every line.

    Raises: DataError when a line cannot be read.
    """
    if files.fields is None:
        return None
    return [number for block in text_blocks([files]) for number in block.labelled().numbers]


def lines_of(text: str) -> list[str]:
    """Return the lines of a text of which every line ends with a line feed."""
    return text.split("\n")[:-1]


def _next_block(streams: Sequence[BinaryIO], paths: tuple[Path, ...]) -> tuple[int, tuple[bytes, ...]]:
    """Return how many lines could be read, up to a block, and the lines of each file."""
    parts: list[list[bytes]] = [[] for _ in streams]
    lines = size = 0
    while lines < BLOCK_LINES and size < BLOCK_BYTES:
        taken = []
        for path, stream in zip(paths, streams, strict=True):
            with reading(path):
                taken.append(list(islice(stream, min(_STRIDE, BLOCK_LINES - lines))))
        if len({len(some) for some in taken}) > 1:
            raise _unequal(paths, [count_lines(path) for path in paths])
        if not taken[0]:
            break
        lines += len(taken[0])
        for part, some in zip(parts, taken, strict=True):
            part.append(b"".join(some))
            size += len(part[-1])
    return lines, tuple(map(b"".join, parts))


def count_pairs(files: CorpusFiles) -> int:
    """Count the pairs without decoding them.

    Raises: DataError when the counts of the two files differ.
    """
    return pairs_in(files, [count_lines(path) for path in files.paths])


def pairs_in(files: CorpusFiles, lines: Sequence[int]) -> int:
    """Return how many pairs are in files that have so many lines each.

    Raises: DataError when the counts of the two files differ.
    """
    if len(set(lines)) > 1:
        raise _unequal(files.paths, lines)
    return lines[0]


def _not_one_tab(path: Path, number: int, tabs: int) -> DataError:
    return DataError(
        f"{path}:{number}: expected source, one tab, target; got {tabs} tabs",
        "keep two columns, as in `cut -f 1,2`, and replace tabs inside a sentence by spaces",
    )


def _unequal(paths: tuple[Path, ...], lines: Sequence[int]) -> DataError:
    (src, tgt), (n_src, n_tgt) = paths, lines
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
