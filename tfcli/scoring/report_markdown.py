"""The report as Markdown: the facts of the page in tables, with the lines worth a look in place of all lines.

Pictures are left to the page: Markdown has no place for SVG in itself.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tfcli.scoring.findings import find, headline, notes, verdicts, words_basis
from tfcli.scoring.results import metrics_of, signatures_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tfcli.scoring.findings import SetFindings, SystemFindings
    from tfcli.scoring.report import Report

# What Markdown could take for markup anywhere in a line, mentions, issue numbers and formulas included; a bare URL
# would become a link. Then what HTML could take for a tag or an entity.
_MARKUP = re.compile(r"[\\`*_\[\]|~$@#]|:(?=//)|\.(?<=www\.)")
_HTML = {re.compile(r"&(?=#?\w+;)"): "&amp;", re.compile(r"<(?=[A-Za-z/!?])"): "&lt;"}


def markdown(report: Report, advance: Callable[[int], None] = lambda _: None) -> str:
    """Return the whole text; `advance` is told how many lines of how many systems are done."""
    found = find(report, advance)
    parts = [
        f"# {_plain(report.title)}",
        *(_plain(headline(one.of, system.system)) for one in found for system in one.all_systems),
        "## Scores",
        _scores(found, metrics_of(report.sets)),
        *filter(None, [notes(report.sets, "In brackets")]),
    ]
    compared = verdicts(found)
    if compared:
        parts += ["### Against the baseline", "\n".join(f"- {_plain(sentence)}" for sentence in compared)]
    parts += [
        "### Signatures",
        "\n".join(f"- {metric}: `{text}`" for metric, text in signatures_of(report.sets)),
    ]
    for one in found:
        parts += _set(report, one)
    if report.provenance:
        parts += [
            "## Provenance",
            _table(["", ""], [[_plain(name), _plain(value)] for name, value in report.provenance]),
        ]
    return "\n\n".join(parts) + "\n"


def _scores(found: Sequence[SetFindings], metrics: Mapping[str, str]) -> str:
    rows = []
    for one in found:
        for system in one.all_systems:
            name = _plain(system.system.name) + (" (baseline)" if system is one.baseline else "")
            row = [_plain(one.of.name), name, f"{len(system.system.hypotheses):,}"]
            for metric in metrics:
                score = system.system.scores.get(metric)
                cell = "" if score is None else f"{score.score:.2f}"
                if score is not None and score.interval is not None:
                    cell += f" ({score.interval.low:.2f} to {score.interval.high:.2f})"
                row.append(cell)
            rows.append(row)
    return _table(["set", "system", "lines", *metrics.values()], rows)


def _set(report: Report, found: SetFindings) -> list[str]:
    systems = found.all_systems
    names = [_plain(one.system.name) for one in systems]
    first = systems[0].analysis
    side = "reference" if found.of.src is None else "source"
    parts = [
        f"## {_plain(found.of.name)}",
        "### By length",
        f"Words of the {side}; BLEU of these lines, and the mean of their chrF.",
        _table(
            ["words", "lines", *(f"{metric}, {name}" for name in names for metric in ("BLEU", "chrF"))],
            [
                [
                    str(group.low) if group.low == group.high else f"{group.low} to {group.high}",
                    f"{group.n_lines:,}",
                    *(
                        f"{value:.1f}"
                        for one in systems
                        for value in (one.analysis.lengths[row].bleu, one.analysis.lengths[row].chrf)
                    ),
                ]
                for row, group in enumerate(first.lengths)
            ],
        ),
        "### By frequency",
        f"How many of the reference's words were found, {words_basis(report)}.",
        _table(
            ["occurs", "words", *(f"{what}, {name}" for name in names for what in ("recall", "F1"))],
            [_frequency_row(found, label) for label in found.frequency_labels],
        ),
        "### Copied and unknown words",
        "Copied: the words that a line's source and reference share. Unknown: those of the reference that the "
        "training text does not have.",
        _table(["words", "in the reference", *(f"recall, {name}" for name in names)], _kinds(systems)),
        "### Length against the reference",
        "Words of a translation for each word of its reference; the number of lines.",
        _table(
            ["ratio", *names],
            [
                [group.label, *(f"{one.analysis.ratios[row].n_lines:,}" for one in systems)]
                for row, group in enumerate(first.ratios)
            ],
        ),
    ]
    for one in systems:
        parts += _changes(found, one)
        parts += [f"### Lowest chrF of {_plain(one.system.name)}", _lines(found, one, one.worst)]
    return parts


def _frequency_row(found: SetFindings, label: str) -> list[str]:
    systems = found.all_systems
    scored = [found.frequency(one, label) for one in systems]
    return [
        label,
        f"{scored[0].n_reference:,}",
        *(_percent(value) for one in scored for value in (one.recall, one.f1)),
    ]


def _kinds(systems: Sequence[SystemFindings]) -> list[list[str]]:
    rows = []
    for name, absent, scored in (
        ("copied", "no source is at hand", [one.analysis.copied for one in systems]),
        ("unknown", "the training text is not at hand", [one.analysis.unknown for one in systems]),
    ):
        known = [one for one in scored if one is not None]
        facts = [f"{known[0].n_reference:,}", *(_percent(one.recall) for one in known)] if known else [absent]
        rows.append([name, *facts, *[""] * (1 + len(systems) - len(facts))])
    return rows


def _changes(found: SetFindings, one: SystemFindings) -> list[str]:
    parts = []
    for title, lines in (("gains", one.gains), ("losses", one.losses)):
        if lines and found.baseline is not None:
            names = [_plain(system.system.name) for system in (one, found.baseline)]
            parts += [f"### Largest {title} of {names[0]} over {names[1]}", _lines(found, one, lines)]
    return parts


def _lines(found: SetFindings, one: SystemFindings, lines: Iterable[int]) -> str:
    """Show some lines, beside those of the baseline where it is another system."""
    shown = [one]
    if found.baseline is not None and one is not found.baseline:
        shown.append(found.baseline)
    names = [_plain(system.system.name) for system in shown]
    source = [] if found.of.src is None else ["source"]
    rows = [
        [
            f"{n + 1:,}",
            *(_percent(system.analysis.chrf[n]) for system in shown),
            *([] if found.of.src is None else [_plain(found.of.src[n])]),
            _plain(found.of.references[0][n]),
            *(_plain(system.system.hypotheses[n]) for system in shown),
        ]
        for n in lines
    ]
    return _table(["line", *(f"chrF, {name}" for name in names), *source, "reference", *names], rows)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is, on one line and without effect."""
    text = " ".join(text.split())
    text = _MARKUP.sub(r"\\\g<0>", text)
    for pattern, entity in _HTML.items():
        text = pattern.sub(entity, text)
    return text
