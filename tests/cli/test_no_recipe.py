"""Training on two files, without a recipe: sizes are chosen, said, and written down as a recipe."""

import gzip
import json
from pathlib import Path

import pytest

from tfcli.app import main
from tfcli.recipe.loader import load_recipe

DEMO = Path(__file__).resolve().parents[2] / "data" / "demo"
SHORT = [
    "--set", "training.max_steps=20", "--set", "training.warmup_steps=5", "--set", "training.validate_every=20",
    "--set", "decoding.max_output_ratio=0.5", "--set", "decoding.max_output_extra=2", "--set", "decoding.beam_size=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Return a folder with train.en and train.de: 600 pairs of the embedded corpus."""
    folder = tmp_path_factory.mktemp("text")
    for language in ("en", "de"):
        lines = gzip.decompress((DEMO / f"train.{language}.gz").read_bytes()).split(b"\n")[:600]
        (folder / f"train.{language}").write_bytes(b"\n".join(lines) + b"\n")
    return folder


@pytest.fixture(scope="module")
def begun(text, tmp_path_factory):
    """Return the folder of a finished run that had no recipe, and what was said meanwhile."""
    run = tmp_path_factory.mktemp("runs") / "en-de"
    assert main(train(text, run)) == 0
    return run


def train(text, run, *more):
    files = ["--src", str(text / "train.en"), "--tgt", str(text / "train.de")]
    return ["train", *files, "--out", str(run), *SHORT, *more]


def test_the_choice_is_printed_and_written_as_a_whole_recipe(text, tmp_path, capsys):
    assert main(train(text, tmp_path / "en-de", "--dry-run", "--json")) == 0
    out, err = capsys.readouterr()
    assert "no recipe given; chosen for 600 pairs on" in err
    assert "model.preset: modern-small" in err
    assert "tokenizer.vocab_size: 2,000" in err
    assert "training.max_steps: as --set says" in err
    assert "warning: only 600 pairs: a network" in err
    assert "held out for validation: 60 pairs" in err
    assert json.loads(out)["parameters"] > 100_000


@pytest.mark.parametrize("wish", ["model.dropout=0", "model={preset: tiny, dropout: 0.0}"])
def test_without_dropout_no_r_drop_is_chosen_which_needs_it(text, tmp_path, capsys, wish):
    assert main(train(text, tmp_path / "with", "--dry-run")) == 0
    assert "training.r_drop: 1 (" in capsys.readouterr().err
    assert main(train(text, tmp_path / "without", "--dry-run", "--set", wish)) == 0
    assert "training.r_drop" not in capsys.readouterr().err


def test_the_warning_about_few_pairs_stands_below_the_choice(text, tmp_path, capsys):
    assert main(train(text, tmp_path / "en-de", "--dry-run")) == 0
    said = capsys.readouterr().err.split("\n")
    [warning] = [number for number, line in enumerate(said) if line.startswith("warning: ")]
    chosen = [number for number, line in enumerate(said) if line.startswith("  ")]
    assert len(chosen) > 5
    assert warning == chosen[-1] + 1


@pytest.mark.parametrize("wish", ["training.max_steps=6", "training={max_steps: 6}"])
def test_warm_up_and_intervals_follow_the_steps_that_set_gives(text, tmp_path, wish, capsys):
    files = ["--src", str(text / "train.en"), "--tgt", str(text / "train.de")]
    quick = [word for wish in SHORT if wish.startswith("decoding.") for word in ("--set", wish)]
    command = ["train", *files, "--out", str(tmp_path / "run"), "--set", wish, *quick]
    assert main(command) == 0
    said = capsys.readouterr().err
    assert "training.max_steps: as --set says\n" in said
    assert "training.warmup_steps: 3 steps\n" in said
    assert "training.validate_every: 3 steps\n" in said
    assert "training.checkpoint_every: 1 step\n" in said
    training = load_recipe(tmp_path / "run" / "recipe.yaml").training
    assert (training.max_steps, training.warmup_steps) == (6, 3)
    assert (training.validate_every, training.checkpoint_every) == (3, 1)
    assert (training.batch_tokens, training.schedule) == (2048, "cosine")  # chosen like everything else
    assert main(command) == 0
    assert "training is finished (step 6" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wishes", "optimizer", "rate"),
    [
        ([], "muon", 5e-3),
        (["training.optimizer=adamw"], "adamw", 2e-3),
        (["training={optimizer: adamw, learning_rate: 1e-4}"], "adamw", 1e-4),
        (["training.sharding=true"], "adamw", 2e-3),
    ],
)
def test_the_rate_follows_the_optimizer_that_set_asks_for(text, tmp_path, wishes, optimizer, rate):
    run = tmp_path / "run"
    assert main([*train(text, run), *[word for wish in wishes for word in ("--set", wish)]]) == 0
    training = load_recipe(run / "recipe.yaml").training
    assert (training.optimizer, training.learning_rate) == (optimizer, rate)


@pytest.mark.parametrize(
    ("wish", "code", "complaint"),
    [
        ("training.max_stepz=5", 2, "training.max_stepz: unknown key"),
        ("training.max_steps=many", 2, "training.max_steps: expected a whole number"),
        ("training={max_steps: 0}", 2, "training.max_steps: must be at least 1"),
        ("max_steps", 2, "expected key=value"),
        ("data.tests.x={src: gone.en, tgt: gone.de}", 3, "data.tests.x.src: no file gone.en"),
    ],
)
def test_a_setting_that_cannot_be_used_is_told_and_nothing_else(
    text, tmp_path, wish, code, complaint, capsys
):
    assert main([*train(text, tmp_path / "run"), "--set", wish]) == code
    out, err = capsys.readouterr()
    error, hint, end = err.split("\n")
    assert (out, end) == ("", "")
    assert error.startswith("error: ")
    assert complaint in error
    assert hint.startswith("hint: ")
    assert not (tmp_path / "run").exists()


