"""Recipes that come with tfcli, found by name."""

from pathlib import Path

import pytest

from tfcli.errors import RecipeError
from tfcli.recipe.bundled import bundled_recipes, find_recipe
from tfcli.recipe.loader import load_recipe

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


def test_a_name_finds_its_recipe():
    assert find_recipe("demo") == RECIPES / "demo.yaml"


@pytest.mark.parametrize("given", ["demo.yaml", "some/demo", "./demo"])
def test_what_looks_like_a_path_stays_one(given):
    assert find_recipe(given) == Path(given)


def test_a_file_wins_over_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("demo").write_text("name: mine\n")
    assert find_recipe("demo") == Path("demo")


def test_a_folder_wins_over_nothing_but_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("demo", "texts"):
        Path(name).mkdir()
    assert find_recipe("demo").name == "demo.yaml"
    assert find_recipe("texts") == Path("texts")


def test_an_unknown_name_is_refused_with_the_nearest_one():
    with pytest.raises(RecipeError, match="multi30k-tok-en-dee: no such recipe") as caught:
        find_recipe("multi30k-tok-en-dee")
    assert "did you mean multi30k-tok-en-de?" in caught.value.hint
    assert "tfcli info --recipes" in caught.value.hint


def test_every_recipe_says_what_it_is_for_and_what_it_needs_and_is_sound():
    found = bundled_recipes()
    assert [recipe.path for recipe in found] == sorted(RECIPES.glob("*.yaml"))
    for recipe in found:
        assert recipe.purpose
        assert recipe.data
        assert recipe.cost
        assert load_recipe(recipe.path).name == recipe.name
