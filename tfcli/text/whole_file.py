"""Files that have their name only when they are whole: written beside their place, brought to the disk, renamed.

What is written beside has a name of its own, so that several processes may write the same file at once: each
writes all of it, and the last one to end wins. Each holds what it writes, so that what a killed one has left can be told
from it, and is removed by the next that ends a day later.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, BinaryIO

from tfcli.text.locking import CAN_LOCK, is_still_at, lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN_BYTES = 4
# A writer whose lock is not seen here, as on another machine, lives as long as it writes; it may pause, but hardly so long.
LEFT_SECONDS = 24 * 3600


@contextmanager
def beside(target: Path) -> Iterator[Path]:
    """Make an empty file in the folder of `target`, which is gone when the block ends, unless it was renamed.

    It ends in the suffix of `target`, which says how a file is compressed. After the rename, leftovers of killed writers of
    `target` are removed.
    """
    path, hold = _begun(target)
    with hold:
        try:
            yield path
            was_renamed = not path.exists()
        finally:
            path.unlink(missing_ok=True)
    if was_renamed:
        _remove_leftovers(target)


def _begun(target: Path) -> tuple[Path, AbstractContextManager[object]]:
    """Make the file, and tell what holds it, so that others see that its writer lives."""
    while True:
        path = target.with_name(f".{target.stem}.{secrets.token_hex(TOKEN_BYTES)}.part{target.suffix}")
        hold = path.open("xb")
        if not CAN_LOCK:  # Windows, which renames no file that is open
            hold.close()
            return path, nullcontext()
        with suppress(OSError):  # on a disk without locks, nobody removes leftovers either
            lock(hold, wait=True)
        if is_still_at(hold, path):
            return path, hold
        hold.close()  # taken for a leftover between the two calls


def _remove_leftovers(target: Path) -> None:
    if not CAN_LOCK:
        return
    token = f"[0-9a-f]{{{2 * TOKEN_BYTES}}}"
    left = re.compile(rf"\.{re.escape(target.stem)}\.{token}\.part{re.escape(target.suffix)}")
    with suppress(OSError):  # a folder may be written but not listed
        for name in os.listdir(target.parent):  # noqa: PTH208  # a Path for each file of a large folder takes its time
            path = target.with_name(name)
            # `.text.01234567.part` may also be what `translate` has done of `text.01234567`, which has a journal
            if left.fullmatch(name) and not path.with_suffix(".journal").exists():
                _remove_if_left(path)


def _remove_if_left(path: Path) -> None:
    with suppress(OSError), path.open("r+b") as file:
        lock(file)
        if time.time() - os.fstat(file.fileno()).st_mtime > LEFT_SECONDS:
            path.unlink()


@contextmanager
def whole_file(target: Path) -> Iterator[BinaryIO]:
    """Yield where to write the content of `target`, which gets it when the block ends without an error.

    Raises: OSError when it cannot be written; what was there before stays.
    """
    with beside(target) as path:
        with path.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        path.replace(target)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file in one stroke; text becomes UTF-8.

    Raises: OSError when it cannot be written; what was there before stays.
    """
    with whole_file(path) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


def sync(path: Path) -> None:
    """Have what was written to a file or folder reach the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
