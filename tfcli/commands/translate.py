"""The verb `translate`: lines in, lines out; from standard input or files."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tfcli.commands.console import detail, say, share_the_cores
from tfcli.commands.options import (
    HARDWARE_PANEL,
    OUTPUT_PANEL,
    TRANSLATION_PRECISIONS,
    DeviceOption,
    EngineOption,
    PrecisionOption,
    refuse_unknown_precision,
)
from tfcli.commands.translate_files import find_jobs
from tfcli.commands.translate_jobs import Work, carry_out, converse, refuse_existing, still_to_do, terms_of
from tfcli.errors import RecipeError

if TYPE_CHECKING:
    from tfcli.text.fields import Field

INPUT_PANEL = "Input"
SEARCH_PANEL = "Search"
WINDOW_LINES = 2000
# Options that say where text is rather than what becomes of it, or whose effect is recorded otherwise.
NOT_IN_JOURNAL = {
    "run",
    "files",
    "out",
    "suffix",
    "force",
    "form",
    "as_json",
    "quiet",
    "verbose",
    "show_help",
}


class LongLines(StrEnum):
    """What becomes of a line that is too long for the model."""

    SPLIT = "split"
    TRUNCATE = "truncate"
    ERROR = "error"


class OutputFormat(StrEnum):
    """What a line of output holds."""

    TEXT = "text"
    TSV = "tsv"
    JSONL = "jsonl"


def translate(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder or a model folder.")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILES", help="Source text, plain, .gz or .xz; a folder; or a pattern in quotes."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE|DIR", help=r"Where translations go.  \[default: standard output]"
        ),
    ] = None,
    suffix: Annotated[
        str | None,
        typer.Option(
            metavar=".SUFFIX",
            help="Replace the suffix of inputs: .de makes in.de of in.en.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write over outputs that exist.", rich_help_panel=OUTPUT_PANEL)
    ] = False,
    column: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Translate this column of tab-separated text; adds one at the end.",
            rich_help_panel=INPUT_PANEL,
        ),
    ] = None,
    field: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Translate this field of JSON lines; adds the field translation.",
            rich_help_panel=INPUT_PANEL,
        ),
    ] = None,
    on_long: Annotated[
        LongLines,
        typer.Option(
            help="Lines too long for the model: in parts, cut off, or an error.",
            rich_help_panel=INPUT_PANEL,
        ),
    ] = LongLines.SPLIT,
    interactive: Annotated[
        bool,
        typer.Option(
            "--interactive",
            help="Answer line by line, with a prompt on a terminal.",
            rich_help_panel=INPUT_PANEL,
        ),
    ] = False,
    form: Annotated[
        OutputFormat | None,
        typer.Option(
            "--format",
            help=r"text; tsv: text and score; jsonl: all with scores.  \[default: text]",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Short for --format jsonl.", rich_help_panel=OUTPUT_PANEL)
    ] = False,
    n_best: Annotated[
        int,
        typer.Option(min=1, help="Hypotheses for each line, with --json.", rich_help_panel=SEARCH_PANEL),
    ] = 1,
    beam_size: Annotated[
        int | None,
        typer.Option(
            min=1, help="1 is greedy search.  \\[default: the recipe's]", rich_help_panel=SEARCH_PANEL
        ),
    ] = None,
    length_penalty: Annotated[
        float | None,
        typer.Option(
            min=0, help="Score = log-probability / length ** penalty.", rich_help_panel=SEARCH_PANEL
        ),
    ] = None,
    batch_tokens: Annotated[
        int | None,
        typer.Option(
            min=1, help="Padded pieces times beam size decoded at once.", rich_help_panel=HARDWARE_PANEL
        ),
    ] = None,
    engine: EngineOption = None,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
) -> None:
    """Translate standard input, or files: as many lines out as in, blank ones blank, in order.

    Example: tfcli translate runs/de-en < in.de > out.en
    """
    chosen = _format(form, as_json=as_json)
    if n_best > 1 and chosen is not OutputFormat.JSONL:
        raise RecipeError(
            f"--n-best {n_best} needs --format jsonl", "the other formats have one translation a line"
        )
    if precision is not None:
        refuse_unknown_precision(precision, TRANSLATION_PRECISIONS)
    wanted = _field(column, field, chosen)
    if interactive and (files or out is not None or suffix is not None):
        raise RecipeError("--interactive answers standard input alone", "leave out FILES, -o and --suffix")
    jobs = find_jobs(files or [], out, suffix)
    refuse_existing(jobs, force)
    share_the_cores()
    from tfcli.decoding.loading import load_translator
    from tfcli.decoding.stream import StreamSettings

    translator = load_translator(
        run,
        engine=engine or "auto",
        device=device or "auto",
        precision=precision,
        beam_size=beam_size,
        length_penalty=length_penalty,
        batch_tokens=batch_tokens,
        report=say,
    )
    used = translator.engine
    detail(f"{run}: {used.name}, {used.device}, {used.precision}, beam size {translator.decoding.beam_size}")
    settings = StreamSettings(WINDOW_LINES, chosen.value, n_best, field=wanted, on_long=on_long.value)
    options = {name: value for name, value in context.params.items() if name not in NOT_IN_JOURNAL}
    work = Work(translator, settings, terms_of(options, run, translator, settings), force)
    if interactive:
        converse(work)
        return
    for job in still_to_do(work, jobs):
        carry_out(work, job)


def _field(column: int | None, name: str | None, form: OutputFormat) -> "Field | None":
    """Return where in a line its text stands, None when all of it is text."""
    from tfcli.text.fields import Column, JsonField

    if column is None and name is None:
        return None
    if column is not None and name is not None:
        raise RecipeError(
            f"--column {column} and --field {name} contradict each other", "leave one of them out"
        )
    if form is not OutputFormat.TEXT:
        option = f"--column {column}" if column is not None else f"--field {name}"
        raise RecipeError(
            f"{option} and --format {form} contradict each other", f"lines keep their own form with {option}"
        )
    return Column(column) if column is not None else JsonField(name or "")


def _format(given: OutputFormat | None, *, as_json: bool) -> OutputFormat:
    if not as_json:
        return given or OutputFormat.TEXT
    if given not in (None, OutputFormat.JSONL):
        raise RecipeError(f"--json and --format {given} contradict each other", "leave one of them out")
    return OutputFormat.JSONL
