"""TensorBoard's events, where TensorBoard is installed: the same numbers as in `metrics.jsonl`.

torch's own writer hands them to a thread, whose errors, as on a full disk, come late and with a traceback; these rows
are so few that they are written at once.
"""

from __future__ import annotations

import importlib.util
import io
import os
import socket
import time
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_numbers = count()  # a name of its own for each file of a process


class Board:
    """Writes rows of numbers for TensorBoard into a file of its own; OSError when they cannot be written."""

    def __init__(self, folder: Path, step: int) -> None:
        """Open a file for what comes behind `step`; TensorBoard then hides what other files say of later steps."""
        from tensorboard.compat.proto.event_pb2 import SessionLog

        folder.mkdir(exist_ok=True)
        place = f"{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(_numbers)}"
        self._file = (folder / f"events.out.tfevents.{place}").open("wb", buffering=0)
        self._write(file_version="brain.Event:2")
        self._write(step=step + 1, session_log=SessionLog(status=SessionLog.START))

    def add(self, kind: str, step: int, values: dict[str, float]) -> None:
        """Write one row."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        scalars = [Summary.Value(tag=f"{kind}/{name}", simple_value=value) for name, value in values.items()]
        self._write(step=step, summary=Summary(value=scalars))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, **fields: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        record = io.BytesIO()
        RecordWriter(record).write(Event(wall_time=time.time(), **fields).SerializeToString())
        rest = record.getvalue()
        while rest:
            rest = rest[self._file.write(rest) :]


def has_tensorboard() -> bool:
    """Tell whether TensorBoard is installed."""
    return importlib.util.find_spec("tensorboard") is not None
