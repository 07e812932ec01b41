"""The same work on many jobs, by several processes, the results in the order of the jobs.

    jobs -> a thread for each process, which hands it a job and waits for the result -> results, in order

A worker process ends when its standard input does: whatever becomes of this one, none is left behind.

Work, jobs, results and errors are pickled, as multiprocessing does it, because functions and exceptions are among them. They
go through pipes that this process and the worker it started alone hold: no file, model or download is ever unpickled.
"""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast

from tfcli.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from concurrent.futures import Future

Job = TypeVar("Job")
Result = TypeVar("Result")

# More could not be fed: one process reads the text and writes the results for all.
MOST_PROCESSES = 16
# Starting processes takes about half a second, in which one core encodes about this many lines.
LINES_WORTH_PROCESSES = 50_000
_PIPE_BYTES = 1 << 20
# Started by hand rather than by multiprocessing, which would import the whole command line into each worker, and
# whose workers stay behind when this process is killed. Ctrl-C and SIGTERM are this process's to answer.
_PROGRAM = """\
import signal, sys
for name in ("SIGINT", "SIGTERM"):
    signal.signal(getattr(signal, name), signal.SIG_IGN)
sys.path[:] = {path!r}
from tfcli.corpus.workers import serve
serve()
"""


def processes_for(lines: int, worth: int = LINES_WORTH_PROCESSES) -> int:
    """Return how many processes work through this many lines fastest on this machine.

    `worth`: how many lines one process does in the time that several take to start.
    """
    if lines < worth:
        return 1
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows
        cores = os.cpu_count() or 1
    return min(cores, MOST_PROCESSES)


def in_order(
    work: Callable[[Job], Result], jobs: Iterable[Job], processes: int
) -> Generator[Result, None, None]:
    """Yield what `work` makes of each job, by this process or by several others, to which `work` is sent once.

    To be closed when it is left early.

    Raises: what `work` raises; DataError when a process is killed, as for want of memory.
    """
    if processes <= 1:
        yield from map(work, jobs)
        return
    pool = _Pool(work, processes)
    try:
        pending: deque[Future[Result]] = deque()
        for job in jobs:
            pending.append(pool.submit(job))
            # Two for each process keep all busy; more would fill the memory with a corpus read ahead.
            if len(pending) > 2 * processes:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.close()


def serve() -> None:
    """Be a worker process: read the work, then job after job, and answer each with its result or what was raised."""
    jobs, results = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that a library prints may get among the results
    # once nobody gives jobs or waits for results any more, and be it in the middle of one, there is nothing to do
    with suppress(EOFError, pickle.UnpicklingError, BrokenPipeError):
        work: Callable[[Any], Any] = pickle.load(jobs)  # noqa: S301  # from the process that started this one
        while True:
            pickle.dump(_answer(work, pickle.load(jobs)), results, protocol=5)  # noqa: S301
            results.flush()


def _answer(work: Callable[[Any], Any], job: Any) -> tuple[bool, Any]:
    try:
        return True, work(job)
    except Exception as error:
        return False, error


class _Pool:
    """Worker processes, each with a thread of this process that speaks with it."""

    def __init__(self, work: Callable[[Any], Any], processes: int) -> None:
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._workers: list[_Worker] = []
        self._threads = ThreadPoolExecutor(processes)
        try:
            sent = pickle.dumps(work, protocol=5)
            for _ in range(processes):
                self._workers.append(_Worker(sent))
                self._idle.put(self._workers[-1])
        except BaseException:
            self.close()
            raise

    def submit(self, job: Any) -> Future[Any]:
        """Give a job to the next worker that is idle."""
        return self._threads.submit(self._do, job)

    def close(self) -> None:
        """End all workers, whatever they are at."""
        for worker in self._workers:
            worker.kill()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.close()

    def _do(self, job: Any) -> Any:
        worker = self._idle.get()
        try:
            return worker.do(job)
        finally:
            self._idle.put(worker)


class _Worker:
    """One worker process and the pipes to it."""

    def __init__(self, work: bytes) -> None:
        program = _PROGRAM.format(path=sys.path)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pipesize=_PIPE_BYTES,
            start_new_session=True,  # Ctrl-C in the terminal does not reach it
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        self._jobs = cast("IO[bytes]", self._process.stdin)
        self._results = cast("IO[bytes]", self._process.stdout)
        self._unsent: bytes | None = work

    def do(self, job: Any) -> Any:
        """Return what the work makes of a job.

        Raises: what the work raises; DataError when the process is no more.
        """
        try:
            if self._unsent is not None:
                self._jobs.write(self._unsent)
                self._unsent = None
            pickle.dump(job, self._jobs, protocol=5)
            self._jobs.flush()
            done, answer = pickle.load(self._results)  # noqa: S301  # from a process that this one started
        except (EOFError, BrokenPipeError, pickle.UnpicklingError) as error:
            raise DataError(
                "a worker process was killed, perhaps for want of memory",
                "free some memory and run again",
            ) from error
        if not done:
            raise answer
        return answer

    def kill(self) -> None:
        """End the process, whatever it is at."""
        self._process.kill()

    def close(self) -> None:
        """Take leave of a process that has been killed, when no thread speaks with it any more."""
        self._process.wait()
        with suppress(BrokenPipeError):  # what could not be sent any more
            self._jobs.close()
        self._results.close()
