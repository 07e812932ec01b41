"""What a training is given and what it tells: the run, whoever shows how it goes, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from tfcli.recipe.tasks import TASKS, Task
from tfcli.training.distributed import ALONE, Ranks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch

    from tfcli.corpus.initial import Initial
    from tfcli.corpus.prepare import Prepared
    from tfcli.corpus.prepare_text import PreparedText
    from tfcli.model.config import ModelConfig
    from tfcli.model.networks import Network
    from tfcli.model.precision import Precision
    from tfcli.recipe.schema import Recipe
    from tfcli.training.state import TrainingState
    from tfcli.training.step import StepResult


class Reporter(Protocol):
    """Whoever shows how training goes."""

    def begin(self) -> None:
        """Learn that training goes on from here: the start was not refused."""

    def note(self, message: str) -> None:
        """Take a remark."""

    def warn(self, message: str) -> None:
        """Take a warning."""

    def progress(self, state: TrainingState, result: StepResult) -> None:
        """Take the result of a step."""

    def row(self, kind: Literal["train", "valid"], step: int, values: dict[str, float]) -> None:
        """Take a line of the log."""


@dataclass(frozen=True)
class Run:
    """What is to be trained, on what, and where it goes."""

    recipe: Recipe
    run_dir: Path
    config: ModelConfig
    prepared: Prepared | PreparedText
    device: torch.device
    precision: Precision
    compiled: bool
    environment: dict[str, Any]  # for environment.json
    validate: (
        Callable[[Network], float] | None
    )  # the task's goal on the validation set; None: that is its loss
    reporter: Reporter
    stop_asked: Callable[[], bool]
    varlen: bool = False  # attention by torch's kernel for packed sentences
    initial: Initial | None = None  # where the weights come from, if they are not random
    ranks: Ranks = ALONE

    @property
    def task(self) -> Task:
        """What validation is judged by."""
        return TASKS[self.recipe.task]


@dataclass(frozen=True)
class Outcome:
    """How training ended."""

    reason: Literal["finished", "already finished", "stopped"]
    step: int
    best_step: int
    best_score: float | None
    seconds: float  # spent in training steps, over all starts of the run
