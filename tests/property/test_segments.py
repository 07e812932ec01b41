"""Cutting long lines: nothing is lost, everything fits, good places come first."""

from hypothesis import given
from hypothesis import strategies as st

from tfcli.text.segments import split_long

text = st.text(alphabet=st.sampled_from("ab .,!?;\u3002\u00a0\u2028\"'"), max_size=80)


def glue(parts):
    return "".join(part + separator for part, separator in parts)


@given(text, st.integers(1, 30))
def test_parts_and_separators_make_up_the_line_and_every_part_fits(line, limit):
    parts = split_long(line, lambda part: len(part) <= limit)
    assert glue(parts) == line
    assert all(len(part) <= limit for part, _ in parts)
    assert parts[-1][1] == ""


def test_a_line_that_fits_is_left_whole():
    assert split_long("One. Two.", lambda part: len(part) <= 9) == [("One. Two.", "")]


def test_sentence_ends_come_before_clause_marks_and_those_before_spaces():
    assert split_long("One, two. Three four.", lambda part: len(part) <= 12) == [
        ("One, two.", " "),
        ("Three four.", ""),
    ]
    assert split_long("one two, three four", lambda part: len(part) <= 11) == [
        ("one two,", " "),
        ("three four", ""),
    ]
    assert split_long("one two three", lambda part: len(part) <= 7) == [("one two", " "), ("three", "")]


def test_quotes_stay_with_the_sentence_they_close():
    assert split_long('He said "go." She went.', lambda part: len(part) <= 14) == [
        ('He said "go."', " "),
        ("She went.", ""),
    ]


def test_neighbours_are_joined_while_they_fit():
    assert split_long("A. B. C. D.", lambda part: len(part) <= 5) == [("A. B.", " "), ("C. D.", "")]


def test_text_without_any_mark_is_cut_hard():
    assert split_long("a" * 10, lambda part: len(part) <= 4) == [("aaaa", ""), ("aaaa", ""), ("aa", "")]


def test_full_width_marks_end_sentences_without_a_space():
    assert split_long("好。坏。", lambda part: len(part) <= 2) == [("好。", ""), ("坏。", "")]
