"""The recipes that come with tfcli, found by name, wherever it is installed.

In a checkout they lie in recipes/ and the demo's text in data/; an installed package carries both inside.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tfcli.errors import RecipeError
from tfcli.recipe.complaints import nearest

SUFFIXES = (".yaml", ".yml")
LIST_HINT = (
    "`tfcli info --recipes` lists those that come with tfcli; for one of your own give the path of its file"
)
# the lines at the top of a recipe, as in "# Purpose: ..."; a line that starts with spaces goes on
_HEADER_LINE = re.compile(r"#\s*(?:(\w+):\s+)?(.*)")


@dataclass(frozen=True)
class BundledRecipe:
    """A recipe that comes with tfcli: its name, its file, and what the comments at its top say."""

    name: str
    path: Path
    purpose: str
    data: str
    cost: str


def find_recipe(given: str) -> Path:
    """Return the path of a recipe that was given as a path or as the name of one that comes with tfcli.

    What holds a slash, ends in .yaml or is a file is a path; it need not exist. A folder is one if no recipe of
    that name comes with tfcli.

    Raises: RecipeError when it is neither.
    """
    path = Path(given)
    if path.suffix in SUFFIXES or "/" in given or len(path.parts) > 1 or path.is_file():
        return path
    bundled = _folder("recipes") / f"{given}.yaml"
    if bundled.is_file():
        return bundled
    if path.is_dir():
        return path
    near = nearest(given, [found.stem for found in _recipe_files()])
    meant = f"did you mean {near}? " if near else ""
    raise RecipeError(f"{given}: no such recipe", meant + LIST_HINT)


def bundled_data() -> Path:
    """Return the folder of the text that comes with tfcli."""
    return _folder("data")


def bundled_recipes() -> list[BundledRecipe]:
    """Return the recipes that come with tfcli, by name."""
    found = []
    for path in _recipe_files():
        header = _header(path.read_text(encoding="utf-8"))
        found.append(
            BundledRecipe(path.stem, path, *(header.get(key, "") for key in ("purpose", "data", "cost")))
        )
    return found


def _recipe_files() -> list[Path]:
    return sorted(_folder("recipes").glob("*.yaml"))


def _folder(name: str) -> Path:
    package = Path(__file__).resolve().parents[1]
    installed = package / "bundled" / name
    return installed if installed.is_dir() else package.parent / name


def _header(text: str) -> dict[str, str]:
    entries: dict[str, str] = {}
    key = ""
    for line in text.split("\n"):
        match = _HEADER_LINE.match(line)
        if match is None:
            break
        if match[1]:
            key = match[1].lower()
            entries[key] = match[2].strip()
        elif key:
            entries[key] = f"{entries[key]} {match[2].strip()}".strip()
    return entries
