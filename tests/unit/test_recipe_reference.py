"""The reference of recipes: docs/recipe.md is what the schema says, in tables that can be read."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tfcli.recipe import reference as generator
from tfcli.recipe.loader import recipe_json_schema
from tfcli.recipe.presets import PRESETS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "recipe.md"


@pytest.fixture(scope="module")
def page():
    return generator.reference()


def row(page, heading, key):
    """Return the cells of a key in the first table below a heading."""
    section = re.split(r"^#+ ", page.split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    found = re.search(rf"^\| `{key}` \| (.*) \|$", section, flags=re.MULTILINE)
    assert found is not None, key
    return found[1].split(" | ")


def test_the_page_in_docs_is_the_one_that_the_schema_makes(page):
    assert PAGE.read_text(encoding="utf-8") == page, "run `python -m tfcli.recipe.reference > docs/recipe.md`"


def test_every_key_of_the_schema_has_a_row_with_its_meaning(page):
    schema = recipe_json_schema()
    for part in schema["$defs"].values():
        for key, field in part["properties"].items():
            assert f"| `{key}` | " in page
            assert field["description"].split()[0].replace("<", "&lt;") in page


def test_every_row_has_four_cells(page):
    rows = [line for line in page.split("\n") if line.startswith("| `") and "`vaswani-" not in line]
    tables = page.split("### Presets")[0].split("\n")
    assert len(rows) > 60
    assert {line.count(" | ") for line in tables if line.startswith("| `")} == {3}


def test_types_limits_and_defaults_are_told_in_words(page):
    assert row(page, "At the top", "name")[:2] == [
        "a name of letters, digits, '.', '_' and '-' that starts with a letter or a digit", "*required*",
    ]  # fmt: skip
    assert row(page, "data", "train")[:2] == ["list of at least one [corpus](#corpus)", "*required*"]
    assert row(page, "data", "tests")[:2] == ["names, each with its [corpus](#corpus)", "`{}`"]
    assert row(page, "data", "max_length_ratio")[:2] == ["number, at least 1, or `null`", "`9.0`"]
    assert row(page, "tokenizer", "kind")[:2] == ["`unigram`, `bpe`, `char` or `byte`", "`unigram`"]
    assert row(page, "tokenizer", "shared")[:2] == ["`true` or `false`", "`true`"]
    assert row(page, "tokenizer", "symbols")[:2] == ["list of text without white space", "`[]`"]
    assert row(page, "tokenizer", "character_coverage")[0] == "number, above 0.9, at most 1"
    assert row(page, "training", "adam_epsilon")[1] == "`1e-9`"


def test_what_a_preset_fills_in_is_said_to_come_from_there(page):
    for key in PRESETS["small"]:
        assert row(page, "model", key)[1] == "[from the preset](#presets)"
        assert row(page, "Presets", key) == [f"`{PRESETS[name][key]}`" for name in PRESETS]
    assert row(page, "model", "activation")[1] == "`relu`"


def test_a_part_that_extends_another_lists_its_own_keys_only(page):
    section = page.split("### Validation\n")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)`", section, flags=re.MULTILINE) == ["pairs", "fraction"]
    assert "the keys of a [corpus](#corpus)" in section


def test_text_that_looks_like_a_tag_is_escaped(page):
    assert "<unk>" not in page
    assert "&lt;unk>" in page


def test_writing_the_page_needs_no_torch():
    code = "import sys, tfcli.recipe.reference as r; r.reference(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
