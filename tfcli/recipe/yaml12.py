"""Read YAML as plain values, each with its line: 1.2 core schema scalars, no Python objects.

PyYAML follows YAML 1.1, where `no` is false, `12:30` is 750, `010` is 8 and `3e-4` is text. Here its parser
composes nodes and nothing more; scalars are resolved by the core schema of YAML 1.2, duplicate keys are
reported, and tags, anchors and aliases are refused (a recipe can run no code and cannot blow up in memory).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

Loc = tuple[str | int, ...]
"""Where a value stands: keys and list indices from the top, as in ("data", "train", 0, "src")."""

TAG = "tag:yaml.org,2002:"
MAX_DEPTH = 32  # a recipe is 4 deep; the composer recurses, so a limit must come before Python's

# YAML 1.2.2, section 10.3.2 (core schema): https://yaml.org/spec/1.2.2/#1032-tag-resolution
CORE_SCALARS = (
    ("null", re.compile(r"null|Null|NULL|~|")),
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE")),
    ("int", re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")),
    ("float", re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")),
    ("float", re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")),
)


class YamlSyntaxError(Exception):
    """Text that is no YAML, or YAML that no recipe needs; `line` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


@dataclass(frozen=True)
class Problem:
    """Something wrong at a place of a document that could still be read."""

    line: int
    loc: Loc
    message: str


@dataclass
class Document:
    """The value of a YAML text, the line of every key and list entry, and what was wrong on the way."""

    value: Any = None
    lines: dict[Loc, int] = field(default_factory=lambda: {(): 1})
    problems: list[Problem] = field(default_factory=list)


def read_yaml(text: str) -> Document:
    """Return the one document of `text`; an empty text is the value None.

    Raises: YamlSyntaxError, at the first place that cannot be understood.
    """
    try:
        root = _Composer(text).get_single_node()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlSyntaxError(line, f"U+{ord(text[error.position]):04X} cannot stand in YAML") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        raise YamlSyntaxError(line, _readable(error)) from None
    except (ValueError, OverflowError):
        # PyYAML turns "\UFFFFFFFF" into a character without looking, and gives no mark.
        raise YamlSyntaxError(1, "not YAML: an escape names no character") from None
    document = Document()
    if root is not None:
        document.lines[()] = root.start_mark.line + 1
        document.value = _to_value(root, (), document)
    return document


def core_type(text: str) -> str:
    """Return what a plain scalar is under the core schema: null, bool, int, float or str."""
    return next((name for name, pattern in CORE_SCALARS if pattern.fullmatch(text)), "str")


class _Composer(yaml.SafeLoader):
    """Compose nodes with core schema tags; refuse what goes beyond plain values."""

    depth = 0

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        """Return the tag of a node that carries none; `implicit[0]` says that a scalar is plain."""
        if kind is yaml.ScalarNode:
            return TAG + (core_type(value) if implicit[0] else "str")
        return TAG + ("map" if kind is yaml.MappingNode else "seq")

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose one node with all that is below it."""
        event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs leave it open
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise _refused("anchors and aliases (&name, *name) are not read: repeat the value", event)
        if event.tag not in (None, TAG + "str") or (event.tag and not isinstance(event, yaml.ScalarEvent)):
            raise _refused(f"the tag {event.tag!r} is not read: a recipe holds plain values", event)
        if self.depth >= MAX_DEPTH:
            raise _refused("nested too deeply", event)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _refused(message: str, event: yaml.Event) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(None, None, message, event.start_mark)  # type: ignore[arg-type]  # stubs: C marks


def _readable(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or error.context or "not YAML"
    if "'\\t'" in problem:
        return "a tab cannot indent or start a value: use spaces"
    if problem.startswith(("expected <", "expected the node")):  # terms that say little to a user
        return "not YAML: check the indentation, quotes and brackets up to here"
    return problem


def _to_value(node: yaml.Node, loc: Loc, document: Document) -> Any:
    if isinstance(node, yaml.MappingNode):
        return _to_dict(node, loc, document)
    if isinstance(node, yaml.SequenceNode):
        values = []
        for number, item in enumerate(node.value):
            document.lines[*loc, number] = item.start_mark.line + 1
            values.append(_to_value(item, (*loc, number), document))
        return values
    try:
        return _to_scalar(node.tag.removeprefix(TAG), node.value)
    except ValueError:  # int() refuses more than 4,300 digits
        document.problems.append(Problem(node.start_mark.line + 1, loc, "too many digits"))
        return None


def _to_dict(node: yaml.MappingNode, loc: Loc, document: Document) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            document.problems.append(Problem(line, loc, "a key must be a single word, not a list or a map"))
            continue
        key = str(key_node.value)  # as written: a test set may be called 2016 or no
        here = (*loc, key)
        if key in values:
            first = document.lines[here]
            document.problems.append(Problem(line, here, f"given twice, first on line {first}"))
            continue
        document.lines[here] = line
        values[key] = _to_value(value_node, here, document)
    return values


def _to_scalar(kind: str, text: str) -> str | int | float | bool | None:
    match kind:
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int":
            return int(text, 0) if text[:2] in ("0o", "0x") else int(text, 10)
        case "float":
            return float(re.sub(r"\.(?=[iInN])", "", text))  # Python writes .inf and .nan without the dot
        case _:
            return text
