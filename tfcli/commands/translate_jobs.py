"""Carry out what `translate` was asked for: one input after the other, each into its output.

File to file, a journal is kept (see `decoding/journal.py`). Standard input, a pipe or a device can be read only once,
so what comes from there gets its name when it is whole, and leaves nothing when it is not.
"""

import gzip
import hashlib
import lzma
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from tfcli import __version__
from tfcli.commands.console import Progress, progress, say, warn
from tfcli.commands.search_options import Wanted
from tfcli.commands.translate_files import SHOWN_FILES, Job
from tfcli.errors import DataError, RecipeError
from tfcli.wording import counted

if TYPE_CHECKING:
    from tfcli.decoding.line_work import LineWork
    from tfcli.decoding.stream import StreamCounts, StreamSettings
    from tfcli.decoding.translator import Translator


class OutputFormat(StrEnum):
    """What a line of output holds."""

    TEXT = "text"
    TSV = "tsv"
    JSONL = "jsonl"


@dataclass
class Work:
    """What works on lines, and how; `terms` is all that shapes a result, for the journal."""

    worker: "LineWork"
    settings: "StreamSettings"
    terms: dict[str, Any]
    force: bool = False
    wanted: Wanted | None = None  # of translations
    when_truncated: str | None = None  # where its end is not what is cut off
    line_is_open: bool = False  # the last line on standard output has no end

    def begun(self, n_done: int = 0) -> "AbstractContextManager[LineWork]":
        """Return what is to be done with the lines of one input, of which so many are done already."""
        if self.wanted is None:
            return nullcontext(self.worker)
        return self.wanted.work(cast("Translator", self.worker), n_done)


def format_of(given: OutputFormat | None, *, as_json: bool) -> OutputFormat:
    """Return the form of the output, from --format and --json.

    Raises: RecipeError when they contradict each other.
    """
    if not as_json:
        return given or OutputFormat.TEXT
    if given not in (None, OutputFormat.JSONL):
        raise RecipeError(f"--json and --format {given} contradict each other", "leave one of them out")
    return OutputFormat.JSONL


def terms_of(
    options: dict[str, Any], run: Path, translator: "Translator", settings: "StreamSettings"
) -> dict[str, Any]:
    """Return all that shapes a translation: the model, the settings in effect and the contents of files named."""
    engine = translator.engine
    return {
        **{name: content_of(value) for name, value in options.items()},
        **translator.decoding.model_dump(),
        "engine": engine.name,
        "device": engine.device,
        "precision": engine.precision,
        "format": settings.format,
        "window": [settings.window_lines, settings.window_bytes],
        "model": content_of(run),
        "tfcli": __version__,
    }


def content_of(value: Any) -> Any:
    """Return an option's value for a journal; a file or a model stands for what is in it."""
    if isinstance(value, list | tuple):
        return [content_of(item) for item in value]
    if not isinstance(value, Path):
        return value
    from tfcli.model.description import find_model_folder
    from tfcli.text.lines import reading

    if value.exists() and not value.is_dir() and not value.is_file():
        return (
            secrets.token_hex()
        )  # what a pipe holds can be read only once: it is never known to be the same
    if not value.is_dir():
        with reading(value):
            return _sha256(value)
    folder = find_model_folder(value)
    names = [folder / "config.json", *sorted(folder.glob("*.safetensors")), *sorted(folder.glob("*.model"))]
    return {path.name: _sha256(path) for path in names}


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def refuse_existing(jobs: list[Job], force: bool) -> None:
    """Refuse outputs that are there and of which no journal could say that they are these translations.

    Raises: RecipeError.
    """
    from tfcli.decoding.journal import journal_of

    there = [
        job.target
        for job in jobs
        if job.target is not None and job.target.is_file()
        if not (keeps_journal(job) and journal_of(_place(job)).exists())
    ]
    if there and not force:
        raise _existing(there)


def _existing(targets: list[Path]) -> RecipeError:
    lines = [f"{target}: exists already, and is not overwritten" for target in targets[:SHOWN_FILES]]
    if len(targets) > SHOWN_FILES:
        lines.append(f"and {counted(len(targets) - SHOWN_FILES, 'more output')}")
    return RecipeError("\n".join(lines), "give --force to make it anew and write over it, or another -o")


