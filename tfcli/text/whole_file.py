"""Files that have their name only when they are whole: written beside their place, brought to the disk, renamed.

What is written beside has a name of its own, so that several processes may write the same file at once: each
writes all of it, and the last one to end wins.
"""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def beside(target: Path) -> Iterator[Path]:
    """Give a name in the folder of `target` for a file that is gone when the block ends, unless it was renamed.

    It ends in the suffix of `target`, which says how a file is compressed.
    """
    path = target.with_name(f".{target.stem}.{secrets.token_hex(4)}.part{target.suffix}")
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def whole_file(target: Path) -> Iterator[BinaryIO]:
    """Yield where to write the content of `target`, which gets it when the block ends without an error.

    Raises: OSError when it cannot be written; what was there before stays.
    """
    with beside(target) as path:
        with path.open("xb") as stream:
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
