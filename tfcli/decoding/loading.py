"""From a run or model folder to what translates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from tfcli.decoding.torch_engine import TorchEngine
from tfcli.decoding.translator import Translator
from tfcli.errors import RecipeError
from tfcli.model.folder import load_model_folder, section_problems
from tfcli.model.precision import pick_device, pick_precision
from tfcli.recipe.schema import DecodingSection

if TYPE_CHECKING:
    from pathlib import Path


def load_translator(
    path: Path,
    *,
    device: str = "auto",
    precision: str | None = None,
    beam_size: int | None = None,
    length_penalty: float | None = None,
    batch_tokens: int | None = None,
) -> Translator:
    """Read a run folder or model folder; options that are given take the place of its own.

    Without `precision`, it is what the recipe of the run asked for.

    Raises: CheckpointError when the folder cannot be used, RecipeError when an option cannot.
    """
    target = pick_device(device)
    wanted = None if precision is None else pick_precision(precision, target)
    folder = load_model_folder(path, target)
    given = {"beam_size": beam_size, "length_penalty": length_penalty, "batch_tokens": batch_tokens}
    changed = {key: value for key, value in given.items() if value is not None}
    try:
        decoding = DecodingSection.model_validate({**folder.decoding.model_dump(), **changed})
    except ValidationError as error:
        problems = [
            "--" + problem.removeprefix("decoding.").replace("_", "-", 1)
            for problem in section_problems("decoding", error)
        ]
        raise RecipeError("\n".join(problems), "correct the option") from error
    chosen = wanted or pick_precision(folder.info.get("precision", "auto"), target)
    engine = TorchEngine(folder.model, chosen)
    return Translator(engine, folder.tokenizer, decoding, folder.max_source_pieces, folder.info)