def still_to_do(work: Work, jobs: list[Job]) -> list[Job]:
    """Leave out the jobs whose outputs are up to date.

    Raises: RecipeError when an output is there that is not.
    """
    from tfcli.decoding.journal import is_up_to_date

    if work.force:
        return jobs
    made = [job for job in jobs if _is_made(job)]
    done = [job for job in made if job.source and is_up_to_date(job.source, _place(job), work.terms)]
    others = [job.target for job in made if job not in done and job.target is not None]
    if others:
        raise _existing(others)
    for job in done:
        say(f"{job.target}: up to date")
    return [job for job in jobs if job not in done]


def keeps_journal(job: Job) -> bool:
    """Tell whether it goes from file to file, so that it can go on where it was stopped."""
    if job.source is None or job.target is None:
        return False
    return job.source.is_file() and (job.target.is_file() or not job.target.exists())


def _is_made(job: Job) -> bool:
    return keeps_journal(job) and _place(job).exists()


def _place(job: Job) -> Path:
    """Return where an output lies: a link stays one."""
    assert job.target is not None
    return job.target.resolve()


def carry_out(work: Work, job: Job) -> None:
    """Translate one input.

    Raises: DataError when it cannot be read, translated or written; BrokenPipeError when a reader has gone away.
    """
    name = str(job.source) if job.source is not None else "standard input"
    work.settings = replace(work.settings, name=name)
    total = _count(work, job.source)
    unit = work.settings.unit
    with _writing(job.target), progress(name, total, unit, streams=job.target is None) as bar:
        if keeps_journal(job):
            counts = _with_journal(work, job, total, bar)
        else:
            counts = _in_one_go(work, job, total, bar)
    _report(work, name, job.source, counts)
    _name_doubtful(work.settings.unit, name, counts)
    if job.target is not None:
        say(f"{job.target}: {counted(counts.lines, unit)}")


def _count(work: Work, source: Path | None) -> int | None:
    """Return how many lines there are, None for what can be read only once; lines without the field are refused."""
    from tfcli.decoding.stream import count_fit_lines
    from tfcli.text.lines import count_lines

    if source is None or not source.is_file():
        return None
    if work.settings.whole:
        return min(1, count_lines(source))
    return (
        count_lines(source) if work.settings.field is None else count_fit_lines(source, work.settings.field)
    )


def _with_journal(work: Work, job: Job, total: int | None, bar: Progress) -> "StreamCounts":
    from tfcli.decoding.journal import journaled
    from tfcli.decoding.stream import translate_stream

    place, pack = _place(job), _packer(job.target)
    _make_folder(place)
    assert job.source is not None
    with journaled(job.source, place, work.terms, warn) as journal:
        if journal.dropped is not None:
            warn(f"{job.target}: what an earlier run had done is dropped, it starts over ({journal.dropped})")
        if journal.counts.lines:
            say(f"{job.target}: goes on after {counted(journal.counts.lines, 'line')}")
            bar.update(total=(total or 0) - journal.counts.lines)  # so that rate and time left are right
        try:
            with work.begun(journal.counts.lines) as line_work:
                for window in translate_stream(
                    line_work, journal.source, work.settings, bar.advance, journal.counts
                ):
                    journal.commit(window.taken, pack(window.given), window.counts)
            if not journal.counts.lines:
                journal.commit(b"", pack(b""), journal.counts)  # an empty archive is not nothing
            _compare(job.source, journal.counts, total, journal.discard)
            journal.finish()
        except BaseException:
            if journal.has_begun:
                say(
                    f"{job.target}: {counted(journal.counts.lines, 'line')} done and kept beside it; the same command goes on "
                    "from there"
                )
            raise
        return journal.counts


def _compare(
    source: Path | None, counts: "StreamCounts", total: int | None, discard: Callable[[], None]
) -> None:
    """Assert that as many lines came out as went in, and as were there at the beginning."""
    expected = counts.lines if total is None else total
    if not counts.lines == counts.written == expected:
        discard()
        raise DataError(
            f"{source or 'standard input'}: {counted(counts.lines, 'line')} read, {counts.written:,} written, "
            f"{expected:,} expected",
            "was the file changed meanwhile? no output was kept",
        )


def _in_one_go(work: Work, job: Job, total: int | None, bar: Progress) -> "StreamCounts":
    from tfcli.decoding.stream import StreamCounts, translate_stream

    pack = _packer(job.target)
    counts = StreamCounts()
    with (
        _reading(job.source) as source,
        _sink(job.target) as sink,
        work.begun() as line_work,
    ):
        for window in translate_stream(line_work, source, work.settings, bar.advance):
            if work.line_is_open:
                sink.write(b"\n")  # the file before ended without: its last line and our first are two
            sink.write(pack(window.given))
            work.line_is_open = job.target is None and not window.given.endswith(b"\n")
            sink.flush()
            counts = window.counts
        if not counts.lines and job.target is not None:
            sink.write(pack(b""))
        _compare(job.source, counts, total, lambda: None)
    return counts


