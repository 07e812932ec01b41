"""A run folder belongs to one training at a time: a second one would write into the checkpoints of the first.

The system lets go of the folder when the process ends, however that ends. The file names the holder's host; a training
that ends by itself writes that it has let go. So others can tell whether a run goes on.
"""

from __future__ import annotations

import json
import platform
import time
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

from tfcli.errors import CheckpointError
from tfcli.text.locking import CAN_LOCK, lock, open_plain, refuse_no_plain_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

HOLD = ".training"
LET_GO = {"let_go": True}
MOST_BYTES = 1000  # more than the longest name of a host takes
LOOK_SECONDS = 0.2  # many times what `is_held` takes, which holds the folder for that long


@contextmanager
def hold(run_dir: Path, warn: Callable[[str], None]) -> Iterator[None]:
    """Hold a run folder while the block runs.

    Raises: CheckpointError when another training holds it, or when it cannot be written.
    """
    path = run_dir / HOLD
    try:
        file = open(path, "ab", buffering=0, opener=open_plain)  # noqa: SIM115  # closed below
    except OSError as error:
        refuse_no_plain_file(path, CheckpointError)
        raise CheckpointError(
            f"{path}: cannot be written: {error.strerror or error}",
            "free some space or mend the folder's permissions, then run again",
        ) from error
    with file:
        _lock(file, run_dir, warn)
        _write(file, {"host": platform.node()})
        try:
            yield
        finally:
            _write(file, LET_GO)


def is_held(run_dir: Path) -> bool | None:
    """Tell whether a training holds a run folder; None where that cannot be known, as of one on another machine."""
    if not CAN_LOCK:  # two may train there, of which the first that ends says that it has let go
        return None
    try:
        with open(run_dir / HOLD, "rb", opener=open_plain) as file:
            content = file.read(MOST_BYTES)
            is_locked = _look(file)
    except OSError:  # never held, or not ours to read
        return None
    if is_locked:
        return True
    try:
        holder = json.loads(content)
    except (ValueError, RecursionError):
        return None
    host = platform.node()  # "" where that is not known
    was_here = is_locked is False and host and holder == {"host": host}
    return False if was_here or holder == LET_GO else None


def _look(file: IO[bytes]) -> bool | None:
    """Tell whether a training has locked the file; None on a disk that knows no locks."""
    try:
        lock(file, shared=True)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


def _lock(file: IO[bytes], run_dir: Path, warn: Callable[[str], None]) -> None:
    end_time = time.monotonic() + LOOK_SECONDS
    while True:
        try:
            lock(file)
        except BlockingIOError:
            if time.monotonic() < end_time:
                time.sleep(LOOK_SECONDS / 10)
                continue
            raise CheckpointError(
                f"{run_dir}: another process trains in this folder",
                f"`tfcli info {run_dir}` shows how far it is; wait for it, stop it, or give another --out",
            ) from None
        except OSError as error:  # as on some network file systems
            warn(f"{run_dir} cannot be locked ({error.strerror}): let no other process train in it")
        return


def _write(file: IO[bytes], holder: Mapping[str, object]) -> None:
    """Say who holds the folder, in place of what stood there; on a full disk, nobody is told."""
    with suppress(OSError):
        file.truncate(0)
        file.write(json.dumps(holder).encode())
