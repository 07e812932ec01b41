"""The verb `translate`: lines in, lines out; from standard input or files."""

import os
import sys
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from tfcli.commands.console import detail, progress, say, share_the_cores, warn
from tfcli.errors import DataError, RecipeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tfcli.decoding.stream import StreamCounts, StreamSettings
    from tfcli.decoding.translator import Translator

SEARCH_PANEL = "Search"
HARDWARE_PANEL = "Hardware"
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
        OutputFormat,
        typer.Option("--format", help="text; tsv: text and score; jsonl: all hypotheses with scores."),
    ] = OutputFormat.TEXT,
    n_best: Annotated[
        int,
        typer.Option(
            min=1, help="Hypotheses for each line, with --format jsonl.", rich_help_panel=SEARCH_PANEL
        ),
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
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.", rich_help_panel=HARDWARE_PANEL)
    ] = "auto",
    precision: Annotated[
        str | None,
        typer.Option(help="auto, fp32 or bf16.  \\[default: the recipe's]", rich_help_panel=HARDWARE_PANEL),
    ] = None,
) -> None:
    """Translate standard input, or files: as many lines out as in, blank ones blank, in order.

    Example: tfcli translate runs/de-en < in.de > out.en
    """
    if n_best > 1 and form is not OutputFormat.JSONL:
        raise RecipeError(
            f"--n-best {n_best} needs --format jsonl", "the other formats have one translation a line"
        )
    jobs = _jobs(files or [], out)
    share_the_cores()
    from tfcli.decoding.stream import StreamSettings
    from tfcli.decoding.translator import Translator

    translator = Translator.load(
        run,
        device=device,
        precision=precision,
        beam_size=beam_size,
        length_penalty=length_penalty,
        batch_tokens=batch_tokens,
    )
    settings = StreamSettings(WINDOW_LINES, form.value, n_best)
    detail(f"{run}: {translator.device}, {translator.precision}, beam size {translator.decoding.beam_size}")
    for source, target in jobs:
        _translate_one(translator, source, target, settings)


def _jobs(files: list[Path], out: Path | None) -> list[tuple[Path | None, Path | None]]:
    """Pair every input with its output; None stands for standard input or output."""
    for file in files:
        if file.is_dir():
            raise DataError(f"{file}: a folder, expected a file", "name the files in it")
        if not file.exists():
            raise DataError(f"{file}: no such file", "check the path")
    if not files:
        if out is not None and out.is_dir():
            raise DataError(f"{out}: a folder, but the input has no name", "give -o FILE")
        return [(None, out)]
    if out is None:
        return [(file, None) for file in files]
    if len(files) == 1 and not out.is_dir():
        return [(files[0], out)]
    if out.exists() and not out.is_dir():
        raise DataError(f"{out}: a file, but there are {len(files)} inputs", "give a folder")
    names = [_plain_name(file) for file in files]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise DataError(f"several inputs would become {out / doubled[0]}", "translate them one by one")
    return [(file, out / name) for file, name in zip(files, names, strict=True)]


def _plain_name(file: Path) -> str:
    return file.stem if file.suffix in (".gz", ".xz") else file.name


def _translate_one(
    translator: "Translator", source: Path | None, target: Path | None, settings: "StreamSettings"
) -> None:
    from tfcli.decoding.stream import translate_stream
    from tfcli.text.lines import count_lines

    name = str(source) if source is not None else "standard input"
    if source is not None and target is not None and target.exists() and target.samefile(source):
        raise DataError(f"{source}: would be overwritten by its own translation", "give another -o")
    # a pipe can be read only once: its lines are not counted beforehand
    total = count_lines(source) if source is not None and source.is_file() else None
    with _reading(source) as lines, _writing(target) as sink, progress(name, total, "lines") as bar:
        counts = translate_stream(translator, lines, sink, settings, bar.advance)
        if counts.lines != counts.written or (total is not None and counts.lines != total):
            raise DataError(
                f"{name}: {counts.lines} lines read, {counts.written} written, {total} expected",
                "was the file changed meanwhile? no output was kept",
            )
    _report(name, counts)
    if target is not None:
        say(f"{target}: {counts.lines:,} lines")


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
    """Yield where translations go; a file gets its name only when it is whole."""
    if target is None:
        yield sys.stdout.buffer
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.part")
        stream = beside.open("wb")
    except OSError as error:
        raise DataError(f"{target}: cannot be written: {error.strerror}") from error
    try:
        with stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def _report(name: str, counts: "StreamCounts") -> None:
    if counts.invalid:
        shown = ", ".join(map(str, counts.first_invalid)) + (
            ", ..." if counts.invalid > len(counts.first_invalid) else ""
        )
        warn(f"{name}: bytes that are no UTF-8 were replaced in {counts.invalid} lines: {shown}")
    if counts.split:
        say(f"{name}: {counts.split} lines were too long for the model and were translated in parts")