def test_the_recipe_of_the_run_names_languages_text_and_sizes(text, begun):
    recipe = load_recipe(begun / "recipe.yaml")
    assert recipe.name == "en-de"
    assert (recipe.data.src_lang, recipe.data.tgt_lang) == ("en", "de")
    assert recipe.data.train[0].src == str(text / "train.en")
    assert recipe.data.valid.pairs == 60
    assert recipe.model.preset == "modern-small"
    assert recipe.training.max_steps == 20  # what --set says stands in it, too


def test_that_recipe_makes_the_same_model_again(begun, tmp_path):
    assert main(["train", str(begun / "recipe.yaml"), "--out", str(tmp_path / "again"), "-q"]) == 0
    weights = "best/model.safetensors"
    assert (tmp_path / "again" / weights).read_bytes() == (begun / weights).read_bytes()
    assert (tmp_path / "again" / "corpus" / "held-out.src").read_bytes() == (
        begun / "corpus" / "held-out.src"
    ).read_bytes()


def test_whoever_may_read_the_folder_may_read_the_weights(begun):
    modes = {path.name: path.stat().st_mode for path in (begun / "best").iterdir()}
    assert modes["model.safetensors"] == modes["config.json"]


def test_the_second_command_translates(begun, stdin, capfdbinary):
    stdin(b"The dog sleeps.\n\nThe cat sleeps.")
    assert main(["translate", str(begun), "-q"]) == 0
    assert capfdbinary.readouterr().out.count(b"\n") == 2


def test_the_same_command_goes_on_with_the_settings_of_the_run(text, begun, capsys):
    assert main(train(text, begun)) == 0
    err = capsys.readouterr().err
    assert f"goes on with the settings of {begun / 'recipe.yaml'}" in err
    assert "chosen for" not in err
    assert "training is finished (step 20" in err


def test_other_text_in_the_same_folder_is_refused(text, begun, capsys):
    other = ["--src", str(text / "train.de"), "--tgt", str(text / "train.en"), "--out", str(begun)]
    assert main(["train", *other]) == 2
    err = capsys.readouterr().err
    assert "the run was started with other text" in err
    assert str(text / "train.en") in err


def test_validation_files_that_the_run_does_not_know_are_refused(text, begun, capsys):
    valid = ["--valid-src", str(text / "train.en"), "--valid-tgt", str(text / "train.de")]
    assert main(train(text, begun, *valid)) == 2
    assert "the run was started with other text" in capsys.readouterr().err


def test_validation_files_are_taken_as_they_are(text, tmp_path, capsys):
    for language in ("en", "de"):
        (tmp_path / f"valid.{language}").write_bytes((text / f"train.{language}").read_bytes()[:2000])
    lines = (tmp_path / "valid.en").read_bytes().count(b"\n")
    (tmp_path / "valid.de").write_bytes(
        b"".join((text / "train.de").read_bytes().splitlines(keepends=True)[:lines])
    )
    (tmp_path / "valid.en").write_bytes(
        b"".join((text / "train.en").read_bytes().splitlines(keepends=True)[:lines])
    )
    valid = ["--valid-src", str(tmp_path / "valid.en"), "--valid-tgt", str(tmp_path / "valid.de")]
    assert main(train(text, tmp_path / "run", *valid, "--dry-run")) == 0
    assert "600 pairs, training on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        ([], "expected a RECIPE, or --src FILE and --tgt FILE, got none of them"),
        (["--src", "a"], "--src and --tgt belong together"),
        (["--src", "a", "--tgt", "b"], "--src and --tgt need --out RUN"),
        (["demo", "--src", "a", "--tgt", "b"], "give a RECIPE, or --src and --tgt, not both"),
        (
            ["--src", "a", "--tgt", "b", "--out", "r", "--valid-src", "c"],
            "--valid-src and --valid-tgt belong",
        ),
        (["--src", "a", "--tgt", "b", "--out", "r", "--data-root", "d"], "--data-root goes with a RECIPE"),
    ],
)
def test_options_that_do_not_go_together_are_refused(args, complaint, capsys):
    assert main(["train", *args]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert complaint in err


@pytest.mark.parametrize("name", ["train.en", "train.de"])
def test_a_missing_file_is_named_and_nothing_is_made(text, tmp_path, name, capsys):
    args = train(text, tmp_path / "run")
    args[args.index(str(text / name))] = str(tmp_path / name)
    assert main(args) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert f"no file {tmp_path / name}\nhint: " in err
    assert not (tmp_path / "run").exists()


def test_unequal_files_are_refused_before_anything_is_made(text, tmp_path, capsys):
    (tmp_path / "train.de").write_bytes((text / "train.de").read_bytes() + b"Noch eine.\n")
    args = train(text, tmp_path / "run")
    args[args.index(str(text / "train.de"))] = str(tmp_path / "train.de")
    assert main(args) == 3
    err = capsys.readouterr().err
    assert "600" in err
    assert "601" in err
    assert not (tmp_path / "run").exists()


def test_empty_files_are_refused(tmp_path, capsys):
    for language in ("en", "de"):
        (tmp_path / f"train.{language}").write_bytes(b"")
    assert main(train(tmp_path, tmp_path / "run")) == 3
    assert f"--src: {tmp_path / 'train.en'} is empty" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
