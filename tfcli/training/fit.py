"""The training loop: steps, log lines, validations, checkpoints, and the averaged model at the end.

1. Resume from the newest checkpoint, if there is one.
2. Take a group of batches, update the weights, now and then log, validate, save.
3. When the steps are used up, or validation no longer improves, average the last checkpoints, and keep the
   average if it translates better.

The state after a step is a function of the recipe and the data alone: stopping and resuming changes nothing.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from tfcli.corpus.batches import TrainingBatches
from tfcli.errors import TrainingError
from tfcli.training.checkpoint import drop_old_checkpoints, save_checkpoint
from tfcli.training.learner import Learner, make_learner
from tfcli.training.record import Record
from tfcli.training.resume import describe, is_finished, is_over, resume, run_settings, write_end
from tfcli.training.run import Outcome
from tfcli.training.schedule import learning_rate
from tfcli.training.selection import try_average, validate
from tfcli.training.state import LogWindow
from tfcli.training.step import train_step

if TYPE_CHECKING:
    from tfcli.training.run import Run
    from tfcli.training.state import TrainingState
    from tfcli.training.step import StepResult

MAX_SKIPPED_IN_A_ROW = 10


def fit(run: Run) -> Outcome:
    """Train to the end of the recipe, or until `stop_asked`; start anew or resume.

    Raises: RecipeError when the run was started with other settings, CheckpointError when nothing can be read or
    written, TrainingError when updates stay non-finite.
    """
    training = run.recipe.training
    learner = make_learner(run)
    state = resume(run, learner)
    if is_finished(run, state):
        return Outcome(
            "already finished", state.step, state.best_step, state.best_bleu, state.elapsed_seconds
        )
    describe(run)
    record = Record(run.run_dir, state.step)
    batches = TrainingBatches(run.prepared.train, training.batch_tokens, run.recipe.seed, state.position)
    stopped = False
    try:
        while not stopped and not is_over(run, state):
            start_time = time.perf_counter()
            group = [batches.next_batch() for _ in range(training.accumulation_steps)]
            result = train_step(learner, group, learning_rate(training, state.step + 1))
            state.elapsed_seconds += time.perf_counter() - start_time
            state.position = batches.position
            _account(run, state, result)
            last = state.step >= training.max_steps
            if last or state.step % training.log_every == 0:
                _log(run, state, record)
            if last or state.step % training.validate_every == 0:
                validate(run, learner, state, record)
            stopped = run.stop_asked() and not last
            if stopped or is_over(run, state) or state.step % training.checkpoint_every == 0:
                record.sync()
                _save(run, learner, state)
        if stopped:
            return Outcome("stopped", state.step, state.best_step, state.best_bleu, state.elapsed_seconds)
        try_average(run, state, record)
        write_end(run, state)
    finally:
        record.close()
    return Outcome("finished", state.step, state.best_step, state.best_bleu, state.elapsed_seconds)


def _account(run: Run, state: TrainingState, result: StepResult) -> None:
    state.step += 1
    if result.updated:
        state.updates += 1
        state.tokens += result.tokens
        state.skipped_in_a_row = 0
        window = state.window
        window.loss += result.loss
        window.nll += result.nll
        window.tokens += result.tokens
        window.gradient_norm += result.gradient_norm
        window.steps += 1
        run.reporter.progress(state, result)
        return
    state.skipped_in_a_row += 1
    run.reporter.warn(f"step {state.step}: loss or gradient is not finite; the update was skipped")
    if state.skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
        raise TrainingError(
            f"{MAX_SKIPPED_IN_A_ROW} updates in a row were not finite, the last at step {state.step}",
            "lower training.learning_rate or lengthen training.warmup_steps, and start over with --fresh",
        )


def _log(run: Run, state: TrainingState, record: Record) -> None:
    window = state.window
    if window.tokens:
        nll = window.nll / window.tokens
        values = {
            "loss": window.loss / window.tokens,
            "perplexity": math.exp(min(nll, 100.0)),
            "gradient_norm": window.gradient_norm / window.steps,
            "learning_rate": learning_rate(run.recipe.training, state.step),
            "tokens": state.tokens,
            "elapsed_seconds": round(state.elapsed_seconds, 3),
        }
        record.add("train", state.step, values)
        run.reporter.row("train", state.step, values)
    state.window = LogWindow()


def _save(run: Run, learner: Learner, state: TrainingState) -> None:
    root = run.run_dir / "checkpoints"
    save_checkpoint(root, learner.model, learner.optimizer, state, run_settings(run))
    training = run.recipe.training
    drop_old_checkpoints(root, state.step, training.checkpoint_every, training.keep_checkpoints)
