"""What can be done with lines of input besides translating them as they are: each takes lines and makes as many results.

`stream.translate_stream` works with anything that has this one method; a `Translator` has it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Protocol

from tfcli.decoding.translator import LineError
from tfcli.text.lines import decode_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tfcli.decoding.stream import Format
    from tfcli.decoding.translator import OnLong, ScoredTarget, Translation, Translator

_COLUMNS_HINT = "replace tabs inside a text by spaces"


class LineResult(Protocol):
    """What another task than translation makes of a line."""

    @property
    def truncated(self) -> bool:
        """Whether the line was too long, and was cut off."""

    def rendered(self, form: Format, number: int, text: str) -> str:
        """Return what is written for the line of this number, without a line end."""


class LineWork(Protocol):
    """Turns lines into as many results."""

    def begin(
        self,
        lines: Sequence[str],
        advance: Callable[[int], None] | None = None,
        n_best: int = 1,
        on_long: OnLong = "split",
    ) -> Callable[[], Sequence[Translation | ScoredTarget | LineResult]]:
        """Begin the work; what is returned, called once, ends it and has a result for each line.

        Raises: LineError for a line that cannot be used; so does what is returned.
        """


class WithPrefixes:
    """Translates lines of a source, a tab, and the prefix of its translation; without a tab there is no prefix."""

    def __init__(self, translator: Translator) -> None:
        self._translator = translator

    def begin(
        self,
        lines: Sequence[str],
        advance: Callable[[int], None] | None = None,
        n_best: int = 1,
        on_long: OnLong = "split",
    ) -> Callable[[], Sequence[Translation]]:
        """Begin to translate the first column of each line; the result begins with the second."""
        rows = [line.split("\t") for line in lines]
        for index, row in enumerate(rows):
            if len(row) > 2:
                raise LineError(
                    index, f"expected source, one tab, target prefix; got {len(row) - 1} tabs", _COLUMNS_HINT
                )
        sources, prefixes = [row[0] for row in rows], [row[1] if len(row) > 1 else "" for row in rows]
        return self._translator.begin(sources, advance, n_best, on_long, prefixes)


class Scoring:
    """Scores translations that are given: line by line in `ref`, or behind a tab in the same line."""

    def __init__(self, translator: Translator, ref: BinaryIO | None = None) -> None:
        self._translator = translator
        self._ref = ref

    def begin(
        self,
        lines: Sequence[str],
        advance: Callable[[int], None] | None = None,
        n_best: int = 1,
        on_long: OnLong = "split",
    ) -> Callable[[], Sequence[ScoredTarget]]:
        """Read what is to be scored: how probable the translation of each line is; there is one of each."""
        assert (n_best, on_long) == (1, "split"), "a pair is scored whole, and has one score"
        pairs = [self._pair(index, line) for index, line in enumerate(lines)]
        return partial(self._translator.score, pairs, advance)

    def _pair(self, index: int, line: str) -> tuple[str, str]:
        if self._ref is not None:
            raw = self._ref.readline()
            if not raw:
                raise LineError(
                    index, "--ref ends before this line", "both files need the same number of lines"
                )
            return line, decode_line(raw.removesuffix(b"\n"))[0]
        columns = line.split("\t")
        if len(columns) != 2:
            raise LineError(
                index,
                f"expected source, one tab, target; got {len(columns) - 1} tabs",
                f"{_COLUMNS_HINT}, or give the targets in a file of their own with --ref",
            )
        return columns[0], columns[1]
