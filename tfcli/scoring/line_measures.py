"""The measures that are not sacreBLEU's: what each needs of a test set, and the number that each line gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tfcli.errors import DataError
from tfcli.scoring.classification import accuracy, codes, labels_of, macro_f1, table
from tfcli.scoring.resampling import Measured, verdicts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tfcli.scoring.evaluation import HeldOutSet
    from tfcli.scoring.plan import Plan
    from tfcli.scoring.results import Comparison, Score


def judge_lines(
    metric: str, held_out: HeldOutSet, systems: Mapping[str, list[str]], plan: Plan, *, compared: bool
) -> list[tuple[Score, Comparison | None]]:
    """Return the verdicts of accuracy, macro-f1 or comet, in the order of the systems.

    Raises: DataError when there are several references.
    """
    if len(held_out.references) > 1:
        raise DataError(
            f"--metric {metric}: it takes one reference, got {len(held_out.references)}",
            "score each for itself",
        )
    (reference,) = held_out.references
    if metric == "comet":
        if plan.comet is None or held_out.src is None:
            raise ValueError("COMET needs a model and the source")
        comet, src = plan.comet, held_out.src
        judged = {name: comet.judge(src, said, reference) for name, said in systems.items()}
        return verdicts(
            Measured(metric, _mean, f"nrefs:1|{comet.signature}"), judged, plan, compared=compared
        )
    labels = labels_of(reference, *systems.values())
    numbers = {name: codes(said, reference, labels) for name, said in systems.items()}
    of_counts = accuracy if metric == "accuracy" else macro_f1
    measured = Measured(
        metric, lambda lines: of_counts(table(lines, len(labels))), f"nrefs:1|labels:{len(labels)}"
    )
    return verdicts(measured, numbers, plan, compared=compared)


def _mean(lines: NDArray[Any]) -> float:
    return float(lines.mean())
