"""A journal of what of an output is done, so that a translation that was killed goes on where it stopped.

    out.txt                 the output: there when it is whole, and not before
    .out.txt.part           the windows that are done, and perhaps the beginning of one more
    .out.txt.journal        a line that says what is translated and how, then a line for each window that is done
    .out.txt.new-journal    the journal that is about to take the other's place

A window is on the disk before its line in the journal is. Each such line has the sizes and checksums of input and
output up to there, so the last whole one tells where to go on, and whether the two files still are what they were.
When the output is whole it gets its name, and the journal stays beside it: it tells later that there is nothing to do.
All this is written by whoever holds the part alone; with the output's name on it, another process may begin a new one.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import IO, TYPE_CHECKING, Any, BinaryIO

from tfcli.decoding.stream import StreamCounts
from tfcli.errors import DataError
from tfcli.text.lines import open_binary, reading
from tfcli.text.locking import is_still_at, lock, open_plain, refuse_no_plain_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FORMAT = 1
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Done:
    """How far a translation has come: bytes of the uncompressed input and of the output, and their SHA-256."""

    read: int
    read_sha256: str
    written: int
    written_sha256: str
    counts: StreamCounts


class Journal:
    """An output that is being written: `source` stands where it goes on, `counts` is what went before.

    `dropped` says why what an earlier run had left was not used, if it was not.
    """

    def __init__(self, paths: _Paths, terms: dict[str, Any], source: BinaryIO, sink: IO[bytes]) -> None:
        self.source = source
        self.dropped: str | None = None
        self._paths = paths
        self._sink = sink
        self._read, self._written = _Digest(), _Digest()
        self.counts = StreamCounts()
        self._header = _header(paths.source, terms)

    @property
    def has_begun(self) -> bool:
        """Tell whether a window is done."""
        return self.counts.lines > 0

    def recall(self) -> None:
        """Go to where an earlier run stopped, or to the beginning if what it left does not fit."""
        found = read_journal(self._paths.journal)
        if self._sink.seek(0, os.SEEK_END):
            self.dropped = "its journal cannot be read" if found is None else self._difference(*found)
            # of no lines there is an empty archive at most, which is written again
            if found and found[1] and found[1].counts.lines and self.dropped is None:
                self.counts = found[1].counts
                self._sink.truncate(found[1].written)
                self._sink.seek(found[1].written)
                self._write_journal()  # behind its last whole line there may be a broken one
                return
        self._read, self._written = _Digest(), _Digest()
        self.source.seek(0)
        self._sink.seek(0)
        self._sink.truncate()
        self._put_journal(_json_line(self._header))

    def _difference(self, header: dict[str, Any], last: Done | None) -> str | None:
        """Say what is no longer as it was, or read both files up to where they go on."""
        if last is None:
            return None  # nothing was done
        if header != self._header:
            return differing(header, self._header)
        with reading(self._paths.source):
            self._read.take(self.source, last.read)
        if (self._read.size, self._read.hexdigest()) != (last.read, last.read_sha256):
            return "the input has changed"
        self._sink.seek(0)
        self._written.take(self._sink, last.written)
        if (self._written.size, self._written.hexdigest()) != (last.written, last.written_sha256):
            return "what was written is damaged"
        return None

    def commit(self, taken: bytes, given: bytes, counts: StreamCounts) -> None:
        """Bring a window to the disk, then the note that it is done; `counts` are of all so far."""
        self._sink.write(given)
        _sync(self._sink)
        self._read.add(taken)
        self._written.add(given)
        with self._paths.journal.open("ab") as stream:
            stream.write(_json_line(asdict(self._done(counts))))
            _sync(stream)
        self.counts = counts

    def _done(self, counts: StreamCounts) -> Done:
        read, written = self._read, self._written
        return Done(read.size, read.hexdigest(), written.size, written.hexdigest(), counts)

    def finish(self) -> None:
        """Shorten the journal to what tells later whether the output is up to date, and give that its name."""
        self._write_journal()
        self._paths.part.replace(self._paths.target)

    def _write_journal(self) -> None:
        self._put_journal(_json_line(self._header) + _json_line(asdict(self._done(self.counts))))

    def _put_journal(self, content: bytes) -> None:
        """Write the journal in one stroke; as long as the part is held nobody else does, so that one name will do."""
        new = self._paths.new_journal
        new.unlink(missing_ok=True)  # what a killed process has left, or a link to anywhere
        try:
            with new.open("xb") as stream:
                stream.write(content)
                _sync(stream)
            new.replace(self._paths.journal)
        finally:
            new.unlink(missing_ok=True)

    def discard(self) -> None:
        """Leave nothing of it behind."""
        self.counts = StreamCounts()
        self._paths.new_journal.unlink(missing_ok=True)
        self._paths.journal.unlink(missing_ok=True)
        self._paths.part.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Paths:
    source: Path
    target: Path

    @property
    def part(self) -> Path:
        return self.target.with_name(f".{self.target.name}.part")

    @property
    def journal(self) -> Path:
        return journal_of(self.target)

    @property
    def new_journal(self) -> Path:
        return self.journal.with_suffix(".new-journal")


class _Digest:
    """Counts bytes and keeps their checksum."""

    def __init__(self) -> None:
        self.size = 0
        self._sha256 = hashlib.sha256()

    def add(self, content: bytes) -> None:
        self.size += len(content)
        self._sha256.update(content)

    def take(self, stream: IO[bytes], size: int | None = None) -> None:
        """Add what is read: so many bytes, or all."""
        while size is None or self.size < size:
            wanted = _CHUNK_BYTES if size is None else min(_CHUNK_BYTES, size - self.size)
            if not (chunk := stream.read(wanted)):
                return
            self.add(chunk)

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()


def journal_of(target: Path) -> Path:
    """Return where the journal of an output lies."""
    return target.with_name(f".{target.name}.journal")


@contextmanager
def journaled(
    source: Path, target: Path, terms: dict[str, Any], report: Callable[[str], None]
) -> Iterator[Journal]:
    """Go on with `target`, or begin it; it gets its name by `finish`, or else is kept for the next time.

    `terms` is all that shapes the translation: what is done is used again only if they are the same. `report` is told
    where the disk knows no locks.

    Raises: DataError when the input cannot be read, another process writes this output, or its part is no plain file;
    OSError when the output cannot be written.
    """
    paths = _Paths(source, target)
    with open_binary(source) as stream, _locked(paths, report) as sink:
        journal = Journal(paths, terms, stream, sink)
        try:
            journal.recall()
            yield journal
        except BaseException:
            if not journal.has_begun:
                journal.discard()
            raise


@contextmanager
def _locked(paths: _Paths, report: Callable[[str], None]) -> Iterator[IO[bytes]]:
    """Open the part for this process alone; the lock goes when the process ends, however it ends."""
    while True:
        try:
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
            descriptor = open_plain(str(paths.part), flags)
        except OSError:
            refuse_no_plain_file(paths.part, DataError)
            raise
        with os.fdopen(descriptor, "r+b") as sink:
            try:
                lock(sink)
            except BlockingIOError as error:
                raise DataError(
                    f"{paths.target}: another process is writing it", "wait for it, or give another -o"
                ) from error
            except OSError as error:  # as on some network file systems
                report(f"{paths.target} cannot be locked ({error.strerror}): let no other process write it")
            if not is_still_at(sink, paths.part):  # its writer ended between the two calls
                continue
            yield sink
            return


def is_up_to_date(source: Path, target: Path, terms: dict[str, Any]) -> bool:
    """Tell whether `target` is the whole translation of what `source` holds now, made in these terms.

    Raises: DataError when the input cannot be read.
    """
    found = read_journal(journal_of(target))
    header, last = found or ({}, None)
    if last is None:
        return False
    if header != _header(source, terms) or target.stat().st_size != last.written:
        return False
    read, written = _Digest(), _Digest()
    with reading(source), open_binary(source) as stream:
        read.take(stream)
    with target.open("rb") as stream:
        written.take(stream)
    return (read.size, read.hexdigest(), written.hexdigest()) == (
        last.read,
        last.read_sha256,
        last.written_sha256,
    )


def read_journal(path: Path) -> tuple[dict[str, Any], Done | None] | None:
    """Return the first line and the last whole one of a journal, or None when there is none that can be read."""
    try:
        with open(path, "rb", opener=open_plain) as stream:
            header = json.loads(stream.readline())
            last = None
            for line in stream:
                try:
                    values = json.loads(line)
                    last = Done(**{**values, "counts": StreamCounts(**values["counts"])})
                except (ValueError, TypeError, KeyError):
                    break  # a line that was being written when the process was killed
    except (OSError, ValueError):
        return None
    return (header, last) if isinstance(header, dict) else None


def _header(source: Path, terms: dict[str, Any]) -> dict[str, Any]:
    """Return the first line of a journal, as it will be when it is read again."""
    header = {"format": FORMAT, "input_bytes": source.stat().st_size, "terms": terms}
    return dict(json.loads(_json_line(header)))


def differing(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Say in what two first lines of journals differ."""
    if old.get("format") != new["format"]:
        return "it was written by another version of tfcli"
    if old.get("input_bytes") != new["input_bytes"]:
        return "the input has changed"
    before = old.get("terms")
    before, after = before if isinstance(before, dict) else {}, new["terms"]
    names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return f"changed since: {', '.join(names)}"


def _json_line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True).encode() + b"\n"


def _sync(stream: IO[bytes]) -> None:
    stream.flush()
    os.fsync(stream.fileno())
