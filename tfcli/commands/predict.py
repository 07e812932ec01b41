"""The verb `predict`: what networks other than translators make of lines; labels with probabilities."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tfcli import __version__
from tfcli.commands.console import detail, share_the_cores
from tfcli.commands.options import (
    OUTPUT_PANEL,
    DeviceOption,
    PrecisionOption,
    refuse_unknown_precision,
)
from tfcli.commands.translate_files import find_jobs
from tfcli.commands.translate_jobs import (
    OutputFormat,
    Work,
    carry_out,
    content_of,
    format_of,
    keeps_journal,
    refuse_existing,
    still_to_do,
)
from tfcli.errors import RecipeError

if TYPE_CHECKING:
    from tfcli.model.description import ModelDescription

WINDOW_LINES = 2000


@dataclass(frozen=True)
class _Wishes:
    """What the command line says of the results and of the hardware."""

    form: OutputFormat
    top: int
    device: str
    precision: str | None


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder or a model folder.")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILES", help="Text, plain, .gz or .xz; a folder; or a pattern in quotes."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE|DIR",
            help=r"Where results go.  \[default: standard output]",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    suffix: Annotated[
        str | None,
        typer.Option(
            metavar=".SUFFIX",
            help="Replace the suffix of inputs: .label makes in.label of in.txt.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write over outputs that exist.", rich_help_panel=OUTPUT_PANEL)
    ] = False,
    top: Annotated[
        int,
        typer.Option(
            min=1, metavar="K", help="So many labels, the most probable first.", rich_help_panel=OUTPUT_PANEL
        ),
    ] = 1,
    form: Annotated[
        OutputFormat | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help=r"text: the label alone; tsv and jsonl: with probabilities.  \[default: text; tsv with --top]",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Short for --format jsonl.", rich_help_panel=OUTPUT_PANEL)
    ] = False,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
) -> None:
    """Tell the label of each line of standard input, or of files: as many lines out as in, blank ones blank, in order.

    Example: tfcli predict runs/trec < questions.txt > labels.txt
    Example: tfcli predict runs/trec questions.txt --top 3
    """
    given = form or (OutputFormat.TSV if top > 1 and not as_json else None)
    chosen = format_of(given, as_json=as_json)
    if top > 1 and chosen is OutputFormat.TEXT:
        raise RecipeError(f"--top {top} and --format text contradict each other", "use --format tsv or jsonl")
    if precision is not None:
        refuse_unknown_precision(precision)
    jobs = find_jobs(files or [], out, suffix)
    refuse_existing(jobs, force)
    from tfcli.model.description import describe_model

    description = describe_model(run)
    description.require_labels()
    share_the_cores()
    work = _labelling(description, _Wishes(chosen, top, device or "auto", precision), force=force)
    if any(map(keeps_journal, jobs)):
        work.terms |= {"top": top, "model": content_of(run), "tfcli": __version__}
    for job in still_to_do(work, jobs):
        carry_out(work, job)


def _labelling(description: "ModelDescription", wishes: _Wishes, *, force: bool) -> Work:
    from tfcli.decoding.labeller import load_labeller
    from tfcli.decoding.stream import StreamSettings

    labeller = load_labeller(description, wishes.device, wishes.precision)
    detail(f"{description.folder}: {labeller.device}, {labeller.precision}, {len(labeller.labels)} labels")
    settings = StreamSettings(WINDOW_LINES, wishes.form.value, wishes.top, on_long="truncate")
    terms = {"device": labeller.device, "precision": labeller.precision, "format": wishes.form.value}
    return Work(labeller, settings, terms, force)
