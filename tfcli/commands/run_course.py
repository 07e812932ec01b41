"""How the training of a run goes, in numbers: its curves, its speed, the time left, and whether it goes on.

It is told from the files alone, which another process may be writing, and from who holds the folder.
"""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tfcli.training.holding import is_held

Row = dict[str, Any]
LATELY_SECONDS = 120.0  # of training: long enough to even out single lines, short enough to follow a change
LEAST_SILENCE_SECONDS = 120.0
LINES_MISSED = 3  # a busy machine may take twice as long for a line as it took lately
UNKNOWN_SECONDS = 1800.0  # allowed to what nothing is known of: the way to the first line, a validation
START = "environment.json"  # written each time that training starts, and only then; recipe.yaml may be edited by hand
SIGNS_OF_LIFE = ("metrics.jsonl", "log.txt", START)


class Mark(NamedTuple):
    """What had been done when a line was written, since the run began."""

    step: int
    tokens: float
    seconds: float  # in training steps


ORIGIN = Mark(0, 0.0, 0.0)


def about_course(
    folder: Path, rows: Sequence[Row], training: Row, state: Row, end: Row, last_step: int | None
) -> dict[str, Any]:
    """Return the course of a run: `rows` of its metrics, `training` of its recipe, `state` of its newest checkpoint.

    `end` is what finished.json says, `last_step` the last one that any file tells of.
    """
    marks = marks_of(rows)
    per_step = seconds_per_step(marks)
    silence = _seconds_since(folder, SIGNS_OF_LIFE)
    validating = _validation_is_due(rows, training) or _is_over(state, training)
    allowed = allowed_silence(per_step, _whole(training.get("log_every")), validating=validating)
    resumed = _is_on_the_way_to_a_line(folder, rows, state)
    allowed = max(allowed, UNKNOWN_SECONDS) if resumed else allowed
    held = is_held(folder)
    if held is None:
        stopped_at = _step_of_stop(folder, state, training)
        silent = stopped_at is not None or silence is None or silence > allowed
    else:
        stopped_at, silent = _whole(state.get("step")), not held
    if _is_finished(end, state, training, last_step):
        status = "finished"
    elif last_step is None and not _has_begun(folder):
        status = None
    else:
        status = "stopped" if silent else "running"
    stopped_at = stopped_at if status == "stopped" else None
    max_steps = _whole(training.get("max_steps"))
    left = seconds_left(marks, max_steps)
    resumed = resumed and status != "finished" and stopped_at is None
    return {
        "status": status,
        "held": held,
        "stopped_at": stopped_at,
        "ended_early": status == "finished" and (last_step or 0) < (max_steps or 0),
        "seconds_since_last_line": silence,
        "seconds_since_resumed": _seconds_since(folder, [START]) if resumed else None,
        "validation_is_due": status == "running" and validating,
        "tokens": int(marks[-1].tokens) if marks else None,
        "elapsed_seconds": marks[-1].seconds if marks else None,
        "target_tokens_per_second": {"lately": rate(marks), "run": rate(marks[-1:])},
        "seconds_per_step": per_step,
        "seconds_left": left if status != "finished" else None,
        "skipped_updates": _skipped(state),
        "train_loss": series(rows, "train", "loss"),
        "valid_loss": series(rows, "valid", "loss"),
        "valid_bleu": series(rows, "valid", "bleu"),
        "valid_accuracy": series(rows, "valid", "accuracy"),
    }


def series(rows: Sequence[Row], kind: str, key: str) -> list[tuple[int, float]]:
    """Return the values of a key by step; what is no number is left out, the last word on a step counts."""
    found = {
        row["step"]: float(row[key])
        for row in rows
        if row.get("kind") == kind and _is_number(row.get(key)) and _whole(row.get("step")) is not None
    }
    return sorted(found.items())


def marks_of(rows: Sequence[Row]) -> list[Mark]:
    """Return what the lines of training say of steps, tokens and time."""
    steps, seconds = dict(series(rows, "train", "tokens")), dict(series(rows, "train", "elapsed_seconds"))
    marks = [Mark(step, tokens, seconds[step]) for step, tokens in steps.items() if step in seconds]
    return [mark for mark in marks if math.isfinite(mark.tokens) and math.isfinite(mark.seconds)]


def rate(marks: Sequence[Mark]) -> float | None:
    """Return the target tokens a second lately; with one mark it is that of the run up to there."""
    if not marks:
        return None
    before, last = lately(marks)
    seconds = last.seconds - before.seconds
    return (last.tokens - before.tokens) / seconds if seconds > 0 else None


