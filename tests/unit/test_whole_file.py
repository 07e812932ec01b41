"""A file has its name only when it is whole, whoever else writes it meanwhile."""

import errno
import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

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


def a_day_later(folder):
    then = time.time() - 25 * 3600
    for path in folder.iterdir():
        os.utime(path, (then, then))


def killed_while_writing(place):
    program = (
        "import os, pathlib, sys; from tfcli.text.whole_file import whole_file\n"
        "with whole_file(pathlib.Path(sys.argv[1])) as stream:\n"
        "    stream.write(b'half'); stream.flush(); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", program, place], check=False).returncode == -9


@pytest.mark.parametrize("name", ["text", "text.gz", "a[b]c.d.e"])
def test_what_killed_writes_have_left_goes_with_the_next_that_ends_a_day_later(tmp_path, name):
    place = tmp_path / name
    for _ in range(2):
        killed_while_writing(place)
    assert len(list(tmp_path.iterdir())) == 2
    write_whole(place, "before")  # their writers may live, on a machine whose locks are not seen here
    assert len(list(tmp_path.iterdir())) == 3
    a_day_later(tmp_path)
    with pytest.raises(KeyError), whole_file(place):
        raise KeyError
    assert len(list(tmp_path.iterdir())) == 3, "nothing was written"
    write_whole(place, "whole")
    assert list(tmp_path.iterdir()) == [place]


def test_nothing_goes_but_what_a_write_of_this_very_file_has_left(tmp_path):
    others = [
        ".text.0123456789.part", ".text.0123456.part", ".text.0123456g.part", ".text.01234567.part.gz",
        ".text.01234567.part.more", "text.01234567.part", ".textt.01234567.part", ".text.part", ".tex.01234567.part",
    ]  # fmt: skip
    journaled = [".text.89abcdef.part", ".text.89abcdef.journal"]  # of an output text.89abcdef
    for name in [*others, *journaled]:
        (tmp_path / name).touch()
    (tmp_path / ".text.01234567.part").touch()
    a_day_later(tmp_path)
    write_whole(tmp_path / "text", "whole")
    assert {path.name for path in tmp_path.iterdir()} == {"text", *others, *journaled}


def test_a_file_taken_for_a_leftover_before_it_was_held_is_begun_again(tmp_path, monkeypatch):
    taken = []

    def too_late(file, operation):
        if not taken:
            taken.append(Path(f"/proc/self/fd/{file.fileno()}").readlink())
            taken[0].unlink()

    monkeypatch.setattr(fcntl, "flock", too_late)
    with beside(tmp_path / "text") as path:
        assert path.exists()
        assert path != taken[0]


def test_on_a_disk_without_locks_files_are_written_and_leftovers_stay(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    (tmp_path / ".text.01234567.part").touch()
    a_day_later(tmp_path)
    write_whole(tmp_path / "text", "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".text.01234567.part", "text"]


def test_a_writer_who_lives_is_left_alone_however_long_it_pauses(tmp_path):
    with whole_file(tmp_path / "text") as slow:
        slow.write(b"slow")
        slow.flush()
        a_day_later(tmp_path)
        write_whole(tmp_path / "text", "quick")
    assert (tmp_path / "text").read_bytes() == b"slow"


def test_a_folder_that_may_not_be_listed_can_be_written(tmp_path, monkeypatch):
    def refuse(_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", refuse)
        write_whole(tmp_path / "text", "whole")
    assert (tmp_path / "text").read_bytes() == b"whole"
