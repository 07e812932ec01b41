"""Words and characters of many lines at once are what Python counts line by line."""

import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tfcli.text.counts import words_and_characters

LINES = ["", "a", " ", "two words", "  led by space", "and ended ", "\r", "tab\tand\x0bmore\x1c", "nul\0l",
         "x\u2028y\u2029z\x85\u00a0w", "\u3000", "\u3001", "\U0001f600 \U0001f600", "\ufeffx"]  # fmt: skip


def check(lines):
    words, characters = words_and_characters("".join(line + "\n" for line in lines))
    assert words.tolist() == [len(line.split()) for line in lines]
    assert characters.tolist() == [len(line) for line in lines]
    assert words.dtype == characters.dtype == np.int32


def test_odd_lines_are_counted_as_python_counts_them():
    check(LINES)
    check(LINES[::-1])
    check([])


@given(st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]))))
def test_any_lines_are_counted_as_python_counts_them(lines):
    check(lines)


def test_every_white_space_of_python_is_known():
    check([f"a{chr(point)}b" for point in range(sys.maxunicode + 1) if chr(point).isspace() and point != 10])
    assert max(point for point in range(sys.maxunicode + 1) if chr(point).isspace()) == 0x3000
