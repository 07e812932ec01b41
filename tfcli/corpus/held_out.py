"""Validation pairs taken out of the training corpora, for who has no validation files.

A hash of its source decides whether a pair is held out. So the choice does not depend on the order of the corpus, all
pairs with the same source go the same way, and the same recipe makes the same split anywhere. The tokenizer alone
sees the held-out text.

    training files -> hash of each source -> below the threshold?  held-out.src, held-out.tgt  |  stays in training
"""

from __future__ import annotations

import heapq
import sys
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tfcli.corpus.fingerprint import read_record, write_record
from tfcli.corpus.workers import in_order, processes_for
from tfcli.errors import DataError
from tfcli.recipe.tasks import TASKS
from tfcli.text.cleaning import HoldOut
from tfcli.text.files import CorpusFiles
from tfcli.text.pairs import lines_of, text_blocks
from tfcli.text.whole_file import whole_file
from tfcli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tfcli.recipe.schema import Recipe
    from tfcli.recipe.tasks import Task
    from tfcli.text.pairs import TextBlock

    _Candidate = tuple[int, tuple[str, str]]

CHARACTERS_A_PIECE = 4  # on average, of a trained vocabulary; a longer side would be dropped as too long
FORMAT_VERSION = 2


@dataclass(frozen=True)
class HeldOut:
    """Where the held-out pairs lie as text, how many they are, and what keeps them out of training."""

    files: CorpusFiles
    count: int
    rule: HoldOut


def hold_out(
    recipe: Recipe,
    corpora: Sequence[CorpusFiles],
    digests: list[dict[str, str]],
    lines: int,
    folder: Path,
    report: Callable[[str], None],
) -> HeldOut:
    """Write the pairs that `data.valid` holds out into `folder`, or take what is there already.

    `digests` are those of the corpora, which have so many lines in all.

    Raises: DataError when the corpora have too few pairs.
    """
    wanted = recipe.data.valid
    made_from = {
        "format": FORMAT_VERSION,
        "files": digests,
        "pairs": wanted.pairs,
        "fraction": wanted.fraction,
        "max_pieces": recipe.data.max_pieces,
        **({"fields": asdict(corpora[0].fields)} if corpora[0].fields is not None else {}),
    }
    files = CorpusFiles(src=folder / "held-out.src", tgt=folder / "held-out.tgt", tsv=None)
    record = read_record(folder / "held-out.json") or {}
    if record.get("made_from") != made_from or not all(
        path and path.is_file() for path in (files.src, files.tgt)
    ):
        (folder / "held-out.json").unlink(
            missing_ok=True
        )  # until the files are whole, nothing vouches for them
        record = {"made_from": made_from, **_split(recipe, corpora, lines, files)}
        write_record(folder / "held-out.json", record)
        entries = counted(int(record["count"]), TASKS[recipe.task].entry)
        report(f"held out for validation: {entries} of the training text")
    return HeldOut(files, int(record["count"]), HoldOut(int(record["threshold"])))


def _split(recipe: Recipe, corpora: Sequence[CorpusFiles], lines: int, files: CorpusFiles) -> dict[str, Any]:
    wanted = recipe.data.valid
    max_characters = CHARACTERS_A_PIECE * recipe.data.max_pieces
    if recipe.task == "classification":
        max_characters = sys.maxsize  # a long text is cut, and none the worse for it
    processes = processes_for(lines)
    if wanted.pairs is not None:
        work = Smallest(max_characters, wanted.pairs)
        chosen, threshold = _smallest(corpora, work, lines, processes, TASKS[recipe.task])
    else:
        threshold = int((wanted.fraction or 0.0) * 2**64)
        chosen = _below(corpora, Below(max_characters, threshold), processes)
    return {"threshold": threshold, "count": _write(chosen, files, wanted.fraction)}


@dataclass(frozen=True)
class Below:
    """Find the pairs of a block whose sources' hashes are below a threshold, the first usable one of each hash."""

    max_characters: int
    threshold: int

    def __call__(self, block: TextBlock) -> list[_Candidate]:
        """Return them in the order of the block."""
        src, tgt = map(lines_of, block.sides())
        numbers = HoldOut.numbers(src)
        found: dict[int, tuple[str, str]] = {}
        for i in np.flatnonzero(HoldOut(self.threshold).below(numbers)):
            if _usable(src[i], tgt[i], self.max_characters):
                found.setdefault(int(numbers[i]), (src[i], tgt[i]))
        return list(found.items())


