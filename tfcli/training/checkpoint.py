"""Checkpoints: everything that exact resuming needs, written so that no crash leaves a bad one behind.

    checkpoints/step-00000500/
        model.safetensors       weights
        optimizer.safetensors   the optimizer's moments
        ema.safetensors         the moving average of the weights, with training.ema_decay
        rng.safetensors         states of torch's random number generators, of every rank
        state.json              TrainingState and the recipe's settings
        manifest.json           sha256 of each file above; written last

A checkpoint is written under another name, synced to disk and renamed; one that goes is renamed before it is
deleted. Reading verifies the manifest; a damaged newest checkpoint is named and the one before it used.

Of several ranks the first writes, and all read: it has all weights and moments, or gathers them, so a checkpoint is the
same for any number of ranks, sharded or not, but for the states of the random number generators.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError

from tfcli.errors import CheckpointError
from tfcli.model.folder import load_weights, model_tensors, put_in_place, read_tensors, save_tensors
from tfcli.text.whole_file import sync
from tfcli.training.optimizer import optimizer_tensors, restore_optimizer
from tfcli.training.random_states import restore_random_states, seed_rank, states_of_rank
from tfcli.training.sharding import gathered, parts_of
from tfcli.training.state import TrainingState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor

    from tfcli.training.learner import Learner

_NAME = re.compile(r"^step-(\d{8,})$")
_UNFINISHED = re.compile(r"^\.(step-\d{8,})\.(new|old|gone)$")
_FILES = {"model.safetensors", "optimizer.safetensors", "rng.safetensors", "state.json"}
_EMA_FILE = "ema.safetensors"
_DAMAGED_HINT = "delete this checkpoint, and run again: the others are used without it"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was found whole."""

    folder: Path
    state: TrainingState
    settings: dict[str, Any]


def checkpoint_folders(root: Path) -> list[Path]:
    """Return the checkpoints in `root` by their names alone, oldest first."""
    if not root.is_dir():
        return []
    found = [(int(match[1]), path) for path in root.iterdir() if (match := _NAME.match(path.name))]
    return [path for _, path in sorted(found)]


def step_of(folder: Path) -> int:
    """Return the step of a checkpoint by its name."""
    return int(folder.name.removeprefix("step-"))


def tidy(root: Path) -> None:
    """Finish what a crash cut short: what is half-written or half-deleted goes, a half-replaced checkpoint is put back."""
    for path in [*root.iterdir()] if root.is_dir() else []:
        if match := _UNFINISHED.match(path.name):
            if match[2] == "old" and not (root / match[1]).exists():
                path.rename(root / match[1])
            else:
                shutil.rmtree(path)


def learner_tensors(learner: Learner) -> dict[str, Mapping[str, Tensor]]:
    """Return what a checkpoint holds of a learner, by file; of a sharded one the first rank has it, and all take part."""
    files: dict[str, Mapping[str, Tensor]] = {
        "model.safetensors": model_tensors(learner.model),
        "optimizer.safetensors": optimizer_tensors(learner.model, learner.optimizer),
    }
    if learner.ema is not None:
        files[_EMA_FILE] = model_tensors(learner.ema.model)
    if learner.sharded:
        files = {name: gathered(tensors, learner.ranks) for name, tensors in files.items()}
    return files


def save_checkpoint(
    root: Path,
    files: Mapping[str, Mapping[str, Tensor]],
    state: TrainingState,
    settings: dict[str, Any],
    rng: dict[str, Tensor],
) -> Path:
    """Write the checkpoint of `state.step` into `root` and return its folder.

    `files` is from `learner_tensors`, `rng` from `all_random_states`.

    Raises: CheckpointError when it cannot be written; earlier checkpoints are untouched.
    """
    folder = root / f"step-{state.step:08d}"
    beside = root / f".{folder.name}.new"
    try:
        if not root.is_dir():
            root.mkdir(parents=True)
            sync(root.parent)
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        for name, tensors in {**files, "rng.safetensors": rng}.items():
            save_tensors(tensors, beside / name)
        _write_json(beside / "state.json", {"state": state.to_dict(), "settings": settings})
        _write_json(beside / "manifest.json", {path.name: _sha256(path) for path in sorted(beside.iterdir())})
        for path in (*beside.iterdir(), beside):
            sync(path)
        put_in_place(beside, folder)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{folder}: cannot be written: {error}",
            "free some space or mend the folder's permissions, then run again: it resumes from the last good "
            "checkpoint",
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def newest_checkpoint(root: Path, warn: Callable[[str], None]) -> Checkpoint | None:
    """Return the newest checkpoint that is whole, or None when there is no checkpoint at all.

    Damaged ones are named through `warn`.

    Raises: CheckpointError when there are checkpoints and all are damaged.
    """
    folders = checkpoint_folders(root)
    for folder in reversed(folders):
        try:
            return read_checkpoint(folder)
        except CheckpointError as error:
            warn(error.message + ("; trying the checkpoint before it" if folder != folders[0] else ""))
    if folders:
        raise CheckpointError(
            f"{root}: all {len(folders)} checkpoints are damaged"
            if len(folders) > 1
            else f"{root}: the only checkpoint is damaged",
            "put a copy of one back, or use --fresh to start over; best/, if it is there, is still of use",
        )
    return None


