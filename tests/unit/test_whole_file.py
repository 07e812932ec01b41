"""A file has its name only when it is whole, whoever else writes it meanwhile."""

import errno
import os

import pytest

from tfcli.text.whole_file import beside, whole_file, write_whole


def test_text_becomes_utf8_and_keeps_its_line_ends(tmp_path):
    write_whole(tmp_path / "text", "größer\r\n\u2028\n")
    assert (tmp_path / "text").read_bytes() == "größer\r\n\u2028\n".encode()
    write_whole(tmp_path / "text", b"\xff")
    assert (tmp_path / "text").read_bytes() == b"\xff"
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_until_it_is_whole_what_was_there_before_stays(tmp_path):
    place = tmp_path / "text.gz"
    place.write_bytes(b"before")
    with whole_file(place) as stream:
        stream.write(b"after")
        stream.flush()
        assert place.read_bytes() == b"before"
        [part] = [path for path in tmp_path.iterdir() if path != place]
        assert part.name.startswith(".text.")
        assert part.suffix == ".gz"  # says how it is compressed
    assert place.read_bytes() == b"after"
    assert list(tmp_path.iterdir()) == [place]


def test_what_is_left_early_leaves_nothing(tmp_path):
    place = tmp_path / "text"
    place.write_bytes(b"before")

    def interrupted():
        with whole_file(place) as stream:
            stream.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert place.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [place]


def test_a_disk_that_is_full_at_the_end_leaves_nothing(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "text", "a")
    assert list(tmp_path.iterdir()) == []


def test_two_may_write_one_file_at_once_and_the_last_to_end_wins(tmp_path):
    place = tmp_path / "text"
    with whole_file(place) as second:
        second.write(b"2" * 10)
        with whole_file(place) as first:
            first.write(b"1" * 20)
        assert place.read_bytes() == b"1" * 20
        second.write(b"2" * 10)
    assert place.read_bytes() == b"2" * 20
    assert list(tmp_path.iterdir()) == [place]


def test_what_was_renamed_is_not_taken_away(tmp_path):
    with beside(tmp_path / "text") as path:
        path.write_bytes(b"a")
        path.replace(tmp_path / "text")
    assert (tmp_path / "text").read_bytes() == b"a"
