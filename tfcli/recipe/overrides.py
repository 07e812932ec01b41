"""`--set key=value`: put single values over a recipe, with the scalar rules and the checks of the file.

A key is a path such as `training.max_steps`, `data.train[0].src` (or `data.train.0.src`), and
`data.tests["test.2016"].src` where a name holds a dot.
"""

from __future__ import annotations

import re
from typing import Any

from tfcli.recipe.yaml12 import Loc, YamlSyntaxError, read_yaml
from tfcli.wording import counted

STEP = re.compile(
    r"""(?:^|\.)(?P<name>[^.\[\]=]+) | \[(?P<index>[0-9]{1,9})\] | \["(?P<quoted>[^"]+)"\]""", re.VERBOSE
)


class OverrideError(Exception):
    """An override that cannot be understood or has no place to go."""


def split_override(text: str) -> tuple[Loc, Any]:
    """Return the place and the value that `key=value` names.

    Raises: OverrideError.
    """
    loc, end = parse_path(text)
    if not loc or text[end : end + 1] != "=":
        raise OverrideError("expected key=value, as in training.max_steps=8000")
    try:
        document = read_yaml(text[end + 1 :])
    except YamlSyntaxError as error:
        raise OverrideError(f"the value cannot be read: {error.message}") from None
    if document.problems:
        problem = document.problems[0]
        where = format_path((*loc, *problem.loc))
        raise OverrideError(f"{where}: {problem.message}")
    return loc, document.value


def changes_of(text: str, *, by_key: bool) -> list[tuple[Loc, Any]]:
    """Return the places and values that `key=value` names: one, or with `by_key` one for each key of a whole section.

    Raises: OverrideError.
    """
    loc, value = split_override(text)
    if by_key and len(loc) == 1 and isinstance(value, dict):
        return [((*loc, key), inner) for key, inner in value.items()]
    return [(loc, value)]


def parse_path(text: str) -> tuple[Loc, int]:
    """Return the place that the start of `text` names, and where that start ends."""
    steps: list[str | int] = []
    end = 0
    while match := STEP.match(text, end):
        index = match["index"]
        steps.append(int(index) if index is not None else match["name"] or match["quoted"])
        end = match.end()
    return tuple(steps), end


def format_path(loc: Loc) -> str:
    """Write a place as `--set` reads it."""
    text = ""
    for step in loc:
        if isinstance(step, int):
            text += f"[{step}]"
        elif re.fullmatch(r"[^.\[\]=\s\"]+", step):
            text += f".{step}" if text else step
        else:
            text += f'["{step}"]'
    return text


def put(root: dict[str, Any], loc: Loc, value: Any) -> Loc:
    """Set `value` at `loc` below `root`, making the sections on the way; return the place as it stands.

    Raises: OverrideError when the way leads through a value that has no keys, or past the end of a list.
    """
    here: Any = root
    placed: list[str | int] = []
    for depth, step in enumerate(loc):
        key = _fitting(here, step, tuple(placed), loc)
        placed.append(key)
        if depth == len(loc) - 1:
            _store(here, key, value)
            break
        child = here[key] if _holds(here, key) else None
        if child is None:
            child = [] if isinstance(loc[depth + 1], int) else {}
            _store(here, key, child)
        here = child
    return tuple(placed)


def _fitting(container: Any, step: str | int, placed: Loc, loc: Loc) -> str | int:
    where = format_path(placed) or "the recipe"
    if isinstance(container, list):
        if isinstance(step, str) and not re.fullmatch(r"[0-9]{1,9}", step):
            better = format_path((*placed, 0, *loc[len(placed) :]))
            raise OverrideError(f"{where} is a list: write {better}")
        if int(step) > len(container):
            entries = counted(len(container), "entry", "entries")
            raise OverrideError(f"{where}[{step}]: the list has {entries}, counted from 0")
        return int(step)
    if not isinstance(container, dict):
        raise OverrideError(f"{where} is a single value, it has no keys")
    if isinstance(step, int):
        raise OverrideError(f"{where} is not a list, [{step}] has no meaning here")
    return step


def _holds(container: dict[str, Any] | list[Any], key: str | int) -> bool:
    return key in container if isinstance(container, dict) else int(key) < len(container)


def _store(container: Any, key: str | int, value: Any) -> None:
    if isinstance(container, list) and key == len(container):
        container.append(value)
    else:
        container[key] = value
