"""Validation pairs taken out of the training corpora, for who has no validation files.

A hash of its source decides whether a pair is held out. So the choice does not depend on the order of the corpus, all
pairs with the same source go the same way, and the same recipe makes the same split anywhere. The tokenizer alone
sees the held-out text.

    training files -> hash of each source -> below the threshold?  held-out.src, held-out.tgt  |  stays in training
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tfcli.corpus.fingerprint import read_record, write_record
from tfcli.errors import DataError
from tfcli.text.cleaning import HoldOut
from tfcli.text.files import CorpusFiles
from tfcli.text.pairs import read_pairs
from tfcli.text.whole_file import whole_file
from tfcli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tfcli.recipe.schema import Recipe

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
    folder: Path,
    report: Callable[[str], None],
) -> HeldOut:
    """Write the pairs that `data.valid` holds out into `folder`, or take what is there already.

    Raises: DataError when the corpora have too few pairs.
    """
    wanted = recipe.data.valid
    made_from = {
        "format": FORMAT_VERSION,
        "files": digests,
        "pairs": wanted.pairs,
        "fraction": wanted.fraction,
        "max_pieces": recipe.data.max_pieces,
    }
    files = CorpusFiles(src=folder / "held-out.src", tgt=folder / "held-out.tgt", tsv=None)
    record = read_record(folder / "held-out.json") or {}
    if record.get("made_from") != made_from or not all(
        path and path.is_file() for path in (files.src, files.tgt)
    ):
        (folder / "held-out.json").unlink(
            missing_ok=True
        )  # until the files are whole, nothing vouches for them
        record = {"made_from": made_from, **_split(recipe, corpora, files)}
        write_record(folder / "held-out.json", record)
        n_pairs = counted(int(record["count"]), "pair")
        report(f"held out for validation: {n_pairs} of the training text")
    return HeldOut(files, int(record["count"]), HoldOut(int(record["threshold"])))


def _split(recipe: Recipe, corpora: Sequence[CorpusFiles], files: CorpusFiles) -> dict[str, Any]:
    wanted = recipe.data.valid
    max_characters = CHARACTERS_A_PIECE * recipe.data.max_pieces
    if wanted.pairs is not None:
        chosen, threshold = _smallest(corpora, max_characters, wanted.pairs)
    else:
        threshold = int((wanted.fraction or 0.0) * 2**64)
        chosen = _below(corpora, max_characters, threshold)
    return {"threshold": threshold, "count": _write(chosen, files, wanted.fraction)}


def _usable(src: str, tgt: str, max_characters: int) -> bool:
    """Say whether a pair can validate: text on both sides, and none so long that cleaning would drop it."""
    return max(len(src), len(tgt)) <= max_characters and bool(src.strip()) and bool(tgt.strip())


def _smallest(
    corpora: Sequence[CorpusFiles], max_characters: int, n_pairs: int
) -> tuple[Iterator[tuple[str, str]], int]:
    """Return the pairs with the smallest hashes, in the order of these, and the threshold just above them."""
    heap: list[tuple[int, tuple[str, str]]] = []  # of negated hashes: the largest of the chosen is on top
    chosen: set[int] = set()
    total = 0
    for files in corpora:
        for pair in read_pairs(files):
            total += 1
            number = HoldOut.number(pair[0])
            if len(heap) == n_pairs and number > -heap[0][0]:
                continue
            if number in chosen or not _usable(*pair, max_characters):
                continue
            chosen.add(number)
            if len(heap) < n_pairs:
                heapq.heappush(heap, (-number, pair))
            else:
                chosen.discard(-heapq.heapreplace(heap, (-number, pair))[0])
    if len(heap) < n_pairs or 2 * n_pairs > total:
        raise DataError(
            f"data.valid: {counted(n_pairs, 'pair')} to be held out, but the training text has {total:,} in all"
            + (
                f", {len(heap):,} of them usable and with sources of their own" if len(heap) < n_pairs else ""
            ),
            "hold out at most half of the text, or give validation files",
        )
    heap.sort(reverse=True)
    return (pair for _, pair in heap), -heap[-1][0] + 1


def _below(corpora: Sequence[CorpusFiles], max_characters: int, threshold: int) -> Iterator[tuple[str, str]]:
    """Yield a pair for each source whose hash is below the threshold."""
    seen: set[int] = set()
    for files in corpora:
        for pair in read_pairs(files):
            number = HoldOut.number(pair[0])
            if number < threshold and number not in seen and _usable(*pair, max_characters):
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
                f"data.valid: a fraction of {fraction} of the training text holds out no pair",
                "raise data.valid.fraction, or give validation files",
            )
    return count
