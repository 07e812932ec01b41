"""Running text as one stream of ids on disk, read through a memory map so that its size costs no memory.

A folder holds `text.ids`, little-endian without a header, and `meta.json`, which is written last: size and type,
compared with the file when it is opened.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tfcli.corpus.shards import DAMAGED_HINT, id_dtype, mapped
from tfcli.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

FORMAT_VERSION = 1
IDS_FILE = "text.ids"


class TextIds:
    """The ids of running text, one after the other, in no place interrupted by a mark; read in blocks of `context`."""

    def __init__(self, ids: NDArray[Any], context: int) -> None:
        self.ids = ids
        self.context = context

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def open(cls, folder: Path, context: int) -> Self:
        """Map the stream in a folder.

        Raises: CheckpointError when a file is missing or has another size than when it was written.
        """
        try:
            meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
            if meta["format"] != FORMAT_VERSION or meta["dtype"] not in ("<u2", "<u4"):
                raise CheckpointError(
                    f"{folder}: encoded text of format {meta['format']}, type {meta['dtype']}, expected format "
                    f"{FORMAT_VERSION}",
                    DAMAGED_HINT,
                )
            return cls(mapped(folder / IDS_FILE, np.dtype(meta["dtype"]), int(meta["pieces"])), context)
        except FileNotFoundError as error:
            raise CheckpointError(
                f"{folder}: no complete encoded text, {error.filename} is missing", DAMAGED_HINT
            ) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{folder}: damaged encoded text ({error})", DAMAGED_HINT) from error


def write_stream(folder: Path, parts: Iterable[NDArray[Any]], vocab_size: int) -> int:
    """Write ids part by part into a folder, and return how many; left early, there is no `meta.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "meta.json").unlink(missing_ok=True)
    dtype, pieces = id_dtype(vocab_size), 0
    with (folder / IDS_FILE).open("wb") as file:
        for part in parts:
            file.write(part.astype(dtype, copy=False).data)
            pieces += len(part)
        file.flush()
        os.fsync(file.fileno())
    with (folder / "meta.json").open("w", encoding="utf-8") as file_of_meta:
        json.dump({"format": FORMAT_VERSION, "pieces": pieces, "dtype": dtype.str}, file_of_meta, indent=2)
        file_of_meta.flush()
        os.fsync(file_of_meta.fileno())
    return pieces
