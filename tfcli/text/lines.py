"""Lines of text, exactly: a line ends at a line feed and nowhere else.

Carriage returns, U+2028, U+0085, form feeds, NUL and byte-order marks are text like any other, so that line i
of one side stays line i of the other. Files are streamed; .gz and .xz are read transparently.
"""

from __future__ import annotations

import gzip
import io
import lzma
import shlex
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from tfcli.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def open_binary(path: Path) -> BinaryIO:
    """Open a file for reading its uncompressed bytes; the suffixes .gz and .xz say that it is compressed.

    Raises: DataError when the file cannot be opened.
    """
    try:
        if path.suffix == ".gz":
            # The buffer makes line iteration run in C instead of in the gzip and lzma modules' Python.
            return cast("BinaryIO", io.BufferedReader(gzip.open(path), 1 << 16))
        if path.suffix == ".xz":
            return cast("BinaryIO", io.BufferedReader(lzma.open(path), 1 << 16))
        return path.open("rb")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}", _OPEN_HINT) from error


_OPEN_HINT = "check the path and that the file may be read"


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what may go wrong while a file is read into an error that names the file.

    Raises: DataError.
    """
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError) as error:
        raise DataError(
            f"{path}: damaged or incomplete compressed file ({error})",
            "fetch or compress the file again; a name ending in .gz or .xz must be such a file",
        ) from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}", _OPEN_HINT) from error


def iter_raw_lines(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a binary stream as they come, without their line feeds.

    A last line without a line feed counts; an empty stream has no lines.
    """
    # Binary streams, unlike str.splitlines, break at b"\n" alone, and give a pipe's line as soon as it is whole.
    for line in stream:
        yield line.removesuffix(b"\n")


def read_raw_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file as bytes.

    Raises: DataError when the file cannot be read or is a damaged archive.
    """
    with reading(path), open_binary(path) as stream:
        yield from iter_raw_lines(stream)


UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_UNPACKERS = {".gz": ("gzip -dc", "gzip"), ".xz": ("xz -dc", "xz")}
_UTF8_HINT = "convert the file to UTF-8, as in `iconv -f LATIN1 -t UTF-8`, or remove the line on both sides"


def utf16_error(called: str, path: Path | None) -> DataError:
    """Return the error about text that starts as UTF-16 does, with the line that converts the file at `path`."""
    return DataError(f"{called} is UTF-16, expected UTF-8", utf16_remedy(path))


def utf16_remedy(path: Path | None) -> str:
    """Return what to do about UTF-16 in a file; `path` None: in what comes from elsewhere."""
    convert = "iconv -f UTF-16 -t UTF-8"
    if path is not None:
        old, new = shlex.quote(str(path)), shlex.quote(str(path.with_name(f"utf8-{path.name}")))
        unpack, pack = _UNPACKERS.get(path.suffix, ("", ""))
        convert = f"{unpack} {old} | {convert} | {pack} > {new}" if unpack else f"{convert} {old} > {new}"
    return f"convert it: `{convert}`"


def decode_strictly(raw_lines: Iterable[bytes], origin: str | Path, first_line: int = 1) -> Iterator[str]:
    """Decode lines of UTF-8; `origin` is their file, or what to call them if they come from elsewhere.

    `first_line` is the number of the first.

    Raises: DataError with the number of the first line that is no UTF-8.
    """
    for number, raw in enumerate(raw_lines, start=first_line):
        try:
            yield raw.decode("utf-8")
        except UnicodeDecodeError as error:
            if number == 1 and raw.startswith(UTF16_MARKS):
                raise utf16_error(str(origin), origin if isinstance(origin, Path) else None) from error
            raise DataError(
                f"{origin}:{number}: not UTF-8: byte 0x{raw[error.start]:02x} at position {error.start + 1} of the line",
                _UTF8_HINT,
            ) from error


def read_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a UTF-8 file.

    Raises: DataError naming the file, and the line if it is no UTF-8.
    """
    return decode_strictly(read_raw_lines(path), path)


def decode_line(raw: bytes) -> tuple[str, bool]:
    """Decode a line, writing U+FFFD for what is no UTF-8, and say whether anything was replaced."""
    try:
        return raw.decode("utf-8"), False
    except UnicodeDecodeError:
        return raw.decode("utf-8", errors="replace"), True


def count_lines(path: Path) -> int:
    """Count the lines of a file as `read_lines` would yield them.

    Raises: DataError when the file cannot be read.
    """
    count = 0
    last = b"\n"
    with reading(path), open_binary(path) as stream:
        while chunk := stream.read(1 << 20):
            count += chunk.count(b"\n")
            last = chunk
    return count if last.endswith(b"\n") else count + 1