def converse(work: Work) -> None:
    """Answer standard input line by line, with a prompt if a person types it."""
    from tfcli.decoding.stream import translate_stream

    prompts = sys.stdin.isatty() and sys.stderr.isatty()
    settings = replace(work.settings, window_lines=1)

    def prompt(text: str) -> None:
        if prompts:
            sys.stderr.write(text)
            sys.stderr.flush()

    prompt("> ")
    counts = None
    with _writing(None), work.begun() as line_work:
        for window in translate_stream(line_work, sys.stdin.buffer, settings):
            sys.stdout.buffer.write(window.given)
            sys.stdout.buffer.flush()
            counts = window.counts
            prompt("> ")
    prompt("\n")
    if counts is not None:
        _report(work, settings.name, None, counts)


def _packer(target: Path | None) -> Callable[[bytes], bytes]:
    """Return what compresses a window as the name of the output asks; archives can be joined end to end."""
    suffix = target.suffix if target is not None else ""
    if suffix == ".gz":
        return lambda content: gzip.compress(content, mtime=0)
    return lzma.compress if suffix == ".xz" else bytes


@contextmanager
def _reading(source: Path | None) -> Iterator[BinaryIO]:
    from tfcli.text.lines import open_binary

    if source is None:
        yield sys.stdin.buffer
        return
    with open_binary(source) as stream:
        yield stream


@contextmanager
def _writing(target: Path | None) -> Iterator[None]:
    """Name the output where it cannot be written.

    Raises: DataError then; BrokenPipeError when whoever read it has gone away.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:  # of the sink: what goes wrong in reading is a DataError already
        raise DataError(
            f"{target or 'standard output'}: cannot be written: {error.strerror or error}",
            "check the path, its permissions and the space on the disk",
        ) from error


@contextmanager
def _sink(target: Path | None) -> Iterator[BinaryIO]:
    """Yield standard output, a device or a pipe, or a file that gets its name only when it is whole."""
    from tfcli.text.whole_file import whole_file

    if target is None:
        yield sys.stdout.buffer
        return
    # beside /dev/null, and in its place, there is nothing to put
    if target.exists() and not target.is_file():
        with target.open("wb") as stream:
            yield stream
        return
    place = target.resolve()  # a link stays one
    _make_folder(place)
    with whole_file(place) as stream:
        yield stream


def _make_folder(place: Path) -> None:
    if not place.parent.exists():
        place.parent.mkdir(parents=True)


def _report(work: Work, name: str, source: Path | None, counts: "StreamCounts") -> None:
    from tfcli.text.lines import utf16_remedy

    unit = work.settings.unit
    if counts.utf16:
        warn(f"{name} is UTF-16, but was read as UTF-8; {utf16_remedy(source)}")
    if counts.invalid:
        shown = _shown(counts.first_invalid, counts.invalid)
        warn(f"{name}: bytes that are no UTF-8 were replaced in {counted(counts.invalid, 'line')}: {shown}")
    if counts.split:
        verb = "was" if counts.split == 1 else "were"
        say(
            f"{name}: {counted(counts.split, 'line')} {verb} too long for the model and {verb} translated in parts"
        )
    if counts.truncated:
        verb = "was" if counts.truncated == 1 else "were"
        what = work.when_truncated or f" and {verb} cut off there"
        warn(f"{name}: {counted(counts.truncated, unit)} {verb} too long for the model{what}")


def _name_doubtful(unit: str, name: str, counts: "StreamCounts") -> None:
    """Name the lines whose translations nobody should trust."""
    if counts.empty:
        shown = _shown(counts.first_empty, counts.empty)
        warn(f"{name}: the translation is empty in {counted(counts.empty, unit)}: {shown}")
    if counts.at_limit:
        shown = _shown(counts.first_at_limit, counts.at_limit)
        warn(
            f"{name}: {counted(counts.at_limit, unit)} came out as long as is allowed, cut off or going round in "
            f"circles: {shown}"
        )


def _shown(numbers: list[int], count: int) -> str:
    """Return the first of so many line numbers."""
    return ", ".join(map(str, numbers)) + (", ..." if count > len(numbers) else "")
