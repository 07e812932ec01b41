"""Whether a line's translation depends on its batch: a test set in many batch sizes and orders, from a pipe and from a file.

    benchmarks/batch_invariance.py runs/multi30k-en-de multi30k/test_2016_flickr.en.gz

Every translation must come out with the same bytes as in the first setting, in fp32. Matrix products round differently with
their shape, so two hypotheses whose scores are nearly equal may change places: a line that differs counts as a tie when
the model, asked anew by forced decoding, gives both translations scores that differ by less than 1e-5. Any other difference is
a defect, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from tfcli.decoding.loading import load_translator
from tfcli.decoding.stream import StreamSettings, translate_stream
from tfcli.text.lines import read_raw_lines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tfcli.decoding.translator import Translator

TIE = 1e-5
WINDOW_LINES = 2000  # as `tfcli translate` has it
BATCHES: dict[str, dict[str, object]] = {
    "1 sentence": {"batch_size": 1},
    "7 sentences": {"batch_size": 7},
    "64 sentences": {"batch_size": 64},
    "4,096 tokens": {"batch_tokens": 4096},
    "6,144 tokens": {"batch_tokens": 6144},
}


@dataclass(frozen=True)
class Outcome:
    """How the lines of a setting compare with the first: all, those that differ, those of them that tie."""

    lines: int
    different: int
    ties: int

    @property
    def defects(self) -> int:
        """Lines that differ without a tie."""
        return self.different - self.ties


def translate_file(translator: Translator, lines: Sequence[bytes]) -> list[bytes]:
    """Translate through a file."""
    with tempfile.TemporaryFile() as source:
        source.writelines(line + b"\n" for line in lines)
        source.seek(0)
        return _translate(translator, source)


def translate_pipe(translator: Translator, lines: Sequence[bytes]) -> list[bytes]:
    """Translate through a pipe, which gives as many lines at a time as are there."""
    reading_end, writing_end = os.pipe()

    def write() -> None:
        with os.fdopen(writing_end, "wb") as sink:
            sink.writelines(line + b"\n" for line in lines)

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(reading_end, "rb") as source:
        found = _translate(translator, source)
    writer.join()
    return found


def _translate(translator: Translator, source: BinaryIO) -> list[bytes]:
    windows = translate_stream(translator, source, StreamSettings(WINDOW_LINES))
    return b"".join(window.given for window in windows).split(b"\n")[:-1]


def compare(
    translator: Translator, sources: Sequence[bytes], first: Sequence[bytes], now: Sequence[bytes]
) -> Outcome:
    """Count the lines that differ, and those of them whose two translations the model finds equally good."""
    different = [i for i in range(len(sources)) if first[i] != now[i]]
    pairs = [(sources[i].decode(), found[i].decode()) for i in different for found in (first, now)]
    scores = [scored.score for scored in translator.score(pairs)]
    ties = sum(abs(one - two) < TIE for one, two in zip(scores[::2], scores[1::2], strict=True))
    return Outcome(len(sources), len(different), ties)


def main() -> int:
    """Print a row for each setting; return 1 when a line differs that is no tie."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="a run folder or a model folder")
    parser.add_argument("source", type=Path, help="the source side of a test set")
    parser.add_argument("--beam-size", type=int, default=None)
    parser.add_argument("--lines", type=int, default=None, help="only the first so many")
    parser.add_argument("--seed", type=int, default=1, help="of the shuffled order")
    options = parser.parse_args()
    lines = list(read_raw_lines(options.source))[: options.lines]
    order = list(range(len(lines)))
    random.Random(options.seed).shuffle(order)

    def load(changes: Mapping[str, object]) -> Translator:
        return load_translator(
            options.run,
            engine="torch",
            device="cpu",
            precision="fp32",
            changes={"beam_size": options.beam_size, **changes},
        )

    first: list[bytes] | None = None
    defects = 0
    print(f"{'batches':14} {'order':9} {'from':5} {'lines':>6} {'differ':>7} {'ties':>5} {'defects':>8}")
    for name, changes in BATCHES.items():
        translator = load(changes)
        for shuffled, pipe in ((False, False), (False, True), (True, False)):
            given = [lines[i] for i in order] if shuffled else lines
            found = (translate_pipe if pipe else translate_file)(translator, given)
            if shuffled:
                found = [text for _, text in sorted(zip(order, found, strict=True))]
            first = first or found
            outcome = compare(translator, lines, first, found)
            defects += outcome.defects
            print(
                f"{name:14} {'shuffled' if shuffled else 'as it is':9} {'pipe' if pipe else 'file':5} "
                f"{outcome.lines:6,} {outcome.different:7,} {outcome.ties:5,} {outcome.defects:8,}",
                flush=True,
            )
    return int(defects > 0)


if __name__ == "__main__":
    raise SystemExit(main())
