"""How lines are cut into words, and how two lines are marked where they differ."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfcli.scoring.words import differences, pieces_of, words_of

WORDS = {
    "The dog doesn't like T-shirts.": ["The", "dog", "doesn't", "like", "T-shirts"],
    "It\u2019s 3.5 or 1,000, isn't it?": ["It\u2019s", "3.5", "or", "1,000", "isn't", "it"],
    "'quoted' - and ... no_word _": ["quoted", "and", "no_word"],
    "नमस्ते दुनिया!": ["नमस्ते", "दुनिया"],
    "cafe\u0301 noir": ["cafe\u0301", "noir"],
    "今日は。": ["今", "日", "は"],
    "a\u2028b\u00a0c\x00d": ["a", "b", "c", "d"],
    " \t ": [],
}
LINES = st.text(st.sampled_from("ab  .'-1今\u0301\u2028\x00<"), max_size=20)


@pytest.mark.parametrize("line", WORDS)
def test_words_are_those_that_a_reader_sees(line: str) -> None:
    assert words_of(line) == WORDS[line]


@given(LINES)
def test_pieces_make_up_the_line(line: str) -> None:
    assert "".join(pieces_of(line)) == line


@given(LINES, LINES)
def test_segments_make_up_the_line_and_what_is_common_is_the_same_on_both_sides(hyp: str, ref: str) -> None:
    marked = differences(hyp, ref)
    assert ["".join(segments) for segments in marked] == [hyp, ref]
    common = [[piece for part in segments[::2] for piece in pieces_of(part)] for segments in marked]
    mine, theirs = ([piece for piece in pieces if not piece.isspace()] for pieces in common)
    assert mine == theirs
    assert all(part.strip() == part != "" for segments in marked for part in segments[1::2])


def test_only_words_that_differ_are_marked_and_spaces_do_not_count() -> None:
    hyp, ref = differences("the big dog sees  a cat.", "the dog saw a small red cat .")
    assert hyp == ["the ", "big", " dog ", "sees", "  a cat."]
    assert ref == ["the dog ", "saw", " a ", "small red", " cat ."]


def test_equal_lines_have_no_mark_and_a_blank_line_has_nothing_to_mark() -> None:
    assert differences("the same", "the same") == (["the same"], ["the same"])
    assert differences("", "all of it") == ([""], ["", "all of it"])
