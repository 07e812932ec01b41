"""Ctrl-C and SIGTERM in every verb: a line on stderr, the exit code, and nothing half-written."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SIGNALS = [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "stopped by SIGTERM")]
both_signals = pytest.mark.parametrize(("number", "said"), SIGNALS, ids=["ctrl-c", "sigterm"])


def start(*args: object, cwd: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "tfcli", *map(str, args)],
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )


def wait_for(
    pattern: str, folder: Path, process: "subprocess.Popen[bytes]", count: int = 1, least_bytes: int = 0
) -> None:
    end_time = time.monotonic() + 120
    while sum(not least_bytes or path.stat().st_size >= least_bytes for path in folder.glob(pattern)) < count:
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < end_time, f"{pattern} did not appear in {folder}"
        time.sleep(0.01)


def ends(process: "subprocess.Popen[bytes]", number: signal.Signals, said: str) -> None:
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 128 + number, err.decode()
    assert out == b""
    lines = err.decode().split("\n")
    assert f"error: {said}" in lines
    assert "Traceback" not in err.decode()


@both_signals
def test_translate_leaves_no_output(small_run, tmp_path, number, said):
    process = start("translate", small_run, "-o", "out.txt", cwd=tmp_path)
    wait_for(".out.*.part.txt", tmp_path, process)  # it stands there, waiting for standard input
    ends(process, number, said)
    assert list(tmp_path.iterdir()) == []


def test_what_a_translate_that_is_killed_leaves_is_hidden_and_goes_with_the_next_a_day_later(
    small_run, tmp_path
):
    for leftovers in (1, 2):
        process = start("translate", small_run, "-o", "out.txt", cwd=tmp_path)
        wait_for(".out.*.part.txt", tmp_path, process, leftovers)
        process.kill()
        process.communicate()
        assert len(list(tmp_path.iterdir())) == leftovers
    assert not list(tmp_path.glob("out*"))
    a_day_ago = time.time() - 25 * 3600
    for path in tmp_path.iterdir():
        os.utime(path, (a_day_ago, a_day_ago))
    process = start("translate", small_run, "-o", "out.txt", cwd=tmp_path)
    _, err = process.communicate(b"\n", timeout=120)
    assert process.returncode == 0, err.decode()
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


@both_signals
def test_tokenize_as_a_filter_ends_after_the_last_whole_line(small_run, tmp_path, number, said):
    process = start("tokenize", "--model", small_run, cwd=tmp_path)
    process.stdin.write(b"The dog sleeps.\n")
    process.stdin.flush()
    assert process.stdout.readline().endswith(b"\n")
    ends(process, number, said)


def start_to_encode(
    verb: str, small_run: Path, tmp_path: Path, least_bytes: int = 1
) -> "tuple[subprocess.Popen[bytes], list[int]]":
    """Start to encode a corpus that takes a while, and return the process and those that it has started for it."""
    text = b"".join(b"The dog number %d sees a house.\n" % i for i in range(400_000))
    for name in ("long.en", "long.de"):
        (tmp_path / name).write_bytes(text)
    recipe = (small_run.parent / "small.yaml").read_text().replace("train.en", "long.en")
    (tmp_path / "small.yaml").write_text(recipe.replace("train.de", "long.de"))
    for name in ("valid.en", "valid.de"):
        (tmp_path / name).write_bytes((small_run.parent / name).read_bytes())
    limit = "tokenizer.training_sentences=1000"
    process = start(verb, "small.yaml", "--set", limit, "--out", "run", cwd=tmp_path)
    wait_for("run/corpus/train.part/src.ids", tmp_path, process, least_bytes=least_bytes)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return process, [int(pid) for pid in children.read_text().split()] if children.exists() else []


def is_running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


@both_signals
@pytest.mark.parametrize("verb", ["tokenize", "train"])
def test_an_interrupted_encoding_is_thrown_away(small_run, tmp_path, verb, number, said):
    process, workers = start_to_encode(verb, small_run, tmp_path)
    ends(process, number, said)
    assert not list((tmp_path / "run").rglob("*.part*"))
    assert not (tmp_path / "run" / "corpus" / "train").exists()
    assert not any(map(is_running, workers))


@both_signals
def test_an_encoding_interrupted_as_it_begins_ends_without_a_word_from_its_processes(
    small_run, tmp_path, number, said
):
    process, _ = start_to_encode("tokenize", small_run, tmp_path, least_bytes=0)
    ends(process, number, said)
    assert not list((tmp_path / "run").rglob("*.part*"))


def test_an_encoding_that_loses_a_process_is_an_error_and_thrown_away(small_run, tmp_path):
    process, workers = start_to_encode("tokenize", small_run, tmp_path)
    if len(workers) < 2:
        process.kill()
        process.communicate()
        pytest.skip("encodes in one process here, or its processes cannot be listed")
    os.kill(workers[-1], signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 3
    assert out == b""
    assert "error: a worker process was killed, perhaps for want of memory" in err.decode()
    assert "free some memory and run again" in err.decode()
    assert not list((tmp_path / "run").rglob("*.part*"))
    assert not (tmp_path / "run" / "corpus" / "train").exists()
    assert not any(map(is_running, workers))


@both_signals
def test_eval_writes_no_scores(small_run, tmp_path, number, said):
    for language in ("en", "de"):
        lines = (small_run.parent / f"valid.{language}").read_bytes()
        (tmp_path / f"valid.{language}").write_bytes(lines * 2000)
    process = start("eval", small_run, "--data-root", tmp_path, "--out", tmp_path / "scores", cwd=tmp_path)
    # its first line on stderr is progress, two seconds after the translation began
    assert process.stderr.readline()
    ends(process, number, said)
    assert not (tmp_path / "scores" / "scores.json").exists()
    assert not list((tmp_path / "scores").glob("*")) if (tmp_path / "scores").exists() else True


@both_signals
def test_info_stops_where_it_waits_for_its_file(tmp_path, number, said):
    os.mkfifo(
        tmp_path / "slow.yaml"
    )  # a pipe that nothing is written to stands for a disk that does not answer
    process = start("info", "slow.yaml", cwd=tmp_path)
    writer = None
    end_time = time.monotonic() + 120
    while writer is None:
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < end_time
        try:
            writer = os.open(tmp_path / "slow.yaml", os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads yet
            time.sleep(0.05)
    ends(process, number, said)
    os.close(writer)
