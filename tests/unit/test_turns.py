"""Two processes that prepare one run: one after the other, and both have what they asked for."""

import errno
import fcntl
import os
import threading
import time

import pytest

from tests.deadline import within
from tests.toy_corpus import content, recipe, silent
from tfcli.corpus.prepare import prepare
from tfcli.corpus.turns import turn
from tfcli.errors import CheckpointError


def wait_for(said):
    end_time = time.monotonic() + 60
    while not said:
        assert time.monotonic() < end_time
        time.sleep(0.01)


def test_who_comes_second_waits_and_says_so(corpora, run_dir):
    train, valid = corpora
    said = []
    with turn(run_dir / "corpus", silent):
        second = threading.Thread(target=prepare, args=(recipe(), [train], valid, run_dir, said.append))
        second.start()
        wait_for(said)
        assert said == [f"waiting for another process that prepares {run_dir / 'corpus'}"]
        assert [path.name for path in (run_dir / "corpus").iterdir()] == [".lock"]
    second.join()
    assert (run_dir / "corpus" / "train" / "record.json").is_file()


def test_two_at_once_make_the_corpus_once(corpora, run_dir, tmp_path):
    train, valid = corpora
    found = []

    def work():
        found.append(prepare(recipe(), [train], valid, run_dir, silent))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(prepared.reused for prepared in found) == [False, True]
    prepare(recipe(), [train], valid, tmp_path / "alone", silent)
    assert content(run_dir) == content(tmp_path / "alone")


def test_a_folder_that_cannot_be_locked_is_told_and_used(corpora, run_dir, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    train, valid = corpora
    said = []
    prepare(recipe(), [train], valid, run_dir, said.append)
    assert said[0] == (
        f"warning: {run_dir / 'corpus'} cannot be locked (No locks available): let no other process prepare it"
    )
    assert (run_dir / "corpus" / "train" / "record.json").is_file()


@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_a_lock_that_is_no_plain_file_is_refused(tmp_path, kind):
    folder = tmp_path / "corpus"
    folder.mkdir()
    if kind == "fifo":
        os.mkfifo(folder / ".lock")
    else:
        (folder / ".lock").symlink_to(tmp_path / "aim")
    with within(20), pytest.raises(CheckpointError, match="is a link or the like"), turn(folder, silent):
        pass
    assert not (tmp_path / "aim").exists()
