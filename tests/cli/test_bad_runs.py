"""Bad run folders and disks that fill while a run is made: one clear line and a hint, and what was good is kept."""

import os
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import write_small_corpus
from tests.cli.test_bad_folders import full_disk, put_pickle
from tests.cli.test_bad_input import refused, tree
from tfcli.app import main
from tfcli.commands.train_display import ConsoleReporter
from tfcli.errors import CheckpointError


def test_a_run_folder_that_cannot_be_written_is_told(tmp_path, capsys):
    recipe = write_small_corpus(tmp_path)
    before = tree(tmp_path)
    for verb in ("train", "tokenize"):
        [error], hint = refused(capsys, 3, verb, recipe, "--out", recipe / "run")
        assert error.startswith(f"cannot write {recipe / 'run'}")
        assert error.endswith("Not a directory")
        assert "check that the run folder may be written" in hint
    assert tree(tmp_path) == before


def test_a_disk_that_fills_while_a_run_is_made_leaves_nothing_half_written(tmp_path, capsys):
    recipe, folder = write_small_corpus(tmp_path), tmp_path / "run"
    with full_disk(100_000):
        [error], hint = refused(capsys, 3, "tokenize", recipe, "--out", folder)
    assert error == f"cannot write the tokenizer into {folder}: File too large"
    assert "that the disk has room" in hint
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == [".lock", "files.json"]

    assert main(["tokenize", str(recipe), "--out", str(folder), "-q"]) == 0
    capsys.readouterr()
    changes = ["training.max_steps=2", "training.checkpoint_every=1", "model.d_ff=2048"]
    train = ["train", recipe, "--out", folder, *(word for change in changes for word in ("--set", change))]
    with full_disk(400_000):
        [error], hint = refused(capsys, 4, *train)
        assert error.startswith(f"{folder}/checkpoints/step-00000001: cannot be written: ")
        assert "File too large" in error
        assert "then run again: it resumes from the last good checkpoint" in hint
        assert not list((folder / "checkpoints").iterdir())
        validating = ["--set", "training.checkpoint_every=5", "--set", "training.validate_every=1"]
        [error], hint = refused(capsys, 4, *train, *validating)
    assert error.startswith(f"{folder}/best: cannot be written: ")
    assert "then run again" in hint
    assert not [path for path in folder.iterdir() if "best" in path.name]
    with full_disk(1_500):
        [error], hint = refused(capsys, 4, *train)
    assert error == f"{folder}/recipe.yaml: cannot be written: File too large"
    assert hint == "hint: free some space or mend the folder's permissions, then run again"
    assert (folder / "recipe.yaml").read_text().startswith("name: small\n")  # the one before
    assert not [path for path in folder.iterdir() if path.name.endswith(".new")]


def test_a_disk_that_fills_up_between_checkpoints_is_told_by_the_file_that_did_not_fit(tmp_path, capsys):
    recipe, folder = write_small_corpus(tmp_path), tmp_path / "run"
    assert main(["tokenize", str(recipe), "--out", str(folder), "-q"]) == 0
    capsys.readouterr()
    changes = ["log_every=1", "max_steps=80", "checkpoint_every=1000", "validate_every=1000"]
    options = [word for change in changes for word in ("--set", f"training.{change}")]
    with full_disk(6_000):
        [error], hint = refused(capsys, 4, "train", recipe, "--out", folder, *options)
    assert error == f"{folder}/metrics.jsonl: cannot be written: File too large"
    assert hint == (
        "hint: free some space or mend the folder's permissions, then run again: it resumes from the last good checkpoint"
    )


def test_a_log_that_cannot_be_written_is_told():
    full = r"^/dev/full: cannot be written: No space left on device$"
    with ConsoleReporter("translation", 10, Path("/dev/full")) as reporter:
        reporter.begin()
        with pytest.raises(CheckpointError, match=full):
            reporter.note("step 1")
    with ConsoleReporter("translation", 10, Path("/dev/full")) as reporter:
        reporter.note("of a start that may yet be refused")
        with pytest.raises(CheckpointError, match=full):
            reporter.begin()


