"""Which weights become `best/`: those of the best validation, or at the end the average of the last checkpoints."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tfcli.model.folder import load_weights, save_model_folder
from tfcli.model.transformer import Transformer
from tfcli.training.checkpoint import average_weights, read_checkpoint, scheduled_checkpoints
from tfcli.training.provenance import model_card, model_info
from tfcli.training.step import corpus_nll

if TYPE_CHECKING:
    from pathlib import Path

    from tfcli.training.learner import Learner
    from tfcli.training.record import NoRecord, Record
    from tfcli.training.run import Run
    from tfcli.training.state import TrainingState


def validate(run: Run, learner: Learner, state: TrainingState, record: Record | NoRecord) -> None:
    """Score the network of a learner from `sharding.whole`, and keep it as `best/` if none scored higher."""
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


def try_average(run: Run, state: TrainingState, record: Record | NoRecord) -> None:
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


def _translate_and_score(run: Run, model: Transformer) -> float:
    model.eval()
    try:
        return run.validate(model)
    finally:
        model.train()


def _keep_best(run: Run, model: Transformer, state: TrainingState, averaged: int) -> None:
    info = model_info(run.recipe, run.environment, state.best_step, state.best_bleu, averaged)
    card = model_card(run.recipe, info, run.run_dir)
    save_model_folder(run.run_dir / "best", model, run.prepared.tokenizer, info, card)


def _checkpoints_to_average(run: Run, state: TrainingState) -> list[Path]:
    training = run.recipe.training
    root = run.run_dir / "checkpoints"
    folders = scheduled_checkpoints(root, training.checkpoint_every, training.keep_checkpoints, state.step)
    for folder in folders:
        read_checkpoint(folder)  # raises when it is damaged: an average of fewer would be another model
    return folders
