"""`tfcli eval --report`: what was scored, with analysis, pictures and provenance, as one page or as Markdown."""

import os
import platform
import shlex
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfcli import __version__
from tfcli.commands.console import progress, say, say_or_warn, warn
from tfcli.commands.eval_request import Request, recipe_of
from tfcli.errors import DataError, RecipeError

if TYPE_CHECKING:
    from tfcli.recipe.schema import Recipe
    from tfcli.scoring.analysis import WordCounts
    from tfcli.scoring.picture import Picture
    from tfcli.scoring.plan import Plan
    from tfcli.scoring.results import SetResult

PAGE, MARKDOWN = ".html", ".md"
NEEDED = ("jinja2", "matplotlib")
VERSIONS_TOLD = ("sacrebleu", "numpy", "torch", "sentencepiece", "ctranslate2", "jinja2", "matplotlib")
TRAINING_LINES = 200_000  # some seconds; how frequent a word is shows in these
SENTENCES_DRAWN = 2
WORDS_DRAWN = range(4, 16)  # of a sentence whose attention can be read


def require_report(path: Path, plan: "Plan") -> None:
    """Make sure that a report can be written, before hours go into what it is about.

    Raises: RecipeError for a kind that is unknown, or what needs things that are not installed, DataError for a place
    that cannot be written.
    """
    from tfcli.scoring.metrics import require_tokenizer
    from tfcli.scoring.plan import LABEL_METRICS

    labels = [metric for metric in plan.metrics if metric in LABEL_METRICS]
    if labels:
        raise RecipeError(
            f"--report: a report is about translations, and {labels[0]} scores labels",
            "leave --report out; --json has every number",
        )
    if path.suffix not in (PAGE, MARKDOWN):
        raise RecipeError(
            f"--report {path}: expected a name that ends in {PAGE} or {MARKDOWN}",
            "as in --report report.html",
        )
    missing = [name for name in NEEDED if find_spec(name) is None] if path.suffix == PAGE else []
    if missing:
        raise RecipeError(
            f"--report {path}: {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed",
            f"install with `pip install {' '.join(missing)}`, or tfcli with the extra `report`; a report that ends "
            f"in {MARKDOWN} needs neither",
        )
    # short lines and long ones get their BLEU, whatever metrics were asked for
    require_tokenizer(plan.settings)
    _require_writable(path)


def _require_writable(path: Path) -> None:
    from tfcli.text.whole_file import beside

    if path.is_dir():
        raise DataError(
            f"--report {path}: a folder; expected a file", f"as in --report {path / 'report.html'}"
        )
    try:
        # the folders below are made with the report
        there = next(folder for folder in path.absolute().parents if folder.exists())
        with beside(there / path.name):
            pass
    except OSError as error:
        raise _cannot_be_written(path, error) from error


def _cannot_be_written(path: Path, error: OSError) -> DataError:
    return DataError(
        f"--report {path}: cannot be written: {error.strerror or error}",
        "check the path, its permissions and the space on the disk",
    )


def write_report(path: Path, request: Request, plan: "Plan", results: "Sequence[SetResult]") -> None:
    """Analyse what was scored, and write the report.

    Raises: DataError when it cannot be written after all.
    """
    from tfcli.scoring.report import Report
    from tfcli.scoring.report_html import html_page
    from tfcli.scoring.report_markdown import markdown
    from tfcli.text.whole_file import write_whole

    report = Report(
        title=_title(results),
        sets=results,
        settings=plan.settings,
        training_words=_training_words(request, plan),
        pictures=_pictures(request.run, results) if request.run and path.suffix == PAGE else [],
        provenance=_provenance(request, results),
    )
    n_lines = sum(len(result.systems) * result.n_lines for result in results)
    with progress("writing the report", total=n_lines, unit="line") as bar:
        text = html_page(report, bar.advance) if path.suffix == PAGE else markdown(report, bar.advance)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    except OSError as error:
        raise _cannot_be_written(path, error) from error
    say(f"the report is {path}")


def _title(results: "Sequence[SetResult]") -> str:
    """Return the names of what is compared, or of the set where there are many."""
    systems = results[0].systems
    others = [system.name for system in systems if system.name != results[0].baseline]
    if results[0].baseline is not None and len(others) == 1:
        return f"{others[0]} against {results[0].baseline}"
    return others[0] if len(systems) == 1 else f"{len(systems)} systems on {results[0].name}"


