"""Turn a YAML file and `--set` options into a checked recipe, and a recipe back into YAML.

    bytes -> text -> plain values with lines -> overrides put on top -> schema -> Recipe

Whatever is wrong is reported at once, one line for each problem, with its file and line or its `--set`.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from tfcli.errors import RecipeError
from tfcli.recipe.complaints import empty_sections, explain, nearest
from tfcli.recipe.foreign import own_values, without_foreign
from tfcli.recipe.overrides import OverrideError, changes_of, format_path, put
from tfcli.recipe.presets import PRESETS
from tfcli.recipe.schema import Recipe
from tfcli.recipe.tasks import DEFAULTS, OWNERS
from tfcli.recipe.yaml12 import Document, Loc, YamlSyntaxError, core_type, read_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SCHEMA_HINT = "`tfcli info --schema` lists every key with its meaning and its limits"


def load_recipe(
    path: Path,
    overrides: Sequence[str] = (),
    *,
    by_key: bool = False,
    base: Mapping[str, Mapping[str, Any]] | None = None,
) -> Recipe:
    """Read the recipe at `path`, put `key=value` overrides on top, and check all of it.

    With `by_key`, an override that gives a whole section changes only the keys that it holds. `base` gives keys of
    sections, in place of their defaults, where neither file nor overrides do.

    Raises: RecipeError, with every problem on a line of its own.
    """
    try:
        document = read_yaml(_read_text(path))
    except YamlSyntaxError as error:
        raise RecipeError(
            f"{path}:{error.line}: {error.message}",
            "recipes are YAML 1.2: 'key: value' lines, indented by spaces",
        ) from None
    if not isinstance(document.value, dict):
        what = "is empty" if document.value is None else "expected 'key: value' lines at the top"
        raise RecipeError(f"{path}:{document.lines[()]}: {what}", SCHEMA_HINT)
    return _checked(document, str(path), overrides, by_key=by_key, base=base)


def build_recipe(
    values: dict[str, Any],
    overrides: Sequence[str] = (),
    source: str = "recipe",
    base: Mapping[str, Mapping[str, Any]] | None = None,
) -> Recipe:
    """Check values that do not come from a file, with `key=value` overrides on top.

    `source` leads the complaints, as in "options". An override that gives a whole section changes only the keys
    that it holds: who gives it does not see the values that it would drop. `base` is as for `load_recipe`.

    Raises: RecipeError, with every problem on a line of its own.
    """
    return _checked(
        Document(value=copy.deepcopy(values), lines={}), source, overrides, by_key=True, base=base
    )


def dump_recipe(recipe: Recipe) -> str:
    """Write a recipe as YAML with every key of its task; it loads back equal, under YAML 1.1 readers too."""
    text: str = yaml.dump(
        own_values(recipe),
        Dumper=_RecipeDumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=float("inf"),
    )
    return text


def recipe_json_schema() -> dict[str, Any]:
    """Return the JSON Schema that editors complete and check recipes with."""
    schema = Recipe.model_json_schema()
    section = schema["$defs"]["ModelSection"]
    # The schema asks for the keys that the preset fills in; whoever writes a recipe need not give them.
    required = [key for key in section.get("required", []) if key not in PRESETS["small"]]
    section.pop("required", None)
    if required:
        section["required"] = required
    _tell_tasks(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "tfcli recipe"}


def _tell_tasks(schema: dict[str, Any]) -> None:
    """Say of each key that only some tasks have whose it is, and where a task has another default."""
    told: dict[int, dict[str, Any]] = {}  # by their identity: several places may hold the same part
    for place, owners in OWNERS.items():
        part = _part_at(schema, place)
        told[id(part)] = part
        part["x-tasks"] = list(owners)
    for part in told.values():
        part["description"] += f" Only for {' and '.join(part['x-tasks'])}."
    for task, defaults in DEFAULTS.items():
        for place, value in defaults.items():
            _part_at(schema, place).setdefault("x-defaults", {})[task] = value


def _part_at(schema: dict[str, Any], place: str) -> dict[str, Any]:
    """Return what a schema says of a key; `*` stands for any entry of a list or of named ones."""
    part = schema
    for step in place.split("."):
        part = _referred(schema, part)
        if step != "*":
            part = part["properties"][step]
        else:
            part = part["items"] if "items" in part else next(iter(part["patternProperties"].values()))
    return _referred(schema, part)


def _referred(schema: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    return schema["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such recipe", _similar_file(path)) from None
    except IsADirectoryError:
        raise RecipeError(f"{path}: is a folder, expected a recipe", "give the path of a YAML file") from None
    except OSError as error:
        raise RecipeError(
            f"{path}: cannot be read: {error.strerror}", "check the file's permissions"
        ) from None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RecipeError(f"{path}:{line}: is not UTF-8", "save the recipe as UTF-8 text") from None


def _similar_file(path: Path) -> str:
    found = path.parent.iterdir() if path.parent.is_dir() else ()
    recipes = {each.stem: each for each in sorted(found) if each.suffix in (".yaml", ".yml")}
    near = nearest(path.stem, list(recipes))  # by what is before the suffix, which says nothing
    return f"did you mean {recipes[near]}?" if near else "give the path of a YAML file"


def _checked(
    document: Document,
    source: str,
    overrides: Sequence[str],
    *,
    by_key: bool,
    base: Mapping[str, Mapping[str, Any]] | None,
) -> Recipe:
    origins: dict[Loc, tuple[int, str]] = {(): (0, source)}
    origins |= {loc: (line, f"{source}:{line}") for loc, line in document.lines.items()}
    problems = [
        (problem.line, f"{source}:{problem.line}: {_about(problem.loc, problem.message)}")
        for problem in document.problems
    ]
    problems += _put_over(document, overrides, origins, by_key=by_key)
    values, foreign = without_foreign(document.value)
    for name, keys in (base or {}).items():
        _put_under(values, name, keys)
    recipe, complaints = _validate(without_foreign(values)[0])
    complaints |= foreign
    broken = {problem.loc for problem in document.problems}
    for loc, sentence in complaints.items():
        if loc not in broken:
            # a missing key has no line of its own: it is its section's
            order, origin = next(origins[loc[:n]] for n in range(len(loc), -1, -1) if loc[:n] in origins)
            problems.append((order, f"{origin}: {_about(loc, sentence)}"))
    if problems or recipe is None:
        problems.sort(key=lambda problem: problem[0])
        raise RecipeError("\n".join(line for _, line in problems), SCHEMA_HINT)
    return recipe


def _put_over(
    document: Document, overrides: Sequence[str], origins: dict[Loc, tuple[int, str]], *, by_key: bool
) -> list[tuple[int, str]]:
    """Put the overrides into the document, note in `origins` what came from them, return what failed."""
    problems = []
    for order, text in enumerate(overrides, start=max(line for line, _ in origins.values()) + 1):
        label = f"--set {text}"
        try:
            places = [put(document.value, loc, value) for loc, value in changes_of(text, by_key=by_key)]
        except OverrideError as error:
            problems.append((order, f"{label}: {error}"))
            continue
        for placed in places:
            for known in [known for known in origins if known[: len(placed)] == placed]:
                del origins[known]
            for depth in range(1, len(placed) + 1):
                # sections that the override itself made belong to it too
                origins.setdefault(placed[:depth], (order, label))
    return problems


def _put_under(values: Any, name: str, keys: Mapping[str, Any]) -> None:
    """Add the keys that a section does not have; a preset that it names stands for all of its own."""
    section = {} if values.get(name) is None else values[name]
    if not isinstance(section, dict):
        return  # which is going to be complained of
    preset = section.get("preset") if name == "model" else None
    presets_own = PRESETS.get(preset, {}) if isinstance(preset, str) else {}
    values[name] = {key: value for key, value in keys.items() if key not in presets_own} | section


def _validate(values: Any) -> tuple[Recipe | None, dict[Loc, str]]:
    try:
        return Recipe.model_validate(empty_sections(values)), {}
    except ValidationError as error:
        return None, explain(error.errors(include_url=False))


def _about(loc: Loc, sentence: str) -> str:
    return f"{format_path(loc)}: {sentence}" if loc else sentence


class _RecipeDumper(yaml.SafeDumper):
    """Write plain values so that YAML 1.1 and 1.2 readers see the same."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # PyYAML's signature
        """Write a value out each time: recipes hold no anchors."""
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # PyYAML quotes what YAML 1.1 would take for something else; 1e3 and 0o10 are numbers in 1.2 only.
    printable = all(character.isprintable() for character in text)
    style = None if printable and core_type(text) == "str" else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_RecipeDumper.add_representer(str, _represent_text)