def seconds_per_step(marks: Sequence[Mark]) -> float | None:
    """Return how long a step took lately."""
    if not marks:
        return None
    before, last = lately(marks)
    seconds, steps = last.seconds - before.seconds, last.step - before.step
    return seconds / steps if seconds > 0 and steps > 0 else None


def lately(marks: Sequence[Mark]) -> tuple[Mark, Mark]:
    """Return the last mark and the one to compare it with: the newest that is old enough, else the run's beginning."""
    last = marks[-1]
    old_enough = (mark for mark in reversed(marks) if last.seconds - mark.seconds >= LATELY_SECONDS)
    return next(old_enough, ORIGIN), last


def seconds_left(marks: Sequence[Mark], max_steps: int | None) -> float | None:
    """Return how long the steps that are left take at the latest speed, validations not counted."""
    per_step = seconds_per_step(marks)
    if per_step is None or max_steps is None:
        return None
    return max(0, max_steps - marks[-1].step) * per_step


def allowed_silence(per_step: float | None, log_every: int | None, *, validating: bool) -> float:
    """Return for how many seconds a run that goes on may write no line."""
    if per_step is None or log_every is None:
        return UNKNOWN_SECONDS
    usual = max(LEAST_SILENCE_SECONDS, LINES_MISSED * per_step * log_every)
    return usual + UNKNOWN_SECONDS if validating else usual


def _validation_is_due(rows: Sequence[Row], training: Row) -> bool:
    """Tell whether a validation comes before the next line of training, and has not left its own line yet."""
    validate_every, log_every = _whole(training.get("validate_every")), _whole(training.get("log_every"))
    trained = series(rows, "train", "loss")
    if not validate_every or not log_every or not trained:
        return False
    step, max_steps = trained[-1][0], _whole(training.get("max_steps"))
    if max_steps is not None and step >= max_steps:
        return True  # nothing but validations is left
    validated = max((row for row, _ in series(rows, "valid", "loss")), default=0)
    due = (step + log_every - 1) // validate_every * validate_every
    return due >= step and due > validated


def _is_over(state: Row, training: Row) -> bool:
    """Tell whether a run that saved `state` takes no further step: what it still does is try the average."""
    step, max_steps = _whole(state.get("step")), _whole(training.get("max_steps"))
    tired, patience = _whole(state.get("validations_since_best")), _whole(training.get("patience"))
    at_the_end = step is not None and max_steps is not None and step >= max_steps
    return at_the_end or (tired is not None and patience is not None and tired >= patience)


def _is_finished(end: Row, state: Row, training: Row, last_step: int | None) -> bool:
    """Tell whether the end that was written down is still the end: a run can be made longer and go on."""
    if "step" not in end or last_step not in (None, end["step"]):
        return False
    return state.get("step") != end["step"] or _is_over(state, training)


def _step_of_stop(folder: Path, state: Row, training: Row) -> int | None:
    """Return where a signal stopped the run, known by its last act: it saved a step that was not due to be saved."""
    step, every = _whole(state.get("step")), _whole(training.get("checkpoint_every"))
    if step is None or not every or step % every == 0 or _is_over(state, training):
        return None
    saved = _saved(folder, step)
    line = _written(folder / "metrics.jsonl")
    return step if saved is not None and (line is None or saved >= line) else None


def _skipped(state: Row) -> int | None:
    step, updates = _whole(state.get("step")), _whole(state.get("updates"))
    return step - updates if step is not None and updates is not None else None


def _has_begun(folder: Path) -> bool:
    """Tell whether training has ever started here; a recipe, a corpus or an empty log is no training."""
    return (folder / START).exists() or (folder / "metrics.jsonl").exists()


def _is_on_the_way_to_a_line(folder: Path, rows: Sequence[Row], state: Row) -> bool:
    """Tell whether a run that resumed has yet to write a line: it may have to compile its code first.

    The time of metrics.jsonl does not tell, since a start writes it anew; but it drops all rows behind the checkpoint.
    """
    step, started = _whole(state.get("step")), _written(folder / START)
    if step is None or started is None:
        return False
    saved = _saved(folder, step)
    if saved is None or saved > started:
        return False
    return all(at <= step for at, _ in series(rows, "train", "loss"))


def _saved(folder: Path, step: int) -> float | None:
    return _written(folder / "checkpoints" / f"step-{step:08d}" / "state.json")


def _seconds_since(folder: Path, names: Sequence[str]) -> float | None:
    """Return how long ago the last of these files was written."""
    times = [written for name in names if (written := _written(folder / name)) is not None]
    # a disk on another machine may have a clock that is ahead
    return max(0.0, time.time() - max(times)) if times else None


def _written(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
