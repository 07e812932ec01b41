"""The verb `predict`: what networks other than translators make of lines: labels, continuations, probabilities."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tfcli import __version__
from tfcli.commands.console import detail
from tfcli.commands.line_fields import ColumnOption, FieldOption, field_of, warn_of_fields
from tfcli.commands.machine import share_the_cores
from tfcli.commands.options import (
    OUTPUT_PANEL,
    DeviceOption,
    ForceOption,
    JsonLinesOption,
    PrecisionOption,
    ResultsOption,
    SuffixOption,
    refuse_unknown_precision,
)
from tfcli.commands.predict_text import TextWishes, text_work
from tfcli.commands.search_options import (
    SEARCH_PANEL,
    NBestOption,
    SampleOption,
    SeedOption,
    TemperatureOption,
    TopKOption,
    TopPOption,
    sampling_of,
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
from tfcli.model.torch_import import import_torch

if TYPE_CHECKING:
    from tfcli.model.description import ModelDescription
    from tfcli.text.fields import Field

WINDOW_LINES = 2000
TEXT_WINDOW_LINES = 256  # a line takes a step of the network for each piece that it gets


@dataclass(frozen=True)
class _Wishes:
    """What the command line says of the results and of the hardware."""

    form: OutputFormat
    place: "Field | None"
    top: int
    device: str
    precision: str | None


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder or a model folder.")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILES", help="Text, plain, .gz or .xz; a folder; or a pattern in quotes."),
    ] = None,
    out: ResultsOption = None,
    suffix: SuffixOption = None,
    force: ForceOption = False,
    column: ColumnOption = None,
    field: FieldOption = None,
    top: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="K",
            help=r"So many labels, the most probable first.  \[default: 1]",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    form: Annotated[
        OutputFormat | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help=r"text; tsv (default of --top), jsonl: with probabilities.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    as_json: JsonLinesOption = False,
    lines: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Take the input as one prompt, and write N lines.",
            rich_help_panel=SEARCH_PANEL,
        ),
    ] = None,
    max_pieces: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help=r"Most in all.  \[default: half the context a line]",
            rich_help_panel=SEARCH_PANEL,
        ),
    ] = None,
    beam_size: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help=r"1 is greedy search.  \[default: 1]", rich_help_panel=SEARCH_PANEL
        ),
    ] = None,
    n_best: NBestOption = 1,
    sample: SampleOption = False,
    temperature: TemperatureOption = None,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    seed: SeedOption = None,
    score_only: Annotated[
        bool,
        typer.Option("--score-only", help="Score lines that are given.", rich_help_panel=OUTPUT_PANEL),
    ] = False,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
) -> None:
    """Tell the label of each line, with a classifier, or continue it, with a language model.

    As many lines out as in, in order; of standard input, or of files. What stands under Search is for language models.

    Example: tfcli predict runs/trec < questions.txt > labels.txt
    Example: tfcli predict runs/tinyshakespeare --sample --temperature 0.8 --lines 20 < beginning.txt
    """
    wanted = (top or 1) > 1 and not as_json
    chosen = format_of(form or (OutputFormat.TSV if wanted else None), as_json=as_json)
    if (top or 1) > 1 and chosen is OutputFormat.TEXT:
        raise RecipeError(f"--top {top} and --format text contradict each other", "use --format tsv or jsonl")
    if precision is not None:
        refuse_unknown_precision(precision)
    sampling = sampling_of(sample=sample, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    of_text = TextWishes(sampling, beam_size, n_best, max_pieces, score_only, lines)
    of_text.refuse_contradictions(
        alone=chosen is OutputFormat.TEXT, in_rows=chosen is OutputFormat.TSV or column is not None
    )
    place = field_of(
        column, field, chosen, {"--score-only": score_only, "--top": (top or 1) > 1}, "prediction"
    )
    jobs = find_jobs(files or [], out, suffix)
    whole = lines is not None and place is None and chosen is OutputFormat.TEXT
    if whole and sum(job.target is None for job in jobs) > 1:
        raise RecipeError(
            f"--lines {lines}: nothing would part what becomes of {len(jobs)} inputs",
            "give -o FOLDER, or --json",
        )
    refuse_existing(jobs, force)
    from tfcli.decoding.stream import StreamSettings
    from tfcli.model.description import describe_model

    description = describe_model(run)
    wishes = _Wishes(chosen, place, top or 1, device or "auto", precision)
    if description.config.task == "language_model":
        _refuse_for("labels", {"--top": top})
        worker, terms = text_work(description, of_text, wishes.device, precision)
        settings = StreamSettings(TEXT_WINDOW_LINES, chosen.value, n_best, field=place, whole=whole)
        work = Work(worker, settings, terms | {"format": chosen.value}, force)
        work.when_truncated = (
            f": the beginning, all but the last {description.info['context'] // 2} pieces, was not read"
        )
    else:
        description.require_labels()
        _refuse_for("language models", of_text.given)
        pairs = description.info.get("pairs_of_texts")
        if place is None and not pairs:
            warn_of_fields(job.source for job in jobs if job.source is not None and job.source.is_file())
        if place is not None and pairs:
            option = f"--column {column}" if column is not None else f"--field {field}"
            raise RecipeError(
                f"{option}: takes one text of a line, and {run} tells the label of two",
                "leave it out, and give lines of two texts, parted by a tab, as `cut -f 1,2` does",
            )
        share_the_cores()
        work = _labelling(description, wishes, force=force)
        work.terms |= {"top": top or 1}
    work.terms |= {"column": column, "field": field}
    if any(map(keeps_journal, jobs)):
        work.terms |= {"model": content_of(run), "tfcli": __version__}
    for job in still_to_do(work, jobs):
        carry_out(work, job)


def _refuse_for(what: str, options: Mapping[str, object]) -> None:
    """Refuse options that are for another kind of model."""
    for name, value in options.items():
        if value is not None:
            raise RecipeError(f"{name}: for {what}, and RUN is another kind of model", "leave it out")


def _labelling(description: "ModelDescription", wishes: _Wishes, *, force: bool) -> Work:
    import_torch()
    from tfcli.decoding.labeller import load_labeller
    from tfcli.decoding.stream import StreamSettings

    labeller = load_labeller(description, wishes.device, wishes.precision)
    detail(f"{description.folder}: {labeller.device}, {labeller.precision}, {len(labeller.labels)} labels")
    settings = StreamSettings(
        WINDOW_LINES, wishes.form.value, wishes.top, field=wishes.place, on_long="truncate"
    )
    terms = {"device": labeller.device, "precision": labeller.precision, "format": wishes.form.value}
    return Work(labeller, settings, terms, force)
