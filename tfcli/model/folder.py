"""The model folder: all that translating, scoring and exporting need, portable and free of code.

config.json         sizes of the network, how it decodes, which languages
model.safetensors   weights
tokenizer.model     (or tokenizer.src.model and tokenizer.tgt.model)
README.md           model card
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tfcli.errors import CheckpointError
from tfcli.model.config import ModelConfig
from tfcli.model.transformer import Transformer
from tfcli.recipe.schema import DecodingSection
from tfcli.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT = 1
OLD_BEST = ".best.old"  # stands in for best/ where a crash came between two renames


@dataclass(frozen=True)
class ModelFolder:
    """What a model folder holds, read into memory."""

    model: Transformer
    tokenizer: Tokenizer
    decoding: DecodingSection
    max_source_pieces: int
    info: dict[str, Any]


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights by name, each once although it may be tied."""
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> None:
    """Copy `tensors` into `model`.

    Raises: CheckpointError when names or shapes differ, naming `origin`.
    """
    parameters = dict(model.named_parameters())
    wrong = sorted(set(parameters).symmetric_difference(tensors))
    wrong += [
        name for name in parameters if name in tensors and parameters[name].shape != tensors[name].shape
    ]
    if wrong:
        raise CheckpointError(
            f"{origin}: weights do not fit the network: {', '.join(wrong[:5])}",
            "the file belongs to a network of other sizes",
        )
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises: CheckpointError when it is missing or damaged.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}", "the file is missing or damaged") from error


def find_model_folder(path: Path) -> Path:
    """Return the model folder that `path` is, or that a run folder holds as `best/`.

    Raises: CheckpointError when there is none.
    """
    for folder in (path, path / "best", path / OLD_BEST):
        if (folder / "config.json").is_file():
            return folder
    if not path.exists():
        raise CheckpointError(f"{path}: no such folder", "give a run folder or a model folder")
    if path.is_file():
        raise CheckpointError(
            f"{path}: a file, expected a run folder or a model folder", "give the folder it is for"
        )
    raise CheckpointError(
        f"{path}: neither a model folder (config.json) nor a run folder with best/",
        "a run gets best/ at its first validation: let it train until then (training.validate_every)",
    )


def save_model_folder(
    folder: Path, model: Transformer, tokenizer: Tokenizer, info: dict[str, Any], card: str
) -> None:
    """Write a model folder beside its place, then put it there; a folder of that name is replaced.

    `info` goes into config.json and must hold `decoding` and `max_source_pieces`.

    Raises: CheckpointError when it cannot be written; a folder that was there before stays.
    """
    try:
        _write_model_folder(folder, model, tokenizer, info, card)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{folder}: cannot be written: {error}", "free some space or mend the folder"
        ) from error


def _write_model_folder(
    folder: Path, model: Transformer, tokenizer: Tokenizer, info: dict[str, Any], card: str
) -> None:
    beside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    config = {"format": FORMAT, "model": model.config.to_dict(), **info}
    (beside / "config.json").write_text(
        json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    save_file(
        {name: t.contiguous().cpu() for name, t in model_tensors(model).items()}, beside / "model.safetensors"
    )
    tokenizer.save(beside)
    (beside / "README.md").write_text(card, encoding="utf-8")
    for path in (*beside.iterdir(), beside):
        sync(path)
    old = folder.with_name(OLD_BEST if folder.name == "best" else f".{folder.name}.old")
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    beside.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    sync(folder.parent)


def sync(path: Path) -> None:
    """Have what was written to a file or folder reach the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load_model_folder(path: Path, device: torch.device | None = None) -> ModelFolder:
    """Read the model folder at `path`, or in the run folder `path`.

    Raises: CheckpointError when something is missing, damaged or of another version.
    """
    folder = find_model_folder(path)
    config_file = folder / "config.json"
    try:
        info = json.loads(config_file.read_text(encoding="utf-8"))
        version, sizes = info["format"], info["model"]
        decoding = DecodingSection.model_validate(info["decoding"])
        max_source_pieces = int(info["max_source_pieces"])
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, ValidationError) as error:
        raise CheckpointError(
            f"{config_file}: cannot be used: {error}", "the model folder is damaged"
        ) from error
    if version != FORMAT:
        raise CheckpointError(
            f"{config_file}: format {version}, expected {FORMAT}", "use the tfcli that wrote it"
        )
    model = Transformer(ModelConfig.from_dict(sizes, str(config_file)))
    load_weights(model, read_tensors(folder / "model.safetensors"), str(folder / "model.safetensors"))
    model.eval()
    if device is not None:
        model.to(device)
    return ModelFolder(model, Tokenizer.load(folder), decoding, max_source_pieces, info)