@dataclass
class Smallest:
    """Find the pairs of a block with the smallest hashes, the first usable one of each hash.

    What it found in other blocks, in whatever order they came, bounds what can be among the smallest of all.
    """

    max_characters: int
    n_pairs: int
    _known: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, dtype=np.uint64))

    def __call__(self, block: TextBlock) -> list[_Candidate]:
        """Return them, the smallest hash first."""
        src, tgt = map(lines_of, block.sides())
        numbers = HoldOut.numbers(src)
        order = np.argsort(numbers, kind="stable")
        if len(self._known) == self.n_pairs:
            order = order[
                numbers[order] <= self._known[-1]
            ]  # equal: another block may have had it, but later
        found: dict[int, tuple[str, str]] = {}
        for i in order:
            if len(found) == self.n_pairs:
                break
            if _usable(src[i], tgt[i], self.max_characters):
                found.setdefault(int(numbers[i]), (src[i], tgt[i]))
        new = np.fromiter(found, np.uint64, len(found))
        self._known = np.union1d(self._known, new)[: self.n_pairs]
        return list(found.items())


def _usable(src: str, tgt: str, max_characters: int) -> bool:
    """Say whether a pair can validate: text on both sides, and none so long that cleaning would drop it."""
    return max(len(src), len(tgt)) <= max_characters and bool(src.strip()) and bool(tgt.strip())


def _smallest(
    corpora: Sequence[CorpusFiles], work: Smallest, lines: int, processes: int, task: Task
) -> tuple[Iterator[tuple[str, str]], int]:
    """Return the pairs with the smallest hashes, in the order of these, and the threshold just above them."""
    n_pairs = work.n_pairs
    heap: list[tuple[int, tuple[str, str]]] = []  # of negated hashes: the largest of the chosen is on top
    chosen: set[int] = set()
    with closing(in_order(work, text_blocks(corpora), processes)) as results:
        for candidates in results:
            for number, pair in candidates:
                if len(heap) == n_pairs and number > -heap[0][0]:
                    break
                if number in chosen:
                    continue
                chosen.add(number)
                if len(heap) < n_pairs:
                    heapq.heappush(heap, (-number, pair))
                else:
                    chosen.discard(-heapq.heapreplace(heap, (-number, pair))[0])
    if len(heap) < n_pairs or 2 * n_pairs > lines:
        apart = "different" if task.entry == "text" else "with sources of their own"
        raise DataError(
            f"data.valid: {counted(n_pairs, task.entry)} to be held out, but the training text has {lines:,} in all"
            + (f", {len(heap):,} of them usable and {apart}" if len(heap) < n_pairs else ""),
            "hold out at most half of the text, or give validation files",
        )
    heap.sort(reverse=True)
    return (pair for _, pair in heap), -heap[-1][0] + 1


def _below(corpora: Sequence[CorpusFiles], work: Below, processes: int) -> Iterator[tuple[str, str]]:
    """Yield a pair for each source whose hash is below the threshold."""
    seen: set[int] = set()
    with closing(in_order(work, text_blocks(corpora), processes)) as results:
        for candidates in results:
            for number, pair in candidates:
                if number not in seen:
                    seen.add(number)
                    yield pair


def _write(pairs: Iterator[tuple[str, str]], files: CorpusFiles, fraction: float | None) -> int:
    if files.src is None or files.tgt is None:
        raise ValueError("held-out pairs go to two files")
    count = 0
    with whole_file(files.src) as src_out, whole_file(files.tgt) as tgt_out:
        for src, tgt in pairs:
            src_out.write(src.encode() + b"\n")
            tgt_out.write(tgt.encode() + b"\n")
            count += 1
        if not count:
            raise DataError(
                f"data.valid: a fraction of {fraction} of the training text holds out nothing",
                "raise data.valid.fraction, or give validation files",
            )
    return count
