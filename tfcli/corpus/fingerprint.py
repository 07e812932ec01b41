"""What a result was made from, as JSON, to decide whether it can be used again.

File contents are told by their SHA-256; a file whose path, size and time of change are those of the last time
is not read again for it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tfcli.text.files import sha256_of_content
from tfcli.text.lines import reading
from tfcli.text.whole_file import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from tfcli.text.files import CorpusFiles


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
    """SHA-256 of the uncompressed content of files, remembered in a JSON file between runs."""

    def __init__(self, remembered: Path) -> None:
        self._path = remembered
        self._known = read_record(remembered) or {}
        self.used: dict[str, str] = {}

    def of(self, files: CorpusFiles) -> dict[str, str]:
        """Return the digests of a corpus by side: `src` and `tgt`, or `tsv`."""
        sides = {"src": files.src, "tgt": files.tgt, "tsv": files.tsv}
        return {side: self._digest(path) for side, path in sides.items() if path is not None}

    def _digest(self, path: Path) -> str:
        with reading(path):
            path = path.resolve()
            status = path.stat()
        state = {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
        known = self._known.get(str(path))
        if (
            not isinstance(known, dict)
            or {key: known.get(key) for key in state} != state
            or "sha256" not in known
        ):
            known = state | {"sha256": sha256_of_content(path)}
        self._known[str(path)] = known
        self.used[str(path)] = str(known["sha256"])
        return str(known["sha256"])

    def remember(self) -> None:
        """Write the digests that were used, for the next run."""
        write_record(self._path, {path: self._known[path] for path in self.used})
