"""A run folder belongs to one training at a time: a second one would write into the checkpoints of the first.

The system lets go of the folder when the process ends, however that ends.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from tfcli.errors import CheckpointError

try:
    import fcntl
except ImportError:  # Windows, where nothing is locked
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOLD = ".training"


def hold(run_dir: Path, warn: Callable[[str], None]) -> IO[bytes]:
    """Hold a run folder for as long as the file that is returned is open.

    Raises: CheckpointError when another training holds it, or when it cannot be written.
    """
    try:
        file = (run_dir / HOLD).open("ab")
    except OSError as error:
        raise CheckpointError(
            f"{error.filename}: cannot be written: {error.strerror or error}",
            "free some space or mend the folder's permissions, then run again",
        ) from error
    if fcntl is None:
        return file
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise CheckpointError(
            f"{run_dir}: another process trains in this folder",
            f"`tfcli info {run_dir}` shows how far it is; wait for it, stop it, or give another --out",
        ) from None
    except OSError as error:  # as on some network file systems
        warn(f"{run_dir} cannot be locked ({error.strerror}): let no other process train in it")
    return file
