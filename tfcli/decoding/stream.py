"""Translate a stream of lines window by window: memory stays bounded, order stays, lines out = lines in."""

from __future__ import annotations

import json
import os
import select
import stat
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from tfcli.decoding.translator import LineError, ScoredTarget, Translation
from tfcli.errors import DataError
from tfcli.text.fields import UnfitLineError
from tfcli.text.lines import UTF16_MARKS, decode_line, open_binary, reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tfcli.decoding.line_work import LineResult, LineWork
    from tfcli.decoding.translator import OnLong
    from tfcli.text.fields import Field

Format = Literal["text", "tsv", "jsonl"]
SHOWN_LINES = 10
CAN_ASK_PIPES = os.name == "posix"  # whether there is something in them; elsewhere select knows sockets alone
_CHUNK_BYTES = 1 << 16


@dataclass
class StreamCounts:
    """What went through a stream; line numbers count from 1."""

    lines: int = 0
    written: int = 0
    split: int = 0
    truncated: int = 0
    invalid: int = 0
    utf16: bool = False  # what came begins as UTF-16 does
    first_invalid: list[int] = field(default_factory=list)  # at most SHOWN_LINES of them, as below
    empty: int = 0  # translations of what was not blank
    first_empty: list[int] = field(default_factory=list)
    at_limit: int = 0  # translations as long as was allowed
    first_at_limit: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class StreamSettings:
    """How a stream is cut and written; `name` is what errors in reading call it.

    A window ends after so many lines or bytes, whichever comes first; with `whole`, all that there is is one text.
    """

    window_lines: int
    format: Format = "text"
    n_best: int = 1
    name: str = "standard input"
    window_bytes: int = 1 << 20
    field: Field | None = None  # None: the line is the text
    on_long: OnLong = "split"
    whole: bool = False

    @property
    def unit(self) -> str:
        """What is worked on one by one."""
        return "prompt" if self.whole else "line"


@dataclass(frozen=True)
class Window:
    """Lines as they were read and as they are to be written, ends included; `counts` are of all up to here."""

    taken: bytes
    given: bytes
    counts: StreamCounts


def translate_stream(
    work: LineWork,
    source: BinaryIO,
    settings: StreamSettings,
    advance: Callable[[int], None] | None = None,
    before: StreamCounts | None = None,
) -> Iterator[Window]:
    r"""Read lines (ended by `\n` alone) until the end and yield as many translations, window by window.

    A final line without `\n` stays without when its translation alone is written. Bytes that are no UTF-8 are
    replaced, and their lines counted. `before` is what was counted in the part of the source that is already read.

    Raises: DataError when the source cannot be read to its end, or names the line that cannot be used.
    """
    counts = before or StreamCounts()
    for begun in _one_ahead(_begin_windows(work, source, settings, advance, counts.lines)):
        given, counts = begun.finish(counts, settings)
        yield Window(b"".join(begun.raws), given, counts)
        del begun, given  # this window is written, and two at a time are enough


@dataclass(frozen=True)
class _Begun:
    """A window whose lines are being worked on; `seen` are the counts of its lines alone, as they were read."""

    raws: list[bytes]
    texts: list[str]
    seen: StreamCounts
    end: Callable[[], Sequence[Translation | ScoredTarget | LineResult]]

    def finish(self, counts: StreamCounts, settings: StreamSettings) -> tuple[bytes, StreamCounts]:
        """Wait for the results; return what is to be written, and the counts of all up to here."""
        with _naming_lines(counts.lines, settings):
            results = self.end()
        counts = replace(
            counts,
            lines=counts.lines + self.seen.lines,
            invalid=counts.invalid + self.seen.invalid,
            utf16=counts.utf16 or self.seen.utf16,
            first_invalid=(counts.first_invalid + self.seen.first_invalid)[:SHOWN_LINES],
        )
        given = []
        for raw, text, result in zip(self.raws, self.texts, results, strict=True):
            counts.written += 1
            if isinstance(result, ScoredTarget):
                given.append(_ended(raw, render_scored(result, settings.format), settings))
                continue
            counts.truncated += result.truncated
            if isinstance(result, Translation):
                _count(result, text, counts)
                rendered = render(result, text, counts.written, settings)
            else:
                rendered = result.rendered(settings.format, counts.written, text)
            given.append(_written(raw, rendered, settings))
        return b"".join(given), counts


