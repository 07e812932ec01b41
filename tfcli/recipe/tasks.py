"""What differs between the tasks in how a training is judged and told: one network each, one loop for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TaskName = Literal["translation", "language_model", "classification"]


@dataclass(frozen=True)
class Task:
    """How the best weights of a task are found, and what its losses and rates count.

    `goal` is the key that validation chooses by in `metrics.jsonl`, `goal_name` what people call it.
    """

    goal: str
    goal_name: str
    digits: int
    unit: str
    lower_is_better: bool = False

    def improves(self, score: float, best: float | None) -> bool:
        """Tell whether a validation score is better than the best so far; None: there is none yet."""
        if best is None:
            return True
        return score < best if self.lower_is_better else score > best

    def told(self, score: float) -> str:
        """Return a validation score as it is told: `BLEU 38.12`."""
        return f"{self.goal_name} {score:.{self.digits}f}"


TASKS: dict[TaskName, Task] = {
    "translation": Task("bleu", "BLEU", 2, "target token"),
    "language_model": Task("loss", "loss", 3, "token", lower_is_better=True),
    "classification": Task("accuracy", "accuracy", 2, "text"),
}
