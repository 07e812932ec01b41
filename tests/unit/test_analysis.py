"""The analysis behind a report: counted by hand on lines that fit into a head."""

from itertools import pairwise

import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from tfcli.errors import DataError
from tfcli.recipe.schema import ScoringSection
from tfcli.scoring.analysis import (
    WordScore,
    analyse,
    by_frequency,
    copied_words,
    count_words,
    largest_changes,
    length_bounds,
    length_ratios,
    worst_lines,
)
from tfcli.scoring.metrics import corpus_bleu, sentence_chrf

PLAIN = ScoringSection()
SRC = ["Anna hat 3 Hunde", "", "Der Hund schläft heute lange", "Ja"]
REF = ["Anna has 3 dogs", "", "the dog sleeps long today", "Yes"]
HYP = ["Anna has 4 dogs", "", "the dog sleeps", "No , no , no"]


def test_sentence_chrf_is_sacrebleus_and_a_blank_pair_has_none() -> None:
    other = ["Anna owns 3 dogs", "", "today the dog sleeps long", "Yes"]
    found = sentence_chrf(HYP, [REF, other], PLAIN)
    metric = sacrebleu.CHRF()
    theirs = [metric.sentence_score(hyp, [a, b]).score for hyp, a, b in zip(HYP, REF, other, strict=True)]
    assert found == [theirs[0], None, *theirs[2:]]
    assert sentence_chrf(["ABC"], [["abc"]], ScoringSection(lowercase=True)) == [100.0]
    assert sentence_chrf(["word"], [[" "]], PLAIN) == [0.0]


def test_sentence_chrf_refuses_lines_that_do_not_face_each_other() -> None:
    with pytest.raises(DataError, match="3 lines, reference 1 has 4 lines"):
        sentence_chrf(HYP[:3], [REF], PLAIN)


def test_progress_is_told_line_by_line() -> None:
    done: list[int] = []
    analyse(SRC, [REF], HYP, PLAIN, None, done.append)
    assert sum(done) == len(HYP)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60), st.integers(1, 7))
def test_length_groups_hold_every_line_once_and_are_of_about_one_size(
    lengths: list[int], groups: int
) -> None:
    bounds = length_bounds(lengths, groups)
    assert 1 <= len(bounds) <= groups
    assert bounds[-1][1] == max(lengths)
    assert bounds[0][0] == min(lengths)
    assert all(low <= high for low, high in bounds)
    assert all(before[1] < after[0] for before, after in pairwise(bounds))
    assert all(any(low <= length <= high for low, high in bounds) for length in lengths)


def test_twenty_lengths_make_five_groups_of_four() -> None:
    assert length_bounds(range(1, 21)) == [(1, 4), (5, 8), (9, 12), (13, 16), (17, 20)]
    assert length_bounds([7] * 9) == [(7, 7)]


def test_scores_by_length_are_those_of_the_lines_of_that_length() -> None:
    found = analyse(SRC, [REF], HYP, PLAIN, None)
    # the blank pair has no group, whatever a system makes of it
    assert [(group.low, group.high, group.n_lines) for group in found.lengths] == [
        (1, 1, 1), (4, 4, 1), (5, 5, 1)
    ]  # fmt: skip
    talkative = [said or "noise" for said in HYP]
    of_other = analyse(SRC, [REF], talkative, PLAIN, None).lengths
    assert [(group.low, group.high) for group in of_other] == [(1, 1), (4, 4), (5, 5)]
    last = found.lengths[-1]
    assert (last.low, last.high, last.n_lines) == (5, 5, 1)
    assert last.bleu == corpus_bleu([HYP[2]], [[REF[2]]], PLAIN)
    assert last.chrf == found.chrf[2]


def test_without_a_source_the_length_is_that_of_the_reference_and_nothing_is_copied() -> None:
    found = analyse(None, [REF], HYP, PLAIN, None)
    assert found.copied is None
    assert found.lengths[-1].high == 5
    assert sum(group.n_lines for group in found.lengths) <= len(REF)