def read_checkpoint(folder: Path) -> Checkpoint:
    """Verify a checkpoint's files and read its state.

    Raises: CheckpointError when anything is missing, differs from the manifest or cannot be understood.
    """
    try:
        _require(folder / "manifest.json")
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        _refuse_missing(folder, _FILES - manifest.keys())
        for name, expected in manifest.items():
            _require(folder / name)
            if _sha256(folder / name) != expected:
                raise CheckpointError(f"{folder / name}: damaged (its checksum differs)", _DAMAGED_HINT)
        values = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        if values["settings"].get("training.ema_decay") is not None:
            _refuse_missing(folder, {_EMA_FILE} - manifest.keys())
        return Checkpoint(folder, TrainingState.from_dict(values["state"]), values["settings"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{folder}: damaged ({error})", _DAMAGED_HINT) from error


def _require(path: Path) -> None:
    if not path.is_file():
        raise CheckpointError(f"{path}: damaged (the file is missing)", _DAMAGED_HINT)


def _refuse_missing(folder: Path, missing: set[str]) -> None:
    if missing:
        raise CheckpointError(f"{folder / 'manifest.json'}: damaged (lacks {min(missing)})", _DAMAGED_HINT)


def restore(checkpoint: Checkpoint, learner: Learner, seed: int) -> None:
    """Put weights, optimizer, average and random number generators back as they were.

    A rank that was not there is given random numbers of its own, which follow from the run's `seed`.

    Raises: CheckpointError when they do not fit.
    """
    weights = checkpoint.folder / "model.safetensors"
    load_weights(learner.model, parts_of(read_tensors(weights), learner.model), str(weights))
    moments = read_tensors(checkpoint.folder / "optimizer.safetensors")
    restore_optimizer(learner.model, learner.optimizer, moments, checkpoint.state.updates)
    if learner.ema is not None:
        averaged = checkpoint.folder / _EMA_FILE
        tensors = parts_of(read_tensors(averaged), learner.ema.model)
        learner.ema.restore(tensors, checkpoint.state.updates, str(averaged))
    states = states_of_rank(read_tensors(checkpoint.folder / "rng.safetensors"), learner.ranks.rank)
    if states:
        restore_random_states(states)
    else:
        seed_rank(seed, learner.ranks.rank, checkpoint.state.step)


def scheduled_checkpoints(root: Path, every: int, keep: int, last_step: int) -> list[Path]:
    """Return the newest `keep` of the checkpoints that an uninterrupted run of `last_step` steps has, oldest first.

    One that was written because a run was stopped in between is not among them: it must not change the average.
    """
    steps = {step_of(folder): folder for folder in checkpoint_folders(root)}
    scheduled = [step for step in steps if step <= last_step and (step % every == 0 or step == last_step)]
    return [steps[step] for step in scheduled[-keep:]]


def drop_old_checkpoints(root: Path, step: int, every: int, keep: int) -> None:
    """Delete all but the checkpoint of `step` and the newest `keep` scheduled ones up to it.

    Those behind it go too: they are damaged, or the run would have resumed from them.
    """
    steps = {folder: step_of(folder) for folder in checkpoint_folders(root)}
    scheduled = [folder for folder, number in steps.items() if number % every == 0 and number <= step]
    kept = {*(folder for folder, number in steps.items() if number == step), *scheduled[-keep:]}
    for folder in steps:
        if folder not in kept:
            delete_checkpoint(folder)


def delete_checkpoint(folder: Path) -> None:
    """Delete a checkpoint so that no half of it ever has its name."""
    gone = folder.with_name(f".{folder.name}.gone")
    folder.rename(gone)
    shutil.rmtree(gone)


def average_weights(folders: list[Path]) -> dict[str, Tensor]:
    """Return the mean of the weights of several checkpoints, summed in fp64.

    Source: "Attention Is All You Need", section 6.1.
    """
    total: dict[str, Tensor] = {}
    for folder in folders:
        for name, tensor in read_tensors(folder / "model.safetensors").items():
            total[name] = total.get(name, torch.zeros(())) + tensor.double()
    return {name: (tensor / len(folders)).float() for name, tensor in total.items()}


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
