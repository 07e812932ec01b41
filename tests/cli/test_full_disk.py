"""A disk that really fills up under a training: a small one in memory, where the system lets a test mount one."""

import subprocess

import pytest

from tests.cli.conftest import write_small_corpus
from tests.cli.test_bad_folders import run


@pytest.fixture
def disk(tmp_path):
    """Return a function that gives a disk of so many KiB, or as many to the one that is there."""
    place = tmp_path / "disk"

    def give(kibibytes):
        options = f"size={kibibytes}k" + (",remount" if place.exists() else "")
        place.mkdir(exist_ok=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip("mounting a disk takes root; test_bad_runs.py limits the size of files instead")
        return place

    yield give
    subprocess.run(["umount", str(place)], capture_output=True, check=False)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*") if path.is_file()}


def test_a_run_on_a_disk_that_fills_up_keeps_its_last_checkpoint_and_ends_as_if_nothing_had_been(
    tmp_path, disk
):
    recipe = write_small_corpus(tmp_path)
    changes = ["max_steps=24", "checkpoint_every=6", "validate_every=12", "keep_checkpoints=4", "log_every=2"]
    options = [word for change in changes for word in ("--set", f"training.{change}")]
    assert run("train", recipe, "--out", tmp_path / "through", *options)[0] == 0
    through = tmp_path / "through" / "checkpoints"
    size = sum(path.stat().st_size for path in (tmp_path / "through").rglob("*") if path.is_file())
    one = sum(map(len, contents(through / "step-00000006").values()))
    folder = disk((size - 2 * one) // 1024) / "run"
    code, out, err = run("train", recipe, "--out", folder, *options)
    assert (code, out) == (4, b"")
    errors = [line for line in err.split("\n") if line.startswith("error: ")]
    assert len(errors) == 1, err
    assert errors[0].startswith(f"error: {folder}/checkpoints/step-000000")
    assert "cannot be written: " in errors[0]
    assert "No space left on device" in errors[0]
    assert "hint: free some space" in err
    kept = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert kept[0] == "step-00000006"
    for name in kept:
        assert contents(folder / "checkpoints" / name).keys() == contents(through / name).keys()
        weights = (folder / "checkpoints" / name / "model.safetensors").read_bytes()
        assert weights == (through / name / "model.safetensors").read_bytes()

    disk(2 * size // 1024)
    code, _, err = run("train", recipe, "--out", folder, *options)
    assert (code, err) == (0, "")
    for name in ("checkpoints/step-00000024/model.safetensors", "best/model.safetensors"):
        assert (folder / name).read_bytes() == (tmp_path / "through" / name).read_bytes()
