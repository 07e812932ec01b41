"""How the training of a run goes, in words and curves, from the numbers of `run_course`."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tfcli.commands.sparkline import levels_shown, resample, sparkline, width_shown
from tfcli.commands.train_display import duration
from tfcli.recipe.tasks import TASKS
from tfcli.wording import counted

Points = Sequence[tuple[int, float]]
SECONDS_PER_DAY = 86_400


class Curve(NamedTuple):
    """How a series is told: its name, its best value in a word, and how many digits matter."""

    name: str
    best_is: str
    best: Callable[[list[float]], float]
    digits: int


CURVES = {
    "train_loss": Curve("train loss", "lowest", min, 3),
    "valid_loss": Curve("valid loss", "best", min, 3),
    "valid_bleu": Curve("valid BLEU", "best", max, 2),
    "valid_accuracy": Curve("valid accuracy", "best", max, 2),
}


def course_rows(
    course: dict[str, Any], last_step: int | None, max_steps: Any, unit: str = TASKS["translation"].unit
) -> dict[str, str]:
    """Return the state, the speed, the time left and what was skipped, each in a line; what is not known is empty.

    `unit` is what the task counts.
    """
    skipped = course["skipped_updates"]
    left = course["seconds_left"] if course["status"] == "running" else None
    return {
        "status": _status(course, last_step, max_steps),
        "speed": _speed(course, unit),
        "time left": f"{duration(left)} to step {max_steps:,} at this speed, validations not counted"
        if left is not None
        else "",
        "skipped": f"{counted(skipped, 'update')}, not finite" if skipped else "",
    }


def curve_lines(course: dict[str, Any]) -> list[str]:
    """Return the curves as wide as the terminal allows, each with its values in a line below."""
    indent = max((len(curve.name) for key, curve in CURVES.items() if course[key]), default=0) + 2
    width, levels = width_shown(indent), levels_shown()
    lines = []
    for key, curve in CURVES.items():
        points = course[key]
        if points:
            drawn = sparkline(resample([value for _, value in points], width), levels)
            lines += [f"{curve.name:<{indent}}{drawn}", " " * indent + summary(points, curve)]
    return lines


def summary(points: Points, curve: Curve) -> str:
    """Return the first, the last and the best value of a series with their steps, and how many are not finite."""
    finite = [(step, value) for step, value in points if math.isfinite(value)]
    said = [_at(points[0], curve)]
    if len(points) > 1:
        said[0] += f" to {_at(points[-1], curve)}"
        if finite:
            best = curve.best([value for _, value in finite])
            step = next(step for step, value in finite if value == best)
            said.append(f"{curve.best_is} {_at((step, best), curve)}")
    if len(finite) < len(points):
        said.append(f"{len(points) - len(finite):,} of {counted(len(points), 'value')} not finite")
    return ", ".join(said)


def _at(point: tuple[int, float], curve: Curve) -> str:
    step, value = point
    return f"{value:.{curve.digits}f} at step {step:,}"


def _status(course: dict[str, Any], last_step: int | None, max_steps: Any) -> str:
    if course["status"] is None:
        return ""
    if course["status"] == "finished":
        where = f" at step {last_step:,}" if last_step is not None else ""
        why = ": validation no longer improved (training.patience)" if course["ended_early"] else ""
        return f"finished{where}{why}"
    silence = course["seconds_since_last_line"]
    last = f"last line {_ago(silence)}" if last_step is not None else f"started {_ago(silence)}, no line yet"
    if course["seconds_since_resumed"] is not None:
        last = f"resumed {_ago(course['seconds_since_resumed'])}, no line yet"
    if course["status"] == "running":
        return f"going on: {last}" + (", a validation is due" if course["validation_is_due"] else "")
    saved = course["stopped_at"]
    if saved is None:
        return (
            f"stopped: {last}, nothing saved yet"
            if course["held"] is False
            else f"stopped, as it seems: {last}"
        )
    of = f" of {max_steps:,}" if isinstance(max_steps, int) else ""
    behind = f", saved at step {saved:,}" if saved != last_step else ""
    return f"stopped at step {last_step or saved:,}{of}{behind}: {last}"


def _speed(course: dict[str, Any], unit: str) -> str:
    rates = course["target_tokens_per_second"]
    if rates["lately"] is None or rates["run"] is None:
        return ""
    return (
        f"{rates['lately']:,.0f} {unit}s/s lately, {rates['run']:,.0f} over the run "
        f"({course['tokens']:,} in {duration(course['elapsed_seconds'])})"
    )


def _ago(seconds: float | None) -> str:
    if seconds is None:
        return "at an unknown time"
    return (
        f"{duration(seconds)} ago"
        if seconds < 2 * SECONDS_PER_DAY
        else f"{seconds / SECONDS_PER_DAY:,.0f} days ago"
    )
