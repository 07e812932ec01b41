"""Processes that can be killed at a chosen instant, and that start at once: forked from one that has imported torch.

    Nursery, here -> a process with torch, `python -m tests.nursery` -> a child for each start

A child writes into a small shared file what it is at. Whoever kills it knows from there when to, and afterwards what
was hit. It can also be told to kill itself before its n-th operation on the files of a folder.
"""

import importlib
import json
import mmap
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
# What a training is at: the functions that its loop calls. Before the first of them it starts up.
START, LOOP, STEP, VALIDATION, CHECKPOINT, DELETION, AVERAGE, END = PHASES = (
    "start", "loop", "step", "validation", "checkpoint", "deletion", "average", "end"
)  # fmt: skip
FUNCTIONS = {
    "train_step": STEP,
    "validate": VALIDATION,
    "save_checkpoint": CHECKPOINT,
    "drop_old_checkpoints": DELETION,
    "try_average": AVERAGE,
    "write_end": END,
}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate"}
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class Board:
    """Numbers that two processes share: the phase, operations on files, and of each phase its times and seconds."""

    def __init__(self, path):
        size = 8 * (2 + 2 * len(PHASES))
        if not path.exists():
            path.write_bytes(bytes(size))
        with path.open("r+b") as file:
            self._numbers = np.frombuffer(mmap.mmap(file.fileno(), size), dtype=np.float64)
        self._times = self._numbers[2 : 2 + len(PHASES)]
        self._seconds = self._numbers[2 + len(PHASES) :]
        self._since = time.perf_counter()

    @property
    def phase(self):
        return PHASES[int(self._numbers[0])]

    @property
    def operations(self):
        return int(self._numbers[1])

    def times(self, phase):
        """Return how often a phase was entered."""
        return int(self._times[PHASES.index(phase)])

    def mean_seconds(self, phase):
        """Return how long a phase lasts."""
        return self._seconds[PHASES.index(phase)] / max(1, self.times(phase))

    def enter(self, phase):
        now, number = time.perf_counter(), PHASES.index(phase)
        self._seconds[int(self._numbers[0])] += now - self._since
        self._times[number] += 1
        self._numbers[0] = number
        self._since = now

    def count_operation(self):
        self._numbers[1] += 1
        return self.operations


class Child:
    """A process that was started; `board` tells what it is at."""

    def __init__(self, nursery, pid, board):
        self._nursery, self.board = nursery, board
        try:
            self._process = os.pidfd_open(pid)  # its number may soon be another's
        except ProcessLookupError:
            self._process = None
        self.ended = self._process is None

    def kill(self):
        if self._process is not None:
            try:
                signal.pidfd_send_signal(self._process, signal.SIGKILL)
            except ProcessLookupError:
                self.ended = True

    def has_ended(self):
        """Tell whether it is dead, whoever has killed it."""
        if self._process is not None and not self.ended:
            self.ended = bool(select.select([self._process], [], [], 0)[0])
        return self.ended

    def wait(self):
        """Return its exit status, negative where a signal ended it."""
        status = self._nursery.answer()["status"]
        if self._process is not None:
            os.close(self._process)
        return status


class Nursery:
    """Starts one process after the other; `said` is what they wrote on both standard streams."""

    def __init__(self, folder):
        self._folder = folder
        self.said = folder / "said.txt"
        self._number = 0

    def __enter__(self):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.nursery", str(self.said)],
            cwd=ROOT, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def start(self, target, *arguments, watched, dies_before=0):
        """Have a process call `target`, "module:function", with arguments that JSON can carry.

        It kills itself before its operation number `dies_before` on what lies in the folder `watched`.
        """
        self._number += 1
        board = self._folder / f"board-{self._number}"
        shared = Board(board)
        wish = {
            "target": target, "arguments": arguments, "board": str(board), "watched": str(watched), "dies_before": dies_before
        }  # fmt: skip
        self._process.stdin.write(json.dumps(wish) + "\n")
        self._process.stdin.flush()
        return Child(self, self.answer()["pid"], shared)

    def answer(self):
        line = self._process.stdout.readline()
        assert line, "the process that starts the others has ended"
        return json.loads(line)


def serve(said):
    """Fork a child for each line of standard input, and tell its number and how it ended."""
    for module in ("tests.training_runs", "tfcli.app", "tfcli.commands.train", "tfcli.corpus.prepare",
                   "tfcli.training.fit", "tfcli.decoding.translator", "tfcli.scoring.metrics", "sacrebleu",
                   "sentencepiece", "tensorboard.compat.proto.event_pb2",
                   "tensorboard.compat.proto.summary_pb2", "tensorboard.summary.writer.record_writer"):  # fmt: skip
        importlib.import_module(module)
    for line in sys.stdin:
        wish = json.loads(line)
        pid = os.fork()
        if not pid:
            os._exit(_be_a_child(wish, said))
        _tell({"pid": pid})
        _tell({"status": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])})


def _tell(answer):
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _be_a_child(wish, said):
    stream = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(stream, 1)
    os.dup2(stream, 2)
    try:
        board = Board(Path(wish["board"]))
        board.enter(START)
        _tell_phases(board)
        _count_operations(board, wish["watched"], wish["dies_before"])
        module, _, function = wish["target"].partition(":")
        return getattr(importlib.import_module(module), function)(*wish["arguments"]) or 0
    except BaseException:
        traceback.print_exc()
        return 99
    finally:
        sys.stderr.flush()


def _tell_phases(board):
    loop = importlib.import_module("tfcli.training.fit")
    for name, phase in FUNCTIONS.items():
        setattr(loop, name, _telling(board, getattr(loop, name), phase))


def _telling(board, function, phase):
    def call(*arguments, **options):
        board.enter(phase)
        try:
            return function(*arguments, **options)
        finally:
            board.enter(LOOP)

    return call


def _count_operations(board, watched, dies_before):
    def hear(event, arguments):
        path = str(arguments[0]) if arguments else ""
        if event == "open":
            changes = path.startswith(watched) and bool(arguments[2] & WRITING)
        else:  # a name that starts from an open folder is one in a tree that is being deleted
            changes = event in CHANGES and (path.startswith(watched) or not path.startswith("/"))
        if changes and board.count_operation() == dies_before:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hear)


if __name__ == "__main__":
    serve(sys.argv[1])
