"""Which settings of a run may change when it resumes, and which would make it another run."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from tfcli.errors import RecipeError
from tfcli.recipe.foreign import own_values

if TYPE_CHECKING:
    from tfcli.recipe.schema import Recipe

# Changing these leaves every update of the weights as it would have been.
_HARMLESS_SECTIONS = ("name", "decoding", "scoring", "expected")
_TOLD_ELSEWHERE = {"ranks"}  # where the run resumes
_HARMLESS_KEYS = frozenset(
    {"data.root", "data.tests", "data.src_lang", "data.tgt_lang"}
    | {
        f"training.{key}"
        for key in (
            "max_steps",
            "validate_every",
            "checkpoint_every",
            "keep_checkpoints",
            "average_checkpoints",
            "gradient_checkpointing",
            "sharding",  # but for rounding, as with another number of ranks
            "patience",
            "log_every",
        )
    }
)

INIT = "--init"  # the checksum of the weights that a run started from, if it did not from random ones


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe's keys, `section.key`, with their values as JSON has them."""
    flat: dict[str, Any] = {}
    for name, value in own_values(recipe).items():
        if isinstance(value, dict):
            flat.update({f"{name}.{key}": inner for key, inner in value.items()})
        else:
            flat[name] = value
    return flat


def refuse_changed_settings(before: dict[str, Any], now: dict[str, Any], run_dir: str) -> list[str]:
    """Return the harmless changes, one line each.

    Raises: RecipeError listing every change that would make the resumed run another one.
    """
    harmless: list[str] = []
    harmful: list[str] = []
    fixed_length = now.get("training.schedule") == "cosine"  # its course depends on max_steps
    for key in sorted((before.keys() | now.keys()) - _TOLD_ELSEWHERE):
        is_harmless = key in _HARMLESS_KEYS or key.partition(".")[0] in _HARMLESS_SECTIONS
        if key == "training.max_steps" and fixed_length:
            is_harmless = False
        if key == "training.gradient_checkpointing" and now.get("training.compile"):
            is_harmless = False  # the compiled network draws other random numbers with it
        (harmless if is_harmless else harmful).extend(_changes(key, before.get(key), now.get(key)))
    if harmful:
        raise RecipeError(
            "\n".join([f"{run_dir}: the run was started with other settings", *harmful]),
            "put them back to resume, use --fresh to start over, or another --out",
        )
    return harmless


def _changes(key: str, before: Any, now: Any) -> list[str]:
    """Return what differs, one line for each value, as deep below `key` as it goes."""
    if before == now:
        return []
    if key == INIT:
        names = [f"weights {value[:12]}" if value else "none" for value in (before, now)]
        return [f"{INIT}: {names[0]} -> {names[1]}"]
    if key == "data.content":  # checksums, which say nothing to people
        return ["data.content: the text of the training or validation files is not what it was"]
    if isinstance(before, dict) and isinstance(now, dict):
        below = [
            (f"{key}.{name}", before.get(name), now.get(name)) for name in sorted(before.keys() | now.keys())
        ]
    elif isinstance(before, list) and isinstance(now, list):
        pairs = zip_longest(before, now)
        below = [(f"{key}[{number}]", *pair) for number, pair in enumerate(pairs)]
    else:
        return [f"{key}: {before!r} -> {now!r}"]
    return [line for place in below for line in _changes(*place)]
