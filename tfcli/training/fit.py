"""The training loop: steps, log lines, validations, checkpoints, and the averaged model at the end.

1. Resume from the newest checkpoint, if there is one.
2. Try the largest batch, so that memory runs out now or never.
3. Take a group of batches, update the weights, now and then log, validate, save.
4. When the steps are used up, or validation no longer improves, average the last checkpoints, and keep the
   average if it is better.

The state after a step is a function of the recipe and the data alone: stopping and resuming changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from tfcli.corpus.feed import training_batches
from tfcli.errors import RecipeError
from tfcli.training.checkpoint import drop_old_checkpoints, learner_tensors, save_checkpoint
from tfcli.training.distributed import deal
from tfcli.training.guards import account_skipped, account_updated, go_back, has_diverged
from tfcli.training.learner import Learner, make_learner
from tfcli.training.memory import Memory, ceiling, try_worst_batch
from tfcli.training.out_of_memory import out_of_memory_is_told
from tfcli.training.random_states import all_random_states
from tfcli.training.record import NoRecord, Record
from tfcli.training.resume import describe, is_finished, is_over, resume, run_settings, write_end
from tfcli.training.run import Outcome
from tfcli.training.schedule import learning_rate
from tfcli.training.selection import try_average, validate
from tfcli.training.sharding import whole
from tfcli.training.state import LogWindow
from tfcli.training.step import train_step

if TYPE_CHECKING:
    from tfcli.corpus.feed import Batches
    from tfcli.training.run import Run
    from tfcli.training.state import TrainingState
    from tfcli.training.step import StepResult


def fit(run: Run) -> Outcome:
    """Train to the end of the recipe, or until `stop_asked`; start anew or resume.

    Raises: RecipeError when the run was started with other settings, CheckpointError when nothing can be read or
    written, TrainingError when updates stay non-finite.
    """
    training = run.recipe.training
    learner = make_learner(run)
    _refuse_another_run(run)
    with run.ranks.first_ahead():
        state = resume(run, learner)
    if is_finished(run, state):
        return Outcome(
            "already finished", state.step, state.best_step, state.best_score, state.elapsed_seconds
        )
    run.ranks.first_does(lambda: describe(run))
    memory = Memory(run.run_dir / "decisions.jsonl", run.reporter.warn, ceiling(run))
    _try_worst_batch(run, learner, state, memory)
    record, batches = _record(run, state), _batches(run, state)
    stopped = False
    try:
        while not stopped and not is_over(run, state):
            start_time = time.perf_counter()
            group = deal(batches, state.batches_per_update, run.ranks)
            result = train_step(learner, group, _rate(run, state, state.step + 1), memory.adder(state))
            state.elapsed_seconds += time.perf_counter() - start_time
            state.position = batches.position
            _account(run, state, result)
            if has_diverged(state):
                with run.ranks.first_ahead():
                    learner, state = go_back(run, learner, state)
                record.close()
                record, batches = _record(run, state), _batches(run, state)
                continue
            last = state.step >= training.max_steps
            if last or state.step % training.log_every == 0:
                _log(run, state, record)
            if last or state.step % training.validate_every == 0:
                _validate(run, learner, state, record)
            stopped = run.ranks.total(run.stop_asked())[0] > 0 and not last
            if stopped or is_over(run, state) or state.step % training.checkpoint_every == 0:
                _save(run, learner, state, record)
        if stopped:
            return Outcome("stopped", state.step, state.best_step, state.best_score, state.elapsed_seconds)
        _end(run, learner, state, record)
    finally:
        record.close()
    return Outcome("finished", state.step, state.best_step, state.best_score, state.elapsed_seconds)


def _refuse_another_run(run: Run) -> None:
    """Raise a RecipeError where a rank has come with other settings or other text, and would train another network."""
    settings = {key: value for key, value in run_settings(run).items() if key != "data.root"}
    content = json.dumps(settings, sort_keys=True).encode()
    digest = int.from_bytes(hashlib.sha256(content).digest()[:6], "little")
    least, most = run.ranks.least(digest), -run.ranks.least(-digest)
    if least != most:
        raise RecipeError(
            "the ranks were started with different settings, arithmetic or text",
            "start each with the same command, recipe and data, on the same kind of hardware",
        )


def _record(run: Run, state: TrainingState) -> Record | NoRecord:
    return Record(run.run_dir, state.step) if run.ranks.is_first else NoRecord()


def _batches(run: Run, state: TrainingState) -> Batches:
    return training_batches(run.recipe, run.prepared, state.position)


def _try_worst_batch(run: Run, learner: Learner, state: TrainingState, memory: Memory) -> None:
    training = run.recipe.training
    if not is_over(run, state):
        accumulates = training.accumulation_steps > 1
        add = memory.adder(state)
        try_worst_batch(learner, run.prepared.train, training.batch_tokens, add, accumulates=accumulates)


def _rate(run: Run, state: TrainingState, step: int) -> float:
    return learning_rate(run.recipe.training, step) * state.rate_factor


def _account(run: Run, state: TrainingState, result: StepResult) -> None:
    state.step += 1
    if not result.updated:
        account_skipped(run, state, result.suspects)
        return
    account_updated(state)
    state.updates += 1
    state.tokens += result.tokens
    window = state.window
    window.loss += result.loss
    window.nll += result.nll
    window.tokens += result.tokens
    window.gradient_norm += result.gradient_norm
    window.steps += 1
    run.reporter.progress(state, result)


def _validate(run: Run, learner: Learner, state: TrainingState, record: Record | NoRecord) -> None:
    validated = whole(run, learner)

    def work() -> tuple[float | None, int, int]:
        with out_of_memory_is_told("in validation", "lower decoding.batch_tokens, and run again"):
            validate(run, validated, state, record)
        return state.best_score, state.best_step, state.validations_since_best

    state.best_score, state.best_step, state.validations_since_best = run.ranks.first_does(work)


def _end(run: Run, learner: Learner, state: TrainingState, record: Record | NoRecord) -> None:
    averaged = replace(learner, sharded=False)  # its weights come from the checkpoints

    def work() -> tuple[float | None, int]:
        try_average(run, averaged, state, record)
        write_end(run, state)
        return state.best_score, state.best_step

    state.best_score, state.best_step = run.ranks.first_does(work)


def _log(run: Run, state: TrainingState, record: Record | NoRecord) -> None:
    window = state.window
    if window.tokens:
        nll = window.nll / window.tokens
        values = {
            "loss": window.loss / window.tokens,
            "perplexity": math.exp(min(nll, 100.0)),
            "gradient_norm": window.gradient_norm / window.steps,
            "learning_rate": _rate(run, state, state.step),
            "tokens": state.tokens,
            "elapsed_seconds": round(state.elapsed_seconds, 3),
        }
        record.add("train", state.step, values)
        run.reporter.row("train", state.step, values)
    state.window = LogWindow()


def _save(run: Run, learner: Learner, state: TrainingState, record: Record | NoRecord) -> None:
    root, training = run.run_dir / "checkpoints", run.recipe.training
    files, random_states = learner_tensors(learner), all_random_states(run.ranks)

    def work() -> None:
        record.sync()
        save_checkpoint(root, files, state, run_settings(run), random_states)
        if state.skipped_in_a_row:
            return  # what was kept so far may be gone back to; it must not be pushed out by weights that have gone wrong
        drop_old_checkpoints(root, state.step, training.checkpoint_every, training.keep_checkpoints)

    run.ranks.first_does(work)
