"""A recipe is read whole, every complaint comes at once with its place, and a dump loads back equal."""

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tfcli.errors import RecipeError
from tfcli.recipe.loader import build_recipe, dump_recipe, load_recipe, recipe_json_schema
from tfcli.recipe.presets import PRESETS
from tfcli.recipe.schema import Recipe
from tfcli.recipe.tasks import OWNERS
from tfcli.recipe.yaml12 import read_yaml

SMALLEST = """\
name: toy
data:
  train: [{src: a.en, tgt: a.de}]
  valid: {src: v.en, tgt: v.de}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "x.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def complaints(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides)
    assert caught.value.hint
    return [line.removeprefix(f"{path.parent}/") for line in caught.value.message.split("\n")]


def test_what_a_recipe_leaves_out_comes_from_the_schema_and_the_preset(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, SMALLEST + "model: {preset: tiny, dropout: 0.2}\n"))
    assert recipe.training.max_steps == 20_000
    assert recipe.model.d_model == PRESETS["tiny"]["d_model"]
    assert recipe.model.dropout == 0.2


def test_a_section_with_nothing_below_it_has_its_defaults(tmp_path: Path) -> None:
    recipe = load_recipe(
        write(tmp_path, SMALLEST + "  tests:\ntraining:\n  # all commented out\nexpected:\n")
    )
    assert recipe == load_recipe(write(tmp_path, SMALLEST))


def test_all_complaints_come_at_once_in_the_order_of_the_lines(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "name: a b\nsead: 1\nseed: -1\ndata:\n  train:\n    - {src: 1}\n    - {src: a, tgt: b, tgt: c}\n"
        "  max_pieces: many\n"
        "model:\n  preset: smll\n  n_head: 4\ntraining:\n  compile: maybe\n",
    )
    assert complaints(path, "training.max_stepz=5", "seed.x=1") == [
        "x.yaml:1: name: expected a name of letters, digits, '.', '_' and '-' that starts with a letter or a "
        'digit, got "a b"',
        "x.yaml:2: sead: unknown key, did you mean 'seed'?",
        "x.yaml:3: seed: must be at least 0, got -1",
        "x.yaml:4: data.valid: this key is missing",
        'x.yaml:6: data.train[0].src: expected text or null, got 1 (write "1")',
        "x.yaml:7: data.train[1].tgt: given twice, first on line 7",
        'x.yaml:8: data.max_pieces: expected a whole number, got "many"',
        "x.yaml:10: model.preset: expected one of 'tiny', 'small', 'vaswani-base', 'vaswani-big', "
        "'modern-tiny', 'modern-small', 'modern-base', got \"smll\", "
        "did you mean 'small'?",
        "x.yaml:11: model.n_head: unknown key, did you mean 'n_heads'?",
        'x.yaml:13: training.compile: expected true or false or null, got "maybe"',
        "--set training.max_stepz=5: training.max_stepz: unknown key, did you mean 'max_steps'?",
        "--set seed.x=1: seed is a single value, it has no keys",
    ]


SYMBOL = "0" * 80


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("data.train=[]", "data.train: needs at least 1 entry, got an empty list"),
        ("data.train={}", "data.train: expected a list, got a section"),
        ("data=[]", "data: expected a section of 'key: value' lines, got an empty list"),
        ("data.root=''", "data.root: must not be empty"),
        ('data.root="\\uD800"', "data.root: holds half of a surrogate pair, which is no text"),
        (
            "data.valid.src_sha256=abc",
            'data.valid.src_sha256: expected 64 hexadecimal digits in lower case, got "abc"',
        ),
        ("data.valid.tsv_url=x", "data.valid.tsv_url: describes 'tsv', which is not given"),
        ("data.valid.tgt=", "data.valid.tgt: give both 'src' and 'tgt', or one 'tsv'"),
        ("data.tests={a b: {tsv: x}}", 'data.tests["a b"]: expected a name of letters, digits'),
        ("tokenizer.symbols=[a b]", 'tokenizer.symbols[0]: expected text without white space, got "a b"'),
        ("tokenizer.shared=no", 'tokenizer.shared: expected true or false, got "no" (write false)'),
        ("tokenizer.byte_fallback=1", "tokenizer.byte_fallback: expected true or false, got 1"),
        ("tokenizer.character_coverage=0.9", "tokenizer.character_coverage: must be above 0.9, got 0.9"),
        ("model.dropout=1", "model.dropout: must be below 1, got 1"),
        ("model.n_heads=3", "model.n_heads: must divide d_model (256), got 3"),
        ("model=[1]", "model: expected a section of 'key: value' lines, got a list"),
        ("training.max_steps=1e4", "training.max_steps: expected a whole number, got 10000.0 (write 10000)"),
        ("training.max_steps=4_096", 'training.max_steps: expected a whole number, got "4_096" (write 4096)'),
        ("training.max_steps=true", "training.max_steps: expected a whole number, got true"),
        ("training.max_steps=", "training.max_steps: expected a whole number, got null"),
        ("training.learning_rate=.inf", "training.learning_rate: must be a finite number, got .inf"),
        ("training.learning_rate=.nan", "training.learning_rate: must be a finite number, got .nan"),
        ("training.clip_norm=big", 'training.clip_norm: expected a number or null, got "big"'),
        ("expected={a: {bleu: 101}}", "expected.a.bleu: must be at most 100, got 101"),
        ("expected={wmt.14: {bleu: 1}}", 'expected["wmt.14"]: no test set of this name in data.tests'),
        ("expected={a: {}}", "expected.a: no test set of this name in data.tests"),
        ("max_steps=5", "max_steps: unknown key, did you mean 'training.max_steps'?"),
        ("scoring.zzz=5", "scoring.zzz: unknown key; the keys here are tokenize, lowercase"),
        (f"seed={SYMBOL}x", f'seed: expected a whole number, got "{SYMBOL[:56]}...'),
        (
            "task=summary",
            "task: expected one of 'translation', 'language_model', 'classification', got \"summary\"",
        ),
    ],
)
def test_every_kind_of_complaint_says_what_was_expected_and_what_came(
    tmp_path: Path, override: str, complaint: str
) -> None:
    [line] = complaints(write(tmp_path, SMALLEST), override)
    assert f": {complaint}" in line


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("training.max_steps", "expected key=value, as in training.max_steps=8000"),
        ("=5", "expected key=value"),
        ("a..b=5", "expected key=value"),
        ("seed=[", "the value cannot be read: not YAML"),
        ("model={a: 1, a: 2}", "model.a: given twice, first on line 1"),
        ("data.train.src=x", "data.train is a list: write data.train[0].src"),
        ("data.train[3].src=x", "data.train[3]: the list has 1 entry, counted from 0"),
        ("model[0]=x", "model is not a list, [0] has no meaning here"),
        ("name.x=1", "name is a single value, it has no keys"),
    ],
)
def test_an_override_that_cannot_be_placed_is_refused_with_its_text(
    tmp_path: Path, override: str, complaint: str
) -> None:
    [line] = complaints(write(tmp_path, SMALLEST + "model: {}\n"), override)
    assert line.startswith(f"--set {override}: {complaint}")


@pytest.mark.parametrize("where", ["data.train[0].src", "data.train.0.src"])
def test_an_override_reaches_into_lists(tmp_path: Path, where: str) -> None:
    assert load_recipe(write(tmp_path, SMALLEST), [f"{where}=b.en"]).data.train[0].src == "b.en"


def test_an_override_adds_to_a_list_makes_sections_and_takes_yaml_values(tmp_path: Path) -> None:
    recipe = load_recipe(
        write(tmp_path, SMALLEST),
        [
            "data.train[1]={src: b.en, tgt: no}",
            'data.tests["test.2016"].tsv=t=1.tsv',
            "model.preset=tiny",
            "training.learning_rate=3e-4",
            "training.learning_rate=4e-4",
        ],
    )
    assert recipe.data.train[1].tgt == "no"
    assert recipe.data.tests["test.2016"].tsv == "t=1.tsv"
    assert recipe.model.d_model == 128
    assert recipe.training.learning_rate == 4e-4


def test_an_override_mends_what_is_wrong_in_the_file(tmp_path: Path) -> None:
    assert load_recipe(write(tmp_path, SMALLEST + "seed: many\n"), ["seed=3"]).seed == 3


def test_what_an_override_replaced_is_no_longer_blamed_on_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, SMALLEST + "training: {max_steps: 5, patience: 1}\n")
    assert complaints(path, "training.max_steps=0") == [
        "--set training.max_steps=0: training.max_steps: must be at least 1, got 0"
    ]
    assert complaints(path, "training={max_steps: 0}") == [
        "--set training={max_steps: 0}: training.max_steps: must be at least 1, got 0"
    ]


def test_yaml_that_cannot_be_parsed_is_named_by_file_and_line(tmp_path: Path) -> None:
    assert complaints(write(tmp_path, "name: x\n\tseed: 1\n")) == [
        "x.yaml:2: a tab cannot indent or start a value: use spaces"
    ]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "x.yaml:1: is empty"),
        (b"# only this\n", "x.yaml:1: is empty"),
        (b"\n- a\n", "x.yaml:2: expected 'key: value' lines at the top"),
        (b"name: x\nseed: \xff\n", "x.yaml:2: is not UTF-8"),
    ],
)
def test_a_file_that_holds_no_recipe_is_refused(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    assert complaints(path) == [complaint]


def test_a_missing_file_is_refused_and_the_nearest_is_named(tmp_path: Path) -> None:
    write(tmp_path, SMALLEST)
    with pytest.raises(RecipeError, match="no such recipe") as caught:
        load_recipe(tmp_path / "xx.yaml")
    assert caught.value.hint == f"did you mean {tmp_path / 'x.yaml'}?"
    with pytest.raises(RecipeError) as caught:
        load_recipe(tmp_path / "nowhere" / "xx.yaml")
    assert caught.value.hint == "give the path of a YAML file"


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="is a folder, expected a recipe"):
        load_recipe(tmp_path)


def test_a_file_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read: Not a directory"):
        load_recipe(write(tmp_path, SMALLEST) / "x.yaml")


def test_values_from_elsewhere_pass_the_same_checks_and_stay_as_they_are() -> None:
    values: dict[str, Any] = read_yaml(SMALLEST).value
    assert build_recipe(values, ["seed=7"]).seed == 7
    assert "seed" not in values
    with pytest.raises(RecipeError) as caught:
        build_recipe({**values, "seeed": 1}, ["training.max_steps=0"], source="options")
    assert caught.value.message.split("\n") == [
        "options: seeed: unknown key, did you mean 'seed'?",
        "--set training.max_steps=0: training.max_steps: must be at least 1, got 0",
    ]


def test_a_whole_section_put_over_values_from_elsewhere_changes_its_own_keys_alone(tmp_path: Path) -> None:
    values = {**read_yaml(SMALLEST).value, "training": {"max_steps": 300, "warmup_steps": 20}}
    section = "training={warmup_steps: 30, patience: 2}"
    training = build_recipe(values, ["training.max_steps=400", section]).training
    assert (training.max_steps, training.warmup_steps, training.patience) == (400, 30, 2)
    with pytest.raises(RecipeError) as caught:
        build_recipe(values, ["training={max_stepz: 1, patience: 0}", "name={a: b}"])
    assert sorted(caught.value.message.split("\n")) == [
        "--set name={a: b}: name is a single value, it has no keys",
        "--set training={max_stepz: 1, patience: 0}: training.max_stepz: unknown key, did you mean 'max_steps'?",
        "--set training={max_stepz: 1, patience: 0}: training.patience: must be at least 1, got 0",
    ]
    path = tmp_path / "x.yaml"
    path.write_text(dump_recipe(build_recipe(values)))
    assert load_recipe(path, [section]).training.max_steps == 20_000  # the section of a file is replaced
    assert load_recipe(path, [section], by_key=True).training.max_steps == 300


# Texts that readers of YAML 1.1 or 1.2 take for something else when they stand unquoted, and any other text.
TEXTS = st.one_of(
    st.sampled_from(
        ["no", "12:30", "1e3", "0o10", "010", "~", ".5", "-.inf", "1_0", "=", "<<", "2024-01-02"]
    ),
    st.sampled_from(
        ["a: b", "a #b", " a", "a\n", "a\tb", "'", '"', "%", "- a", "# a", "!x", "*x", "@", "[", "{"]
    ),
    st.sampled_from(["\u2028", "\x85", "\ufeff", "\0", "\x7f", "\U0001f600"]),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
)
FLOATS = st.floats(min_value=0, exclude_min=True, allow_infinity=False)


@given(text=TEXTS, symbols=st.lists(st.from_regex(r"\A\S+\Z")), number=FLOATS, norm=st.none() | FLOATS)
def test_a_dump_loads_back_equal(text: str, symbols: list[str], number: float, norm: float | None) -> None:
    values: dict[str, Any] = {
        "name": "1e3",
        "data": {
            "src_lang": text,
            "root": text,
            "train": [{"src": text, "tgt": "no"}],
            "valid": {"tsv": text},
            "tests": {"12": {"tsv": "x"}, "1e3": {"tsv": "x"}, "no": {"tsv": "x"}},
        },
        "training": {"learning_rate": number, "clip_norm": norm},
    }
    recipe = Recipe.model_validate(values)
    dumped = dump_recipe(recipe)
    assert build_recipe(read_yaml(dumped).value) == recipe
    # a reader of YAML 1.1 sees the same
    assert Recipe.model_validate(yaml.safe_load(dumped)) == recipe


def test_a_dump_has_every_key_one_a_line(tmp_path: Path) -> None:
    dumped = dump_recipe(load_recipe(write(tmp_path, SMALLEST)))
    assert "  adam_epsilon: 1.0e-09\n" in dumped
    assert "  patience: null\n" in dumped
    assert "  - src: a.en\n" in dumped
    document = read_yaml(dumped)
    for name, section in Recipe.model_fields.items():
        assert (name,) in document.lines
        for key in getattr(section.annotation, "model_fields", {}):
            assert ((name, key) in document.lines) == (
                "translation" in OWNERS.get(f"{name}.{key}", ["translation"])
            )


def test_the_json_schema_describes_every_key_and_asks_only_for_what_must_be_given() -> None:
    schema = recipe_json_schema()
    assert schema["required"] == ["name", "data"]
    for name, section in schema["$defs"].items():
        assert section["additionalProperties"] is False
        for key, about in section["properties"].items():
            assert about.get("description"), f"{name}.{key}"
    assert "required" not in schema["$defs"]["ModelSection"]
    assert schema["$defs"]["DataSection"]["required"] == ["train", "valid"]


def test_limits_refuse_what_is_not_finite() -> None:
    values: dict[str, Any] = read_yaml(SMALLEST).value
    for key in ("weight_decay", "learning_rate", "clip_norm", "min_learning_rate", "adam_epsilon"):
        with pytest.raises(RecipeError, match="must be a finite number"):
            build_recipe({**values, "training": {key: math.inf}})
