"""What a run writes down about itself: `metrics.jsonl` and, where TensorBoard is installed, its events."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tfcli.errors import CheckpointError
from tfcli.text.whole_file import write_whole
from tfcli.training.board import Board, has_tensorboard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Record:
    """Appends rows to `metrics.jsonl`, each with a `step` and a `kind` ("train", "valid" or "average").

    Raises: CheckpointError when a row cannot be written, as on a full disk.
    """

    def __init__(self, run_dir: Path, step: int) -> None:
        """Open the record of a run that stands at `step`; rows of later steps, which a crash undid, are dropped."""
        self._path = run_dir / "metrics.jsonl"
        self._board_dir = run_dir / "tensorboard"
        # whoever comes here has yet to average: a row that says it was done is of an end that a crash cut short
        rows = [row for row in read_rows(self._path) if row["step"] <= step and row["kind"] != "average"]
        with _writing(self._path):
            write_whole(self._path, "".join(json.dumps(row) + "\n" for row in rows))
            # unbuffered: what could not be written once is not tried again when the file is closed
            self._stream = self._path.open("ab", buffering=0)
        with _writing(self._board_dir):
            self._board = Board(self._board_dir, step) if has_tensorboard() else None

    def add(self, kind: str, step: int, values: dict[str, float]) -> None:
        """Write one row."""
        line = (json.dumps({"step": step, "kind": kind, **values}) + "\n").encode()
        with _writing(self._path):
            while line:
                line = line[self._stream.write(line) :]
        if self._board is not None:
            with _writing(self._board_dir):
                self._board.add(kind, step, values)

    def sync(self) -> None:
        """Have all rows reach the disk: a checkpoint counts on those up to its step."""
        with _writing(self._path):
            os.fsync(self._stream.fileno())

    def close(self) -> None:
        """Close what is open."""
        self._stream.close()
        if self._board is not None:
            self._board.close()


class NoRecord:
    """What the other ranks write down: nothing, since the first has it all."""

    def add(self, kind: str, step: int, values: dict[str, float]) -> None:
        """Write nothing."""

    def sync(self) -> None:
        """Write nothing."""

    def close(self) -> None:
        """Close nothing."""


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be written: {error.strerror or error}",
            "free some space or mend the folder's permissions, then run again: it resumes from the last good "
            "checkpoint",
        ) from error


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a `metrics.jsonl`; a last line that a crash cut short is left out."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows
