"""Bad recipes and options: told with their line or in the words of the command line, and nothing left behind."""

import pytest

from tests.cli.test_bad_input import recipe, refused, tree  # noqa: F401  # fixtures


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed: 3", "sead: 3", "data/small.yaml:2: sead: unknown key, did you mean 'seed'?"),
        ("{preset: tiny", "{n_head: 4", "data/small.yaml:11: model.n_head: unknown key, did you mean 'n_heads'?"),
        ("src_lang: en", "valid: a", "data/small.yaml:7: data.valid: given twice, first on line 4"),
        ("vocab_size: 300", "vocab_size: many", 'data/small.yaml:10: tokenizer.vocab_size: expected a whole number'),
        ("dropout: 0.0", "dropout: 1.5", "data/small.yaml:11: model.dropout: must be below 1, got 1.5"),
        ("preset: tiny", "preset: tniy", "data/small.yaml:11: model.preset: expected one of 'tiny', 'small'"),
        ("d_model: 32", "n_heads: 5", "data/small.yaml:11: model.n_heads: must divide d_model (128), got 5"),
        ("  valid: {src: valid.en, tgt: valid.de}\n", "", "data/small.yaml:3: data.valid: this key is missing"),
        ("seed: 3", "seed: [3", "data/small.yaml:3: expected ',' or ']', but got ':'"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_recipe_is_told_with_its_line(recipe, capsys, old, new, message):  # noqa: F811
    assert old in recipe.read_text()
    recipe.write_text(recipe.read_text().replace(old, new, 1))
    before = tree(recipe.parent.parent)
    errors, _ = refused(capsys, 2, "train", "data/small.yaml")
    assert any(error.startswith(message) for error in errors), errors
    assert tree(recipe.parent.parent) == before


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["--set", "training.max_stepz=5"],
            "--set training.max_stepz=5: training.max_stepz: unknown key, did",
        ),
        (
            ["--set", "training.max_steps=0"],
            "--set training.max_steps=0: training.max_steps: must be at least 1",
        ),
        (
            ["--set", "training.precision=fp8"],
            "--set training.precision=fp8: training.precision: expected one of",
        ),
        (["--set", "max_steps"], "--set max_steps: expected key=value, as in training.max_steps=8000"),
        (["--precision", "fp8"], "--precision fp8: unknown"),
        (["--device", "abacus"], "--device abacus: unknown device"),
        (["--device", "cuda:99"], "--device cuda:99: this machine has no such device"),
        (["--engine", "steam"], "--engine: unknown option of train; translate, eval have it"),
    ],
)
def test_an_option_that_cannot_be_used_is_told_in_its_own_words(recipe, capsys, args, message):  # noqa: F811
    before = tree(recipe.parent.parent)
    [error], _ = refused(capsys, 2, "train", "data/small.yaml", *args)
    assert error.startswith(message)
    assert tree(recipe.parent.parent) == before


def test_a_recipe_that_is_not_there_is_told_with_the_nearest_one(recipe, capsys):  # noqa: F811
    [error], hint = refused(capsys, 2, "train", "data/smal.yaml")
    assert error == "data/smal.yaml: no such recipe"
    assert hint == "hint: did you mean data/small.yaml?"
    _, hint = refused(capsys, 2, "train", "data/k.yaml")  # like it in its suffix alone
    assert hint == "hint: give the path of a YAML file"
