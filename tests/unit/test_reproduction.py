"""A score beside the one that a recipe expects."""

import pytest

from tfcli.recipe.expectation import Expectation
from tfcli.scoring.evaluation import compare
from tfcli.scoring.results import METRIC_NAMES, Interval, Score, SetResult, SystemResult


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
    direction = "better" if obtained > 40 else "worse"
    assert found.verdict == ("reproduced" if reproduced else f"not reproduced: {direction}")


@pytest.mark.parametrize(
    ("mean", "verdict"),
    [
        (40.9, "not reproduced: better, but within the 95 % interval"),
        (41.1, "not reproduced: better"),
        (38.9, "not reproduced: better"),
    ],
)
def test_an_expectation_within_the_interval_is_told_apart_from_one_beyond_it(
    mean: float, verdict: str
) -> None:
    scores = {"bleu": Score(41.0, "signature", "details", Interval(mean, 1.0))}
    results = [SetResult("known", ["a"], [["b"]], [SystemResult("run", ["b"], scores)])]
    (found,) = compare(results, {"known": Expectation(bleu=40.0, tolerance=0.5)})
    assert found.verdict == verdict


@pytest.mark.parametrize(
    ("metric", "key", "obtained", "verdict"),
    [
        ("accuracy", "accuracy", 81.0, "reproduced"),
        ("accuracy", "accuracy", 83.0, "not reproduced: better"),
        ("macro-f1", "macro_f1", 77.0, "not reproduced: worse"),
        ("word-perplexity", "word_perplexity", 82.5, "not reproduced: worse"),
        ("token-perplexity", "token_perplexity", 77.5, "not reproduced: better"),
        ("bits-per-byte", "bits_per_byte", 78.5, "reproduced"),
    ],
)
def test_each_task_has_scores_of_its_own_and_of_perplexities_the_lower_is_the_better(
    metric: str, key: str, obtained: float, verdict: str
) -> None:
    scores = {name: Score(-1.0, "signature", "details") for name in METRIC_NAMES}
    scores[metric] = Score(obtained, "signature", "details")
    results = [SetResult("known", ["a"], [["b"]], [SystemResult("run", ["b"], scores)])]
    (found,) = compare(results, {"known": Expectation.model_validate({key: 80.0, "tolerance": 2.0})})
    assert (found.metric, found.obtained, found.verdict) == (metric, obtained, verdict)


def test_of_a_score_that_was_not_counted_nothing_is_said() -> None:
    scores = {"chrf": Score(50.0, "signature", "details")}
    results = [SetResult("known", ["a"], [["b"]], [SystemResult("run", ["b"], scores)])]
    assert compare(results, {"known": Expectation(bleu=40.0)}) == []
