"""Scores for people: tables with intervals, what was compared, signatures, and what a recipe expects."""

from typing import TYPE_CHECKING, Any

from tfcli.commands.console import print_table, print_text, progress, warn
from tfcli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tfcli.recipe.expectation import Expectation
    from tfcli.scoring.evaluation import HeldOutSet
    from tfcli.scoring.plan import Plan
    from tfcli.scoring.results import Interval, SetResult, SystemResult

MOST_COLUMNS = 12
"""Of more labels, which was taken for which stands only in the JSON."""


def measure_aloud(
    held_out: "HeldOutSet", systems: "dict[str, list[str]]", plan: "Plan", *, by_system: bool
) -> "SetResult":
    """Score the systems while a bar shows how far it is, several against the first; warn of what looks wrong.

    `by_system`: the systems are what was given.

    Raises: as `measure` does.
    """
    from tfcli.scoring.doubts import emptiness_warning, labels_warning, tokenization_warning
    from tfcli.scoring.measure import measure
    from tfcli.scoring.plan import LABEL_METRICS

    by = f" by {counted(len(plan.metrics), 'metric')}" if len(plan.metrics) > 1 else ""
    total = len(held_out.references[0]) * len(plan.metrics)
    with progress(f"scoring {held_out.name}{by}", total, unit="line") as bar:
        result = measure(held_out, systems, plan, compared=True, advance=bar.advance)
    for system in result.systems:
        doubts = [emptiness_warning(system.hypotheses, held_out.references)]
        doubts += [tokenization_warning(system.hypotheses, plan.settings)] if "bleu" in plan.metrics else []
        if by_system and not set(plan.metrics) & set(LABEL_METRICS):
            doubts.append(labels_warning(system.hypotheses, held_out.references))
        for doubt in filter(None, doubts):
            warn(f"{_called(result, system, by_system=by_system)}: {doubt}")
    return result


def show(results: "Sequence[SetResult]", expected: "Mapping[str, Expectation]", *, by_system: bool) -> None:
    """Print what was found; `expected` by test set, `by_system`: the systems are what was given."""
    _show_scores(results, by_system=by_system)
    verdicts = [
        f"{result.name}: {found.words}" if not by_system else found.words
        for result in results
        for system in result.systems
        for found in system.comparisons.values()
    ]
    if verdicts:
        print_text("\n".join(["", *verdicts]))
    _show_labels(results)
    _show_signatures(results, by_system=by_system)
    show_expected(results, expected)


def _show_scores(results: "Sequence[SetResult]", *, by_system: bool) -> None:
    from tfcli.scoring.results import METRIC_NAMES

    several = any(len(result.systems) > 1 for result in results)
    columns = ["system"] if by_system else ["set", "system"] if several else ["set"]
    rows = []
    for result in results:
        for system in result.systems:
            names = [system.name] if by_system else [result.name, system.name][: len(columns)]
            cells = [_cell(found.score, found.interval) for found in system.scores.values()]
            rows.append([*names, result.n_lines, *cells])
    print_table([*columns, "lines", *(METRIC_NAMES[metric] for metric in results[0].judged.scores)], rows)


def _cell(score: float, interval: "Interval | None", digits: int = 2) -> str:
    return f"{score:6.{digits}f}" + (f" +- {interval.half_width:.{digits}f}" if interval is not None else "")


def _show_labels(results: "Sequence[SetResult]") -> None:
    """Print how well each label was found, and which was taken for which."""
    from tfcli.scoring.classification import figures

    for system in (system for result in results for system in result.systems):
        if system.confusion is None:
            continue
        print_text(f"\n{system.name}: by label, and what it was taken for")
        labels = system.confusion.labels
        rows = [
            [
                one.label,
                one.n_reference,
                *(f"{100 * share:6.2f}" for share in (one.precision, one.recall, one.f1)),
                *row,
            ]
            for one, row in zip(figures(system.confusion), system.confusion.counts, strict=True)
        ]
        shown = labels if len(labels) <= MOST_COLUMNS else []
        print_table(
            ["label", "lines", "precision", "recall", "F1", *shown], [row[: 5 + len(shown)] for row in rows]
        )


def _show_signatures(results: "Sequence[SetResult]", *, by_system: bool) -> None:
    """Print the parts of BLEU, and how everything was counted, each way once."""
    from tfcli.scoring.results import METRIC_NAMES, metrics_of, signatures_of

    details = [
        f"{_called(result, system, by_system=by_system)}: {system.scores['bleu'].details}"
        for result in results
        for system in result.systems
        if "bleu" in system.scores
    ]
    width = max(len(name) for name in (*metrics_of(results).values(), METRIC_NAMES["bleu"]))
    lines = [f"{name:<{width}}  {signature}" for name, signature in signatures_of(results)]
    print_text("\n".join([*(["", *details] if details else []), "", *lines]))


def _called(result: "SetResult", system: "SystemResult", *, by_system: bool) -> str:
    """Return what to call a system's translations of a set: those of a run by the set, those of a file by its name."""
    if by_system:
        return system.name
    return result.name if len(result.systems) == 1 else f"{result.name}, {system.name}"


def show_expected(results: "Sequence[SetResult]", expected: "Mapping[str, Expectation]") -> None:
    """Print what was found beside what a recipe expects of its test sets, a table for each metric."""
    from tfcli.scoring.evaluation import compare
    from tfcli.scoring.results import METRIC_NAMES

    found = compare(results, expected)
    for metric in dict.fromkeys(one.metric for one in found):
        digits = 4 if metric == "bits-per-byte" else 2
        rows = [
            [
                one.name,
                f"{one.expected:.{digits}f} +- {one.tolerance:g}",
                _cell(one.obtained, one.interval, digits).strip(),
                f"{one.difference:+.{digits}f}",
                one.verdict,
            ]
            for one in found
            if one.metric == metric
        ]
        print_text("")
        print_table(["set", f"expected {METRIC_NAMES[metric]}", "obtained", "difference", "verdict"], rows)


def show_history(entries: "Sequence[dict[str, Any]]") -> None:
    """Print the evaluations that a run keeps, the oldest first."""
    from tfcli.scoring.results import METRIC_NAMES

    of_sets = [(entry, name, scores) for entry in entries for name, scores in entry.get("sets", {}).items()]
    metrics = [metric for metric in METRIC_NAMES if any(metric in scores for _, _, scores in of_sets)]
    rows = []
    for entry, name, scores in of_sets:
        model, decoding = entry.get("model", {}), entry.get("decoding", {})
        context = decoding.get("context")
        engine = f"{decoding.get('engine', '?')} {decoding.get('precision', '')}"
        search = f"context {context}" if context else f"beam {decoding.get('beam_size', '?')}, {engine}"
        if {"accuracy", "macro-f1"} & scores.keys():
            search = engine
        found = [_of_history(scores[metric]) if metric in scores else None for metric in metrics]
        when = str(entry.get("created", "?")).removesuffix("+00:00")
        rows.append(
            [when, model.get("step"), str(model.get("sha256", "?"))[:8], search.rstrip(), name, *found]
        )
    print_table(
        ["when (UTC)", "step", "weights", "search", "set", *(METRIC_NAMES[one] for one in metrics)], rows
    )


def _of_history(found: "dict[str, Any]") -> str:
    interval = found.get("interval")
    half_width = f" +- {(interval['high'] - interval['low']) / 2:.2f}" if interval else ""
    return f"{found['score']:6.2f}{half_width}"
