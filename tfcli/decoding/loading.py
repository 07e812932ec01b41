"""From a run or model folder, or several, to what translates: which engine, where, in which arithmetic.

    auto   CTranslate2 if it is installed and can do what is asked, torch otherwise

Without a precision both take that of the recipe. CTranslate2 on a CPU has no bf16 and then computes in fp32; int8,
which changes translations a little, is used only when it is asked for by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from tfcli.decoding.engine import SearchSettings
from tfcli.decoding.translator import Translator
from tfcli.errors import RecipeError, is_out_of_memory
from tfcli.model.description import describe_model, section_problems
from tfcli.model.torch_import import import_torch
from tfcli.recipe.schema import DecodingSection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tfcli.decoding.engine import Engine, Sampling
    from tfcli.interop.ctranslate2 import CTranslate2Precision
    from tfcli.model.description import ModelDescription

ENGINES = ("auto", "torch", "ctranslate2")
INSTALL = "install it with `pip install ctranslate2`"
Need = Literal["target prefixes", "scores of given translations"]  # what only some engines have


@dataclass(frozen=True)
class _Wishes:
    """What the engine is to be, as the command line says it, and what it needs besides its settings."""

    engine: str
    device: str
    precision: str | None
    needs: Sequence[Need] = ()


class _UnableError(Exception):
    """CTranslate2 cannot do what is asked; says what, and what would help."""

    def __init__(self, what: str, hint: str) -> None:
        self.what = what
        self.hint = hint


def load_translator(
    path: Path,
    *,
    engine: str = "auto",
    device: str = "auto",
    precision: str | None = None,
    changes: Mapping[str, object] | None = None,
    sampling: Sampling | None = None,
    ensemble: Sequence[Path] = (),
    needs: Sequence[Need] = (),
    report: Callable[[str], None] = lambda _: None,
) -> Translator:
    """Read a run folder or model folder, and those that join it in an ensemble.

    `changes` are options by their key in the recipe's `decoding`, and take the place of the folder's own unless they
    are None. Without `precision`, it is what the recipe of the run asked for. `report` is told when `auto` has to pass
    CTranslate2 over although it is installed.

    Raises: CheckpointError when a folder cannot be used, RecipeError when an option cannot or the folders do not agree.
    """
    if engine not in ENGINES:
        raise RecipeError(f"--engine {engine}: unknown", "use auto, torch or ctranslate2")
    first = describe_model(path)
    decoding = _changed(first.decoding, changes or {})
    members = [first, *(_member(other, path, first) for other in ensemble)]
    settings = SearchSettings.of(decoding, sampling=sampling)
    loaded = _load_engine(members, settings, _Wishes(engine, device, precision, needs), report)
    longest = min(member.max_source_pieces for member in members)
    return Translator(loaded, first.tokenizer, decoding, longest, first.info, sampling)


def _changed(decoding: DecodingSection, changes: Mapping[str, object]) -> DecodingSection:
    """Return the settings with the options in place; what is wrong with one is told in the words of the command line."""
    given = {key: value for key, value in changes.items() if value is not None}
    try:
        return DecodingSection.model_validate({**decoding.model_dump(), **given})
    except ValidationError as error:
        problems = []
        for problem in section_problems("decoding", error):
            key, _, sentence = problem.removeprefix("decoding.").partition(": ")
            problems.append(f"--{key.replace('_', '-')}: {sentence}")
        raise RecipeError("\n".join(problems), "correct the option") from error


def _member(path: Path, first_path: Path, first: ModelDescription) -> ModelDescription:
    """Read a further member of an ensemble.

    Raises: RecipeError when it does not speak of the same pieces, or translates another way, than the first.
    """
    member = describe_model(path)
    difference = first.tokenizer.differences(member.tokenizer)
    if difference is not None:
        raise RecipeError(
            f"--ensemble {path}: not the tokenizer of {first_path}: {difference}",
            "the members of an ensemble need one tokenizer: train them from one tokenizer and text, with other seeds",
        )
    for key in ("src_lang", "tgt_lang"):
        ours, theirs = first.info.get(key), member.info.get(key)
        if ours != theirs and None not in (ours, theirs):
            raise RecipeError(
                f"--ensemble {path}: {key} is {theirs}, but {ours} in {first_path}",
                "the members of an ensemble must translate the same way",
            )
    return member


def _load_engine(
    members: Sequence[ModelDescription],
    settings: SearchSettings,
    wishes: _Wishes,
    report: Callable[[str], None],
) -> Engine:
    if wishes.engine == "torch":
        return _torch_engine(members, wishes)
    from tfcli.decoding.ctranslate2_engine import is_installed
    from tfcli.interop.converted import UnwritableError

    if not is_installed():
        if wishes.engine == "ctranslate2":
            raise RecipeError("--engine ctranslate2: CTranslate2 is not installed", INSTALL)
        return _torch_engine(members, wishes)
    try:
        return _ctranslate2_engine(members, settings, wishes, report)
    except UnwritableError as error:
        if wishes.engine == "ctranslate2" or wishes.precision == "int8":
            raise
        passed_over = error.message
    except _UnableError as error:
        for option in ("--engine ctranslate2", "--precision int8"):
            if option in (f"--engine {wishes.engine}", f"--precision {wishes.precision}"):
                raise RecipeError(
                    f"{option}: CTranslate2 cannot be used: {error.what}", error.hint
                ) from error
        passed_over = error.what
    engine = _torch_engine(members, wishes)
    report(f"using torch, not CTranslate2: {passed_over}")
    return engine


def _torch_engine(members: Sequence[ModelDescription], wishes: _Wishes) -> Engine:
    import_torch()
    from tfcli.decoding.torch_engine import TorchEngine
    from tfcli.model.folder import load_described
    from tfcli.model.precision import pick_device, pick_precision

    if wishes.precision == "int8":
        raise RecipeError(
            "--precision int8: torch does not have it",
            "CTranslate2 has: " + INSTALL if wishes.engine == "auto" else "use --engine ctranslate2",
        )
    device = pick_device(wishes.device)
    precision = pick_precision(wishes.precision or members[0].info.get("precision", "auto"), device)
    model, *others = (load_described(member, device).model for member in members)
    return TorchEngine(model, precision, others)


def _ctranslate2_engine(
    members: Sequence[ModelDescription],
    settings: SearchSettings,
    wishes: _Wishes,
    report: Callable[[str], None],
) -> Engine:
    """Return the engine, its model converted unless it was before.

    Raises: _UnableError when CTranslate2 cannot do what is asked, CheckpointError when the folder cannot be used.
    """
    from tfcli.decoding.ctranslate2_engine import CTranslate2Engine, cannot, pick_ctranslate2_device
    from tfcli.interop.converted import converted_model

    device = pick_ctranslate2_device(wishes.device)
    if device is None:
        raise _UnableError(
            f"it has no device {wishes.device} here", "use --device auto or cpu, or --engine torch"
        )
    beyond = [*wishes.needs, *(["ensembles"] if len(members) > 1 else [])]
    missing = beyond[0] if beyond else cannot(settings)
    if missing is not None:
        raise _UnableError(
            f"it does not have {missing.replace('_', ' ')}", "leave it out, or use --engine torch"
        )
    (description,) = members
    precision = _ctranslate2_precision(description, wishes, device)
    folder = converted_model(description, precision, report)
    try:
        return CTranslate2Engine(folder, description.config, precision, device)
    except RuntimeError as error:  # a CUDA without its libraries, a damaged model
        if is_out_of_memory(error):
            raise
        raise _UnableError(
            f"it cannot load {folder}: {error}",
            f"use --engine torch; or remove {folder} if that is damaged, it will be made again",
        ) from error


def _ctranslate2_precision(
    description: ModelDescription, wishes: _Wishes, device: str
) -> CTranslate2Precision:
    """Return the arithmetic: what is asked for, or else the recipe's as far as CTranslate2 has it there."""
    from tfcli.decoding.ctranslate2_engine import supports
    from tfcli.interop.ctranslate2 import COMPUTE_TYPES

    wanted = wishes.precision or "auto"
    for precision in COMPUTE_TYPES:
        if precision != wanted:
            continue
        if not supports(precision, device):
            raise _UnableError(
                f"it has no {precision} on {device} here", "use --precision fp32, or --engine torch"
            )
        return precision
    if wanted != "auto":
        raise RecipeError(f"precision {wanted}: unknown", "use auto, fp32, bf16 or int8")
    of_recipe = description.info.get("precision", "auto")
    return "bf16" if of_recipe != "fp32" and supports("bf16", device) else "fp32"