def _count(translation: Translation, text: str, counts: StreamCounts) -> None:
    """Count what is odd about the translation of a line, the one that `written` has come to."""
    counts.split += translation.n_parts > 1
    if text.strip() and not translation.text.strip():
        counts.empty += 1
        counts.first_empty = [*counts.first_empty, counts.written][:SHOWN_LINES]
    if translation.hypotheses[0].at_limit:
        counts.at_limit += 1
        counts.first_at_limit = [*counts.first_at_limit, counts.written][:SHOWN_LINES]


def _begin_windows(
    work: LineWork,
    source: BinaryIO,
    settings: StreamSettings,
    advance: Callable[[int], None] | None,
    n_before: int,
) -> Iterator[_Begun | None]:
    """Begin window after window, the first behind so many lines; None before reading on may take long."""
    for raws in _windows(source, settings):
        if not raws:
            yield None
            continue
        texts = []
        seen = StreamCounts()
        for number, raw in enumerate(raws, start=n_before + 1):
            seen.lines += 1
            text, invalid = _whole_text(raw) if settings.whole else _text(raw, number, settings)
            if invalid:
                seen.invalid += len(invalid)
                seen.utf16 |= number == 1 and raw.startswith(UTF16_MARKS)
                seen.first_invalid = (seen.first_invalid + invalid)[:SHOWN_LINES]
            texts.append(text)
        with _naming_lines(n_before, settings):
            end = work.begin(texts, advance, settings.n_best, settings.on_long)
        yield _Begun(raws, texts, seen, end)
        n_before += len(raws)
        del raws, texts, end


def _one_ahead(windows: Iterator[_Begun | None]) -> Iterator[_Begun]:
    """Yield each window when the next has begun too, or cannot yet: an engine need not run dry between the two.

    What is wrong with the next is told when this one is written.
    """
    waiting: _Begun | None = None
    try:
        for begun in windows:
            if waiting is not None:
                yield waiting
            waiting = begun
            del begun
    except DataError:
        if waiting is not None:
            yield waiting
        raise
    if waiting is not None:
        yield waiting


@contextmanager
def _naming_lines(n_before: int, settings: StreamSettings) -> Iterator[None]:
    """Say which line of the stream is meant, in a window that stands behind so many lines.

    Raises: DataError in place of LineError.
    """
    try:
        yield
    except LineError as error:
        raise DataError(
            f"{settings.name}:{n_before + error.index + 1}: {error.message}", error.hint
        ) from error


def count_fit_lines(path: Path, wanted: Field) -> int:
    """Count the lines of a file, and see that every one has the field.

    Raises: DataError naming the first that has not, or when the file cannot be read.
    """
    settings = StreamSettings(1, name=str(path), field=wanted)
    number = 0
    with reading(path), open_binary(path) as stream:
        for number, raw in enumerate(stream, start=1):
            _text(raw, number, settings)
    return number


def _text(raw: bytes, number: int, settings: StreamSettings) -> tuple[str, list[int]]:
    """Return what of a line is to be translated, and its number if bytes in it that are no UTF-8 were replaced."""
    line = raw.removesuffix(b"\n")
    field = None if _is_blank(line) else settings.field
    try:
        text, replaced = decode_line(line) if field is None else field.take(line)
    except UnfitLineError as error:
        raise DataError(f"{settings.name}:{number}: {error}", "correct the line, or leave it out") from error
    return text, [number] if replaced else []


def _whole_text(raw: bytes) -> tuple[str, list[int]]:
    """Return a text of several lines but for its last line end, and the numbers of those with bytes that are no UTF-8."""
    decoded = [decode_line(line) for line in raw.removesuffix(b"\n").split(b"\n")]
    invalid = [number for number, (_, replaced) in enumerate(decoded, start=1) if replaced]
    return "\n".join(text for text, _ in decoded), invalid


def _is_blank(line: bytes) -> bool:
    return not line.strip(b" \r")  # tabs are empty columns


