"""A score beside the one that a recipe expects."""

import pytest

from tfcli.recipe.schema import Expectation
from tfcli.scoring.evaluation import compare
from tfcli.scoring.results import Interval, Score, SetResult, SystemResult


@pytest.mark.parametrize(
    ("obtained", "reproduced"), [(39.0, False), (39.5, True), (40.0, True), (40.5, True), (41.0, False)]
)
def test_a_score_too_far_from_what_is_expected_is_not_reproduced_on_either_side(
    obtained: float, reproduced: bool
) -> None:
    scores = {"bleu": Score(obtained, "signature", "details")}
    results = [
        SetResult(name, ["a"], [["b"]], [SystemResult("run", ["b"], scores)]) for name in ("known", "other")
    ]
    (found,) = compare(results, {"known": Expectation(bleu=40.0, tolerance=0.5)})
    assert (found.name, found.difference, found.reproduced) == ("known", obtained - 40.0, reproduced)
    assert found.verdict == ("reproduced" if reproduced else "not reproduced")


@pytest.mark.parametrize(
    ("mean", "verdict"),
    [
        (40.9, "not reproduced, but within the 95 % interval"),
        (41.1, "not reproduced"),
        (38.9, "not reproduced"),
    ],
)
def test_an_expectation_within_the_interval_is_told_apart_from_one_beyond_it(
    mean: float, verdict: str
) -> None:
    scores = {"bleu": Score(41.0, "signature", "details", Interval(mean, 1.0))}
    results = [SetResult("known", ["a"], [["b"]], [SystemResult("run", ["b"], scores)])]
    (found,) = compare(results, {"known": Expectation(bleu=40.0, tolerance=0.5)})
    assert found.verdict == verdict
