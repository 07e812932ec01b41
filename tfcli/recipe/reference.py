"""Write the reference of recipes, docs/recipe.md, from the schema: run `python -m tfcli.recipe.reference > docs/recipe.md`.

    JSON Schema -> one table a section, one row a key; the parts that a section is made of follow it

What the tables say is what `tfcli info --schema` says; only the introduction is written here by hand.
"""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

from tfcli.recipe.loader import recipe_json_schema
from tfcli.recipe.presets import PRESETS
from tfcli.recipe.schema import ModelSection
from tfcli.recipe.section import PATTERN_MEANINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

Schema = dict[str, Any]

INTRODUCTION = """\
<!-- Written by `python -m tfcli.recipe.reference > docs/recipe.md`. Change the schema or that file, not this one. -->

# The recipe

A recipe is one YAML file that says everything about a run. Only `name` and the corpora have to be given:

```yaml
# yaml-language-server: $schema=recipe.schema.json
name: en-de
data:
  src_lang: en
  tgt_lang: de
  train: [{src: train.en, tgt: train.de}]
  valid: {src: valid.en, tgt: valid.de}
```

```sh
tfcli info recipe.yaml                      # what the recipe comes to; --json has every key
tfcli info --schema > recipe.schema.json    # every key for your editor
tfcli train recipe.yaml --set model.preset=tiny --dry-run
```

**How it is written.** There are two levels: a section, and the keys in it. The values are those of YAML 1.2, so `3e-4`
is a number, `no` is the Norwegian language and `010` is ten; `true` and `false` are the only words for yes and no.
Anchors and tags are refused. So are unknown keys, values of another type and keys that contradict each other: all that
is wrong is told at once, with file and line.

**`--set KEY=VALUE`** puts one value over the file and passes the same checks. The value is YAML, too, as in
`--set 'data.valid={src: dev.en, tgt: dev.de}'`. List entries are counted from 0 (`data.train[0].src`), and a name with
a dot in it is quoted: `data.tests["news.2024"].src`.

**Where data is found.** A relative path is looked for in the folder of `--data-root`, then in the one that the variable
`TFCLI_DATA` names, then in `data.root`, which itself starts from the recipe's folder. The first that has the file wins.
A file that none has is fetched into the first of them, if the recipe gives its URL. What the files must be like: [file
formats](file-formats.md).

**In an editor.** The comment in the first line of the example makes editors with the YAML language server (such as VS
Code with the YAML extension) complete keys, show their meaning and mark mistakes. It names the file that the second
command writes.

Which values to choose is told in [choosing settings](choosing-settings.md). In the tables below, a *piece* is what the
tokenizer cuts words into, and a *pair* is a source line with its target line.
"""
FROM_PRESET = "[from the preset](#presets)"


def reference() -> str:
    """Return the page in Markdown."""
    schema = recipe_json_schema()
    sections = {name: part for name, part in schema["properties"].items() if _is_section(part)}
    plain = {name: part for name, part in schema["properties"].items() if name not in sections}
    pages = [INTRODUCTION, f"## At the top\n\n{_table({**schema, 'properties': plain})}"]
    told: list[str] = []
    for name, part in sections.items():
        pages += _section(name, part, schema["$defs"], told)
        if name == "model":
            pages.append(_presets())
    return "\n".join(pages)


def _section(name: str, part: Schema, parts: Schema, told: list[str]) -> Iterator[str]:
    """Yield the section `name`, then the parts it is made of that were not told before."""
    section = parts[_name_of(part)] if "$ref" in part else part
    if "$ref" in part:
        yield f"## {name}\n\n{section['description']}\n\n{_table(section, name)}"
    else:
        yield f"## {name}\n\n{section['description']} It holds {_type(section)}.\n"
    for inner in dict.fromkeys(map(_name_of, _references(section))):
        if inner not in told:
            yield f"### {_words(inner).capitalize()}\n\n{_part(parts[inner], [(known, parts[known]) for known in told])}"
            told.append(inner)


def _part(part: Schema, told: list[tuple[str, Schema]]) -> str:
    """Return what a part is and its keys, without those of a part told before that it extends."""
    for name, known in told:
        if known["properties"].items() <= part["properties"].items():
            own = {key: value for key, value in part["properties"].items() if key not in known["properties"]}
            extends = f"It takes the keys of a {_link(name)} and these:"
            return f"{part['description']} {extends}\n\n{_table({**part, 'properties': own})}"
    return f"{part['description']}\n\n{_table(part)}"


