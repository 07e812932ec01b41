"""What a result was made from, as JSON, to decide whether it can be used again.

File contents are told by their SHA-256; a file whose path, size and time of change are those of the last time
is not read again for it.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING, Any, TypeGuard

from tfcli.text.files import digest_of_content
from tfcli.text.lines import reading
from tfcli.text.pairs import pairs_in
from tfcli.text.whole_file import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from tfcli.text.files import CorpusFiles

_FILES_AT_A_TIME = 4


def read_record(path: Path) -> dict[str, Any] | None:
    """Return a record, or None when there is none that can be read."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write a record in one stroke."""
    write_whole(path, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


class FileDigests:
    """SHA-256 and lines of the uncompressed content of files, remembered in a JSON file between runs."""

    def __init__(self, remembered: Path) -> None:
        self._path = remembered
        self._known = read_record(remembered) or {}
        self._used: dict[str, dict[str, Any]] = {}

    def read(self, corpora: Iterable[CorpusFiles]) -> None:
        """Learn what is not known yet of the files of corpora, several files at a time.

        Raises: DataError when a file cannot be read.
        """
        new: dict[str, tuple[Path, dict[str, Any]]] = {}
        for path in (path for files in corpora for path in files.paths):
            with reading(path):
                name, status = str(path.resolve()), path.stat()
            state = {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
            known = self._known.get(name)
            if _holds(known, state):
                self._used[name] = known
            else:
                new[name] = (path, state)
        digests = _digests([path for path, _ in new.values()])
        for (name, (_, state)), (sha256, lines) in zip(new.items(), digests, strict=True):
            self._known[name] = self._used[name] = state | {"sha256": sha256, "lines": lines}

    def of(self, files: CorpusFiles) -> dict[str, str]:
        """Return the digests of a corpus that has been read, by side: `src` and `tgt`, or `tsv`, `jsonl` or `text`."""
        sides = {
            "src": files.src, "tgt": files.tgt, "tsv": files.tsv, "jsonl": files.jsonl, "text": files.text
        }  # fmt: skip
        return {side: str(self._facts(path)["sha256"]) for side, path in sides.items() if path is not None}

    def pairs(self, files: CorpusFiles) -> int:
        """Return how many pairs a corpus has that has been read.

        Raises: DataError when the counts of its two files differ.
        """
        return pairs_in(files, [int(self._facts(path)["lines"]) for path in files.paths])

    def all(self) -> dict[str, str]:
        """Return the digests of all files that have been read, by their paths."""
        return {name: str(facts["sha256"]) for name, facts in self._used.items()}

    def remember(self) -> None:
        """Write what has been read, for the next run."""
        write_record(self._path, self._used)

    def _facts(self, path: Path) -> dict[str, Any]:
        return self._used[str(path.resolve())]


def _holds(known: Any, state: dict[str, int]) -> TypeGuard[dict[str, Any]]:
    """Say whether what is known of a file is all, and of the file as it is now."""
    return isinstance(known, dict) and known.items() >= state.items() and {"sha256", "lines"} <= known.keys()


def _digests(paths: Sequence[Path]) -> list[tuple[str, int]]:
    """Return digest and lines of each file; hashing and unpacking leave Python's lock to each other."""
    stopped = Event()
    with ThreadPoolExecutor(_FILES_AT_A_TIME) as threads:
        try:
            return list(threads.map(lambda path: digest_of_content(path, stopped.is_set), paths))
        except BaseException:  # Ctrl-C above all: it does not wait for the end of a large file
            stopped.set()
            raise