def _training_words(request: Request, plan: "Plan") -> "WordCounts | None":
    """Count the words of a run's training text; None where there is no such text."""
    from tfcli.scoring.analysis import count_words

    if request.run is None or not (request.run / "recipe.yaml").is_file():
        return None
    try:
        lines = _training_lines(recipe_of(request.run), request)
        with progress("counting the words of the training text", unit="line") as bar:
            return count_words(_told(lines, bar.advance), plan.settings, most=TRAINING_LINES)
    except DataError as error:
        warn(
            f"the report counts words in the references, since the training text cannot be read: {error.message}"
        )
        return None


def _training_lines(recipe: "Recipe", request: Request) -> Iterator[str]:
    """Yield the target side of the training text, none of which is fetched for this."""
    from tfcli.text.files import data_roots, locate
    from tfcli.text.pairs import lines_of, side_texts

    assert request.run is not None
    roots = data_roots(recipe, request.run, request.data_root)
    unfetched = {f"{side}_{what}": None for side in ("src", "tgt", "tsv") for what in ("url", "sha256")}
    files = [
        locate(corpus.model_copy(update=unfetched), roots, f"data.train[{n}]", say_or_warn)
        for n, corpus in enumerate(recipe.data.train)
    ]
    for text in side_texts(files, 1):
        yield from lines_of(text)


def _told(lines: Iterator[str], advance: Any) -> Iterator[str]:
    for line in lines:
        advance(1)
        yield line


def _pictures(run: Path, results: "Sequence[SetResult]") -> "list[Picture]":
    """Draw the training of a run, and where its network looks in sentences that can be read at a glance."""
    from tfcli.commands.report_pictures import course_pictures, network_pictures

    of = results[0]
    pairs = list(zip(of.src or [], of.judged.hypotheses, strict=True)) if of.src is not None else []
    short = [pair for pair in pairs if len(pair[0].split()) in WORDS_DRAWN][:SENTENCES_DRAWN]
    with progress("drawing", unit="picture"):
        return [*course_pictures(run), *network_pictures(run, short)]


def _provenance(request: Request, results: "Sequence[SetResult]") -> list[tuple[str, str]]:
    """Say what it takes to judge or repeat the evaluation, and where the model comes from."""
    from tfcli.commands.info import cpu_name, version_of
    from tfcli.training.source import source_commit

    versions = {name: version_of(name) for name in VERSIONS_TOLD}
    rows = [
        ("command", shlex.join(["tfcli", *sys.argv[1:]])),
        ("time", datetime.now(UTC).isoformat(timespec="seconds")),
        ("tfcli", f"{__version__}, commit {source_commit() or 'unknown'}"),
        ("Python", platform.python_version()),
        ("packages", ", ".join(f"{name} {version}" for name, version in versions.items() if version)),
        ("hardware", f"{cpu_name()}, {os.cpu_count()} cores, {platform.platform()}"),
    ]
    origin = results[0].origin
    if origin is not None:
        rows += [("model", _facts(origin.model)), ("decoding", _facts(origin.decoding))]
    return [*rows, *(_trained(request.run) if request.run is not None else []), *_checksums(results)]


def _trained(run: Path) -> list[tuple[str, str]]:
    """Say how a run came about; nothing is known of a model folder by itself."""
    from tfcli.commands.folder_facts import about_folder, command_line

    environment = about_folder(run)["environment"]
    if not environment:
        return []
    facts = {name: environment.get(name) for name in ("started", "commit", "cpu", "device", "precision")}
    data = environment.get("data")
    rows = [("training", command_line(environment.get("command")) or "unknown"), ("trained", _facts(facts))]
    return [
        *rows,
        *((f"data {Path(name).name}", f"SHA-256 {digest}") for name, digest in (data or {}).items()),
    ]


def _facts(facts: dict[str, Any]) -> str:
    from tfcli.commands.folder_facts import written

    return ", ".join(
        f"{name.replace('_', ' ')} {written(value)}" for name, value in facts.items() if value is not None
    )


def _checksums(results: "Sequence[SetResult]") -> list[tuple[str, str]]:
    """Return the SHA-256 of every text that was scored."""
    from tfcli.scoring.history import sha256_of_lines

    texts = [
        (f"{of.name}, {name}", lines)
        for of in results
        for name, lines in (
            ("source", of.src),
            *(
                (f"reference {n}" if len(of.references) > 1 else "reference", lines)
                for n, lines in enumerate(of.references, 1)
            ),
            *((system.name, system.hypotheses) for system in of.systems),
        )
        if lines is not None
    ]
    return [(name, f"SHA-256 {sha256_of_lines(lines)}") for name, lines in texts]
