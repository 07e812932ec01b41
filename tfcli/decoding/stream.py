"""Translate a stream of lines window by window: memory stays bounded, order stays, lines out = lines in."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Literal

from tfcli.text.lines import decode_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tfcli.decoding.translator import Translation, Translator

Format = Literal["text", "tsv", "jsonl"]


@dataclass
class StreamCounts:
    """What went through a stream; line numbers count from 1."""

    lines: int = 0
    written: int = 0
    split: int = 0
    invalid_lines: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class StreamSettings:
    """How a stream is cut and written."""

    window_lines: int
    format: Format = "text"
    n_best: int = 1


def translate_stream(
    translator: Translator,
    source: BinaryIO,
    sink: BinaryIO,
    settings: StreamSettings,
    advance: Callable[[int], None] | None = None,
) -> StreamCounts:
    r"""Read lines (ended by `\n` alone) until the end, write as many; flushed after each window.

    A final line without `\n` stays without. Bytes that are no UTF-8 are replaced, and their lines counted.
    """
    counts = StreamCounts()
    for window in _windows(source, settings.window_lines):
        lines = []
        for raw in window:
            counts.lines += 1
            line, replaced = decode_line(raw.removesuffix(b"\n"))
            if replaced:
                counts.invalid_lines.append(counts.lines)
            lines.append(line)
        translations = translator.translate(lines, advance, settings.n_best)
        for raw, translation in zip(window, translations, strict=True):
            counts.split += translation.n_parts > 1
            end = b"\n" if raw.endswith(b"\n") else b""
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


def _windows(source: BinaryIO, window_lines: int) -> Iterator[list[bytes]]:
    window: list[bytes] = []
    for raw in source:
        window.append(raw)
        if len(window) >= window_lines:
            yield window
            window = []
    if window:
        yield window
