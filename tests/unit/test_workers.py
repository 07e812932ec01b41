"""Work shared out among processes: results in order, what goes wrong told, and no process left behind."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tfcli.corpus.workers import MOST_PROCESSES, in_order, processes_for
from tfcli.errors import DataError


def slow_when_even(job):
    time.sleep(0.01 * (job % 2 == 0))
    sys.stdout.write("what is printed gets nowhere near the results\n")
    return job, os.getpid()


def refuse_five(job):
    if job >= 5:
        raise DataError(f"job {job} is refused", "another may do")
    return job


def die_at_three(job):
    if job == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return bytes(1 << 20)


def pid_and_wait(job):
    time.sleep(job)
    return os.getpid()


class Counter:
    """Work that remembers: each process has its own, made from the one that was sent."""

    def __init__(self):
        self.done = 0

    def __call__(self, job):
        self.done += 1
        return self.done


def gone(pid):
    """Say whether a process has ended, given a moment for it."""
    end_time = time.monotonic() + 20
    while time.monotonic() < end_time:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("processes", [1, 3])
def test_results_come_in_the_order_of_the_jobs(processes):
    found = list(in_order(slow_when_even, range(40), processes))
    assert [job for job, _ in found] == list(range(40))
    pids = {pid for _, pid in found}
    assert len(pids) <= processes
    assert (os.getpid() in pids) == (processes == 1)
    assert processes == 1 or all(map(gone, pids))


def test_work_is_sent_once_and_may_remember():
    assert max(in_order(Counter(), range(30), 2)) >= 15


def test_what_the_work_raises_is_raised_for_the_first_job_that_failed():
    results = in_order(refuse_five, range(40), 3)
    assert [next(results) for _ in range(5)] == list(range(5))
    with pytest.raises(DataError, match="job 5 is refused") as caught:
        next(results)
    assert caught.value.hint == "another may do"


def test_a_killed_process_is_an_error_and_no_endless_wait():
    with pytest.raises(DataError, match="a worker process was killed, perhaps for want of memory"):
        list(in_order(die_at_three, range(40), 2))


@pytest.mark.parametrize("jobs", [[0, 0, 60, 60, 60, 60], [b"x" * (1 << 22)] * 9])
def test_what_is_left_early_is_ended_at_once(jobs):
    start_time = time.monotonic()
    with closing(in_order(pid_and_wait if jobs[0] == 0 else len, jobs, 2)) as results:
        pid = next(results)
    assert time.monotonic() - start_time < 30
    assert jobs[0] != 0 or gone(pid)


def test_an_error_among_the_jobs_ends_the_processes():
    pids = []

    def jobs():
        yield from [0] * 9
        raise DataError("cannot read on")

    def collect():
        for pid in in_order(pid_and_wait, jobs(), 2):
            pids.append(pid)

    with pytest.raises(DataError, match="cannot read on"):
        collect()
    assert pids
    assert all(map(gone, pids))


def test_jobs_are_taken_a_few_ahead_and_no_more():
    taken = []

    def jobs():
        for job in range(40):
            taken.append(job)
            yield job

    results = in_order(refuse_five, jobs(), 2)
    next(results)
    assert len(taken) == 5
    results.close()


def test_processes_are_started_only_for_enough_text_and_never_too_many(monkeypatch):
    assert processes_for(49_999) == 1
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(200)), raising=False)
    assert processes_for(50_000) == MOST_PROCESSES
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5, 6})
    assert processes_for(50_000) == 3


def test_when_this_process_is_killed_the_others_end_by_themselves(tmp_path):
    program = """
import sys
from tests.unit.test_workers import pid_and_wait
from tfcli.corpus.workers import in_order
for pid in in_order(pid_and_wait, [0.2] * 10000, 2):
    print(pid, flush=True)
"""
    root = str(Path(__file__).resolve().parents[2])
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": root}
    )
    with process:
        pids = {int(process.stdout.readline()) for _ in range(4)}
        process.kill()
    assert len(pids) == 2
    assert all(map(gone, pids))


def test_no_module_of_the_folder_where_one_stands_is_taken_for_python_s_own(tmp_path, monkeypatch):
    for name in ("signal", "pickle", "random"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    assert list(in_order(refuse_five, range(5), 2)) == list(range(5))
