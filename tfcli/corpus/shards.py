"""An encoded corpus on disk, read through memory maps so that its size costs no memory.

A folder holds, for each side, `SIDE.ids` (the pieces of all sentences one after the other), `SIDE.offsets`
(int64, where each sentence starts, and the end of the last), `SIDE.lengths` (int32), all little-endian without
a header, and `meta.json`, which is written last: sizes and types, compared with the files when it is opened.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import numpy as np

from tfcli.errors import CheckpointError
from tfcli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

FORMAT_VERSION = 1
SIDES = ("src", "tgt")
_LENGTH = np.dtype("<i4")
_OFFSET = np.dtype("<i8")
DAMAGED_HINT = "delete the run folder's corpus/ and run again: it is rebuilt from the text"


def id_dtype(vocab_size: int) -> np.dtype[Any]:
    """Return the smallest type that holds every piece id of a vocabulary."""
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")


@dataclass(frozen=True)
class IdBlock:
    """Consecutive sentences of one side: their ids one after the other, and their lengths, end mark included."""

    ids: NDArray[Any]
    lengths: NDArray[np.int32]

    @classmethod
    def of(cls, sentences: Sequence[Sequence[int]], dtype: np.dtype[Any]) -> Self:
        """Pack sentences."""
        lengths = np.fromiter(map(len, sentences), dtype=_LENGTH, count=len(sentences))
        flat = chain.from_iterable(sentences)
        return cls(np.fromiter(flat, dtype=dtype, count=int(lengths.sum())), lengths)

    @classmethod
    def joined(cls, blocks: Sequence[IdBlock]) -> Self:
        """Return the sentences of several blocks, of which there is at least one, as a single block."""
        ids, lengths = zip(*((block.ids, block.lengths) for block in blocks), strict=True)
        return cls(np.concatenate(ids), np.concatenate(lengths))

    def cut(self, longest: int) -> tuple[IdBlock, int]:
        """Return the sentences with at most so many ids, the last of which stays the end mark, and how many were cut."""
        too_long = self.lengths > longest
        if not too_long.any():
            return self, 0
        ends = np.cumsum(self.lengths, dtype=np.int64)
        place = np.arange(len(self.ids)) - np.repeat(ends - self.lengths, self.lengths)
        last = np.repeat(self.lengths, self.lengths) - 1
        kept = (place < longest - 1) | (place == last)
        return IdBlock(self.ids[kept], np.minimum(self.lengths, longest).astype(np.int32)), int(
            too_long.sum()
        )

    def select(self, chosen: NDArray[np.bool_]) -> IdBlock:
        """Return the sentences that are chosen. Shapes: chosen (sentences,)."""
        return IdBlock(self.ids[np.repeat(chosen, self.lengths)], self.lengths[chosen])


class _ColumnWriter:
    """The three files of one side, written as blocks come."""

    def __init__(self, folder: Path, side: str, vocab_size: int) -> None:
        self.dtype = id_dtype(vocab_size)
        self.tokens = 0
        names = [folder / f"{side}.{kind}" for kind in ("ids", "offsets", "lengths")]
        self.files: list[BinaryIO] = [name.open("wb") for name in names]
        self.files[1].write(np.zeros(1, dtype=_OFFSET).tobytes())

    def write(self, block: IdBlock) -> None:
        lengths = block.lengths.astype(np.int64)
        self.files[0].write(block.ids.astype(self.dtype, copy=False).data)
        self.files[1].write((self.tokens + np.cumsum(lengths)).astype(_OFFSET, copy=False).data)
        self.files[2].write(block.lengths.astype(_LENGTH, copy=False).data)
        self.tokens += int(lengths.sum())

    def close(self, *, sync: bool) -> None:
        for file in self.files:
            with file:
                if sync:
                    file.flush()
                    os.fsync(file.fileno())


class ShardWriter:
    """Write an encoded corpus into a folder, block by block; left early, it leaves no `meta.json`."""

    def __init__(self, folder: Path, src_vocab_size: int, tgt_vocab_size: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._meta = folder / "meta.json"
        self._meta.unlink(missing_ok=True)
        self._src = _ColumnWriter(folder, "src", src_vocab_size)
        self._tgt = _ColumnWriter(folder, "tgt", tgt_vocab_size)
        self.pairs = 0

    def append(self, src: IdBlock, tgt: IdBlock) -> None:
        """Write a block of pairs."""
        if len(src.lengths) != len(tgt.lengths):
            raise ValueError(
                f"{len(src.lengths)} source sentences against {len(tgt.lengths)} target sentences"
            )
        self._src.write(src)
        self._tgt.write(tgt)
        self.pairs += len(src.lengths)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for column in (self._src, self._tgt):
            column.close(sync=kind is None)
        if kind is not None:
            return
        meta = {"format": FORMAT_VERSION, "pairs": self.pairs}
        columns = {
            side: {"dtype": column.dtype.str, "tokens": column.tokens}
            for side, column in zip(SIDES, (self._src, self._tgt), strict=True)
        }
        with self._meta.open("w", encoding="utf-8") as file:
            json.dump(meta | columns, file, indent=2)
            file.flush()
            os.fsync(file.fileno())


@dataclass(frozen=True)
class IdColumn:
    """One side of an encoded corpus: sentence i is `ids[offsets[i]:offsets[i + 1]]`."""

    ids: NDArray[Any]
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int32]

    @classmethod
    def of(cls, block: IdBlock) -> Self:
        """Hold a block of sentences in memory."""
        return cls(block.ids, np.concatenate(([0], np.cumsum(block.lengths, dtype=np.int64))), block.lengths)

    def __getitem__(self, index: int) -> NDArray[Any]:
        return self.ids[self.offsets[index] : self.offsets[index + 1]]

    def padded(self, indices: NDArray[np.int64], pad_id: int) -> NDArray[np.int64]:
        """Return the sentences as rows, padded on the right.

        Shapes: indices (B,) -> (B, S) with S the longest of them.
        """
        lengths = self.lengths[indices].astype(np.int64)  # (B,)
        columns = np.arange(int(lengths.max(initial=0)))  # (S,)
        is_token = columns < lengths[:, None]  # (B, S)
        rows = np.full(is_token.shape, pad_id, dtype=np.int64)
        rows[is_token] = self.ids[(self.offsets[indices][:, None] + columns)[is_token]]
        return rows


class ParallelIds:
    """Encoded sentence pairs, memory-mapped; every sentence ends with the end mark and has no begin mark."""

    def __init__(self, src: IdColumn, tgt: IdColumn) -> None:
        if len(src.lengths) != len(tgt.lengths):
            raise ValueError(
                f"{len(src.lengths)} source sentences against {len(tgt.lengths)} target sentences"
            )
        self.src_column = src
        self.tgt_column = tgt

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Map the corpus in a folder.

        Raises: CheckpointError when a file is missing or has another size than when it was written.
        """
        try:
            meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
            if meta["format"] != FORMAT_VERSION:
                raise CheckpointError(
                    f"{folder}: encoded corpus of format {meta['format']}, expected {FORMAT_VERSION}",
                    DAMAGED_HINT,
                )
            src, tgt = (_open_column(folder, side, meta["pairs"], meta[side]) for side in SIDES)
        except FileNotFoundError as error:
            raise CheckpointError(
                f"{folder}: no complete encoded corpus, {error.filename} is missing", DAMAGED_HINT
            ) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{folder}: damaged encoded corpus ({error})", DAMAGED_HINT) from error
        return cls(src, tgt)

    def __len__(self) -> int:
        return len(self.src_column.lengths)

    def src(self, index: int) -> NDArray[Any]:
        """Return the source ids of a pair, end mark included."""
        return self.src_column[index]

    def tgt(self, index: int) -> NDArray[Any]:
        """Return the target ids of a pair, end mark included."""
        return self.tgt_column[index]

    @property
    def src_lengths(self) -> NDArray[np.int32]:
        """Source lengths of all pairs, end mark included."""
        return self.src_column.lengths

    @property
    def tgt_lengths(self) -> NDArray[np.int32]:
        """Target lengths of all pairs, end mark included."""
        return self.tgt_column.lengths


def _open_column(folder: Path, side: str, pairs: int, meta: dict[str, Any]) -> IdColumn:
    if meta["dtype"] not in ("<u2", "<u4"):
        raise ValueError(f"unknown type {meta['dtype']!r}")
    ids = mapped(folder / f"{side}.ids", np.dtype(meta["dtype"]), meta["tokens"])
    offsets = mapped(folder / f"{side}.offsets", _OFFSET, pairs + 1)
    lengths = mapped(folder / f"{side}.lengths", _LENGTH, pairs)
    if offsets[0] != 0 or offsets[-1] != meta["tokens"]:
        raise ValueError(f"{side}.offsets does not span {side}.ids")
    return IdColumn(ids, offsets, lengths)


def mapped(path: Path, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    """Map a file of `count` numbers.

    Raises: ValueError when it has another size.
    """
    expected, actual = count * dtype.itemsize, path.stat().st_size
    if actual != expected:
        raise ValueError(f"{path.name} has {counted(actual, 'byte')}, expected {expected:,}")
    if count == 0:
        return np.zeros(0, dtype=dtype)  # an empty file cannot be mapped
    # A plain array over the map: slicing np.memmap itself costs several times as much.
    return np.asarray(np.memmap(path, dtype=dtype, mode="r"))