def test_a_start_that_is_refused_leaves_no_word_in_the_log(finished, capsys):
    folder, train = finished
    log = folder / "log.txt"
    before = log.read_bytes(), log.stat().st_mtime_ns
    assert main([*train, "--set", "training.max_steps=80"]) == 2
    said = "changed since the run was started: training.max_steps: 90 -> 80\n"
    assert said in capsys.readouterr().err
    assert (log.read_bytes(), log.stat().st_mtime_ns) == before
    assert main([*train, "--set", "training.max_steps=91"]) == 0
    assert said.replace("80", "91") in log.read_text()


@pytest.fixture
def finished(small_run, tmp_path):
    """Return a copy of a finished run of 90 steps, and the command that made it."""
    shutil.copytree(small_run, tmp_path / "run")
    return tmp_path / "run", ["train", str(small_run.parent / "small.yaml"), "--out", str(tmp_path / "run")]


def test_other_settings_than_a_run_was_started_with_are_told_one_by_one(
    finished, small_run, tmp_path, capsys
):
    folder, train = finished
    before = tree(folder)
    other = tmp_path / "other.en"
    shutil.copy(small_run.parent / "train.en", other)
    options = ["--set", "training.learning_rate=1e-3", "--set", f"data.train[0].src={other}"]
    errors, hint = refused(capsys, 2, *train, *options)
    assert errors == [
        f"{folder}: the run was started with other settings",
        f"data.train[0].src: 'train.en' -> '{other}'",
        "training.learning_rate: 0.01 -> 0.001",
    ]
    assert "use --fresh to start over, or another --out" in hint
    assert {name: content for name, content in tree(folder).items() if name != "corpus/files.json"} == {
        name: content for name, content in before.items() if name != "corpus/files.json"
    }


def test_other_text_than_the_tokenizer_of_a_run_was_trained_on_is_refused(
    finished, small_run, tmp_path, capsys
):
    folder, train = finished
    before = tree(folder / "checkpoints"), (folder / "tokenizer.model").read_bytes()
    other = tmp_path / "other.de"
    other.write_bytes((small_run.parent / "train.de").read_bytes().replace(b"e", b"a"))
    [error], hint = refused(capsys, 4, *train, "--set", f"data.train[0].tgt={other}")
    assert error.startswith(f"{folder} has checkpoints that belong to its tokenizer, and the training files")
    assert "start over with --fresh" in hint
    assert (tree(folder / "checkpoints"), (folder / "tokenizer.model").read_bytes()) == before


def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_used(finished, capsys):
    folder, train = finished
    weights = folder / "checkpoints" / "step-00000090" / "model.safetensors"
    os.truncate(weights, 100)
    assert main([*train, "--set", "training.max_steps=61"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert f"warning: {weights}: damaged (its checksum differs); trying the checkpoint before it\n" in err
    assert f"resuming from {folder / 'checkpoints' / 'step-00000060'}\n" in err
    assert "finished at step 61" in err


def test_a_run_whose_checkpoints_are_all_damaged_is_refused_with_what_is_left(finished, capsys):
    folder, train = finished
    for state in folder.glob("checkpoints/*/state.json"):
        put_pickle(state)
    before = tree(folder / "checkpoints"), tree(folder / "best")
    assert main([*train, "-q"]) == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert (
        f"error: {folder / 'checkpoints'}: all 2 checkpoints are damaged\nhint: put a copy of one back" in err
    )
    assert (tree(folder / "checkpoints"), tree(folder / "best")) == before
    assert not Path("sprung").exists()


def test_a_damaged_checkpoint_that_is_to_be_averaged_is_named_with_the_way_on(finished, capsys):
    folder, train = finished
    (folder / "finished.json").unlink()
    damaged = folder / "checkpoints" / "step-00000060"
    (damaged / "manifest.json").write_text("{}")
    [error], hint = refused(capsys, 4, *train)
    assert error == f"{damaged / 'manifest.json'}: damaged (lacks model.safetensors)"
    assert hint.startswith("hint: delete this checkpoint, and run again")
    shutil.rmtree(damaged)
    assert main([*train, "-q"]) == 0
