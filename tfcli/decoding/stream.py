"""Translate a stream of lines window by window: memory stays bounded, order stays, lines out = lines in."""

from __future__ import annotations

import json
import os
import select
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from tfcli.text.lines import UTF16_MARKS, decode_line, reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tfcli.decoding.translator import Translation, Translator

Format = Literal["text", "tsv", "jsonl"]
SHOWN_LINES = 10
_CHUNK_BYTES = 1 << 16


@dataclass
class StreamCounts:
    """What went through a stream; line numbers count from 1."""

    lines: int = 0
    written: int = 0
    split: int = 0
    invalid: int = 0
    utf16: bool = False  # what came begins as UTF-16 does
    first_invalid: list[int] = field(default_factory=list)  # at most SHOWN_LINES of them


@dataclass(frozen=True)
class StreamSettings:
    """How a stream is cut and written; `name` is what errors in reading call it."""

    window_lines: int
    format: Format = "text"
    n_best: int = 1
    name: str = "standard input"


def translate_stream(
    translator: Translator,
    source: BinaryIO,
    sink: BinaryIO,
    settings: StreamSettings,
    advance: Callable[[int], None] | None = None,
) -> StreamCounts:
    r"""Read lines (ended by `\n` alone) until the end, write as many; flushed after each window.

    A final line without `\n` stays without when its translation alone is written. Bytes that are no UTF-8 are
    replaced, and their lines counted.

    Raises: DataError when the source cannot be read to its end.
    """
    counts = StreamCounts()
    for window in _windows(source, settings):
        lines = []
        for raw in window:
            counts.lines += 1
            line, replaced = decode_line(raw.removesuffix(b"\n"))
            if replaced:
                counts.invalid += 1
                counts.utf16 |= counts.lines == 1 and raw.startswith(UTF16_MARKS)
                if len(counts.first_invalid) < SHOWN_LINES:
                    counts.first_invalid.append(counts.lines)
            lines.append(line)
        translations = translator.translate(lines, advance, settings.n_best)
        for raw, translation in zip(window, translations, strict=True):
            counts.split += translation.n_parts > 1
            end = b"\n" if raw.endswith(b"\n") or settings.format != "text" else b""
            sink.write(render(translation, settings.format).encode("utf-8") + end)
            counts.written += 1
        sink.flush()
    return counts


def render(translation: Translation, form: Format) -> str:
    """Return a translation as one line: the text; text, tab, score; or a JSON object with all hypotheses."""
    if form == "text":
        return translation.text
    if form == "tsv":
        return f"{translation.text.replace(chr(9), ' ')}\t{translation.score:.4f}"
    hypotheses = [
        {"text": found.text, "score": round(found.score, 6), "log_prob": round(found.log_prob, 6)}
        for found in translation.hypotheses
    ]
    return json.dumps({"translation": translation.text, "hypotheses": hypotheses}, ensure_ascii=False)


def _windows(source: BinaryIO, settings: StreamSettings) -> Iterator[list[bytes]]:
    """Yield the lines, ends included, so many at a time; from whoever is still writing, what is there by now."""
    lines = _live_lines(source) if _is_live(source) else source
    window: list[bytes] = []
    with reading(Path(settings.name)):
        for raw in lines:
            if raw:
                window.append(raw)
            if window and (not raw or len(window) >= settings.window_lines):
                yield window
                window = []
    if window:
        yield window


def _is_live(source: BinaryIO) -> bool:
    """Tell whether reading may have to wait for somebody: a pipe, a socket, a terminal."""
    try:
        mode = os.fstat(source.fileno()).st_mode
    except (OSError, ValueError):  # no file of the system: bytes in memory, a decompressor
        return False
    return os.name == "posix" and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode))


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
