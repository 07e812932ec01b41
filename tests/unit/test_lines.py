"""Lines end at a line feed and nowhere else."""

import gzip
import io
import lzma
import os

import pytest

from tfcli.errors import DataError
from tfcli.text.lines import (
    count_lines,
    decode_line,
    iter_raw_lines,
    open_binary,
    read_lines,
    read_raw_lines,
)

ODD_LINES = [
    "",
    "a\rb",
    "\r",
    "\ufeffbyte-order mark",
    "null\0byte",
    "x\u2028y\u2029z\x85\x0b\x0c\x1c",
    "  ",
    "end",
]


def test_only_a_line_feed_ends_a_line(tmp_path):
    path = tmp_path / "text"
    path.write_bytes("\n".join(ODD_LINES).encode() + b"\n")
    assert list(read_lines(path)) == ODD_LINES
    assert count_lines(path) == len(ODD_LINES)


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"\n", [b""]),
        (b"\n\n", [b"", b""]),
        (b"a", [b"a"]),
        (b"a\n", [b"a"]),
        (b"a\n\n", [b"a", b""]),
        (b"a\r\nb", [b"a\r", b"b"]),
    ],
)
def test_a_last_line_without_a_line_feed_counts_and_an_empty_file_has_none(tmp_path, content, lines):
    assert list(iter_raw_lines(io.BytesIO(content))) == lines
    (tmp_path / "text").write_bytes(content)
    assert list(read_raw_lines(tmp_path / "text")) == lines
    assert count_lines(tmp_path / "text") == len(lines)


@pytest.mark.parametrize(("suffix", "compress"), [(".gz", gzip.compress), (".xz", lzma.compress)])
def test_compressed_files_are_read_like_plain_ones(tmp_path, suffix, compress):
    path = tmp_path / f"text{suffix}"
    path.write_bytes(compress("\n".join(ODD_LINES).encode()))
    assert list(read_lines(path)) == ODD_LINES
    assert count_lines(path) == len(ODD_LINES)
    with open_binary(path) as stream:
        assert stream.read(3) == b"\na\r"


@pytest.mark.parametrize(("suffix", "compress"), [(".gz", gzip.compress), (".xz", lzma.compress)])
def test_a_damaged_archive_is_refused_with_its_name(tmp_path, suffix, compress):
    whole = compress(os.urandom(5000))
    for name, content in (
        ("cut", whole[:-300]),
        ("text", b"plain text\n" * 10),
        ("bits", whole[:60] + b"\xff" * 600),
    ):
        path = tmp_path / (name + suffix)
        path.write_bytes(content)
        for read in (lambda path: list(read_raw_lines(path)), count_lines):
            with pytest.raises(DataError, match="damaged or incomplete compressed file") as caught:
                read(path)
            assert str(path) in caught.value.message
            assert caught.value.hint


def test_a_file_that_is_missing_or_a_folder_is_refused_with_its_name(tmp_path):
    for path in (tmp_path / "absent", tmp_path / "absent.gz", tmp_path / "absent.xz", tmp_path):
        with pytest.raises(DataError, match="cannot read") as caught:
            list(read_lines(path))
        assert str(path) in caught.value.message


@pytest.mark.parametrize("bad", [b"caf\xe9", b"\xed\xa0\x80", b"\xc0\x80", b"cut\xe2\x82"])
def test_text_that_is_no_utf8_is_refused_with_file_and_line(tmp_path, bad):
    path = tmp_path / "text"
    path.write_bytes(b"good\n\n" + bad + b"\nmore\n")
    lines = read_lines(path)
    assert [next(lines), next(lines)] == ["good", ""]
    with pytest.raises(DataError, match="not UTF-8") as caught:
        next(lines)
    assert f"{path}:3:" in caught.value.message


def test_utf16_is_called_by_its_name(tmp_path):
    for name, encoding in (("little", "utf-16-le"), ("big", "utf-16-be")):
        path = tmp_path / name
        path.write_bytes("\ufeffHaus\n".encode(encoding))
        with pytest.raises(DataError) as caught:
            list(read_lines(path))
        assert caught.value.message == f"{path} is UTF-16, expected UTF-8"
        assert f"`iconv -f UTF-16 -t UTF-8 {path} > " in caught.value.hint


def test_a_line_decoded_leniently_says_whether_anything_was_replaced():
    assert decode_line("größer\r".encode()) == ("größer\r", False)
    assert decode_line(b"caf\xe9!") == ("caf\ufffd!", True)
    assert decode_line("\ufffd".encode()) == ("\ufffd", False)


def test_lines_of_a_pipe_come_before_it_is_closed():
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as stream, os.fdopen(writer, "wb", 0) as sink:
        lines = iter_raw_lines(stream)
        for line in (b"one", b"", b"three"):
            sink.write(line + b"\n")
            assert next(lines) == line
        sink.write(b"rest")
        sink.close()
        assert list(lines) == [b"rest"]
