"""The report as one HTML page that opens offline: findings -> rows for the browser as JSON -> template.

Translations and references are strangers' text. The template escapes whatever it is given, the browser gets lines as
JSON and puts them into the page as text, and the page's own policy lets nothing run but the one script whose hash it
names, and nothing be fetched from anywhere.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfcli.scoring.findings import find, headline, notes, verdicts, words_basis
from tfcli.scoring.results import metrics_of, signatures_of
from tfcli.scoring.words import differences

if TYPE_CHECKING:
    from collections.abc import Callable

    from jinja2 import Environment

    from tfcli.scoring.findings import SetFindings, SystemFindings
    from tfcli.scoring.report import Report

PAGE = Path(__file__).parent / "page"


def html_page(report: Report, advance: Callable[[int], None] = lambda _: None) -> str:
    """Return the whole page; `advance` is told how many lines of how many systems are done."""
    from markupsafe import Markup

    script = (PAGE / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    found = find(report, advance)
    return (
        _environment()
        .get_template("report.html")
        .render(
            report=report,
            sets=[{"found": one, "rows": line_rows(one), "samples": _samples(one)} for one in found],
            headlines=[headline(one.of, system.system) for one in found for system in one.all_systems],
            notes=notes(report.sets, "Small figures are"),
            verdicts=verdicts(found),
            signatures=signatures_of(report.sets),
            words_basis=words_basis(report),
            metrics=metrics_of(report.sets),
            # our own files and drawings: all else is escaped
            style=Markup((PAGE / "report.css").read_text(encoding="utf-8")),  # noqa: S704
            script=Markup(script),  # noqa: S704
            script_hash=digest,
            pictures=[{"of": picture, "svg": Markup(picture.svg)} for picture in report.pictures],  # noqa: S704
        )
    )


def line_rows(found: SetFindings) -> dict[str, Any]:
    """Return the lines of a set as the page's script reads them.

    `lines` holds for each line its source, and for each system chrF, translation and reference as segments, of which
    every other one differs (see `differences`). The baseline is the last system.
    """
    systems = found.all_systems
    return {
        "systems": [one.system.name for one in systems],
        "baseline": found.baseline is not None,
        "source": found.of.src is not None,
        "lines": [
            [found.of.src[n] if found.of.src is not None else "", *(_row(found, one, n) for one in systems)]
            for n in range(len(found.of.references[0]))
        ],
    }


def _row(found: SetFindings, one: SystemFindings, n: int) -> list[Any]:
    chrf = one.analysis.chrf[n]
    marked = differences(one.system.hypotheses[n], found.of.references[0][n])
    return [None if chrf is None else round(chrf, 1), *marked]


def _samples(found: SetFindings) -> list[dict[str, Any]]:
    """Return for each system the lines that it changed most, as the template shows them."""
    if found.baseline is None:
        return []
    return [
        {
            "system": one.system.name,
            "title": title,
            "lines": [_sample(found, one, found.baseline, n) for n in lines],
        }
        for one in found.systems
        for title, lines in (("gains", one.gains), ("losses", one.losses))
    ]


def _sample(found: SetFindings, one: SystemFindings, baseline: SystemFindings, n: int) -> dict[str, Any]:
    (chrf, hyp, ref), (before, base, _) = _row(found, one, n), _row(found, baseline, n)
    return {
        "number": n + 1,
        "chrf": chrf,
        "before": before,
        "src": found.of.src[n] if found.of.src is not None else None,
        "texts": [("Reference", ref), (one.system.name, hyp), (baseline.system.name, base)],
    }


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(PAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    return environment
