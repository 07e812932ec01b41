"""One process after the other: whoever prepares a run's corpus waits for another that is at it.

The second then mostly finds everything done. The system lets go of the lock when its process ends, however that ends.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from tfcli.errors import CheckpointError
from tfcli.text.locking import lock, open_plain, refuse_no_plain_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LOCK = ".lock"


@contextmanager
def turn(folder: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Make the folder, and hold it for the block.

    Raises: OSError when the folder cannot be written; CheckpointError when its lock is no plain file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    try:
        opened = open(path, "ab", opener=open_plain)  # noqa: SIM115  # closed below
    except OSError:
        refuse_no_plain_file(path, CheckpointError)
        raise
    with opened as file:
        try:
            _lock(file, folder, report)
        except OSError as error:  # as on some network file systems
            report(f"warning: {folder} cannot be locked ({error.strerror}): let no other process prepare it")
        yield


def _lock(file: IO[bytes], folder: Path, report: Callable[[str], None]) -> None:
    try:
        lock(file)
    except BlockingIOError:
        report(f"waiting for another process that prepares {folder}")
        lock(file, wait=True)
