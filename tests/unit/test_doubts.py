"""What looks wrong in translations: empty lines are counted, and a shift is told only where it is clear."""

import random

import pytest

from tfcli.errors import DataError
from tfcli.scoring.doubts import emptiness_warning, first_shifted_line, labels_warning
from tfcli.scoring.metrics import check_counts

WORDS = [
    "haus",
    "baum",
    "hund",
    "katze",
    "wasser",
    "feuer",
    "stein",
    "wolke",
    "vogel",
    "garten",
    "fenster",
    "brücke",
    "morgen",
    "abend",
    "winter",
]


def text(lines: int, seed: int) -> list[str]:
    chosen = random.Random(seed)
    return [" ".join(chosen.choices(WORDS, k=chosen.randint(4, 12))) for _ in range(lines)]


REFERENCE = text(60, seed=1)
# another translation of each: some words are others
HYPOTHESES = [line.replace("hund", "köter").replace("abend", "dämmerung") for line in REFERENCE]


@pytest.mark.parametrize(("line", "missing"), [(1, 1), (20, 1), (20, 3), (55, 1)])
def test_the_line_from_which_on_lines_are_missing_is_found_on_either_side(line: int, missing: int) -> None:
    short = HYPOTHESES[: line - 1] + HYPOTHESES[line - 1 + missing :]
    for pair in ((short, REFERENCE), (REFERENCE, short)):
        found = first_shifted_line(*pair)
        assert found is not None
        assert abs(found - line) <= 1  # a neighbour may happen to resemble


def test_where_no_shift_is_clear_none_is_told() -> None:
    assert first_shifted_line(HYPOTHESES, REFERENCE) is None
    assert first_shifted_line(HYPOTHESES[:59], REFERENCE) is None  # the end is missing
    assert first_shifted_line(HYPOTHESES[:58] + HYPOTHESES[59:], REFERENCE) is None  # a line is no evidence
    assert first_shifted_line(text(59, seed=2), REFERENCE) is None  # another text
    assert first_shifted_line(HYPOTHESES[:30], REFERENCE) is None
    assert first_shifted_line(HYPOTHESES[1:4], REFERENCE[:4]) is None
    assert first_shifted_line([], REFERENCE[:1]) is None
    assert first_shifted_line(["."] * 9, ["."] * 10) is None


def test_it_works_without_spaces_between_words() -> None:
    reference = ["".join(chr(0x4E00 + ord(letter) * 7 % 500) for letter in line) for line in REFERENCE]
    assert first_shifted_line(reference[:9] + reference[10:], reference) == 10


def test_unequal_counts_say_where_the_lines_look_shifted() -> None:
    with pytest.raises(DataError) as caught:
        check_counts(HYPOTHESES[:29] + HYPOTHESES[30:], [REFERENCE], ["out.de", "ref.de"])
    assert (
        caught.value.message == "out.de has 59 lines, ref.de has 60 lines; from line 30 on they look shifted"
    )


def test_empty_hypotheses_are_counted_where_a_reference_is_not() -> None:
    assert emptiness_warning(["a", "", " "], [["a", "", "\t"], ["a", "", ""]]) is None
    assert emptiness_warning(["a", "", ""], [["a", "", ""], ["a", "", "c"]]) == (
        "1 of 3 hypotheses is empty, the first in line 3"
    )
    assert emptiness_warning(["", " ", "c"], [["a", "b", "c"]]) == (
        "2 of 3 hypotheses are empty, the first in line 1"
    )


def test_lines_of_which_each_stands_there_many_times_look_like_labels() -> None:
    said, reference = ["pos", "neg"] * 10, ["pos", "pos", "neg", "neg"] * 5
    assert labels_warning(said, [reference]) == (
        "20 lines, and no more than 2 different ones: if they are labels, "
        "--metric accuracy --metric macro-f1 scores them"
    )
    assert labels_warning(said[:8], [reference[:8]]) is None  # too few to tell
    sentences = [f"sentence {n}" for n in range(20)]
    assert labels_warning(said, [sentences]) is None
    assert labels_warning(sentences, [reference]) is None
    assert labels_warning(["the same"] * 20, [["the same"] * 20]) is None
    longer = ["this is a line", "that is a line"] * 10
    assert labels_warning(longer, [longer]) is None
