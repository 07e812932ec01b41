"""A passage of running text: files one after the other, as they stand, from one character up to another.

It is read in chunks that end at line ends, so that text larger than memory can be worked through.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from tfcli.text.lines import decode_strictly, open_binary, reading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Counts:
    """What a text has of everything; a word stands between white space, a line ends with a line feed."""

    characters: int = 0
    bytes: int = 0
    words: int = 0
    line_ends: int = 0

    @classmethod
    def of(cls, text: str) -> Self:
        """Count a text."""
        return cls(len(text), len(text.encode()), len(text.split()), text.count("\n"))

    def __add__(self, other: Counts) -> Counts:
        """Return the counts of two texts together."""
        return Counts(
            self.characters + other.characters,
            self.bytes + other.bytes,
            self.words + other.words,
            self.line_ends + other.line_ends,
        )


@dataclass(frozen=True)
class Passage:
    """The characters from `start` up to `stop` of the text in `paths`; None: to its end."""

    paths: tuple[Path, ...]
    start: int = 0
    stop: int | None = None

    def chunks(self) -> Iterator[str]:
        """Yield the text in chunks, cut behind line ends, whole lines together.

        Raises: DataError when a file cannot be read, naming the first line that is no UTF-8.
        """
        stop = math.inf if self.stop is None else self.stop
        end = 0
        for path in self.paths:
            for text in _file_chunks(path):
                begin, end = end, end + len(text)
                if begin < stop and end > self.start:
                    yield text[max(0, self.start - begin) : int(min(stop, end)) - begin]

    def counts(self) -> Counts:
        """Count all of it."""
        return sum((Counts.of(chunk) for chunk in self.chunks()), Counts())

    def split(self, fraction: float) -> tuple[Passage, Passage]:
        """Return what stands before the last `fraction` of the characters, and that.

        With a fraction of 0.1, the first part has int(0.9 * characters) of them.
        """
        size = sum(map(len, self.chunks()))
        cut = self.start + int(size * (1 - fraction))
        return replace(self, stop=cut), replace(self, start=cut)


def _file_chunks(path: Path) -> Iterator[str]:
    line = 1
    with reading(path), open_binary(path) as stream:
        while raw := b"".join(stream.readlines(CHUNK_BYTES)):
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError:
                text = "\n".join(decode_strictly(raw.split(b"\n"), path, line))  # raises, with the line
            line += text.count("\n")
            yield text
