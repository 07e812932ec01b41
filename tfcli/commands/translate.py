"""The verb `translate`: lines in, lines out; from standard input or files."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tfcli.commands.console import detail, say
from tfcli.commands.line_fields import ColumnOption, FieldOption, field_of
from tfcli.commands.machine import share_the_cores
from tfcli.commands.options import (
    INPUT_PANEL,
    OUTPUT_PANEL,
    TRANSLATION_PRECISIONS,
    DeviceOption,
    EngineOption,
    ForceOption,
    JsonLinesOption,
    PrecisionOption,
    ResultsOption,
    SuffixOption,
    refuse_unknown_precision,
)
from tfcli.commands.search_options import (
    BatchSizeOption,
    BatchTokensOption,
    BeamSizeOption,
    EnsembleOption,
    LengthPenaltyKindOption,
    LengthPenaltyOption,
    MaxOutputRatioOption,
    MinOutputRatioOption,
    NBestOption,
    NoRepeatNgramOption,
    PrefixColumnOption,
    RefOption,
    SampleOption,
    ScoreOnlyOption,
    SeedOption,
    TemperatureOption,
    TopKOption,
    TopPOption,
    Wanted,
    sampling_of,
)
from tfcli.commands.translate_files import find_jobs
from tfcli.commands.translate_jobs import (
    OutputFormat,
    Work,
    carry_out,
    converse,
    format_of,
    keeps_journal,
    refuse_existing,
    still_to_do,
    terms_of,
)
from tfcli.errors import RecipeError

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


def translate(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder or a model folder.")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILES", help="Source text, plain, .gz or .xz; a folder; or a pattern in quotes."
        ),
    ] = None,
    out: ResultsOption = None,
    suffix: SuffixOption = None,
    force: ForceOption = False,
    column: ColumnOption = None,
    field: FieldOption = None,
    on_long: Annotated[
        LongLines,
        typer.Option(
            metavar="HOW",
            show_default=False,
            help=r"Lines too long for the model: split, truncate or error.  \[default: split]",
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
            metavar="NAME",
            help=r"text; tsv and jsonl: with scores.  \[default: text]",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    as_json: JsonLinesOption = False,
    n_best: NBestOption = 1,
    beam_size: BeamSizeOption = None,
    length_penalty: LengthPenaltyOption = None,
    length_penalty_kind: LengthPenaltyKindOption = None,
    no_repeat_ngram: NoRepeatNgramOption = None,
    min_output_ratio: MinOutputRatioOption = None,
    max_output_ratio: MaxOutputRatioOption = None,
    prefix_column: PrefixColumnOption = False,
    ensemble: EnsembleOption = None,
    sample: SampleOption = False,
    temperature: TemperatureOption = None,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    seed: SeedOption = None,
    score_only: ScoreOnlyOption = False,
    ref: RefOption = None,
    batch_tokens: BatchTokensOption = None,
    batch_size: BatchSizeOption = None,
    engine: EngineOption = None,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
) -> None:
    """Translate standard input, or files: as many lines out as in, blank ones blank, in order.

    Example: tfcli translate runs/de-en < in.de > out.en
    """
    chosen = format_of(form, as_json=as_json)
    wanted = Wanted(
        changes={
            "beam_size": beam_size,
            "length_penalty": length_penalty,
            "length_penalty_kind": length_penalty_kind and length_penalty_kind.value,
            "no_repeat_ngram": no_repeat_ngram,
            "min_output_ratio": min_output_ratio,
            "max_output_ratio": max_output_ratio,
            "batch_tokens": batch_tokens,
            "batch_size": batch_size,
        },
        sampling=sampling_of(sample=sample, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed),
        n_best=n_best,
        prefix_column=prefix_column,
        score_only=score_only,
        ref=ref,
        on_long=on_long.value,
    )
    wanted.refuse_contradictions(alone=chosen is OutputFormat.TEXT)
    if precision is not None:
        refuse_unknown_precision(precision, TRANSLATION_PRECISIONS)
    others = {"--score-only": score_only, "--prefix-column": prefix_column}
    place = field_of(column, field, chosen, others, "translation")
    if interactive and (files or any(option is not None for option in (out, suffix, ref))):
        raise RecipeError(
            "--interactive answers standard input alone", "leave out FILES, -o, --suffix and --ref"
        )
    jobs = find_jobs(files or [], out, suffix)
    if ref is not None and len(jobs) > 1:
        raise RecipeError(f"--ref is for one input, but there are {len(jobs)}", "score them one by one")
    refuse_existing(jobs, force)
    share_the_cores()
    from tfcli.decoding.loading import load_translator
    from tfcli.decoding.stream import StreamSettings

    translator = load_translator(
        run,
        engine=engine or "auto",
        device=device or "auto",
        precision=precision,
        changes=wanted.changes,
        sampling=wanted.sampling,
        ensemble=ensemble or (),
        needs=wanted.needs,
        report=say,
    )
    used = translator.engine
    search = "sampling" if sample else f"beam size {translator.decoding.beam_size}"
    detail(f"{run}: {used.name}, {used.device}, {used.precision}, {search}")
    settings = StreamSettings(WINDOW_LINES, chosen.value, n_best, field=place, on_long=on_long.value)
    work = Work(translator, settings, {}, force, wanted)
    if any(map(keeps_journal, jobs)):  # else a pipe need not wait until the weights have been read once more
        options = {name: value for name, value in context.params.items() if name not in NOT_IN_JOURNAL}
        work.terms = terms_of(options, run, translator, settings)
    if interactive:
        converse(work)
        return
    for job in still_to_do(work, jobs):
        carry_out(work, job)
