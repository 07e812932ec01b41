"""An output that was begun goes on where it stopped, whatever killed its process, and is never taken for a whole one."""

import errno
import fcntl
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deadline import within
from tests.fake_translation import Characters, echo_translator, echoed
from tfcli.commands.console import Verbosity, set_verbosity
from tfcli.commands.translate_files import Job
from tfcli.commands.translate_jobs import Work, carry_out, refuse_existing, still_to_do
from tfcli.decoding.journal import journaled
from tfcli.decoding.stream import StreamSettings
from tfcli.errors import DataError, RecipeError

ROOT = Path(__file__).resolve().parents[2]
TEXT = b"".join(b"line %d\n" % n for n in range(10)) + b"\xff the last"
WINDOWS = StreamSettings(4)


@pytest.fixture(autouse=True)
def _normal_verbosity():
    set_verbosity(Verbosity.NORMAL)  # commands of other tests may have been quiet


def work(force=False, **terms):
    return Work(echo_translator(), WINDOWS, terms, force)


def stop_after(windows):
    """Return a translator that is interrupted when so many windows are done."""
    translator = echo_translator()
    whole = translator.begin

    def begin(*args):
        end = whole(*args)

        def interrupted():
            nonlocal windows
            windows -= 1
            if windows < 0:
                raise KeyboardInterrupt
            return end()

        return interrupted

    translator.begin = begin
    return translator


@pytest.fixture
def job(tmp_path):
    (tmp_path / "in.txt").write_bytes(TEXT)
    return Job(tmp_path / "in.txt", tmp_path / "out.txt")


def interrupt(job, windows=2, **terms):
    with pytest.raises(KeyboardInterrupt):
        carry_out(Work(stop_after(windows), WINDOWS, terms), job)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
def test_an_interrupted_translation_goes_on_without_doing_again_what_is_done(tmp_path, suffix, capsys):
    (tmp_path / "in.txt").write_bytes(TEXT)
    whole, broken = (
        Job(tmp_path / "in.txt", tmp_path / f"{name}.txt{suffix}") for name in ("whole", "broken")
    )
    carry_out(work(), whole)
    interrupt(broken)
    assert "8 lines done and kept beside it; the same command goes on from there" in capsys.readouterr().err
    assert not broken.target.exists()
    again = work()
    carry_out(again, broken)
    err = capsys.readouterr().err
    assert "goes on after 8 lines" in err
    assert "replaced in 1 line: 11" in err  # line numbers go on as well
    assert again.worker.tokenizer.translated == 3
    assert broken.target.read_bytes() == whole.target.read_bytes()
    assert not list(tmp_path.glob(".*.part"))


def test_doubtful_lines_from_before_and_after_an_interruption_are_named(job, capsys, monkeypatch):
    echo = Characters.decode_tgt

    def sometimes_nothing(self, ids):
        text = echo(self, ids)
        return "" if text in ("line 1", "line 9") else text

    monkeypatch.setattr(Characters, "decode_tgt", sometimes_nothing)
    interrupt(job)
    carry_out(work(), job)
    assert "in.txt: the translation is empty in 2 lines: 2, 10" in " ".join(capsys.readouterr().err.split())


def test_an_interruption_before_the_first_window_is_done_leaves_nothing(tmp_path, job):
    interrupt(job, windows=0)
    assert names(tmp_path) == ["in.txt"]