def test_words_are_scored_by_how_often_the_training_text_has_them() -> None:
    counts = {"the": 500, "dog": 3, "sleeps": 1}
    found = by_frequency([["the", "the", "dog", "barks"]], [["the", "dog", "sleeps", "long"]], counts)
    assert found == [
        WordScore("0", 1, 1, 0),  # long, barks
        WordScore("1", 1, 0, 0),  # sleeps
        WordScore("2 to 4", 1, 1, 1),  # dog
        WordScore("100 to 999", 1, 2, 1),  # the: the second one is too many
    ]
    assert (found[3].recall, found[3].precision, found[3].f1) == (100.0, 50.0, pytest.approx(200 / 3))
    assert (found[1].recall, found[1].precision) == (0.0, None)


def test_unknown_words_are_known_only_with_the_training_text() -> None:
    training = count_words(["the dog sleeps", "Anna has dogs", "3 4"], PLAIN)
    found = analyse(SRC, [REF], HYP, PLAIN, training)
    assert found.unknown == WordScore("0", 3, 3, 0)  # long, today, Yes; No, no, no
    without = analyse(SRC, [REF], HYP, PLAIN, None)
    assert without.unknown is None
    assert "0" not in [group.label for group in without.frequencies]
    assert sum(group.n_reference for group in without.frequencies) == 10


def test_a_text_whose_every_word_is_known_has_no_unknown_words() -> None:
    found = analyse(None, [["a dog"]], ["a dog"], PLAIN, count_words(["a dog"], PLAIN))
    assert found.unknown == WordScore("0", 0, 0, 0)


def test_copied_words_stand_in_source_and_reference() -> None:
    found = copied_words(
        [line.split() for line in SRC], [line.split() for line in HYP], [line.split() for line in REF]
    )
    assert found == WordScore("copied", 2, 1, 1)  # Anna and 3; 4 is not in the source


def test_case_counts_unless_the_scores_ignore_it() -> None:
    mixed = analyse(["Anna"], [["Anna"]], ["anna"], PLAIN, None).copied
    lower = analyse(["Anna"], [["Anna"]], ["anna"], ScoringSection(lowercase=True), None).copied
    assert mixed is not None
    assert lower is not None
    assert (mixed.n_matched, lower.n_matched) == (0, 1)


def test_length_ratios_count_every_line_once() -> None:
    hyp = [["a"] * n for n in (4, 5, 9, 10, 11, 15, 40, 0, 3)]
    ref = [["a"] * n for n in (10, 10, 10, 10, 10, 10, 10, 0, 0)]
    assert {group.label: group.n_lines for group in length_ratios(hyp, ref)} == {
        "below 0.5": 1,
        "0.5 to 0.7": 1,
        "0.7 to 0.9": 0,
        "0.9 to 1.1": 3,
        "1.1 to 1.3": 1,
        "1.3 to 1.5": 0,
        "1.5 and above": 3,
    }


def test_counting_stops_at_the_most_and_says_so() -> None:
    assert count_words(["a a", "b"], PLAIN, most=2).complete
    found = count_words(["a a", "b", "c"], PLAIN, most=2)
    assert (found.counts, found.n_lines, found.complete) == ({"a": 2, "b": 1}, 2, False)
    assert count_words(["A a"], ScoringSection(lowercase=True)).counts == {"a": 2}


def test_gains_and_losses_are_sorted_by_size_and_a_line_without_a_score_has_neither() -> None:
    mine, theirs = [50.0, 20.0, None, 90.0, 10.0, 70.0], [40.0, 80.0, 50.0, 90.0, 20.0, 30.0]
    assert largest_changes(mine, theirs, 5) == ([5, 0], [1, 4])
    assert largest_changes(mine, theirs, 1) == ([5], [1])
    assert worst_lines(mine, 2) == [4, 1]
