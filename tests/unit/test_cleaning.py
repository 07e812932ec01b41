"""Which pairs are dropped, and under which reason."""

import pytest

from tfcli.recipe.schema import DataSection
from tfcli.text.cleaning import REASONS, CleaningRules, PairMemory, pair_key

LOOSE = CleaningRules(max_pieces=100, max_length_ratio=3.0, drop_identical=False, drop_duplicates=False)
STRICT = CleaningRules(max_pieces=100, max_length_ratio=3.0, drop_identical=True, drop_duplicates=True)


@pytest.mark.parametrize(
    ("src", "tgt", "src_pieces", "tgt_pieces", "loose", "strict"),
    [
        ("a b", "c d", 2, 2, None, None),
        ("", "c", 0, 1, "blank", "blank"),
        ("a", "", 1, 0, "blank", "blank"),
        ("", "", 0, 0, "blank", "blank"),
        ("a", " \t\u3000", 1, 3, "blank", "blank"),
        ("\u200b", "c", 0, 1, "blank", "blank"),  # normalized away
        ("same", "same ", 1, 1, None, "identical"),
        ("a", "c", 100, 100, None, None),
        ("a", "c", 101, 100, "too_long", "too_long"),
        ("a", "c", 100, 101, "too_long", "too_long"),
        ("a", "c", 10, 30, None, None),
        ("a", "c", 10, 31, "length_ratio", "length_ratio"),
        ("a", "c", 31, 10, "length_ratio", "length_ratio"),
        ("a", "c", 1, 11, None, None),
        ("a", "c", 1, 12, "length_ratio", "length_ratio"),
    ],
)
def test_each_pair_is_dropped_for_the_first_reason_that_holds(
    src, tgt, src_pieces, tgt_pieces, loose, strict
):
    assert LOOSE.objection(src, tgt, src_pieces, tgt_pieces) == loose
    assert STRICT.objection(src, tgt, src_pieces, tgt_pieces) == strict
    assert {loose, strict} <= {None, *REASONS}


def test_without_a_length_ratio_any_lengths_may_face_each_other():
    rules = CleaningRules(max_pieces=100, max_length_ratio=None, drop_identical=False, drop_duplicates=False)
    assert rules.objection("a", "c", 1, 100) is None


def test_the_rules_are_those_of_the_recipe():
    data = DataSection.model_validate(
        {
            "train": [{"tsv": "t"}],
            "valid": {"tsv": "v"},
            "max_pieces": 7,
            "max_length_ratio": 2.5,
            "drop_identical": True,
            "drop_duplicates": True,
        }
    )
    assert CleaningRules.of(data) == CleaningRules(7, 2.5, drop_identical=True, drop_duplicates=True)


def test_a_pair_is_a_duplicate_only_if_both_sides_stood_together_before():
    pairs = [("a", "bc"), ("ab", "c"), ("a", "bd"), ("a", "bc"), ("", "abc"), ("1:a", ""), ("a", "bc")]
    memory = PairMemory()
    assert memory.first_time(pair_key(*pair) for pair in pairs) == [
        True,
        True,
        True,
        False,
        True,
        True,
        False,
    ]
    assert memory.first_time([pair_key("ab", "c"), pair_key("new", "c")]) == [False, True]
    assert len(pair_key("a", "b")) == 16
