"""What must hold for checkpoints on disk: damage is found and named, and no crash leaves fewer than there were."""

import os
import shutil
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cli.test_bad_folders import full_disk
from tests.training_runs import make_run, rows_of
from tfcli.errors import CheckpointError
from tfcli.training import checkpoint as checkpoint_module
from tfcli.training.checkpoint import (
    checkpoint_folders,
    delete_checkpoint,
    learner_tensors,
    newest_checkpoint,
    read_checkpoint,
    save_checkpoint,
    tidy,
)
from tfcli.training.fit import fit
from tfcli.training.learner import make_learner
from tfcli.training.random_states import random_states
from tfcli.training.record import Record, read_rows
from tfcli.training.state import TrainingState

FILES = ["model.safetensors", "optimizer.safetensors", "rng.safetensors", "state.json", "manifest.json"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a finished run with three checkpoints."""
    run = make_run(tmp_path_factory.mktemp("trained"))
    fit(run)
    return run


@pytest.fixture
def root(trained, tmp_path):
    shutil.copytree(trained.run_dir / "checkpoints", tmp_path / "checkpoints")
    return tmp_path / "checkpoints"


def flip(path, place, bit):
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << bit
    path.write_bytes(content)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["truncated", "emptied", "flipped", "missing"])
def test_damage_to_any_file_is_named_and_the_checkpoint_before_is_used(root, name, damage):
    before, newest = checkpoint_folders(root)[-2:]
    path = newest / name
    if damage == "missing":
        path.unlink()
    elif damage == "flipped":
        flip(path, path.stat().st_size // 2, 0)
    else:
        os.truncate(path, path.stat().st_size - 2 if damage == "truncated" else 0)
    warnings = []
    assert newest_checkpoint(root, warnings.append).folder == before
    [warning] = warnings
    assert warning.startswith(str(newest))
    assert "damaged" in warning
    assert warning.endswith("; trying the checkpoint before it")
    if name != "manifest.json":  # from a damaged manifest it cannot be told what is right
        assert str(path) in warning
    if damage == "missing":
        assert warning.startswith(f"{path}: damaged (the file is missing)")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(FILES), st.integers(0, 10**6), st.integers(0, 7))
def test_no_flipped_bit_goes_unseen(root, name, place, bit):
    newest = checkpoint_folders(root)[-1]
    flip(newest / name, place, bit)
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(newest)
    flip(newest / name, place, bit)
    assert read_checkpoint(newest).state.step == 8


class Crash(BaseException):
    """The end of the process: nothing is tidied up behind it."""


def crash_at(monkeypatch, number):
    """End the process before the so many-th renaming or deleting of a folder; return how to start it again."""
    calls = [0]

    def crashing(real):
        def call(*args, **options):
            calls[0] += 1
            if calls[0] >= number:
                raise Crash
            return real(*args, **options)

        return call

    patch = pytest.MonkeyPatch()
    patch.setattr(Path, "rename", crashing(Path.rename))
    patch.setattr(shutil, "rmtree", crashing(shutil.rmtree))
    return patch.undo


@pytest.mark.parametrize("number", range(1, 8))
def test_a_crash_while_a_checkpoint_replaces_another_loses_neither(trained, root, monkeypatch, number):
    learner = make_learner(trained)
    old = read_checkpoint(root / "step-00000008")
    (root / ".step-00000008.old").mkdir()  # of a crash before
    state = TrainingState(step=8, tokens=12345)
    restart = crash_at(monkeypatch, number)
    try:
        save_checkpoint(root, learner_tensors(learner), state, {}, random_states())
        crashed = False
    except Crash:
        crashed = True
    restart()
    assert crashed == (number <= 6)
    tidy(root)
    warnings = []
    found = newest_checkpoint(root, warnings.append)
    assert warnings == []
    assert found.state.step == 8
    assert found.state.tokens in (old.state.tokens, 12345)
    assert sorted(path.name for path in root.iterdir()) == [
        "step-00000004", "step-00000006", "step-00000008"
    ]  # fmt: skip


def test_a_crash_while_a_checkpoint_is_deleted_leaves_no_half_of_it_under_its_name(root, monkeypatch):
    def crashing(folder, **options):
        (Path(folder) / "optimizer.safetensors").unlink()
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_module.shutil, "rmtree", crashing)
        with pytest.raises(Crash):
            delete_checkpoint(root / "step-00000004")
    assert [folder.name for folder in checkpoint_folders(root)] == ["step-00000006", "step-00000008"]
    tidy(root)
    assert sorted(path.name for path in root.iterdir()) == ["step-00000006", "step-00000008"]


def test_what_a_crash_left_goes_when_the_run_resumes_and_nothing_else(tmp_path):
    run = make_run(tmp_path, max_steps=6)
    fit(run)
    root = run.run_dir / "checkpoints"
    for name in (".step-00000004.new", ".step-00000002.gone", ".step-00000006.old", "notes", ".step-1.new"):
        (root / name).mkdir()
        (root / name / "file").write_text("x")
    fit(make_run(tmp_path, max_steps=8))
    names = {path.name for path in root.iterdir()}
    assert names == {"step-00000004", "step-00000006", "step-00000008", "notes", ".step-1.new"}


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o002, 0o664)])
def test_files_have_the_permissions_of_any_new_file(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        run = make_run(tmp_path, max_steps=4)
        fit(run)
    finally:
        os.umask(before)
    written = [path for part in ("checkpoints", "best") for path in (run.run_dir / part).rglob("*.*")]
    assert len(written) >= 14
    assert {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in written if path.is_file()} == {
        path.name: oct(mode) for path in written if path.is_file()
    }


def test_the_rows_of_a_checkpoint_reach_the_disk_before_it(tmp_path, monkeypatch):
    run = make_run(tmp_path, max_steps=4)
    synced, sizes = [], {}
    real = os.fsync

    def fsync(descriptor):
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append(path.name)
        sizes[len(synced)] = path.stat().st_size
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    fit(run)
    begun = [number for number, name in enumerate(synced) if name == "metrics.jsonl"]
    written = [number for number, name in enumerate(synced) if name == "manifest.json"]
    assert len(begun) == len(written) == 2
    assert begun[0] < written[0] < begun[1] < written[1]
    assert sizes[begun[1] + 1] == sum(
        len(line) + 1 for line in (run.run_dir / "metrics.jsonl").read_text().split("\n")[:5]
    )


def test_a_row_that_a_full_disk_cuts_short_is_told_and_dropped_when_the_run_resumes(tmp_path):
    run = make_run(tmp_path, max_steps=6)
    record = Record(run.run_dir, 0)
    for step in range(1, 4):
        record.add("train", step, {"loss": 1.5})
    with (
        full_disk((run.run_dir / "metrics.jsonl").stat().st_size + 10),
        pytest.raises(CheckpointError, match=r"metrics.jsonl: cannot be written: File too large") as caught,
    ):
        record.add("train", 4, {"loss": 1.5})
    assert "resumes from the last good checkpoint" in caught.value.hint
    record.close()  # which tries nothing again
    assert (run.run_dir / "metrics.jsonl").read_bytes()[-1:] != b"\n"
    assert [row["step"] for row in read_rows(run.run_dir / "metrics.jsonl")] == [1, 2, 3]
    fit(run)
    assert [row["step"] for row in rows_of(run) if row["kind"] == "train"] == [1, 2, 3, 4, 5, 6]


def test_a_record_that_cannot_be_begun_is_told_and_the_one_before_stays(tmp_path):
    run = make_run(tmp_path)
    record = Record(run.run_dir, 0)
    for step in range(1, 40):
        record.add("train", step, {"loss": 1.5})
    record.close()
    before = (run.run_dir / "metrics.jsonl").read_bytes()
    with full_disk(500), pytest.raises(CheckpointError, match=r"metrics.jsonl: cannot be written"):
        Record(run.run_dir, 39)
    assert (run.run_dir / "metrics.jsonl").read_bytes() == before
    assert not (run.run_dir / ".metrics.jsonl.new").exists()