def _written(raw: bytes, rendered: str, settings: StreamSettings) -> bytes:
    """Return what is written for a line that was read, with its end."""
    if settings.field is None:
        return _ended(raw, rendered, settings)
    line = raw.removesuffix(b"\n")
    return (line if _is_blank(line) else settings.field.put(line, rendered)) + raw[len(line) :]


def _ended(raw: bytes, rendered: str, settings: StreamSettings) -> bytes:
    """Return what is written for a line, ended as the line was if it is text alone."""
    return rendered.encode() + (b"\n" if raw.endswith(b"\n") or settings.format != "text" else b"")


def render(translation: Translation, source: str, number: int, settings: StreamSettings) -> str:
    """Return what is written for a line of this number: its translation, or rows for a table, or a JSON object.

    A table has a row for each hypothesis, with the line's number and the rank in the list when several are wanted.
    """
    if settings.format == "text":
        return translation.text
    if settings.format == "tsv":
        ranked = enumerate(translation.hypotheses, start=1)
        rows = [
            [
                found.text.replace("\t", " "),
                f"{found.score:.4f}",
                *([str(number), str(rank)] if settings.n_best > 1 else []),
            ]
            for rank, found in ranked
        ]
        return "\n".join(map("\t".join, rows))
    hypotheses = [
        {
            "rank": rank,
            "text": found.text,
            "score": round(found.score, 6),
            "log_prob": round(found.log_prob, 6),
        }
        for rank, found in enumerate(translation.hypotheses, start=1)
    ]
    whole = {
        "source": source,
        "translation": translation.text,
        "n_parts": translation.n_parts,
        "hypotheses": hypotheses,
    }
    return json.dumps(whole, ensure_ascii=False)


def render_scored(scored: ScoredTarget, form: Format) -> str:
    """Return what is written for a given translation: its score; score, tab, log-probability; or all as JSON."""
    if form == "text":
        return f"{scored.score:.6f}"
    if form == "tsv":
        return f"{scored.score:.6f}\t{scored.log_prob:.6f}"
    whole = {
        "score": round(scored.score, 6),
        "log_prob": round(scored.log_prob, 6),
        "pieces": list(scored.pieces),
        "piece_log_probs": [round(log_prob, 6) for log_prob in scored.piece_log_probs],
    }
    return json.dumps(whole, ensure_ascii=False)


def _windows(source: BinaryIO, settings: StreamSettings) -> Iterator[list[bytes]]:
    """Yield the lines, ends included, so many at a time; from whoever is still writing, what is there by now.

    An empty window comes before whatever may have to wait for more to be written.
    """
    if settings.whole:
        with reading(Path(settings.name)):
            text = source.read()
        if text:
            yield [text]
        return
    waits = _may_wait(source)
    lines = _live_lines(source) if waits and CAN_ASK_PIPES else source
    window: list[bytes] = []
    size = 0
    with reading(Path(settings.name)):
        for raw in lines:
            if raw:
                window.append(raw)
                size += len(raw)
            full = len(window) >= settings.window_lines or size >= settings.window_bytes
            if window and (not raw or full):
                yield window
                window, size = [], 0
                if waits and not CAN_ASK_PIPES:
                    yield []
            if not raw:
                yield []
    if window:
        yield window


def _may_wait(source: BinaryIO) -> bool:
    """Tell whether reading may have to wait for somebody: a pipe, a socket, a terminal."""
    try:
        mode = os.fstat(source.fileno()).st_mode
    except (OSError, ValueError):  # no file of the system: bytes in memory, a decompressor
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)


def _live_lines(source: BinaryIO) -> Iterator[bytes]:
    """Yield lines as they come, and an empty one whenever the next has yet to be written."""
    descriptor = source.fileno()
    begun: list[bytes] = []  # of the line that has no end yet
    while chunk := os.read(descriptor, _CHUNK_BYTES):
        *whole, rest = chunk.split(b"\n")
        for part in whole:
            yield b"".join((*begun, part, b"\n"))
            begun.clear()
        begun.append(rest)
        if not select.select([descriptor], [], [], 0)[0]:
            yield b""
    if any(begun):
        yield b"".join(begun)
