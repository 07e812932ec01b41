"""Put lines of the source into docs/transformer.md: run `python docs/include_source.py` after a change of either.

    <!-- source: tfcli/model/attention.py::causal_mask -->
    ... the name with a link to its file, and its lines, written anew
    <!-- end of source -->

A function, method or class goes by its name, so that it is found wherever it has moved to in its file. Left out are
docstrings, which the page makes up for, and comments for the type checker. `, from "TEXT" to "TEXT"` behind the name takes
a part: from the first line with one text up to the next with the other.
"""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "transformer.md"
INCLUDED = re.compile(
    r'(?P<begin><!-- source: (?P<path>\S+)::(?P<name>[\w.]+)(?:, from "(?P<first>.+?)" to "(?P<last>.+?)")? -->\n)'
    r".*?(?P<end><!-- end of source -->\n)",
    re.DOTALL,
)
Definition = ast.FunctionDef | ast.ClassDef


def with_source(page: str) -> str:
    """Return a page with what stands between its markers written anew."""
    return INCLUDED.sub(lambda found: found["begin"] + _block(found) + found["end"], page)


def source_of(path: str, name: str) -> list[str]:
    """Return the lines of a function, a class, or a method as `Class.method`, without docstrings.

    Raises: LookupError when the file has none of that name.
    """
    text = (ROOT / path).read_text(encoding="utf-8")
    definition = _find(ast.parse(text), name, path)
    left_out = {
        number
        for node in ast.walk(definition)
        if isinstance(node, Definition) and ast.get_docstring(node) is not None
        for number in range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)
    }
    first = min(node.lineno for node in (definition, *definition.decorator_list))
    numbers = range(first, (definition.end_lineno or 0) + 1)
    lines = text.split("\n")
    kept = [lines[number - 1] for number in numbers if number not in left_out]
    return [re.sub(r"  # type: ignore\[.*", "", line) for line in kept]


def _find(tree: ast.Module, name: str, path: str) -> Definition:
    found: ast.Module | Definition = tree
    for part in name.split("."):
        inner = [node for node in found.body if isinstance(node, Definition) and node.name == part]
        if not inner:
            raise LookupError(f"{path} has no {name}")
        found = inner[0]
    assert isinstance(found, Definition)
    return found


def _block(found: re.Match[str]) -> str:
    path, name = found["path"], found["name"]
    lines = source_of(path, name)
    if found["first"] is not None:
        lines = _part(lines, found["first"], found["last"], f"{path}::{name}")
    code = textwrap.dedent("\n".join(lines))
    what = f"Part of `{name}`" if found["first"] is not None else f"`{name}`"
    return f"{what} in [{path}](../{path}):\n\n```python\n{code}\n```\n"


def _part(lines: list[str], first: str, last: str, origin: str) -> list[str]:
    start = next((i for i, line in enumerate(lines) if first in line), None)
    if start is None:
        raise LookupError(f"{origin} has no line with {first!r}")
    end = next((i for i in range(start, len(lines)) if last in lines[i]), None)
    if end is None:
        raise LookupError(f"{origin} has no line with {last!r} behind {first!r}")
    return lines[start : end + 1]


if __name__ == "__main__":
    PAGE.write_text(with_source(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