CHANGES = {
    "settings": (lambda folder: None, "changed since: beam_size"),
    "a longer input": (lambda folder: (folder / "in.txt").write_bytes(TEXT + b"more"), "the input has changed"),
    "another input": (lambda folder: (folder / "in.txt").write_bytes(TEXT.replace(b"2", b"3")), "the input has changed"),
    "damaged output": (lambda folder: (folder / ".out.txt.part").write_bytes(b"x" * 200), "what was written is damaged"),
    "lost output": (lambda folder: (folder / ".out.txt.part").write_bytes(b"x"), "what was written is damaged"),
    "no journal": (lambda folder: (folder / ".out.txt.journal").write_bytes(b"{"), "its journal cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGES)
def test_what_does_not_fit_is_dropped_with_a_word(tmp_path, job, case, capsys):
    change, said = CHANGES[case]
    interrupt(job, beam_size=4)
    change(tmp_path)
    again = work(beam_size=5 if case == "settings" else 4)
    carry_out(again, job)
    assert f"dropped, it starts over ({said})" in " ".join(capsys.readouterr().err.split())
    assert job.target.read_bytes() == echoed(job.source.read_bytes())
    assert again.worker.tokenizer.translated == 11


def test_an_input_that_changes_meanwhile_leaves_no_output(tmp_path, job):
    translator = echo_translator()
    whole = translator.begin

    def begin(*args):
        with job.source.open("ab") as stream:
            stream.write(b"\none more")
        return whole(*args)

    translator.begin = begin
    with pytest.raises(DataError, match="11 expected"):
        carry_out(Work(translator, WINDOWS, {}), job)
    assert names(tmp_path) == ["in.txt"]


def test_the_same_again_is_up_to_date_and_anything_else_is_not_overwritten(job, capsys):
    carry_out(work(beam_size=4), job)
    before = job.target.stat().st_mtime_ns, job.target.stat().st_ino
    assert still_to_do(work(beam_size=4), [job]) == []
    assert "out.txt: up to date" in capsys.readouterr().err
    assert (job.target.stat().st_mtime_ns, job.target.stat().st_ino) == before
    with pytest.raises(RecipeError, match=r"out\.txt: exists already"):
        still_to_do(work(beam_size=5), [job])
    assert still_to_do(work(force=True, beam_size=4), [job]) == [job]
    job.target.write_bytes(b"corrected by hand\n")
    with pytest.raises(RecipeError, match=r"out\.txt: exists already"):
        still_to_do(work(beam_size=4), [job])
    job.target.with_name(".out.txt.journal").unlink()
    with pytest.raises(RecipeError, match=r"out\.txt: exists already"):
        refuse_existing([job], force=False)
    refuse_existing([job], force=True)
    carry_out(work(force=True), job)
    assert job.target.read_bytes() == echoed(TEXT)


def test_a_changed_input_is_not_up_to_date(job):
    carry_out(work(), job)
    job.source.write_bytes(TEXT.replace(b"3", b"4"))
    with pytest.raises(RecipeError, match="exists already"):
        still_to_do(work(), [job])


def test_a_second_process_is_refused_while_the_first_writes(job):
    translator = echo_translator()

    def begin(*args):
        with pytest.raises(DataError, match="another process is writing it"):
            carry_out(work(), job)
        raise KeyboardInterrupt

    translator.begin = begin
    with pytest.raises(KeyboardInterrupt):
        carry_out(Work(translator, WINDOWS, {}), job)


@pytest.mark.parametrize("kind", ["link", "link to nowhere", "fifo"])
def test_a_part_that_is_no_plain_file_is_refused(job, tmp_path, kind):
    part, aim = job.target.with_name(f".{job.target.name}.part"), tmp_path / "aim"
    if kind == "fifo":
        os.mkfifo(part)
    else:
        part.symlink_to(aim)
    if kind == "link":
        aim.write_text("a stranger's")
    with within(20), pytest.raises(DataError, match="is a link or the like"):
        carry_out(work(), job)
    assert not job.target.exists()
    assert (aim.read_text() == "a stranger's") if kind == "link" else not aim.exists()


def test_a_journal_that_is_a_fifo_is_not_waited_for(job):
    os.mkfifo(job.target.with_name(f".{job.target.name}.journal"))
    with within(20):
        carry_out(work(), job)
    assert job.target.read_bytes() == echoed(TEXT)


def test_on_a_disk_without_locks_that_is_told_and_the_output_is_whole(job, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    carry_out(work(), job)
    assert job.target.read_bytes() == echoed(TEXT)
    told = " ".join(capsys.readouterr().err.split())
    assert "out.txt cannot be locked (No locks available): let no other process write it" in told


def test_an_empty_input_gives_a_whole_archive(tmp_path):
    (tmp_path / "in.txt").touch()
    job = Job(tmp_path / "in.txt", tmp_path / "out.gz")
    carry_out(work(), job)
    assert gzip.decompress(job.target.read_bytes()) == b""
    assert still_to_do(work(), [job]) == []


# Forked without torch: every child dies before another operation on files, until one lives to the end.
KILLED = """
import os, signal, sys
from pathlib import Path
from tests.unit.test_journal import Job, WINDOWS, Work, echo_translator, carry_out

folder, name = Path(sys.argv[1]), sys.argv[2]
job = Job(folder / "in.txt", folder / name)

def run(dies_before):
    left = dies_before
    def counting(operation):
        def counted(*args, **kwargs):
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return operation(*args, **kwargs)
        return counted
    for name in ("fsync", "open", "rename", "replace", "unlink", "truncate"):
        setattr(os, name, counting(getattr(os, name)))
    carry_out(Work(echo_translator(), WINDOWS, {}), job)

whole = (folder / ("whole" + Path(name).suffix)).read_bytes()
for number in range(1, 100):
    for path in folder.glob(f".{name}.*"):
        path.unlink()
    job.target.unlink(missing_ok=True)
    for dies_before in (number, 0):
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            run(dies_before)
            os._exit(0)
        status = os.waitpid(pid, 0)[1]
        if job.target.exists():
            assert job.target.read_bytes() == whole, number
        if dies_before and status == 0:
            sys.exit(print(number - 1))
    assert status == 0 and job.target.read_bytes() == whole, number
    assert not list(folder.glob(".*.part")), number
"""


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
@pytest.mark.parametrize(("name", "text"), [("out.txt", TEXT), ("out.txt.gz", TEXT), ("out.txt.gz", b"")])
def test_killed_before_any_operation_on_files_it_ends_with_the_same_bytes(tmp_path, name, text):
    (tmp_path / "in.txt").write_bytes(text)
    whole = Job(tmp_path / "in.txt", tmp_path / f"whole{Path(name).suffix}")
    carry_out(work(), whole)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", KILLED, str(tmp_path), name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 10  # so many places to die at


def test_the_output_gets_its_name_last_since_another_process_may_begin_anew_then(job, monkeypatch):
    renamed = []
    rename = os.replace

    def told(old, new):
        renamed.append(Path(new).name)
        rename(old, new)

    monkeypatch.setattr(os, "replace", told)
    carry_out(work(), job)
    assert renamed == [".out.txt.journal", ".out.txt.journal", "out.txt"]


def test_a_link_in_place_of_the_new_journal_is_not_followed(tmp_path, job):
    (tmp_path / "elsewhere").write_bytes(b"kept")
    (tmp_path / ".out.txt.new-journal").symlink_to(tmp_path / "elsewhere")
    carry_out(work(), job)
    assert (tmp_path / "elsewhere").read_bytes() == b"kept"
    assert names(tmp_path) == [".out.txt.journal", "elsewhere", "in.txt", "out.txt"]


def test_a_line_of_the_journal_that_was_cut_short_does_not_count(tmp_path, job):
    interrupt(job)
    journal = tmp_path / ".out.txt.journal"
    journal.write_bytes(journal.read_bytes()[:-20])
    again = Work(stop_after(1), WINDOWS, {})
    with pytest.raises(KeyboardInterrupt):
        carry_out(again, job)
    assert json.loads(journal.read_bytes().split(b"\n")[-2])["counts"]["lines"] == 8
    carry_out(work(), job)
    assert job.target.read_bytes() == echoed(TEXT)


def test_a_journal_that_is_discarded_leaves_nothing_not_even_what_a_kill_in_its_writing_left(job):
    with journaled(job.source, job.target, {}, pytest.fail) as journal:
        (job.target.parent / f".{job.target.name}.new-journal").write_text("half")
        journal.discard()
    assert [path.name for path in job.target.parent.iterdir() if "journal" in path.name] == []
