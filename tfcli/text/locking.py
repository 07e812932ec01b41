"""Locks on open files, of which the system lets go when their process ends, however that ends."""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING

try:
    import fcntl
except ImportError:  # Windows, where nothing is locked
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from pathlib import Path

CAN_LOCK = fcntl is not None


def lock(file: IO[bytes], *, shared: bool = False, wait: bool = False) -> None:
    """Lock an open file, for this process alone unless `shared`; nothing happens where nothing is locked.

    Raises: BlockingIOError when another process has locked it, unless `wait`; OSError on a disk that knows no locks.
    """
    if fcntl is not None:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))


def is_still_at(file: IO[bytes], path: Path) -> bool:
    """Tell whether a path leads to an open file: before that was locked, another process may have moved it away."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
