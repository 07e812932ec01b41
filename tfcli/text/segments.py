"""Cut a line that is too long for the model into parts, at the best places there are.

Sentence ends come first, then clause marks, then spaces, then anything. The parts and the separators between
them make up the line again, so that translations of the parts can be joined as the parts were.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Each alternative is tried when the ones before leave a part too long; group 1 is the separator.
_SENTENCE_ENDS = re.compile(r"(?<=[.!?…。！？])[\"'”’»)\]]*(\s+)|(?<=[。！？])()")  # noqa: RUF001  # full-width marks
_CLAUSE_MARKS = re.compile(r"(?<=[,;:–—、，；])(\s+)|(?<=[、，；])()")  # noqa: RUF001
_SPACES = re.compile(r"(\s+)")


def split_long(text: str, fits: Callable[[str], bool]) -> list[tuple[str, str]]:
    """Return parts that fit, each with the separator behind it; the last separator is empty.

    Joining every part and separator gives `text`. `fits` tells whether a part is short enough; what it refuses
    even for a single character is left as it is.
    """
    return _split(text, fits, (_SENTENCE_ENDS, _CLAUSE_MARKS, _SPACES))


def _split(
    text: str, fits: Callable[[str], bool], marks: tuple[re.Pattern[str], ...]
) -> list[tuple[str, str]]:
    if fits(text):
        return [(text, "")]
    if not marks:
        return _cut(text, fits)
    parts: list[tuple[str, str]] = []
    for piece, separator in _pack(_at_marks(text, marks[0]), fits):
        inner = _split(piece, fits, marks[1:])
        parts += [*inner[:-1], (inner[-1][0], separator)]
    return parts


def _at_marks(text: str, mark: re.Pattern[str]) -> list[tuple[str, str]]:
    """Cut at every mark; empty parts are merged with their neighbours."""
    parts, start = [], 0
    for match in mark.finditer(text):
        group = 1 if match[1] is not None else 2
        if match.start(group) > start and match.end(group) < len(text):
            parts.append((text[start : match.start(group)], match[group]))
            start = match.end(group)
    return [*parts, (text[start:], "")]


def _pack(parts: list[tuple[str, str]], fits: Callable[[str], bool]) -> list[tuple[str, str]]:
    """Join neighbours as long as the joint still fits: fewer parts keep more context."""
    packed = [parts[0]]
    for part, separator in parts[1:]:
        joint = "".join(packed[-1]) + part
        if fits(joint):
            packed[-1] = (joint, separator)
        else:
            packed.append((part, separator))
    return packed


def _cut(text: str, fits: Callable[[str], bool]) -> list[tuple[str, str]]:
    """Cut without regard to the text, each part as long as it fits."""
    parts = []
    start, guess = (
        0,
        64,
    )  # the next part is likely as long as the last: a look at all that is left would be dear
    while start < len(text):
        left = len(text) - start
        high = min(guess, left)
        while high < left and fits(text[start : start + high]):
            high = min(2 * high, left)
        low = 1  # the longest prefix that fits lies between
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if fits(text[start : start + middle]) else (low, middle - 1)
        parts.append((text[start : start + low], ""))
        start, guess = start + low, low
    return parts
