"""Keys of a recipe that belong to another task: found where they are given, left out where a recipe is written down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tfcli.recipe.tasks import OWNERS, TASKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tfcli.recipe.schema import Recipe
    from tfcli.recipe.yaml12 import Loc


def own_values(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as plain values, without the keys that its task does not have."""
    return without_foreign(recipe.model_dump(mode="json"))[0]


def without_foreign(values: dict[str, Any]) -> tuple[dict[str, Any], dict[Loc, str]]:
    """Return a recipe's values without the keys of other tasks, and for each of these, by its place, a complaint.

    Values whose `task` is none are returned as they are.
    """
    task = values.get("task", "translation")
    if task not in TASKS:
        return values, {}
    complaints: dict[Loc, str] = {}
    kept = values
    for place, owners in OWNERS.items():
        if task not in owners:
            kept, found = _without(kept, place.split("."))
            complaints |= {
                loc: f"belongs to task {_either(owners)}, and the task here is {task}" for loc in found
            }
    return kept, complaints


def _without(values: Any, place: Sequence[str]) -> tuple[Any, list[Loc]]:
    """Return `values` without what stands at a place, and where it stood."""
    first, rest = place[0], place[1:]
    if first == "*":
        steps: list[str | int] = list(range(len(values)) if isinstance(values, list) else values)
    else:
        steps = [first] if isinstance(values, dict) and first in values else []
    if not rest and isinstance(values, dict):
        return {key: value for key, value in values.items() if key not in steps}, [(step,) for step in steps]
    kept, found = values, []
    for step in steps:
        inner, places = _without(values[step], rest) if isinstance(values[step], dict | list) else (None, [])
        if places:
            kept = kept.copy() if kept is values else kept
            kept[step] = inner
            found += [(step, *loc) for loc in places]
    return kept, found


def _either(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
