"""From a run folder to the state that training goes on from, and what the folder says of the run.

`finished.json` tells of an end that was reached, averaging included; a run that is resumed past it goes on.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tfcli.corpus.initial import FILE as INITIAL_FILE
from tfcli.corpus.initial import write_initial
from tfcli.errors import CheckpointError, RecipeError
from tfcli.model.config import ModelConfig
from tfcli.recipe.loader import dump_recipe
from tfcli.recipe.schema import ModelSection
from tfcli.text.whole_file import write_whole
from tfcli.training.checkpoint import (
    checkpoint_folders,
    drop_old_checkpoints,
    newest_checkpoint,
    read_checkpoint,
    restore,
    tidy,
)
from tfcli.training.initial import begin
from tfcli.training.settings import INIT, refuse_changed_settings, settings_of
from tfcli.training.state import TrainingState
from tfcli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tfcli.training.checkpoint import Checkpoint
    from tfcli.training.learner import Learner
    from tfcli.training.run import Run

# What checkpoints of before did not tell, because there was no choice yet.
DECIDED_LATELY = {
    "training.varlen": False,
    "training.sharding": False,
    **{
        f"model.{key}": value
        for key, value in ModelConfig.before().items()
        if key in ModelSection.model_fields
    },
}

# What changes no translation, apart from ties within rounding, and is lowered where memory runs out.
HOW_MANY_AT_ONCE = ("decoding.batch_tokens:", "decoding.batch_size:")


def resume(run: Run, learner: Learner) -> TrainingState:
    """Put the newest whole checkpoint back into the learner and return its state; a new one where there is none.

    Raises: RecipeError when the run was started with other settings, CheckpointError when all checkpoints are damaged.
    """
    tidy(run.run_dir / "checkpoints")
    checkpoint = newest_checkpoint(run.run_dir / "checkpoints", run.reporter.warn)
    accumulation_steps = run.recipe.training.accumulation_steps
    if checkpoint is None:
        state = TrainingState(batches_per_update=accumulation_steps * run.ranks.size)
        if run.ranks.size > 1:
            n_batches = counted(state.batches_per_update, "batch", "batches")
            run.reporter.note(
                f"{counted(run.ranks.size, 'rank')}: an update learns from {n_batches}, dealt to them in turn"
            )
        begin(run, learner)
        return state
    state = checkpoint.state
    now = run_settings(run)
    before = {key: value for key, value in DECIDED_LATELY.items() if key in now} | checkpoint.settings
    state.batches_per_update = state.batches_per_update or accumulation_steps
    changes = refuse_changed_settings(before, now, str(run.run_dir))
    for change in changes:
        run.reporter.note(f"changed since the run was started: {change}")
    end = _read_end(run)
    if end is not None and end["step"] == state.step:
        state.best_step, state.best_score = end["best_step"], end["best_score"]  # the average counts as well
    of_another_kind = (change for change in changes if not change.startswith(HOW_MANY_AT_ONCE))
    if any(change.startswith(("decoding.", "scoring.")) for change in of_another_kind) and not is_over(
        run, state
    ):
        run.reporter.note("validation scores so far are of another kind: the best model is chosen anew")
        state.best_score, state.validations_since_best = None, 0
    if state.step > run.recipe.training.max_steps:
        raise RecipeError(
            f"training.max_steps: {run.recipe.training.max_steps:,}, but {run.run_dir} has made {state.step:,} steps",
            "give a larger number, or start over with --fresh",
        )
    restore(checkpoint, learner, run.recipe.seed)
    if not is_finished(run, state):
        run.reporter.note(f"resuming from {checkpoint.folder}")
        _finish_last_save(run, state)
        _tell_of_other_ranks(run, checkpoint)
    return state


def _finish_last_save(run: Run, state: TrainingState) -> None:
    """Delete what a run that takes no further step was killed before it could delete; others do when they save again."""
    training = run.recipe.training
    if is_over(run, state) and not state.skipped_in_a_row:
        root = run.run_dir / "checkpoints"
        drop_old_checkpoints(root, state.step, training.checkpoint_every, training.keep_checkpoints)


def _tell_of_other_ranks(run: Run, checkpoint: Checkpoint) -> None:
    before, now = checkpoint.settings.get("ranks", 1), run.ranks.size
    if before != now:
        run.reporter.note(
            f"{counted(now, 'rank')}, {before} before: an update still learns from "
            f"{counted(checkpoint.state.batches_per_update, 'batch', 'batches')}, but numbers are added in another "
            "order and dropout is drawn anew, so the weights will not be the same to the bit"
        )


def begun_settings(run_dir: Path) -> dict[str, Any]:
    """Return the settings of the run that goes on in `run_dir`; nothing where none has begun."""
    for folder in reversed(checkpoint_folders(run_dir / "checkpoints")):
        try:
            return DECIDED_LATELY | read_checkpoint(folder).settings
        except CheckpointError:
            continue  # named when the run resumes
    return {}


def describe(run: Run) -> None:
    """Write down what is run and where; a resumed run tells of its last start."""
    run.run_dir.mkdir(parents=True, exist_ok=True)
    if run.initial is not None:
        with _writing(run.run_dir / INITIAL_FILE):
            write_initial(run.run_dir, run.initial)
    _write_whole(run.run_dir / "recipe.yaml", dump_recipe(run.recipe))
    environment = json.dumps(run.environment, indent=2, ensure_ascii=False)
    _write_whole(run.run_dir / "environment.json", environment + "\n")
    run.reporter.begin()


def is_over(run: Run, state: TrainingState) -> bool:
    """Tell whether the steps or the patience of the recipe are used up."""
    patience = run.recipe.training.patience
    tired = patience is not None and state.validations_since_best >= patience
    return tired or state.step >= run.recipe.training.max_steps


def is_finished(run: Run, state: TrainingState) -> bool:
    """Tell whether the end, averaging included, was reached at this very step before."""
    end = _read_end(run)
    return end is not None and end["step"] == state.step and is_over(run, state)


def run_settings(run: Run) -> dict[str, Any]:
    """Return what decides the course of the run: the recipe's keys, and the text itself by its checksums."""
    content = sorted(run.prepared.digests.values())
    initial = {} if run.initial is None else {INIT: run.initial.sha256}
    return settings_of(run.recipe) | {
        **initial,
        "data.content": content,
        "training.precision": run.precision,
        "training.compile": run.compiled,
        "training.varlen": run.varlen,
        "ranks": run.ranks.size,
    }


def _read_end(run: Run) -> dict[str, Any] | None:
    """Return what was written down when the run came to an end before, if it did."""
    try:
        end = json.loads((run.run_dir / "finished.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return end if isinstance(end, dict) and {"step", "best_step", "best_score"} <= end.keys() else None


def write_end(run: Run, state: TrainingState) -> None:
    """Write down that the end was reached, with what was best."""
    end = {"step": state.step, "best_step": state.best_step, "best_score": state.best_score}
    _write_whole(run.run_dir / "finished.json", json.dumps(end) + "\n")


def _write_whole(path: Path, text: str) -> None:
    with _writing(path):
        write_whole(path, text)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be written: {error.strerror or error}",
            "free some space or mend the folder's permissions, then run again",
        ) from error
