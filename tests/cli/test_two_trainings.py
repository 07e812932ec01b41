"""A run folder is one training's at a time."""

import pytest

from tfcli.app import main
from tfcli.errors import CheckpointError
from tfcli.training.holding import hold


def fail_on_warning(message):
    raise AssertionError(message)


def test_a_folder_that_is_held_is_free_again_when_its_file_is_closed(tmp_path):
    with hold(tmp_path, fail_on_warning), pytest.raises(CheckpointError, match="another process trains"):
        hold(tmp_path, fail_on_warning)
    hold(tmp_path, fail_on_warning).close()


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be written"):
        hold(tmp_path / "nowhere", fail_on_warning)


@pytest.mark.parametrize("more", [[], ["--fresh"]])
def test_a_second_training_in_a_folder_is_refused_and_drops_nothing(small_run, capsys, more):
    before = sorted(path.name for path in (small_run / "checkpoints").iterdir())
    with hold(small_run, fail_on_warning):
        assert main(["train", str(small_run), *more]) == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert f"error: {small_run}: another process trains in this folder" in err
    assert "give another --out" in err
    assert sorted(path.name for path in (small_run / "checkpoints").iterdir()) == before
