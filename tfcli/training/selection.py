"""Which weights become `best/`: those of the best validation, or at the end the average of the last checkpoints."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from tfcli.model.folder import load_weights, save_model_folder
from tfcli.model.networks import Network, build_network
from tfcli.training.checkpoint import average_weights, read_checkpoint, scheduled_checkpoints
from tfcli.training.provenance import label_info, model_card, model_info
from tfcli.training.step import corpus_nll

if TYPE_CHECKING:
    from pathlib import Path

    from tfcli.training.learner import Learner
    from tfcli.training.record import NoRecord, Record
    from tfcli.training.run import Run
    from tfcli.training.state import TrainingState


def validate(run: Run, learner: Learner, state: TrainingState, record: Record | NoRecord) -> None:
    """Score the network of a learner from `sharding.whole`, and keep it as `best/` if none scored better."""
    nll = _nll(run, learner)
    score = _score(run, learner.model, nll)
    values = {"loss": nll, "perplexity": math.exp(min(nll, 100.0)), run.task.goal: score}
    record.add("valid", state.step, values)
    run.reporter.row("valid", state.step, values)
    if run.task.improves(score, state.best_score):
        state.best_score, state.best_step, state.validations_since_best = score, state.step, 0
        _keep_best(run, learner.model, state, averaged=0)
    else:
        state.validations_since_best += 1


def try_average(run: Run, learner: Learner, state: TrainingState, record: Record | NoRecord) -> None:
    """Average the kept checkpoints; if that scores better on validation than the best of them, it is best/."""
    folders = _checkpoints_to_average(run, state)
    if not run.recipe.training.average_checkpoints or len(folders) < 2:
        return
    model = build_network(run.config).to(run.device)
    load_weights(model, average_weights(folders), "the average of the checkpoints")
    nll = _nll(run, replace(learner, model=model)) if run.validate is None else math.nan
    score = _score(run, model, nll)
    record.add("average", state.step, {"checkpoints": len(folders), run.task.goal: score})
    better = run.task.improves(score, state.best_score)
    single = (
        f", best single one {state.best_score:.{run.task.digits}f}" if state.best_score is not None else ""
    )
    run.reporter.note(
        f"average of the last {len(folders)} checkpoints: {run.task.told(score)} on validation{single}: "
        f"{'the average' if better else 'the single one'} is kept"
    )
    if better:
        state.best_score, state.best_step = score, state.step
        _keep_best(run, model, state, averaged=len(folders))


def _nll(run: Run, learner: Learner) -> float:
    return corpus_nll(learner, run.prepared.valid, run.recipe.training.batch_tokens)


def _score(run: Run, model: Network, nll: float) -> float:
    if run.validate is None:
        return nll
    model.eval()
    try:
        return run.validate(model)
    finally:
        model.train()


def _keep_best(run: Run, model: Network, state: TrainingState, averaged: int) -> None:
    info = model_info(run.recipe, run.environment, state.best_step, state.best_score, averaged)
    if run.prepared.labels is not None:
        info |= label_info(run.recipe, run.prepared.labels)
    card = model_card(run.recipe, info, run.run_dir)
    save_model_folder(run.run_dir / "best", model, run.prepared.tokenizer, info, card)


def _checkpoints_to_average(run: Run, state: TrainingState) -> list[Path]:
    training = run.recipe.training
    root = run.run_dir / "checkpoints"
    folders = scheduled_checkpoints(root, training.checkpoint_every, training.keep_checkpoints, state.step)
    for folder in folders:
        read_checkpoint(folder)  # raises when it is damaged: an average of fewer would be another model
    return folders
