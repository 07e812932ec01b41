"""The statistics of each line, from which sacreBLEU's metrics make scores: counted once, on all cores.

sacreBLEU counts them anew for each score, interval and test, though counting is nearly all of the work: TER takes
seconds for a thousand lines. Here they are counted with sacreBLEU's own functions, a stretch of lines and a metric
at a time, and `recalling` gives a metric that answers from what was counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tfcli.corpus.workers import in_order, processes_for
from tfcli.scoring.metrics import make_metric

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sacrebleu.metrics.base import Metric

    from tfcli.recipe.schema import ScoringSection

Statistics = list[Any]
"""What sacreBLEU counts, by line."""
STRETCH = 128
# Measured on WMT22 en-de, one reference, one core: milliseconds a line. Two processes take about half a second to start.
LINE_MILLISECONDS = {"bleu": 0.13, "chrf": 0.34, "chrf++": 0.37, "ter": 1.45}
WORTH_MILLISECONDS = 2000


@dataclass(frozen=True)
class _Job:
    """A stretch of lines to count for one metric."""

    metric: str
    settings: ScoringSection
    systems: list[list[str]]
    references: list[list[str]]


def count(
    metrics: Sequence[str],
    systems: Sequence[Sequence[str]],
    references: Sequence[Sequence[str]],
    settings: ScoringSection,
    advance: Callable[[int], None],
) -> dict[str, list[Statistics]]:
    """Return each metric's statistics of each system; `advance` is told how many lines are done, by each metric.

    Raises: RecipeError when the tokenizer is missing.
    """
    n_lines = len(references[0])
    starts = range(0, n_lines, STRETCH)
    jobs = (
        _Job(
            metric,
            settings,
            [list(lines[start : start + STRETCH]) for lines in systems],
            [list(lines[start : start + STRETCH]) for lines in references],
        )
        for metric in metrics
        for start in starts
    )
    work = n_lines * len(systems) * len(references) * sum(LINE_MILLISECONDS[metric] for metric in metrics)
    results = in_order(_count, jobs, processes_for(round(work), WORTH_MILLISECONDS))
    counted: dict[str, list[Statistics]] = {}
    try:
        for metric in metrics:
            counted[metric] = [[] for _ in systems]
            for start in starts:
                for known, found in zip(counted[metric], next(results), strict=True):
                    known.extend(found)
                advance(min(STRETCH, n_lines - start))
    finally:
        results.close()
    return counted


def _count(job: _Job) -> list[Statistics]:
    # given to the constructor, the references are read once for all systems
    metric = make_metric(job.metric, job.settings, job.references)
    return [metric._extract_corpus_statistics(lines, None) for lines in job.systems]  # noqa: SLF001


def recalling(
    metric: Metric,
    systems: Sequence[Sequence[str]],
    counted: Sequence[Statistics],
    n_references: int,
) -> Metric:
    """Have a metric answer with the statistics that were counted of these very systems."""
    known = {id(lines): statistics for lines, statistics in zip(systems, counted, strict=True)}

    def recall(hypotheses: Sequence[str], _: Sequence[Sequence[str]] | None) -> Statistics:
        return known[id(hypotheses)]

    metric._extract_corpus_statistics = recall  # type: ignore[method-assign,assignment]  # noqa: SLF001
    metric.num_refs = n_references  # what counting leaves behind, for the signature
    return metric
