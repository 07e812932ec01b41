"""How training shows itself: a live line on a terminal, plain lines elsewhere, and all lines in log.txt."""

import functools
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tfcli.commands.console import Progress, draws_bars, progress, say, warn
from tfcli.errors import CheckpointError
from tfcli.recipe.tasks import TASKS, TaskName

if TYPE_CHECKING:
    from collections.abc import Callable

    from tfcli.training.state import TrainingState
    from tfcli.training.step import StepResult


class ConsoleReporter:
    """Shows how training goes: a live line on a terminal, plain lines elsewhere, and all lines in log.txt."""

    def __init__(self, task: TaskName, max_steps: int, log: Path | None) -> None:
        self._task = TASKS[task]
        self._max_steps = max_steps
        # unbuffered: what could not be written once is not tried again when the file is closed
        self._log = log.open("ab", buffering=0) if log is not None else None
        self._held: list[str] = []  # lines for the log of a start that may yet be refused
        self._has_begun = False
        self._bar: Progress | None = None
        self._close_bar: Callable[[], object] | None = None
        self._shown_step = 0
        self._bar_step = 0
        self._start = (time.perf_counter(), 0)
        self._rate_from = (0.0, 0)  # elapsed seconds and tokens at the last line
        self._rate = 0.0

    def __enter__(self) -> "ConsoleReporter":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the live line away and close the log."""
        if self._close_bar is not None:
            self._close_bar()
        if self._log is not None:
            self._log.close()

    def begin(self) -> None:
        """Let what was said so far into the log: the run goes on, and the log's time is taken as a sign of it."""
        self._has_begun = True
        for line in self._held:
            self._append(line)
        self._held.clear()

    def note(self, message: str) -> None:
        """Show a remark."""
        self._write(message)
        say(message)

    def warn(self, message: str) -> None:
        """Show a warning."""
        self._write(f"warning: {message}")
        warn(message)

    def progress(self, state: "TrainingState", result: "StepResult") -> None:
        """Move the live line."""
        if self._shown_step == 0 or state.step <= self._shown_step:  # the first step, or the run went back
            self._start = (time.perf_counter(), state.step - 1)
            self._rate_from = (state.elapsed_seconds, state.tokens)
        if state.elapsed_seconds - self._rate_from[0] > 2.0:
            seconds, tokens = self._rate_from
            self._rate = (state.tokens - tokens) / (state.elapsed_seconds - seconds)
            self._rate_from = (state.elapsed_seconds, state.tokens)
        if draws_bars():
            self._show_bar(state, result)
        self._shown_step = state.step

    def row(self, kind: str, step: int, values: dict[str, float]) -> None:
        """Show a line of the log."""
        if kind == "valid":
            line = f"step {step}: validation {self._told_loss(values)}"
            if self._task.goal != "loss":
                line += f", {self._task.told(values[self._task.goal])}"
        else:
            # a start of less than two seconds has no rate of its own yet
            rate = self._rate or values["tokens"] / max(values["elapsed_seconds"], 1e-3)
            line = (
                f"step {step}/{self._max_steps}: {self._told_loss(values)}, "
                f"learning rate {values['learning_rate']:.2e}, {rate:,.0f} {self._task.unit}s/s, "
                f"{self._remaining(step)} left"
            )
        self._write(line)
        if kind == "valid" or not draws_bars():
            say(line)

    def _told_loss(self, values: dict[str, float]) -> str:
        perplexity = f", perplexity {values['perplexity']:.2f}" if self._task.has_perplexity else ""
        return f"loss {values['loss']:.3f}{perplexity}"

    def _show_bar(self, state: "TrainingState", result: "StepResult") -> None:
        if self._bar is None:
            manager = progress("training", self._max_steps, "step")
            self._bar = manager.__enter__()
            self._close_bar = functools.partial(manager.__exit__, None, None, None)
        perplexity = f"ppl {math.exp(min(result.nll / result.tokens, 100.0)):.1f} "
        rate = self._rate or state.tokens / max(state.elapsed_seconds, 1e-3)  # none of its own yet
        self._bar.update(
            description=f"loss {result.loss / result.tokens:.2f} "
            f"{perplexity if self._task.has_perplexity else ''}lr {result.learning_rate:.0e} {rate:,.0f} tok/s"
        )
        self._bar.advance(state.step - self._bar_step)
        self._bar_step = state.step

    def _remaining(self, step: int) -> str:
        start_time, start_step = self._start
        per_step = (time.perf_counter() - start_time) / max(1, step - start_step)
        return duration(per_step * (self._max_steps - step))

    def _write(self, line: str) -> None:
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n"
        if self._has_begun:
            self._append(line)
        else:
            self._held.append(line)

    def _append(self, line: str) -> None:
        if self._log is None:
            return
        try:
            self._log.write(line.encode())
        except OSError as error:
            raise CheckpointError(
                f"{self._log.name}: cannot be written: {error.strerror or error}",
                "free some space or mend the folder's permissions, then run again: it resumes from the last good "
                "checkpoint",
            ) from error


def duration(seconds: float) -> str:
    """Return a time as people say it: 45 s, 12 min, 3 h 05 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
