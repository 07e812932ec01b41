"""Converted models are kept beside the weights they were made from, and made again when those change.

    best/ctranslate2/int8/     model.bin, config.json, vocabularies, and of.json: which weights, converted how
    ~/.cache/tfcli/...         instead, for a model folder that may not be written

A model is written beside its place and renamed when it is whole, so that a process that is killed leaves nothing that
another would take for a model, and two that convert at once each get one.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfcli.errors import CheckpointError
from tfcli.interop.ctranslate2 import CONVERSION, convert
from tfcli.text.whole_file import sync

if TYPE_CHECKING:
    from collections.abc import Callable

    from tfcli.interop.ctranslate2 import CTranslate2Precision
    from tfcli.model.description import ModelDescription
    from tfcli.model.transformer import Transformer


class UnwritableError(CheckpointError):
    """There is no place for a converted model."""


ORIGIN_FILE = "of.json"
FOLDER = "ctranslate2"
_LEFTOVER_SECONDS = 3600.0  # no conversion takes so long: what is older was left by one that was killed


def converted_model(
    description: ModelDescription, precision: CTranslate2Precision, report: Callable[[str], None]
) -> Path:
    """Return the folder of the model in CTranslate2's format, which is made unless it is there.

    Raises: CheckpointError when the model folder cannot be used; UnwritableError when neither it nor the cache can be
    written.
    """
    description.require_translation()
    description.require_fitting_tokenizer()
    origin = _origin(description)
    beside_weights = description.folder / FOLDER
    in_cache = _user_cache() / FOLDER / _digest(origin)
    for folder in (beside_weights, in_cache):
        if _is_of(folder / precision, origin):
            return folder / precision
    report(f"{description.folder}: converting to CTranslate2 in {precision}")
    from tfcli.model.folder import load_described

    model = load_described(description).model
    try:
        return _make(beside_weights / precision, model, precision, origin)
    except OSError:  # a folder of somebody else's, a read-only medium, a full disk
        pass
    try:
        return _make(in_cache / precision, model, precision, origin)
    except OSError as error:
        raise UnwritableError(
            f"{description.folder}: the converted model can be written neither there nor into {in_cache}: "
            f"{error.strerror or error}",
            "free some space, name another cache folder with XDG_CACHE_HOME, or use --engine torch",
        ) from error


def _origin(description: ModelDescription) -> dict[str, Any]:
    """Return what a conversion depends on."""
    try:
        with description.weights.open("rb") as stream:
            weights = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        weights = None  # no conversion is of this; making one will say what is wrong
    return {"conversion": CONVERSION, "weights_sha256": weights, "model": description.config.to_dict()}


def _digest(origin: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest()[:32]


def _is_of(place: Path, origin: dict[str, Any]) -> bool:
    """Tell whether the model at `place` is whole and was made from these weights."""
    try:
        found = json.loads((place / ORIGIN_FILE).read_bytes())
    except (OSError, ValueError):
        return False
    return bool(found == origin and origin["weights_sha256"] is not None)


def _make(place: Path, model: Transformer, precision: CTranslate2Precision, origin: dict[str, Any]) -> Path:
    """Convert into `place`; what is there already is of other weights, or another process's work of this moment.

    Raises: OSError when it cannot be written.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(place.parent)
    beside = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
    beside.mkdir()
    try:
        convert(model, beside, precision)
        (beside / ORIGIN_FILE).write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")
        for path in (*beside.iterdir(), beside):
            sync(path)
        _put(beside, place, origin)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        with suppress(OSError):  # it stays when there is something in it
            place.parent.rmdir()
    return place


def _put(beside: Path, place: Path, origin: dict[str, Any]) -> None:
    while True:
        try:
            beside.rename(place)
        except OSError:  # a folder that is not empty has the name
            if not place.exists():
                raise
            if _is_of(place, origin):  # another process was faster
                return
            old = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
            with suppress(FileNotFoundError):  # another process has just moved it away
                place.rename(old)
            shutil.rmtree(old, ignore_errors=True)
        else:
            sync(place.parent)
            return


def _remove_leftovers(folder: Path) -> None:
    for path in folder.glob(".*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _LEFTOVER_SECONDS:
                shutil.rmtree(path, ignore_errors=True)


def _user_cache() -> Path:
    """Return the folder of the user for what can be made again."""
    with suppress(RuntimeError):
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tfcli"
    return Path(os.devnull)  # a user without a home: nothing can be written below it
