"""Where a model comes from: the environment of its run, and the card that travels with it."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any

import torch

from tfcli import __version__
from tfcli.recipe.tasks import TASKS
from tfcli.training.source import source_commit

if TYPE_CHECKING:
    from pathlib import Path

    from tfcli.corpus.initial import Initial
    from tfcli.corpus.labels import Labels
    from tfcli.model.precision import Precision
    from tfcli.recipe.schema import Recipe

_PACKAGES = ("torch", "numpy", "sentencepiece", "sacrebleu", "safetensors", "pydantic")


def environment(
    command: list[str],
    cpu: str,
    device: torch.device,
    precision: Precision,
    digests: dict[str, str],
    initial: Initial | None,
) -> dict[str, Any]:
    """Return what it takes to judge or repeat a run: command, versions, commit, hardware, checksums, first weights."""
    return {
        "command": command,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "tfcli_version": __version__,
        "commit": source_commit(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "cpu": cpu,
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "precision": precision,
        "data": digests,
        "initial": {"folder": initial.folder, "sha256": initial.sha256} if initial is not None else None,
    }


def model_info(
    recipe: Recipe, environment: dict[str, Any], step: int, score: float | None, averaged: int
) -> dict[str, Any]:
    """Return what stands in a model folder's config.json beside the network's sizes; `environment` is the run's."""
    return {
        "name": recipe.name,
        "task": recipe.task,
        "src_lang": recipe.data.src_lang,
        "tgt_lang": recipe.data.tgt_lang,
        "max_source_pieces": recipe.max_source_pieces,
        "precision": recipe.training.precision,
        **({"decoding": recipe.decoding.model_dump(mode="json")} if recipe.task == "translation" else {}),
        **({"context": recipe.data.context} if recipe.task == "language_model" else {}),
        "trained": {
            "step": step,
            "averaged_checkpoints": averaged,
            "ema_decay": None if averaged else recipe.training.ema_decay,
            f"validation_{TASKS[recipe.task].goal}": score,
        },
        "tfcli_version": __version__,
        "commit": environment.get("commit"),
        "initial": environment.get("initial"),
    }


def label_info(recipe: Recipe, labels: Labels) -> dict[str, Any]:
    """Return what stands in a classifier's config.json besides."""
    return {"labels": list(labels.names), "pairs_of_texts": recipe.data.second_text_field is not None}


def model_card(recipe: Recipe, info: dict[str, Any], run_dir: Path) -> str:
    """Return the README of a model folder."""
    trained = info["trained"]
    languages = f"{info['src_lang'] or 'source'} to {info['tgt_lang'] or 'target'}"
    averaged = trained["averaged_checkpoints"]
    weights = f"average of the last {averaged} checkpoints" if averaged else "one checkpoint"
    if trained["ema_decay"] is not None:
        weights = f"exponential moving average (decay {trained['ema_decay']})"
    initial = info["initial"]
    if initial is not None:
        weights += f"; training started from those of `{initial['folder']}` (SHA-256 {initial['sha256']})"
    if recipe.task == "classification":
        return _classifier_card(recipe, info, run_dir, weights)
    if recipe.task == "language_model":
        return _card_of_language_model(recipe, info, weights, run_dir)
    lowercase = ", lowercase" if recipe.scoring.lowercase else ""
    return f"""# {recipe.name}

A Transformer that translates {languages}, trained with tfcli {__version__} (commit {info["commit"] or "unknown"}).

- Network: {recipe.model.n_encoder_layers}+{recipe.model.n_decoder_layers} layers, width {recipe.model.d_model},
  feed-forward {recipe.model.d_ff}, {recipe.model.n_heads} heads
- Weights: {weights}, step {trained["step"]} of {recipe.training.max_steps}
- Validation BLEU (tokenize {recipe.scoring.tokenize}{lowercase}): {trained["validation_bleu"]:.2f}
- Test scores, settings, data checksums: `scores.json`, `recipe.yaml`, `environment.json` in the run folder
  `{run_dir.name}`

    tfcli translate FOLDER < source.txt > target.txt
"""


def _classifier_card(recipe: Recipe, info: dict[str, Any], run_dir: Path, weights: str) -> str:
    texts = "pairs of texts, parted by a tab," if info["pairs_of_texts"] else "texts"
    return f"""# {recipe.name}

A Transformer that tells the label of {texts} trained with tfcli {__version__} (commit {info["commit"] or "unknown"}).

- Labels: {", ".join(info["labels"])}
- Network: {recipe.model.n_encoder_layers} layers, width {recipe.model.d_model}, feed-forward {recipe.model.d_ff},
  {recipe.model.n_heads} heads
- Weights: {weights}, step {info["trained"]["step"]} of {recipe.training.max_steps}
- Validation accuracy: {info["trained"]["validation_accuracy"]:.2f} %
- Test scores, settings, data checksums: `scores.json`, `recipe.yaml`, `environment.json` in the run folder
  `{run_dir.name}`

    tfcli predict FOLDER < texts.txt > labels.txt
"""


def _card_of_language_model(recipe: Recipe, info: dict[str, Any], weights: str, run_dir: Path) -> str:
    loss = info["trained"]["validation_loss"]
    return f"""# {recipe.name}

A language model, a Transformer's decoder, trained with tfcli {__version__} (commit {info["commit"] or "unknown"}).

- Network: {recipe.model.n_decoder_layers} layers, width {recipe.model.d_model}, feed-forward {recipe.model.d_ff},
  {recipe.model.n_heads} heads; it looks back {recipe.data.context} pieces
- Tokenizer: {recipe.tokenizer.kind}
- Weights: {weights}, step {info["trained"]["step"]} of {recipe.training.max_steps}
- Validation loss: {loss:.4f} nats a piece
- Test scores, settings, data checksums: `scores.json`, `recipe.yaml`, `environment.json` in the run folder
  `{run_dir.name}`

    tfcli predict FOLDER < beginnings.txt > continued.txt
"""
