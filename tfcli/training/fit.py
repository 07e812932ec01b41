"""The training loop: steps, log lines, validations, checkpoints, and the averaged model at the end.

1. Resume from the newest checkpoint, if there is one.
2. Take a group of batches, update the weights, now and then log, validate, save.
3. When the steps are used up, or validation no longer improves, average the last checkpoints, and keep the
   average if it translates better.

The state after a step is a function of the recipe and the data alone: stopping and resuming changes nothing.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch

from tfcli.corpus.batches import TrainingBatches
from tfcli.errors import CheckpointError, RecipeError, TrainingError
from tfcli.model.folder import load_weights, save_model_folder
from tfcli.model.transformer import Transformer
from tfcli.recipe.loader import dump_recipe
from tfcli.training.checkpoint import (
    average_weights,
    drop_old_checkpoints,
    newest_checkpoint,
    read_checkpoint,
    restore,
    save_checkpoint,
    scheduled_checkpoints,
)
from tfcli.training.optimizer import make_optimizer
from tfcli.training.provenance import model_card, model_info
from tfcli.training.record import Record
from tfcli.training.schedule import learning_rate
from tfcli.training.settings import refuse_changed_settings, settings_of
from tfcli.training.state import LogWindow, TrainingState
from tfcli.training.step import Learner, StepResult, corpus_nll, train_step

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tfcli.corpus.prepare import Prepared
    from tfcli.model.config import ModelConfig
    from tfcli.model.precision import Precision
    from tfcli.recipe.schema import Recipe

MAX_SKIPPED_IN_A_ROW = 10


class Reporter(Protocol):
    """Whoever shows how training goes."""

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
    prepared: Prepared
    device: torch.device
    precision: Precision
    environment: dict[str, Any]  # for environment.json
    validate: Callable[[Transformer], float]  # BLEU of real translations of the validation set
    reporter: Reporter
    stop_asked: Callable[[], bool]


@dataclass(frozen=True)
class Outcome:
    """How training ended."""

    reason: Literal["finished", "already finished", "stopped"]
    step: int
    best_step: int
    best_bleu: float | None
    seconds: float  # spent in training steps, over all starts of the run


def make_learner(run: Run) -> Learner:
    """Seed the random numbers, then build the network and its optimizer."""
    torch.manual_seed(run.recipe.seed)
    model = Transformer(run.config).to(run.device)
    model.train()
    training = run.recipe.training
    return Learner(
        model=model,
        forward=torch.compile(model, dynamic=True) if training.compile else model,
        optimizer=make_optimizer(model, training),
        device=run.device,
        precision=run.precision,
        label_smoothing=training.label_smoothing,
        clip_norm=training.clip_norm,
    )


def fit(run: Run) -> Outcome:
    """Train to the end of the recipe, or until `stop_asked`; start anew or resume.

    Raises: RecipeError when the run was started with other settings, CheckpointError when nothing can be read or
    written, TrainingError when updates stay non-finite.
    """
    training = run.recipe.training
    learner = make_learner(run)
    state = _resume(run, learner)
    if _is_finished(run, state):
        return Outcome(
            "already finished", state.step, state.best_step, state.best_bleu, state.elapsed_seconds
        )
    _describe(run)
    record = Record(run.run_dir, state.step)
    batches = TrainingBatches(run.prepared.train, training.batch_tokens, run.recipe.seed, state.position)
    stopped = False
    try:
        while not stopped and not _is_over(run, state):
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
                _validate(run, learner, state, record)
            stopped = run.stop_asked() and not last
            if stopped or _is_over(run, state) or state.step % training.checkpoint_every == 0:
                _save(run, learner, state)
        if stopped:
            return Outcome("stopped", state.step, state.best_step, state.best_bleu, state.elapsed_seconds)
        _try_average(run, state, record)
    finally:
        record.close()
    return Outcome("finished", state.step, state.best_step, state.best_bleu, state.elapsed_seconds)


def _resume(run: Run, learner: Learner) -> TrainingState:
    checkpoint = newest_checkpoint(run.run_dir / "checkpoints", run.reporter.warn)
    if checkpoint is None:
        return TrainingState()
    state = checkpoint.state
    changes = refuse_changed_settings(checkpoint.settings, _settings(run), str(run.run_dir))
    for change in changes:
        run.reporter.note(f"changed since the run was started: {change}")
    end = _read_end(run)
    if end is not None and end["step"] == state.step:
        state.best_step, state.best_bleu = end["best_step"], end["best_bleu"]  # the average counts as well
    if any(change.startswith(("decoding.", "scoring.")) for change in changes) and not _is_over(run, state):
        run.reporter.note("validation scores so far are of another kind: the best model is chosen anew")
        state.best_bleu, state.validations_since_best = None, 0
    if state.step > run.recipe.training.max_steps:
        raise RecipeError(
            f"training.max_steps: {run.recipe.training.max_steps:,}, but {run.run_dir} has made {state.step:,} steps",
            "give a larger number, or start over with --fresh",
        )
    restore(checkpoint, learner.model, learner.optimizer)
    if not _is_finished(run, state):
        run.reporter.note(f"resuming from {checkpoint.folder}")
    return state


def _describe(run: Run) -> None:
    """Write down what is run and where; a resumed run tells of its last start."""
    run.run_dir.mkdir(parents=True, exist_ok=True)
    _write_whole(run.run_dir / "recipe.yaml", dump_recipe(run.recipe))
    environment = json.dumps(run.environment, indent=2, ensure_ascii=False)
    _write_whole(run.run_dir / "environment.json", environment + "\n")


def _write_whole(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be written: {error.strerror or error}",
            "free some space or mend the folder's permissions, then run again",
        ) from error
    finally:
        beside.unlink(missing_ok=True)


def _is_over(run: Run, state: TrainingState) -> bool:
    patience = run.recipe.training.patience
    tired = patience is not None and state.validations_since_best >= patience
    return tired or state.step >= run.recipe.training.max_steps


def _settings(run: Run) -> dict[str, Any]:
    """Return what decides the course of the run: the recipe's keys, and the text itself by its checksums."""
    content = sorted(run.prepared.digests.values())
    return settings_of(run.recipe) | {"data.content": content, "training.precision": run.precision}


