"""Words and characters of many lines at once: a tenth of the work of a corpus, were it done line by line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Up to the last code point that is white space, the ideographic one, and one more for all that follow.
_IS_SPACE = np.array([chr(point).isspace() for point in range(0x3000 + 2)])


def words_and_characters(text: str) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the words, as `str.split` would find them, and the characters of each line.

    Every line of `text` ends with a line feed. Shapes: (lines,), (lines,).
    """
    points = np.frombuffer(("\n" + text).encode("utf-32-le"), dtype="<u4")
    is_space = np.take(_IS_SPACE, points, mode="clip")
    starts = np.flatnonzero(is_space[:-1] > is_space[1:]) + 1  # a word starts where white space ends
    feeds = np.flatnonzero(points == ord("\n"))
    words = np.diff(np.searchsorted(starts, feeds))
    return words.astype(np.int32), (np.diff(feeds) - 1).astype(np.int32)
