"""Say what pydantic found wrong with a recipe in words for people who write recipes.

Each error becomes a place (`Loc`) and one sentence: what was expected, what came, and the nearest valid name.
The words come from the schema's own types, so that a union of types makes one sentence.
"""

from __future__ import annotations

import difflib
import json
import math
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from tfcli.recipe.schema import Recipe
from tfcli.recipe.section import PATTERN_MEANINGS

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from tfcli.recipe.yaml12 import Loc

LIMITS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "above"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "below"),
}
PLAIN_TYPES = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    type(None): "null",
    list: "a list",
    dict: "a section of 'key: value' lines",
}
LONGEST_VALUE = 60
BOOLEAN_WORDS = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


def explain(errors: Iterable[ErrorDetails]) -> dict[Loc, str]:
    """Return one sentence for each place at which something is wrong."""
    sentences: dict[Loc, str] = {}
    for error in errors:
        loc, expected = _place(error["loc"])
        context = error.get("ctx", {})
        if error["type"] == "contradiction":
            # two levels at most, and a test set's name may hold a dot
            loc = (*loc, *str(context["key"]).split(".", 1))
            sentence = str(context["message"])
        else:
            sentence = _sentence(error["type"], context, error, (loc, expected))
        sentences.setdefault(loc, sentence)
    return sentences


def empty_sections(value: Any, model: type[BaseModel] = Recipe) -> Any:
    """Return `value` with every section that has a name and nothing below it as an empty section."""
    if not isinstance(value, Mapping):
        return value
    filled = dict(value)
    for name, field in model.model_fields.items():
        kind = _shape(field.annotation)
        if name not in filled or kind not in (BaseModel, dict):
            continue
        if filled[name] is None:
            filled[name] = {}
        elif kind is BaseModel:
            filled[name] = empty_sections(filled[name], _as_model(field.annotation))
    return filled


def nearest(word: str, words: Sequence[str]) -> str | None:
    """Return the one of `words` that `word` was probably meant to be."""
    folded = {known.lower(): known for known in words}
    matches = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=0.6)
    return folded[matches[0]] if matches else None


def limit_sentence(kind: str, context: Mapping[str, Any]) -> str | None:
    """Return what a number must be, where pydantic's error is of that `kind`."""
    if kind not in LIMITS:
        return None
    name, words = LIMITS[kind]
    return f"must be {words} {context[name]:g}"


def shortened(text: str) -> str:
    """Return a value's text, cut where it would fill the line."""
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."


def _place(loc: Sequence[str | int]) -> tuple[Loc, Any]:
    """Follow `loc` through the schema as far as it names keys; pydantic adds union members at the end."""
    here: Any = Recipe
    for depth, step in enumerate(loc):
        shape = _shape(here)
        if step == "[key]" or shape is None:
            return tuple(loc[:depth]), here
        if shape is BaseModel:
            fields = _as_model(here).model_fields
            if step not in fields:
                return tuple(loc[: depth + 1]), here
            here = fields[str(step)].annotation
        else:
            here = get_args(_unwrapped(here))[-1]
    return tuple(loc), here


def _sentence(kind: str, context: Mapping[str, Any], error: ErrorDetails, place: tuple[Loc, Any]) -> str:
    loc, expected = place
    got = f"got {_shown(error['input'])}"
    if kind == "extra_forbidden":
        return _unknown_key(str(loc[-1]), _as_model(expected))
    if kind == "missing":
        return "this key is missing"
    limit = limit_sentence(kind, context)
    if limit is not None:
        return f"{limit}, {got}"
    if kind == "finite_number":
        return f"must be a finite number, {got}"
    if kind == "too_short":
        return f"needs at least {context['min_length']} entry, {got}"
    if kind == "string_too_short":
        return "must not be empty"
    if kind == "string_pattern_mismatch":
        return f"expected {PATTERN_MEANINGS[context['pattern']]}, {got}"
    if kind == "string_unicode":
        return "holds half of a surrogate pair, which is no text"
    return f"expected {_expected(expected)}, {got}{_advice(error['input'], expected)}"


def _unknown_key(key: str, section: type[BaseModel]) -> str:
    known = list(section.model_fields)
    near = nearest(key, known)
    if near is not None:
        return f"unknown key, did you mean '{near}'?"
    for name, field in Recipe.model_fields.items():
        if _shape(field.annotation) is BaseModel and key in _as_model(field.annotation).model_fields:
            return f"unknown key, did you mean '{name}.{key}'?"
    return f"unknown key; the keys here are {', '.join(known)}"


def _expected(annotation: Any) -> str:
    """Return the words for what a type takes."""
    plain = _unwrapped(annotation)
    if get_origin(plain) is Literal:
        choices = [f"'{choice}'" for choice in get_args(plain)]
        return choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
    if get_origin(plain) in (Union, types.UnionType):
        parts = [_expected(part) for part in get_args(plain)]
        return f"{', '.join(parts[:-1])}{',' if 'or' in parts[-1].split() else ' or'} {parts[-1]}"
    if _shape(plain) is BaseModel:
        return PLAIN_TYPES[dict]
    return PLAIN_TYPES[get_origin(plain) or plain]


def _advice(value: Any, annotation: Any) -> str:
    """Return what to write instead, where that can be told."""
    parts = _members(annotation)
    if isinstance(value, float) and int in parts and value.is_integer():
        return f" (write {int(value)})"
    if isinstance(value, str):
        if bool in parts and value.lower() in BOOLEAN_WORDS:
            return f" (write {BOOLEAN_WORDS[value.lower()]})"
        digits = value.replace("_", "").replace(",", "")
        if (int in parts or float in parts) and digits.isascii() and digits.isdigit() and len(digits) < 20:
            return f" (write {digits})"
        near = nearest(value, [part for part in parts if isinstance(part, str)])
        return f", did you mean '{near}'?" if near is not None else ""
    if isinstance(value, int | float | bool) and str in parts:
        return f' (write "{_shown(value)}")'
    return ""


def _members(annotation: Any) -> list[Any]:
    """Return the types and the literal values that a type takes."""
    plain = _unwrapped(annotation)
    if get_origin(plain) is Literal:
        return list(get_args(plain))
    if get_origin(plain) in (Union, types.UnionType):
        return [member for part in get_args(plain) for member in _members(part)]
    return [plain]


def _shown(value: Any) -> str:
    """Write a value as YAML would, in one line."""
    if isinstance(value, dict):
        return "a section"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else f"{'-' if value < 0 else ''}.inf"
    return shortened(json.dumps(value, ensure_ascii=False))


def _shape(annotation: Any) -> type | None:
    """Return BaseModel, dict or list for what has something below it, else None."""
    plain = _unwrapped(annotation)
    if isinstance(plain, type) and issubclass(plain, BaseModel):
        return BaseModel
    origin = get_origin(plain)
    return origin if origin in (dict, list) else None


def _as_model(annotation: Any) -> type[BaseModel]:
    model: type[BaseModel] = _unwrapped(annotation)
    return model


def _unwrapped(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
