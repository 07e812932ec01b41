"""`tfcli train RUN`: a run folder in place of a recipe goes on with that run."""

import shutil
from pathlib import Path

import pytest

from tests.cli.test_bad_input import refused, tree
from tfcli.app import main
from tfcli.commands import train as train_verb
from tfcli.errors import DataError
from tfcli.recipe.loader import load_recipe


@pytest.fixture
def run(small_run, tmp_path, monkeypatch):
    """Return a copy of a finished run of 90 steps, `run` in the current folder."""
    monkeypatch.delenv("TFCLI_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(small_run, "run")
    return Path("run")


@pytest.mark.parametrize("given", ["run", "./run", "run/"])
def test_a_run_that_is_finished_says_so(run, capsys, given):
    assert main(["train", given]) == 0
    assert "run: training is finished (step 90" in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["run"]


def test_a_run_goes_on_in_its_folder_with_its_own_recipe(run, capsys):
    assert main(["train", "run", "--set", "training.max_steps=92"]) == 0
    err = capsys.readouterr().err
    assert "resuming from run/checkpoints/step-00000090" in err
    assert "finished at step 92" in err
    assert load_recipe(run / "recipe.yaml").training.max_steps == 92
    assert [path.name for path in Path().iterdir()] == ["run"]


def test_another_folder_gets_a_run_of_its_own_with_the_same_settings(run, capsys):
    before = tree(run)
    short = ["--set", "training.max_steps=2", "--out", "other"]
    assert main(["train", "run", *short, "-q"]) == 0
    assert tree(run) == before
    settings = {folder: load_recipe(Path(folder) / "recipe.yaml") for folder in ("run", "other")}
    assert settings["other"].training.max_steps == 2
    assert settings["other"].model == settings["run"].model
    assert (Path("other") / "tokenizer.model").read_bytes() == (run / "tokenizer.model").read_bytes()


def test_fresh_starts_over_and_never_leaves_the_run_without_its_recipe(run, capsys, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(
            train_verb, "_make_run", lambda *_: (_ for _ in ()).throw(DataError("the power failed", "wait"))
        )
        refused(capsys, 3, "train", "run", "--fresh", "--set", "training.max_steps=2")
    assert not (run / "checkpoints").exists()
    assert load_recipe(run / "recipe.yaml").training.max_steps == 2
    assert main(["train", "run", "-q"]) == 0
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-00000002"]


def test_tokenize_takes_a_run_as_well(run, capsys):
    assert main(["tokenize", "run"]) == 0
    assert "run: nothing has changed since the last time" in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["run"]


def leave_recipe(folder):
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "recipe.yaml":
            path.unlink()


@pytest.mark.parametrize("verb", ["train", "tokenize"])
@pytest.mark.parametrize(
    ("change", "given", "message", "cure"),
    [
        (lambda run: (run / "recipe.yaml").unlink(), "run", "it has no recipe.yaml", "give a recipe, or"),
        (lambda run: None, "run/best", "it has no recipe.yaml", "give a recipe, or the folder of a training"),
        (leave_recipe, "run", "nothing in it was made by a training", "in it, give run/recipe.yaml"),
    ],
    ids=["a run without its recipe", "a model folder", "a recipe that somebody wrote"],
)
def test_a_folder_that_is_no_run_is_refused_and_left_alone(run, capsys, verb, change, given, message, cure):
    change(run)
    before = tree(Path())
    [error], hint = refused(capsys, 4, verb, given)
    assert error == f"{given}: not a run folder: {message}"
    assert cure in hint
    assert tree(Path()) == before
