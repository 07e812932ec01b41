"""Which pairs are dropped, and under which reason."""

import numpy as np
import pytest

from tfcli.recipe.corpora import DataSection
from tfcli.text.cleaning import REASONS, CleaningRules, HoldOut, pair_keys

LOOSE = CleaningRules(max_pieces=100, max_length_ratio=3.0, drop_identical=False, drop_duplicates=False)
STRICT = CleaningRules(max_pieces=100, max_length_ratio=3.0, drop_identical=True, drop_duplicates=True)


def objections(rules, rows):
    """The reason for each row (source, target, pieces of the source, of the target), None for what is kept."""
    src, tgt, *pieces = zip(*rows, strict=True)
    words = [np.array([len(text.split()) for text in side], dtype=np.int32) for side in (src, tgt)]
    found = rules.objections(src, tgt, [np.array(side, dtype=np.int32) for side in pieces], words)
    assert set(found) <= set(REASONS)
    reasons = [[reason for reason, holds in found.items() if holds[i]] for i in range(len(rows))]
    assert all(len(some) <= 1 for some in reasons)
    return [some[0] if some else None for some in reasons]


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
    kept = ("kept", "this one", 2, 2)
    row = (src, tgt, src_pieces, tgt_pieces)
    assert objections(LOOSE, [kept, row, kept]) == [None, loose, None]
    assert objections(STRICT, [row, kept]) == [strict, None]


def test_without_a_length_ratio_any_lengths_may_face_each_other():
    rules = CleaningRules(max_pieces=100, max_length_ratio=None, drop_identical=False, drop_duplicates=False)
    assert objections(rules, [("a", "c", 1, 100)]) == [None]


def test_what_is_held_out_is_counted_as_that_whatever_else_is_wrong_with_it():
    held, other = sorted(["a b", "b a"], key=lambda src: int(HoldOut.numbers([src])[0]))
    threshold = int(HoldOut.numbers([held])[0]) + 1
    rules = CleaningRules(100, None, drop_identical=True, drop_duplicates=False, hold_out=HoldOut(threshold))
    rows = [(text, text, 1000, 0) for text in (held, f"  {held}\u3000", other)]
    assert objections(rules, rows) == ["held_out", "held_out", "blank"]


@pytest.mark.parametrize(("threshold", "takes"), [(0, False), (2**64, True)])
def test_nothing_and_everything_can_be_held_out(threshold, takes):
    assert HoldOut(threshold).takes(["a", "b", ""]).tolist() == [takes] * 3
    ends = np.array([0, 2**64 - 1], dtype=np.uint64)
    assert HoldOut(threshold).below(ends).tolist() == [takes, takes]


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


def test_a_key_stands_for_both_sides_and_their_border():
    pairs = [("a", "bc"), ("ab", "c"), ("a", "bd"), ("", "abc"), ("1:a", ""), ("abc", "")]
    keys = pair_keys(*zip(*pairs, strict=True))
    assert keys.shape == (6, 2)
    assert len(set(map(tuple, keys.tolist()))) == 6
    assert pair_keys(["a"], ["bc"]).tolist() == keys[:1].tolist()
    assert pair_keys([], []).shape == (0, 2)
