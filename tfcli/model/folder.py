"""The model folder: all that translating, scoring and exporting need, portable and free of code.

What is in it stands in `description.py`, which reads it as far as torch is not needed.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tfcli.errors import CheckpointError, DataError
from tfcli.model.description import (
    COPY_AGAIN,
    FORMAT,
    NO_PICKLES,
    PICKLE_SUFFIXES,
    WEIGHTS_FILE,
    ModelDescription,
    describe_model,
    is_pickle,
)
from tfcli.model.networks import build_network
from tfcli.model.transformer import Transformer
from tfcli.text.whole_file import sync

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tfcli.model.networks import Network
    from tfcli.recipe.schema import DecodingSection
    from tfcli.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class ModelFolder:
    """What the model folder of a translator holds, read into memory."""

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
            "the file belongs to a network of other sizes: copy the folder again whole, or train again",
        )
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises: CheckpointError when it is missing or damaged, or is a pickle.
    """
    try:
        path.open("rb").close()  # safetensors calls a file that may not be read a file that is not there
        return load_file(path)
    except PermissionError as error:
        raise CheckpointError(
            f"{path}: cannot be read: {error.strerror}", "have its owner give you the right to read it"
        ) from error
    except (OSError, SafetensorError) as error:
        if is_pickle(path):
            raise CheckpointError(f"{path}: a pickle, expected safetensors", NO_PICKLES) from error
        pickles = sorted(found.name for found in path.parent.glob("*") if found.suffix in PICKLE_SUFFIXES)
        if not path.exists() and pickles:
            raise CheckpointError(
                f"{path}: no such file, and {pickles[0]} beside it is a pickle", NO_PICKLES
            ) from error
        if not path.exists():
            raise CheckpointError(f"{path}: no such file", COPY_AGAIN) from error
        raise CheckpointError(f"{path}: cannot be read: {error}", COPY_AGAIN) from error


def save_model_folder(
    folder: Path, model: Network, tokenizer: Tokenizer, info: dict[str, Any], card: str
) -> None:
    """Write a model folder beside its place, then put it there; a folder of that name is replaced.

    `info` goes into config.json and must hold `decoding` and `max_source_pieces`.

    Raises: CheckpointError when it cannot be written; a folder that was there before stays.
    """
    beside = folder.with_name(f".{folder.name}.new")
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        _write_model_folder(beside, model, tokenizer, info, card)
        put_in_place(beside, folder)
    except (OSError, SafetensorError, DataError) as error:
        raise CheckpointError(
            f"{folder}: cannot be written: {error}",
            "free some space or mend the folder's permissions, then run again: training goes on from its last "
            "checkpoint",
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _write_model_folder(
    beside: Path, model: Network, tokenizer: Tokenizer, info: dict[str, Any], card: str
) -> None:
    config = {"format": FORMAT, "model": model.config.to_dict(), **info}
    (beside / "config.json").write_text(
        json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    save_tensors(model_tensors(model), beside / WEIGHTS_FILE)
    tokenizer.save(beside)
    (beside / "README.md").write_text(card, encoding="utf-8")
    for path in (*beside.iterdir(), beside):
        sync(path)


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a safetensors file with the permissions of any new file; safetensors itself writes for the owner alone.

    Raises: OSError or SafetensorError when it cannot be written.
    """
    path.touch()
    mode = path.stat().st_mode
    save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, path)
    path.chmod(mode)


def put_in_place(beside: Path, folder: Path) -> None:
    """Give the folder `beside` its name; one that has this name already is `.NAME.old` until the new one stands."""
    old = folder.with_name(f".{folder.name}.old")
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    beside.rename(folder)
    sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def load_model_folder(path: Path, device: torch.device | None = None) -> ModelFolder:
    """Read the model folder at `path`, or in the run folder `path`.

    Raises: CheckpointError when something is missing, damaged or of another version.
    """
    return load_described(describe_model(path), device)


def load_described(description: ModelDescription, device: torch.device | None = None) -> ModelFolder:
    """Read the weights of a translator's model folder whose description was read already.

    Raises: CheckpointError when they are missing or damaged, do not fit the description, or are no translator's.
    """
    description.require_translation()
    model = load_network(description, device)
    assert isinstance(model, Transformer)
    return ModelFolder(
        model,
        description.tokenizer,
        description.decoding,
        description.max_source_pieces,
        description.info,
    )


def load_network(description: ModelDescription, device: torch.device | None = None) -> Network:
    """Read the network of a model folder, whichever of the three it is.

    Raises: CheckpointError when its weights are missing or damaged, or do not fit the description.
    """
    description.require_fitting_tokenizer()
    try:
        model = build_network(description.config)
    except (TypeError, RuntimeError) as error:  # of sizes that no recipe holds
        raise CheckpointError(
            f"{description.folder / 'config.json'}: no network has such sizes: {error}", description.hint
        ) from error
    load_weights(model, read_tensors(description.weights), str(description.weights))
    model.eval()
    if device is not None:
        model.to(device)
    return model