def _is_section(part: Schema) -> bool:
    return "$ref" in part or part.get("type") == "object"


def _references(part: Any) -> Iterator[Schema]:
    """Yield everything in a schema that points to another part, in its order."""
    if isinstance(part, dict):
        if "$ref" in part:
            yield part
        for value in part.values():
            yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)


def _name_of(link: Schema) -> str:
    return str(link["$ref"]).rpartition("/")[2]


def _words(name: str) -> str:
    """Return the name of a class as words: `HeldOut` is `held out`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


def _link(name: str) -> str:
    words = _words(name)
    return f"[{words}](#{words.replace(' ', '-')})"


def _table(section: Schema, name: str = "") -> str:
    rows = ["| key | type and limits | default | meaning |", "|---|---|---|---|"]
    required = section.get("required", [])
    for key, part in section["properties"].items():
        default = "*required*" if key in required else _default(part, name, key)
        cells = (f"`{key}`", _type(part), default, _prose(part.get("description", "")))
        rows.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join(rows) + "\n"


def _default(part: Schema, section: str, key: str) -> str:
    if "default" in part:
        tasks: dict[str, list[str]] = {}  # by the other default that they have
        for task, value in part.get("x-defaults", {}).items():
            tasks.setdefault(_value(value), []).append(task)
        others = [f"{value} for {' and '.join(names)}" for value, names in tasks.items()]
        return "; ".join([_value(part["default"]), *others])
    if section == "model" and key in PRESETS["small"]:
        return FROM_PRESET
    return {"array": "`[]`", "object": "`{}`"}[part["type"]]


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"`{re.sub('e-0*', 'e-', repr(value))}`"
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _type(part: Schema) -> str:
    """Return what a key takes, and its limits, in words."""
    if "$ref" in part:
        return _link(_name_of(part))
    if "anyOf" in part:
        choices = [_type(choice) for choice in part["anyOf"]]
        return (", or " if any(", " in choice for choice in choices) else " or ").join(choices)
    if "enum" in part or "const" in part:
        return _choices([f"`{choice}`" for choice in part.get("enum", [part.get("const")])])
    match part["type"]:
        case "array":
            return f"list of {'at least one ' if part.get('minItems') else ''}{_type(part['items'])}"
        case "object":
            inner = next(iter(part["patternProperties"].values()))
            return f"names, each with its {_type(inner)}"
        case "string":
            return PATTERN_MEANINGS.get(part.get("pattern", ""), "text")
        case "boolean":
            return "`true` or `false`"
        case "null":
            return "`null`"
        case kind:
            return ", ".join([{"integer": "whole number", "number": "number"}[kind], *_limits(part)])


def _limits(part: Schema) -> Iterator[str]:
    limits = {
        "minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below",
    }  # fmt: skip
    for key, words in limits.items():
        if key in part:
            yield f"{words} {part[key]:,}"


def _choices(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _prose(text: str) -> str:
    """Return a docstring as Markdown in one line; `<unk>` is no tag."""
    return " ".join(text.split()).replace("<", "&lt;").replace("**", r"\*\*")


def _presets() -> str:
    names = list(PRESETS)
    rows = [f"| key | {' | '.join(f'`{name}`' for name in names)} |", "|---|" + "---|" * len(names)]
    for key in dict.fromkeys(key for preset in PRESETS.values() for key in preset):
        default = ModelSection.model_fields[key].get_default()
        cells = [_value(PRESETS[name].get(key, default)) for name in names]
        rows.append(f"| `{key}` | {' | '.join(cells)} |")
    return (
        "### Presets\n\nWhat `model.preset` fills in where the recipe is silent. `tiny` and `small` are for some ten thousand "
        "to some hundred thousand pairs (without a recipe, `modern-small` is chosen there), the `vaswani-` ones have the sizes of "
        '"Attention Is All You Need", Table 3. The `modern-` ones are networks of the same sizes as small Transformers are '
        "built today.\n\n" + "\n".join(rows) + "\n"
    )


if __name__ == "__main__":
    sys.stdout.write(reference())
