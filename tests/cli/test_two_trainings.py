"""A run folder is one training's at a time."""

import errno
import fcntl
import os
import platform
import shutil
import subprocess
import sys
import threading

import pytest

from tfcli.app import main
from tfcli.errors import CheckpointError
from tfcli.training import holding
from tfcli.training.holding import HOLD, hold, is_held


def fail_on_warning(message):
    raise AssertionError(message)


def test_a_folder_that_is_held_is_free_again_when_the_block_ends(tmp_path):
    with (
        hold(tmp_path, fail_on_warning),
        pytest.raises(CheckpointError, match="another process trains"),
        hold(tmp_path, fail_on_warning),
    ):
        pass
    with hold(tmp_path, fail_on_warning):
        pass


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    with (
        pytest.raises(CheckpointError, match="cannot be written"),
        hold(tmp_path / "nowhere", fail_on_warning),
    ):
        pass


def test_whether_a_folder_is_held_is_known_on_the_machine_of_the_training(tmp_path):
    assert is_held(tmp_path) is None, "no training has been here"
    with hold(tmp_path, fail_on_warning):
        assert is_held(tmp_path) is True
    assert is_held(tmp_path) is False
    with pytest.raises(KeyError), hold(tmp_path, fail_on_warning):
        raise KeyError
    assert is_held(tmp_path) is False


def test_a_training_that_was_killed_holds_its_folder_no_longer(tmp_path):
    program = (
        "import os, pathlib, sys; from tfcli.training.holding import hold\n"
        "with hold(pathlib.Path(sys.argv[1]), print): os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path], check=False)
    assert done.returncode == -9
    assert is_held(tmp_path) is False


@pytest.mark.parametrize(
    "content",
    ['{"host": "of a neighbour"}', "", "[]", "half of", "[" * 1000, " " * 1000 + '{"let_go": true}'],
)
def test_of_a_training_elsewhere_or_of_another_version_nothing_is_known(tmp_path, content):
    (tmp_path / HOLD).write_text(content)
    assert is_held(tmp_path) is None
    assert (tmp_path / HOLD).read_text() == content


def no_locks(*_):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def test_on_a_disk_without_locks_is_known_what_stands_in_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", no_locks)
    told = []
    with hold(tmp_path, told.append):
        assert is_held(tmp_path) is None
    assert told == [f"{tmp_path} cannot be locked (No locks available): let no other process train in it"]
    assert is_held(tmp_path) is False


def test_where_nothing_is_locked_nothing_is_known(tmp_path, monkeypatch):
    with hold(tmp_path, fail_on_warning):
        pass
    monkeypatch.setattr(holding, "CAN_LOCK", False)
    assert is_held(tmp_path) is None


def test_a_host_without_a_name_may_be_any(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "node", lambda: "")
    (tmp_path / HOLD).write_text('{"host": ""}')
    assert is_held(tmp_path) is None


@pytest.mark.parametrize("aim", ["file", "nowhere"])
def test_a_link_is_neither_written_nor_read(small_run, tmp_path, capsys, aim):
    run = tmp_path / "run"
    shutil.copytree(small_run, run)
    (run / HOLD).unlink()
    (tmp_path / "file").write_text('{"let_go": true}')
    (run / HOLD).symlink_to(tmp_path / aim)
    assert is_held(run) is None
    assert main(["train", str(run)]) == 4
    err = " ".join(capsys.readouterr().err.split())
    assert f"error: {run / HOLD}: is a link or the like, which tfcli does not make" in err
    assert "delete it" in err
    assert (tmp_path / "file").read_text() == '{"let_go": true}'
    assert not (tmp_path / "nowhere").exists()


def test_nobody_waits_for_what_comes_out_of_a_fifo(tmp_path):
    os.mkfifo(tmp_path / HOLD)
    assert is_held(tmp_path) is None
    with pytest.raises(CheckpointError, match="is a link or the like"), hold(tmp_path, fail_on_warning):
        pass
    reader = os.open(tmp_path / HOLD, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(CheckpointError, match="is a link or the like"), hold(tmp_path, fail_on_warning):
            pass
    finally:
        os.close(reader)


def test_who_looks_whether_a_folder_is_held_keeps_no_training_from_it(tmp_path, monkeypatch):
    monkeypatch.setattr(holding, "LOOK_SECONDS", 5)  # on a busy machine the timer may be late
    (tmp_path / HOLD).touch()
    with (tmp_path / HOLD).open("rb") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        release = threading.Timer(0.05, lambda: fcntl.flock(looking, fcntl.LOCK_UN))
        release.start()
        with hold(tmp_path, fail_on_warning):
            assert is_held(tmp_path) is True
        release.join()


@pytest.mark.parametrize("more", [[], ["--fresh"]])
def test_a_second_training_in_a_folder_is_refused_and_drops_nothing(small_run, capsys, more):
    before = sorted(path.name for path in (small_run / "checkpoints").iterdir())
    with hold(small_run, fail_on_warning):
        assert main(["train", str(small_run), *more]) == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert f"error: {small_run}: another process trains in this folder" in err
    assert "give another --out" in err
    assert sorted(path.name for path in (small_run / "checkpoints").iterdir()) == before
