"""Locks on open files, of which the system lets go when their process ends, however that ends."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import IO, TYPE_CHECKING

try:
    import fcntl
except ImportError:  # Windows, where nothing is locked
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from pathlib import Path

    from tfcli.errors import TfcliError

CAN_LOCK = fcntl is not None


def lock(file: IO[bytes], *, shared: bool = False, wait: bool = False) -> None:
    """Lock an open file, for this process alone unless `shared`; nothing happens where nothing is locked.

    Raises: BlockingIOError when another process has locked it, unless `wait`; OSError on a disk that knows no locks.
    """
    if fcntl is not None:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))


def open_plain(path: str, flags: int) -> int:
    """Open a file of a folder that may be a stranger's: a link could lead to any file, and a FIFO waits for ever.

    Raises: OSError, also when it is not a plain file, which `refuse_no_plain_file` tells.
    """
    careful: int = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, flags | careful, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
    return descriptor


def refuse_no_plain_file(path: Path, kind: type[TfcliError]) -> None:
    """Say it where `open_plain` failed because of what is at a path; `kind` is the error of who keeps a file there.

    Raises: `kind` when something is there that is no plain file.
    """
    with suppress(OSError):
        if not stat.S_ISREG(path.lstat().st_mode):
            raise kind(
                f"{path}: is a link or the like, which tfcli does not make", "delete it, then run again"
            )


def is_still_at(file: IO[bytes], path: Path) -> bool:
    """Tell whether a path leads to an open file: before that was locked, another process may have moved it away."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
