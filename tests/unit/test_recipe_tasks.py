"""One schema for all tasks: keys of another task are refused where they are given, and left out where a recipe is written."""

import pytest
import yaml

from tfcli.errors import RecipeError
from tfcli.recipe.foreign import own_values, without_foreign
from tfcli.recipe.loader import dump_recipe, load_recipe, recipe_json_schema
from tfcli.recipe.schema import Recipe
from tfcli.recipe.tasks import DEFAULTS, OWNERS, TASKS

CLASSIFIER = """name: moods
task: classification
data:
  train: [{tsv: train.tsv}]
  valid: {tsv: dev.tsv}
"""


@pytest.fixture
def recipe_file(tmp_path):
    path = tmp_path / "recipe.yaml"

    def write(text):
        path.write_text(text)
        return path

    return write


def complaints(path, overrides=()):
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides)
    return caught.value.message.replace(f"{path}:", "").split("\n")


def test_keys_of_another_task_are_refused_by_line_together_with_all_else_that_is_wrong(recipe_file):
    path = recipe_file(
        "name: moods\ntask: classification\ndata:\n  src_lang: en\n  train: [{tsv: train.tsv}]\n  valid: {tsv: dev.tsv}\n"
        "  tests:\n    a: {src: x, tgt: y}\nmodel: {n_decoder_layers: 2, width: 3}\ndecoding:\n"
    )
    assert complaints(path, ["scoring.lowercase=true"]) == [
        "4: data.src_lang: belongs to task translation, and the task here is classification",
        "8: data.tests.a.src: belongs to task translation, and the task here is classification",
        "8: data.tests.a.tgt: belongs to task translation, and the task here is classification",
        "9: model.width: unknown key; the keys here are " + ", ".join(recipe_json_schema()["$defs"]["ModelSection"]["properties"]),
        "9: model.n_decoder_layers: belongs to task translation or language_model, and the task here is classification",
        "10: decoding: belongs to task translation, and the task here is classification",
        "--set scoring.lowercase=true: scoring: belongs to task translation, and the task here is classification",
    ]  # fmt: skip


def test_an_unknown_task_is_the_one_complaint_about_it(recipe_file):
    path = recipe_file(CLASSIFIER.replace("classification", "classificaton") + "decoding: {beam_size: 2}\n")
    assert complaints(path) == [
        "2: task: expected one of 'translation', 'language_model', 'classification', got \"classificaton\", "
        "did you mean 'classification'?"
    ]


def test_a_written_recipe_has_the_keys_of_its_task_alone_and_loads_back_equal(recipe_file):
    recipe = load_recipe(recipe_file(CLASSIFIER))
    written = dump_recipe(recipe)
    values = yaml.safe_load(written)
    assert "decoding" not in values
    assert "src_lang" not in values["data"]
    assert "src" not in values["data"]["train"][0]
    assert "n_decoder_layers" not in values["model"]
    assert values["model"]["n_encoder_layers"] == 3
    assert values == own_values(recipe)
    assert load_recipe(recipe_file(written)) == recipe


def test_the_defaults_of_a_task_stand_where_the_recipe_is_silent(recipe_file):
    assert load_recipe(recipe_file(CLASSIFIER)).training.label_smoothing == 0.0
    assert load_recipe(recipe_file(CLASSIFIER + "training: {max_steps: 5}\n")).training.label_smoothing == 0.0
    given = recipe_file(CLASSIFIER + "training: {label_smoothing: 0.2}\n")
    assert load_recipe(given).training.label_smoothing == 0.2
    translation = {"name": "t", "data": {"train": [{"tsv": "a"}], "valid": {"tsv": "b"}}}
    assert Recipe.model_validate(translation).training.label_smoothing == 0.1


def test_values_that_are_given_stay_as_they_are():
    values = {
        "task": "classification",
        "data": {"train": [{"tsv": "a", "src": "b"}]},
        "model": {"d_model": 2},
    }
    kept, found = without_foreign(values)
    assert found.keys() == {("data", "train", 0, "src")}
    assert kept == {**values, "data": {"train": [{"tsv": "a"}]}}
    assert values["data"]["train"] == [{"tsv": "a", "src": "b"}]


@pytest.mark.parametrize(
    "values", [{"data": 5}, {"data": {"train": {"src": "a"}, "tests": ["b"]}}, {"model": None}]
)
def test_values_of_the_wrong_kind_are_left_to_the_schema(values):
    assert without_foreign({"task": "classification", **values}) == ({"task": "classification", **values}, {})


def test_every_place_of_the_table_is_a_key_of_the_schema_that_says_whose_it_is():
    sections = recipe_json_schema()["$defs"]
    assert sections["Corpus"]["properties"]["src"]["description"].endswith(" Only for translation.")
    assert sections["Validation"]["properties"]["src"]["x-tasks"] == ["translation"]
    assert sections["DecodingSection"]["description"].endswith(" Only for translation.")
    smoothing = sections["TrainingSection"]["properties"]["label_smoothing"]
    assert smoothing["x-defaults"] == {"language_model": 0.0, "classification": 0.0}
    assert DEFAULTS.keys() == TASKS.keys()
    assert all(set(owners) < set(TASKS) for owners in OWNERS.values())


TESTED = CLASSIFIER + "  tests: {held: {tsv: test.tsv}}\n"
LANGUAGE_MODEL = """name: plays
task: language_model
data:
  train: [{text: a}]
  valid: {text: b}
  tests: {held: {text: c}}
"""


@pytest.mark.parametrize(
    ("text", "metric", "score", "tolerance"),
    [
        (TESTED + "expected: {held: {accuracy: 80}}\n", "accuracy", 80.0, 0.5),
        (TESTED + "expected: {held: {macro_f1: 80.5, tolerance: 2}}\n", "macro-f1", 80.5, 2.0),
        (LANGUAGE_MODEL + "expected: {held: {word_perplexity: 150, tolerance: 5}}\n", "word-perplexity", 150.0, 5.0),
    ],
)  # fmt: skip
def test_a_task_expects_a_score_of_its_own(recipe_file, text, metric, score, tolerance):
    recipe = load_recipe(recipe_file(text))
    found = recipe.expected["held"]
    assert (found.metric, found.score, found.tolerance) == (metric, score, tolerance)
    written = dump_recipe(recipe)
    assert "bleu" not in written
    assert load_recipe(recipe_file(written)) == recipe


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            TESTED + "expected: {held: {bleu: 30}}\n",
            [
                "7: expected.held.bleu: belongs to task translation, and the task here is classification",
                "7: expected.held: give the score: one of accuracy, macro_f1",
            ],
        ),
        (
            TESTED + "expected: {held: {accuracy: 80, macro_f1: 81}}\n",
            ["7: expected.held: give the score: one of accuracy, macro_f1"],
        ),
        (
            LANGUAGE_MODEL + "expected: {held: {tolerance: 5}}\n",
            ["7: expected.held: give the score: one of token_perplexity, word_perplexity, bits_per_byte"],
        ),
        (
            LANGUAGE_MODEL + "expected: {held: {bits_per_byte: 1.5}}\n",
            ["7: expected.held: give a tolerance, too: the default is none for bits_per_byte"],
        ),
    ],
)
def test_an_expectation_that_a_test_set_cannot_have_is_refused(recipe_file, text, told):
    assert sorted(complaints(recipe_file(text))) == sorted(told)
