"""What a run must remember, besides tensors, to go on as if it had never stopped."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from tfcli.corpus.batches import Position


@dataclass
class LogWindow:
    """Sums since the last line of the log."""

    loss: float = 0.0  # nats, label smoothing included
    nll: float = 0.0  # nats
    tokens: int = 0
    gradient_norm: float = 0.0
    steps: int = 0


@dataclass
class TrainingState:
    """Where a run stands after `step` steps."""

    step: int = 0
    updates: int = 0  # steps whose gradient was finite; the others changed nothing
    position: Position = field(default_factory=Position)
    batches_per_update: int = (
        0  # on all ranks together, fixed when the run begins; 0: written before there were ranks
    )
    tokens: int = 0  # target tokens learnt from
    elapsed_seconds: float = 0.0  # spent in training steps, over all starts of the run
    best_score: float | None = None  # of the validations, by the task's goal
    best_step: int = 0
    validations_since_best: int = 0
    skipped_in_a_row: int = 0
    rate_factor: float = 1.0  # on the schedule's learning rate: halved whenever the run went back
    returns: int = 0  # how often it went back to an earlier step because updates stayed non-finite
    returns_in_place: int = 0  # as often since an update came behind `failed_step`
    failed_step: int = 0  # the last step at which that happened
    window: LogWindow = field(default_factory=LogWindow)

    def to_dict(self) -> dict[str, Any]:
        """Return the state as JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainingState:
        """Read a state back; KeyError or TypeError when it is not one."""
        plain = {key: value for key, value in values.items() if key not in ("position", "window")}
        return cls(position=Position(**values["position"]), window=LogWindow(**values["window"]), **plain)
