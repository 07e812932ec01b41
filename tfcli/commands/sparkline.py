"""A curve in one line of text: blocks of eight heights, or ASCII characters where those cannot be shown."""

import math
import os
import shutil
import sys
from collections.abc import Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII_LEVELS = "_.:-=+*#"
NOT_FINITE = "x"
BEGINNING = 0.1  # of a curve: a loss falls so far in it that what follows would look flat
DEFAULT_SCREEN = (80, 24)  # where no terminal says how wide it is
LEAST_WIDTH = 8


def resample(values: Sequence[float], width: int) -> list[float]:
    """Return at most `width` values, each the mean of as many neighbours; NaN where none of them is finite."""
    count = min(width, len(values))
    columns: list[list[float]] = [[] for _ in range(count)]
    for place, value in enumerate(values):
        if math.isfinite(value):
            columns[place * count // len(values)].append(value)
    return [sum(column) / len(column) if column else math.nan for column in columns]


def sparkline(values: Sequence[float], levels: str) -> str:
    """Return a character a value, `levels` going from low to high; an x stands for what is not finite.

    The scale goes from the lowest value to the highest one behind the beginning, above which the beginning is cut.
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return NOT_FINITE * len(values)
    settled = [value for value in values[int(len(values) * BEGINNING) :] if math.isfinite(value)]
    low, high = min(finite), max(settled or finite)
    return "".join(_level(value, low, high, levels) for value in values)


def _level(value: float, low: float, high: float, levels: str) -> str:
    if not math.isfinite(value):
        return NOT_FINITE
    top = len(levels) - 1
    if value > high:
        return levels[top]
    if high == low:
        return levels[top // 2]
    return levels[min(top, int((value - low) / (high - low) * len(levels)))]


def levels_shown() -> str:
    """Return the characters that standard output can show."""
    if os.environ.get("TERM") == "dumb":
        return ASCII_LEVELS
    try:
        BLOCKS.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII_LEVELS
    return BLOCKS


def width_shown(indent: int) -> int:
    """Return how many columns of the terminal are left behind `indent`; a pipe counts as 80 columns wide."""
    return max(LEAST_WIDTH, shutil.get_terminal_size(DEFAULT_SCREEN).columns - indent)
