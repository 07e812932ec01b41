"""What is done when losses or gradients stop being finite.

A step that is not finite changes nothing but the random numbers, and its batches are named. Ten in a row mean that
the weights themselves have gone wrong. Then the run

1. goes back to the newest scheduled checkpoint that is older than the first of the ten, or to its beginning,
2. halves its learning rate for good,
3. goes on with the batches that are next, not with those of the steps that were undone: what tipped the weights over
   is mostly those batches met in that state (Chowdhery et al., 2022, "PaLM", section 5.1, who skipped some as well).

All of it follows from the state alone: a run that is killed in between, and resumed from a checkpoint of before, comes
to the same failure and does the same. For that reason a checkpoint that exists only because the run was stopped is
not gone back to.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING

from tfcli.errors import CheckpointError, TrainingError
from tfcli.recipe.tasks import TASKS
from tfcli.training.checkpoint import checkpoint_folders, delete_checkpoint, read_checkpoint, restore, step_of
from tfcli.training.initial import begin
from tfcli.training.learner import make_learner
from tfcli.training.schedule import learning_rate
from tfcli.training.state import TrainingState

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tfcli.corpus.batches import Batch
    from tfcli.training.checkpoint import Checkpoint
    from tfcli.training.learner import Learner
    from tfcli.training.run import Run

MAX_SKIPPED_IN_A_ROW = 10
MAX_RETURNS = 3  # without getting past the step where it failed
NAMED_BATCHES, NAMED_PAIRS = 2, 5  # in a message


def name_batches(batches: Sequence[Batch], run_dir: Path) -> str:
    """Say where batches stand in the order of training and which pairs they hold: the first few, and how many."""
    return _name_some([_name_batch(batch) for batch in batches], run_dir, _unit(batches))


def _unit(batches: Sequence[Batch]) -> str:
    if any(batch.is_running_text for batch in batches):
        return "piece"
    return "text" if all(batch.has_labels for batch in batches) else "pair"


def _name_some(names: list[str], run_dir: Path, unit: str) -> str:
    named = names[:NAMED_BATCHES]
    if len(names) > NAMED_BATCHES:
        named.append(f"and {len(names) - NAMED_BATCHES:,} batches more")
    return f"{'; '.join(named)}; {unit}s of {run_dir / 'corpus' / 'train'}, counted from 0"


def _name_batch(batch: Batch) -> str:
    pairs = ", ".join(map(str, batch.indices[:NAMED_PAIRS]))
    rest = f" and {len(batch.indices) - NAMED_PAIRS:,} more" if len(batch.indices) > NAMED_PAIRS else ""
    place = ""
    if batch.position is not None:
        place = f"epoch {batch.position.epoch + 1}, batch {batch.position.batch + 1}: "
    if batch.is_running_text:
        return f"{place}blocks from {pairs}{rest} on"
    return f"{place}{_unit([batch])}{'' if len(batch.indices) == 1 else 's'} {pairs}{rest}"


def account_skipped(run: Run, state: TrainingState, batches: Sequence[Batch]) -> None:
    """Count a step whose update was skipped, and name its batches, which are those of all ranks."""
    state.skipped_in_a_row += 1
    of_ranks = run.ranks.gather(json.dumps([_name_batch(batch) for batch in batches]))
    names = [name for of_rank in of_ranks for name in json.loads(of_rank)]
    run.reporter.warn(
        f"step {state.step}: loss or gradient is not finite; the update was skipped "
        f"({_name_some(names, run.run_dir, TASKS[run.recipe.task].entry)})"
    )


def account_updated(state: TrainingState) -> None:
    """Count a step whose update was made."""
    state.skipped_in_a_row = 0
    if state.step > state.failed_step:
        state.returns_in_place = 0


def has_diverged(state: TrainingState) -> bool:
    """Tell whether so many updates in a row were skipped that the weights themselves must have gone wrong."""
    return state.skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW


def go_back(run: Run, learner: Learner, state: TrainingState) -> tuple[Learner, TrainingState]:
    """Return the network and the state that training goes on from after it has diverged; later checkpoints go.

    The learner that diverged is of no use afterwards.

    Raises: TrainingError when no update ever was finite, or going back has not helped several times.
    """
    if state.updates == 0 or state.returns_in_place == MAX_RETURNS:
        tried = (
            f"; going back and halving the learning rate {MAX_RETURNS} times did not help"
            if state.updates
            else ""
        )
        raise TrainingError(
            f"{MAX_SKIPPED_IN_A_ROW} updates in a row were not finite, the last at step {state.step}{tried}",
            "lower training.learning_rate or lengthen training.warmup_steps, and start over with --fresh",
        )
    checkpoint = _last_good(run, state)
    learner.optimizer.forget()  # room for another network beside it
    learner = make_learner(run)
    again = TrainingState()
    if checkpoint is not None:
        restore(checkpoint, learner, run.recipe.seed)
        again = checkpoint.state
    else:
        begin(run, learner)
    for folder in checkpoint_folders(run.run_dir / "checkpoints"):
        if step_of(folder) > again.step:
            delete_checkpoint(folder)
    _carry_over(state, again)
    rate = learning_rate(run.recipe.training, again.step + 1) * again.rate_factor
    run.reporter.warn(
        f"step {state.step}: {MAX_SKIPPED_IN_A_ROW} updates in a row were not finite; going back to "
        f"{checkpoint.folder if checkpoint else 'the beginning'}, and on with the batches that are next and half the "
        f"learning rate, {rate:.2e}"
    )
    return learner, again


def _carry_over(failed: TrainingState, again: TrainingState) -> None:
    """Have the state that the run goes back to remember what is not undone."""
    again.position = failed.position
    again.batches_per_update = failed.batches_per_update
    again.elapsed_seconds = failed.elapsed_seconds
    again.rate_factor = failed.rate_factor / 2
    again.returns = failed.returns + 1
    again.returns_in_place = failed.returns_in_place + 1
    again.failed_step = max(failed.failed_step, failed.step)
    if failed.best_step > again.step:  # best/ keeps that model
        again.validations_since_best = 0
    again.best_score, again.best_step = failed.best_score, failed.best_step


def _last_good(run: Run, state: TrainingState) -> Checkpoint | None:
    """Return the newest whole scheduled checkpoint from before the step after which no update was finite.

    The one of that very step holds the weights that have gone wrong; it is taken only where there is no other.
    """
    last_step = state.step - state.skipped_in_a_row
    found = list(islice(_scheduled(run, last_step), run.recipe.training.keep_checkpoints))
    older = [checkpoint for checkpoint in found if checkpoint.state.step < last_step]
    return next(iter([*older, *found]), None)


def _scheduled(run: Run, last_step: int) -> Iterator[Checkpoint]:
    """Yield the checkpoints that an uninterrupted run would have written as well, newest first."""
    for folder in reversed(checkpoint_folders(run.run_dir / "checkpoints")):
        if step_of(folder) > last_step:
            continue
        try:
            found = read_checkpoint(folder)
        except CheckpointError as error:
            run.reporter.warn(f"{error.message}; trying the checkpoint before it")
            continue
        if found.state.step % found.settings["training.checkpoint_every"] == 0:
            yield found
