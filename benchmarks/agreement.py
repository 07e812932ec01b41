"""Whether two searches found the same: equal outputs, those that tie, and those that differ."""

import statistics
from collections.abc import Callable
from typing import Any

from tfcli.decoding.hypothesis import ForcedTarget, Hypothesis

TIE = 1e-4  # in nats: what fp32 leaves unsure in a sum of some dozens of log-probabilities


def compare(
    expected: list[Hypothesis],
    found: list[Hypothesis],
    forced: Callable[[list[Hypothesis]], list[ForcedTarget]],
) -> dict[str, Any]:
    """Return how many outputs are equal, and how many others tie with what was expected.

    They tie if, to the CPU in fp32, both are as probable, as a whole or at the first piece in which they differ.
    """
    ties, others, means = 0, [], []
    equal = [one.ids == other.ids for one, other in zip(expected, found, strict=True)]
    pairs = zip(forced(expected), forced(found), equal, strict=True)
    for number, (one, other, same) in enumerate(pairs):
        means.append([sum(each.log_probs) / len(each.ids) for each in (one, other)])
        if same:
            continue
        first = next(i for i, (a, b) in enumerate(zip(one.ids, other.ids, strict=False)) if a != b)
        gaps = (sum(one.log_probs) - sum(other.log_probs), one.log_probs[first] - other.log_probs[first])
        if min(map(abs, gaps)) <= TIE:
            ties += 1
        else:
            others.append({"source": number, "first": first, "whole_gap": gaps[0], "first_gap": gaps[1]})
    scores = [abs(a.score - b.score) for a, b, same in zip(expected, found, equal, strict=True) if same]
    return {
        "lines": len(equal),
        "equal": sum(equal),
        "ties": ties,
        "others": len(others),
        "examples": others[:5],
        "scores_of_equal_differ_by": max(scores, default=0.0),
        "mean_scores": [statistics.fmean(of) for of in zip(*means, strict=True)],
    }
