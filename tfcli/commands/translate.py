"""The verb `translate`: lines in, lines out; from standard input or files."""

import sys
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from tfcli.commands.console import detail, progress, say, share_the_cores, warn
from tfcli.commands.options import (
    HARDWARE_PANEL,
    OUTPUT_PANEL,
    DeviceOption,
    PrecisionOption,
    refuse_unknown_precision,
)
from tfcli.errors import DataError, RecipeError
from tfcli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tfcli.decoding.stream import StreamCounts
    from tfcli.decoding.translator import Translator

SEARCH_PANEL = "Search"
WINDOW_LINES = 2000


class OutputFormat(StrEnum):
    """What a line of output holds."""

    TEXT = "text"
    TSV = "tsv"
    JSONL = "jsonl"


def translate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder or a model folder.")],
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILES", help="Source text, plain, .gz or .xz.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE|DIR", help=r"Where translations go.  \[default: standard output]"
        ),
    ] = None,
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
        refuse_unknown_precision(precision)
    jobs = _jobs(files or [], out)
    share_the_cores()
    from tfcli.decoding.loading import load_translator

    translator = load_translator(
        run,
        device=device or "auto",
        precision=precision,
        beam_size=beam_size,
        length_penalty=length_penalty,
        batch_tokens=batch_tokens,
    )
    detail(
        f"{run}: {translator.engine.device}, {translator.engine.precision}, beam size {translator.decoding.beam_size}"
    )
    for source, target in jobs:
        _translate_one(translator, source, target, chosen, n_best)


def _format(given: OutputFormat | None, *, as_json: bool) -> OutputFormat:
    if not as_json:
        return given or OutputFormat.TEXT
    if given not in (None, OutputFormat.JSONL):
        raise RecipeError(f"--json and --format {given} contradict each other", "leave one of them out")
    return OutputFormat.JSONL


def _jobs(files: list[Path], out: Path | None) -> list[tuple[Path | None, Path | None]]:
    """Pair every input with its output; None stands for standard input or output."""
    for file in files:
        if file.is_dir():
            raise DataError(f"{file}: a folder, expected a file", "name the files in it")
        if not file.exists():
            raise DataError(f"{file}: no such file", "check the path")
    if not files:
        if out is not None and out.is_dir():
            raise RecipeError(f"{out}: a folder, but the input has no name", "give -o FILE")
        return [(None, out)]
    if out is None:
        return [(file, None) for file in files]
    targets = _targets(files, out)
    for file, target in zip(files, targets, strict=True):
        if target.exists() and target.samefile(file):
            raise RecipeError(f"{file}: would be overwritten by its own translation", "give another -o")
    return list(zip(files, targets, strict=True))


def _targets(files: list[Path], out: Path) -> list[Path]:
    if len(files) == 1 and not out.is_dir():
        return [out]
    if out.exists() and not out.is_dir():
        raise RecipeError(f"{out}: a file, but there are {len(files)} inputs", "give -o FOLDER")
    names = [_plain_name(file) for file in files]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise RecipeError(f"several inputs would become {out / doubled[0]}", "translate them one by one")
    return [out / name for name in names]


def _plain_name(file: Path) -> str:
    return file.stem if file.suffix in (".gz", ".xz") else file.name


def _translate_one(
    translator: "Translator", source: Path | None, target: Path | None, form: OutputFormat, n_best: int
) -> None:
    from tfcli.decoding.stream import StreamSettings, translate_stream
    from tfcli.text.lines import count_lines

    name = str(source) if source is not None else "standard input"
    settings = StreamSettings(WINDOW_LINES, form.value, n_best, name)
    # a pipe can be read only once: its lines are not counted beforehand
    total = count_lines(source) if source is not None and source.is_file() else None
    shown = progress(name, total, "line", streams=target is None)
    with _reading(source) as lines, _writing(target) as sink, shown as bar:
        counts = translate_stream(translator, lines, sink, settings, bar.advance)
        expected = counts.lines if total is None else total
        if not counts.lines == counts.written == expected:
            raise DataError(
                f"{name}: {counted(counts.lines, 'line')} read, {counts.written:,} written, {expected:,} expected",
                "was the file changed meanwhile? no output was kept",
            )
    _report(name, source, counts)
    if target is not None:
        say(f"{target}: {counted(counts.lines, 'line')}")


@contextmanager
def _reading(source: Path | None) -> "Iterator[BinaryIO]":
    from tfcli.text.lines import open_binary

    if source is None:
        yield sys.stdin.buffer
        return
    with open_binary(source) as stream:
        yield stream


@contextmanager
def _writing(target: Path | None) -> "Iterator[BinaryIO]":
    """Yield where translations go.

    Raises: DataError when they cannot be written; BrokenPipeError when whoever read them has gone away.
    """
    try:
        with _sink(target) as sink:
            yield sink
    except BrokenPipeError:
        raise
    except OSError as error:  # of the sink: what goes wrong in reading is a DataError already
        raise DataError(
            f"{target or 'standard output'}: cannot be written: {error.strerror or error}",
            "check the path, its permissions and the space on the disk",
        ) from error


@contextmanager
def _sink(target: Path | None) -> "Iterator[BinaryIO]":
    """Yield standard output, a device or a pipe, or a file that gets its name only when it is whole."""
    from tfcli.text.whole_file import whole_file

    if target is None:
        yield sys.stdout.buffer
        return
    if (
        target.exists() and not target.is_file()
    ):  # beside /dev/null, and in its place, there is nothing to put
        with target.open("wb") as stream:
            yield stream
        return
    place = target.resolve()  # a link stays one
    if not place.parent.exists():
        place.parent.mkdir(parents=True)
    with whole_file(place) as stream:
        yield stream


def _report(name: str, source: Path | None, counts: "StreamCounts") -> None:
    from tfcli.text.lines import utf16_remedy

    if counts.utf16:
        warn(f"{name} is UTF-16, but was read as UTF-8; {utf16_remedy(source)}")
    if counts.invalid:
        more = ", ..." if counts.invalid > len(counts.first_invalid) else ""
        shown = ", ".join(map(str, counts.first_invalid)) + more
        warn(f"{name}: bytes that are no UTF-8 were replaced in {counted(counts.invalid, 'line')}: {shown}")
    if counts.split:
        verb = "was" if counts.split == 1 else "were"
        say(
            f"{name}: {counted(counts.split, 'line')} {verb} too long for the model and {verb} translated in parts"
        )
