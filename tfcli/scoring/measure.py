"""Score systems on one test set, say how sure the scores are, and compare the systems with a baseline.

    hypotheses, references -> statistics by line, counted once -> scores -> 95 % intervals, paired tests

sacreBLEU does all of it (`corpus_score`, `PairedTest`) for its metrics; it takes its seed from the environment, where
it is put for the while.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from tfcli.scoring.classification import confusion, labels_of
from tfcli.scoring.counting import count, recalling
from tfcli.scoring.line_measures import judge_lines
from tfcli.scoring.metrics import bounded, check_counts, make_metric
from tfcli.scoring.plan import LABEL_METRICS, TRANSLATION_METRICS
from tfcli.scoring.results import Comparison, Interval, Score, SetResult, SystemResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sacrebleu.metrics.base import Metric
    from sacrebleu.significance import Result

    from tfcli.scoring.evaluation import HeldOutSet
    from tfcli.scoring.plan import Plan

SEED_VARIABLE = "SACREBLEU_SEED"
Systems = dict[str, list[str]]
"""The hypotheses of each system by its name; the first is the baseline where systems are compared."""
Verdict = tuple[Score, Comparison | None]


def _tell_nobody(_: int) -> None:
    """Hear how far it is, and do nothing."""


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Give sacreBLEU a seed while the block runs."""
    before = os.environ.get(SEED_VARIABLE)
    os.environ[SEED_VARIABLE] = str(seed)
    try:
        yield
    finally:
        if before is None:
            del os.environ[SEED_VARIABLE]
        else:
            os.environ[SEED_VARIABLE] = before


def measure(
    held_out: HeldOutSet,
    systems: Systems,
    plan: Plan,
    *,
    compared: bool = False,
    advance: Callable[[int], None] = _tell_nobody,
) -> SetResult:
    """Score the systems; `compared`: the first one is the baseline of the others.

    `advance` is told how many lines are done, by each metric.

    Raises: DataError when counts differ or there is nothing to score, RecipeError when the tokenizer is missing.
    """
    for hypotheses in systems.values():
        check_counts(hypotheses, held_out.references)
    compared = compared and plan.resamples > 0 and len(systems) > 1
    verdicts = _by_sacrebleu(held_out, systems, plan, compared=compared, advance=advance)
    for metric in plan.metrics:
        if metric not in TRANSLATION_METRICS:
            verdicts[metric] = judge_lines(metric, held_out, systems, plan, compared=compared)
            advance(len(held_out.references[0]))
    of_labels = any(metric in LABEL_METRICS for metric in plan.metrics)
    labels = labels_of(held_out.references[0], *systems.values()) if of_labels else []
    results = []
    for number, (name, hypotheses) in enumerate(systems.items()):
        scores = {metric: verdicts[metric][number][0] for metric in plan.metrics}
        found = {metric: verdicts[metric][number][1] for metric in plan.metrics}
        comparisons = {metric: comparison for metric, comparison in found.items() if comparison is not None}
        taken = confusion(hypotheses, held_out.references[0], labels) if of_labels else None
        results.append(SystemResult(name, hypotheses, scores, comparisons, taken))
    baseline = next(iter(systems)) if compared else None
    return SetResult(held_out.name, held_out.src, held_out.references, results, baseline)


def _by_sacrebleu(
    held_out: HeldOutSet,
    systems: Systems,
    plan: Plan,
    *,
    compared: bool,
    advance: Callable[[int], None],
) -> dict[str, list[Verdict]]:
    """Return the verdicts of sacreBLEU's metrics, by metric, in the order of the systems."""
    names = [name for name in plan.metrics if name in TRANSLATION_METRICS]
    lines, references = list(systems.values()), held_out.references
    counted = count(names, lines, references, plan.settings, advance)
    verdicts = {}
    with seeded(plan.seed):
        for name in names:
            metric = recalling(make_metric(name, plan.settings), lines, counted[name], len(references))
            plain = [metric.corpus_score(hypotheses, references) for hypotheses in lines]
            tests: list[Comparison | None] = [None] * len(lines)
            intervals: list[Interval | None] = [None] * len(lines)
            if compared:
                tests, intervals = _paired(name, metric, systems, plan)
            if plan.resamples and intervals[0] is None:
                intervals = [_interval(metric, said, plan.resamples) for said in lines]
            # a paired bootstrap leaves no trace in the metric, but its resamples are those of the intervals
            by_test = compared and plan.paired == "bs"
            signature = tests[-1].signature if by_test and tests[-1] else str(metric.get_signature())
            scores = [
                Score(bounded(name, found.score), signature, str(found), interval)
                for found, interval in zip(plain, intervals, strict=True)
            ]
            verdicts[name] = list(zip(scores, tests, strict=True))
    return verdicts


def _interval(metric: Metric, hypotheses: list[str], resamples: int) -> Interval:
    """Return what `corpus_score` would find with as many resamples, had it no trouble with a resample of score 0."""
    from sacrebleu.metrics.base import Score as Estimated
    from sacrebleu.significance import _bootstrap_resample

    statistics = metric._extract_corpus_statistics(hypotheses, None)  # noqa: SLF001
    metric.seed, resampled = _bootstrap_resample(statistics, metric, resamples)
    metric.n_bootstrap = resamples
    if len({type(found.score) for found in resampled}) > 1:
        # chrF and TER are float32, yet float where nothing matches, and `estimate_ci` cannot average the two
        for found in resampled:
            found.score = float(found.score)
    estimated = Estimated(metric.__class__.__name__, 0.0)
    estimated.estimate_ci(resampled)
    return Interval(float(estimated._mean), float(estimated._ci))  # noqa: SLF001


def _paired(
    name: str, metric: Metric, systems: Systems, plan: Plan
) -> tuple[list[Comparison | None], list[Interval | None]]:
    """Compare all but the first system with the first; a paired bootstrap gives the intervals, too."""
    from sacrebleu.significance import PairedTest

    n_samples = plan.resamples if plan.paired == "bs" else plan.trials
    test = PairedTest(
        list(systems.items()), {name: metric}, references=None, test_type=plan.paired, n_samples=n_samples
    )
    signatures, columns = test()
    ((label, signature),) = signatures.items()
    baseline, *others = results = cast("list[Result]", columns[label])
    names = list(systems)
    comparisons: list[Comparison | None] = [None]
    for system, found in zip(names[1:], others, strict=True):
        if found.p_value is None:
            raise ValueError("a paired test gives a p for each system")
        difference = bounded(name, found.score) - bounded(name, baseline.score)
        comparisons.append(Comparison(name, system, names[0], difference, found.p_value, str(signature)))
    intervals = [
        None if found.mean is None or found.ci is None else Interval(float(found.mean), float(found.ci))
        for found in results
    ]
    return comparisons, intervals
