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

from tfcli import __version__
from tfcli.errors import CheckpointError, DataError
from tfcli.model.config import ModelConfig
from tfcli.model.transformer import Transformer
from tfcli.recipe.complaints import explain
from tfcli.recipe.schema import DecodingSection, ModelSection
from tfcli.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT = 1
OLD_BEST = ".best.old"  # stands in for best/ where a crash came between the two renames of `put_in_place`
PICKLE_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")
_NO_PICKLES = (
    "loading a pickle can run any program hidden in it, so tfcli never does: get the weights as safetensors, or "
    "train again"
)
_COPY_AGAIN = "copy the whole folder again from where it came, or train again"


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
            raise CheckpointError(f"{path}: a pickle, expected safetensors", _NO_PICKLES) from error
        pickles = sorted(found.name for found in path.parent.glob("*") if found.suffix in PICKLE_SUFFIXES)
        if not path.exists() and pickles:
            raise CheckpointError(
                f"{path}: no such file, and {pickles[0]} beside it is a pickle", _NO_PICKLES
            ) from error
        if not path.exists():
            raise CheckpointError(f"{path}: no such file", _COPY_AGAIN) from error
        raise CheckpointError(f"{path}: cannot be read: {error}", _COPY_AGAIN) from error


def is_pickle(path: Path) -> bool:
    """Tell whether a file begins as pickles do: a zip archive, as PyTorch writes it, or a binary pickle itself."""
    try:
        with path.open("rb") as stream:
            start = stream.read(9)
    except OSError:
        return False
    # safetensors may begin with the same bytes, the length of its header, which then begins with a brace
    return start.startswith(b"PK\x03\x04") or (
        start[:1] == b"\x80" and start[1:2] in b"\2\3\4\5" and start[8:] != b"{"
    )


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
        if path.suffix in PICKLE_SUFFIXES or is_pickle(path):
            raise CheckpointError(f"{path}: a pickle, expected a run folder or a model folder", _NO_PICKLES)
        raise CheckpointError(
            f"{path}: a file, expected a run folder or a model folder", "give the folder it is for"
        )
    begun = any((path / name).exists() for name in ("recipe.yaml", "checkpoints", "corpus"))
    if begun and not (path / "best").exists():
        recipe = path / "recipe.yaml"
        raise CheckpointError(
            f"{path}: the run has no model yet: its first validation is still to come",
            f"go on with `tfcli train {recipe if recipe.exists() else 'RECIPE'} --out {path}`; "
            "--set training.validate_every=N has it validate sooner",
        )
    raise CheckpointError(
        f"{path}: neither a model folder (config.json) nor a run folder with best/",
        "give the folder that `tfcli train` wrote, or the best/ in it",
    )


def save_model_folder(
    folder: Path, model: Transformer, tokenizer: Tokenizer, info: dict[str, Any], card: str
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
    beside: Path, model: Transformer, tokenizer: Tokenizer, info: dict[str, Any], card: str
) -> None:
    config = {"format": FORMAT, "model": model.config.to_dict(), **info}
    (beside / "config.json").write_text(
        json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    save_tensors(model_tensors(model), beside / "model.safetensors")
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
    info = read_config(config_file)
    tokenizer = Tokenizer.load(folder)
    model, decoding = _build(info, config_file)
    vocabularies = (tokenizer.src_vocab_size, tokenizer.tgt_vocab_size)
    expected = (model.config.src_vocab_size, model.config.tgt_vocab_size)
    if vocabularies != expected:
        raise CheckpointError(
            f"{folder}: the tokenizer has {vocabularies[0]} source and {vocabularies[1]} target pieces, the network "
            f"{expected[0]} and {expected[1]}",
            "copy the tokenizer again from the run that the model comes from",
        )
    load_weights(model, read_tensors(folder / "model.safetensors"), str(folder / "model.safetensors"))
    model.eval()
    if device is not None:
        model.to(device)
    return ModelFolder(model, tokenizer, decoding, int(info["max_source_pieces"]), info)


def read_config(path: Path) -> dict[str, Any]:
    """Read config.json as far as any version's can be read, and refuse another version's."""
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}", _COPY_AGAIN) from error
    version = info.get("format") if isinstance(info, dict) else None
    if not isinstance(version, int):
        raise CheckpointError(
            f"{path}: not written by tfcli: it has no key 'format'", "give a folder that `tfcli train` wrote"
        )
    if version != FORMAT:
        age = "a newer" if version > FORMAT else "an older"
        raise CheckpointError(
            f"{path}: written by {age} tfcli ({info.get('tfcli_version', 'of unknown version')}): format {version}, "
            f"but this one ({__version__}) reads format {FORMAT}",
            "install the version that wrote it" + (", or a newer one" if version > FORMAT else ""),
        )
    return dict(info)


def _build(info: dict[str, Any], config_file: Path) -> tuple[Transformer, DecodingSection]:
    """Build the network, its weights still random, and read how it decodes."""
    hint = f"{_COPY_AGAIN}; it was written by tfcli {info.get('tfcli_version', '(unknown)')}, this is {__version__}"
    try:
        config = ModelConfig.from_dict(info["model"], str(config_file))
        int(info["max_source_pieces"])
    except CheckpointError as error:
        raise CheckpointError(error.message, hint) from error
    except KeyError as error:
        raise CheckpointError(f"{config_file}: the key {error} is missing", hint) from error
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{config_file}: damaged: {error}", hint) from error
    sizes = {key: value for key, value in config.to_dict().items() if key in ModelSection.model_fields}
    problems: list[str] = []
    for name, section, values in (
        ("model", ModelSection, sizes),
        ("decoding", DecodingSection, info.get("decoding")),
    ):
        try:
            section.model_validate(values)
        except ValidationError as error:
            problems += section_problems(name, error)
    if problems:
        raise CheckpointError(f"{config_file}: {problems[0]}", hint)
    try:
        return Transformer(config), DecodingSection.model_validate(info["decoding"])
    except (TypeError, RuntimeError) as error:  # of the vocabularies' sizes, which no recipe holds
        raise CheckpointError(f"{config_file}: no network has such sizes: {error}", hint) from error


def section_problems(section: str, error: ValidationError) -> list[str]:
    """Return what is wrong with values for a section of a recipe, one sentence a key."""
    placed = [{**problem, "loc": (section, *problem["loc"])} for problem in error.errors(include_url=False)]
    return [f"{'.'.join(map(str, loc))}: {sentence}" for loc, sentence in explain(placed).items()]  # type: ignore[arg-type]