def _read_end(run: Run) -> dict[str, Any] | None:
    """Return what was written down when the run came to an end before, if it did."""
    try:
        end = json.loads((run.run_dir / "finished.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return end if isinstance(end, dict) and {"step", "best_step", "best_bleu"} <= end.keys() else None


def _write_end(run: Run, state: TrainingState) -> None:
    end = {"step": state.step, "best_step": state.best_step, "best_bleu": state.best_bleu}
    _write_whole(run.run_dir / "finished.json", json.dumps(end) + "\n")


def _is_finished(run: Run, state: TrainingState) -> bool:
    """Tell whether the end, averaging included, was reached at this very step before."""
    end = _read_end(run)
    return end is not None and end["step"] == state.step and _is_over(run, state)


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


def _validate(run: Run, learner: Learner, state: TrainingState, record: Record) -> None:
    """Score the weights as they are and keep them as `best/` if none scored higher."""
    nll = corpus_nll(learner, run.prepared.valid, run.recipe.training.batch_tokens)
    bleu = _translate_and_score(run, learner.model)
    values = {"loss": nll, "perplexity": math.exp(min(nll, 100.0)), "bleu": bleu}
    record.add("valid", state.step, values)
    run.reporter.row("valid", state.step, values)
    if state.best_bleu is None or bleu > state.best_bleu:
        state.best_bleu, state.best_step, state.validations_since_best = bleu, state.step, 0
        _keep_best(run, learner.model, state, averaged=0)
    else:
        state.validations_since_best += 1


def _translate_and_score(run: Run, model: Transformer) -> float:
    model.eval()
    try:
        return run.validate(model)
    finally:
        model.train()


def _keep_best(run: Run, model: Transformer, state: TrainingState, averaged: int) -> None:
    commit = run.environment.get("commit")
    info = model_info(run.recipe, commit, state.best_step, state.best_bleu, averaged)
    card = model_card(run.recipe, info, run.run_dir)
    save_model_folder(run.run_dir / "best", model, run.prepared.tokenizer, info, card)


def _save(run: Run, learner: Learner, state: TrainingState) -> None:
    root = run.run_dir / "checkpoints"
    save_checkpoint(root, learner.model, learner.optimizer, state, _settings(run))
    training = run.recipe.training
    drop_old_checkpoints(root, state.step, training.checkpoint_every, training.keep_checkpoints)


def _try_average(run: Run, state: TrainingState, record: Record) -> None:
    """Average the kept checkpoints; if that translates validation better than the best of them, it is best/."""
    folders = _checkpoints_to_average(run, state)
    if run.recipe.training.average_checkpoints and len(folders) > 1:
        model = Transformer(run.config).to(run.device)
        load_weights(model, average_weights(folders), "the average of the checkpoints")
        bleu = _translate_and_score(run, model)
        record.add("average", state.step, {"checkpoints": len(folders), "bleu": bleu})
        better = state.best_bleu is None or bleu > state.best_bleu
        run.reporter.note(
            f"average of the last {len(folders)} checkpoints: BLEU {bleu:.2f} on validation, best single one "
            f"{state.best_bleu or 0.0:.2f}: {'the average' if better else 'the single one'} is kept"
        )
        if better:
            state.best_bleu, state.best_step = bleu, state.step
            _keep_best(run, model, state, averaged=len(folders))
    _write_end(run, state)


def _checkpoints_to_average(run: Run, state: TrainingState) -> list[Path]:
    training = run.recipe.training
    root = run.run_dir / "checkpoints"
    folders = scheduled_checkpoints(root, training.checkpoint_every, training.keep_checkpoints, state.step)
    for folder in folders:
        read_checkpoint(folder)  # raises when it is damaged: an average of fewer would be another model
    return folders
