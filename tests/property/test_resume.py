"""What must hold when a run goes on: the same bytes as without a stop, whatever happened to its newest checkpoint."""

import pytest

from tests.training_runs import final_bytes, fit_until_crash, make_run, rows_of
from tfcli.errors import CheckpointError, RecipeError
from tfcli.training.checkpoint import checkpoint_folders
from tfcli.training.fit import fit


@pytest.mark.parametrize("steps_before", [1, 3, 4])
def test_stopping_and_resuming_gives_the_same_bytes_as_going_through(tmp_path, steps_before):
    through = make_run(tmp_path, name="through", log_every=3)
    fit(through)
    asked = iter([False] * (steps_before - 1) + [True] + [False] * 20)
    stopped = make_run(tmp_path, name="stopped", stop_asked=lambda: next(asked), log_every=3)
    assert fit(stopped).reason == "stopped"
    assert fit(stopped).reason == "finished"
    assert final_bytes(stopped) == final_bytes(through)
    assert rows_of(stopped) == rows_of(through)


@pytest.mark.parametrize("stop_after", [1, 3, 5, 7])
def test_stopping_changes_neither_what_is_averaged_nor_the_model_that_comes_of_it(tmp_path, stop_after):
    def make(name, stop_asked):
        scores = iter([1.0, 2.0, 3.0])  # the average wins
        return make_run(tmp_path, name=name, stop_asked=stop_asked, validate=lambda model: next(scores))

    through = make("through", lambda: False)
    fit(through)
    asked = iter([False] * (stop_after - 1) + [True] + [False] * 20)
    stopped = make("stopped", lambda: next(asked))
    assert fit(stopped).reason == "stopped"
    assert fit(stopped).best_score == 3.0
    best = [run.run_dir / "best" / "model.safetensors" for run in (through, stopped)]
    assert best[0].read_bytes() == best[1].read_bytes()
    kept = [
        [folder.name for folder in checkpoint_folders(run.run_dir / "checkpoints")]
        for run in (through, stopped)
    ]
    assert kept[0] == kept[1]


def test_a_crash_after_a_checkpoint_is_undone_to_it(tmp_path, monkeypatch):
    through = make_run(tmp_path, name="through")
    fit(through)
    crashed = make_run(tmp_path, name="crashed")
    fit_until_crash(crashed, monkeypatch, at=6)
    fit(crashed)
    assert final_bytes(crashed) == final_bytes(through)
    assert rows_of(crashed) == rows_of(through)


def test_a_finished_run_says_so_and_goes_on_when_steps_are_added(tmp_path):
    run = make_run(tmp_path)
    assert fit(run).reason == "finished"
    assert fit(run).reason == "already finished"
    longer = make_run(tmp_path, max_steps=12)
    assert fit(longer).reason == "finished"
    assert "changed since the run was started: training.max_steps: 8 -> 12" in longer.reporter.notes
    assert fit(longer).step == 12


def test_fewer_steps_than_were_made_are_refused_and_a_finished_run_does_not_claim_to_resume(tmp_path):
    fit(make_run(tmp_path))
    with pytest.raises(RecipeError, match=r"training.max_steps: 7, but .* has made 8 steps"):
        fit(make_run(tmp_path, max_steps=7))
    again = make_run(tmp_path)
    fit(again)
    assert not any(note.startswith("resuming") for note in again.reporter.notes)


def test_settings_that_change_the_updates_are_refused_with_a_list(tmp_path):
    fit(make_run(tmp_path))
    with pytest.raises(RecipeError) as caught:
        fit(make_run(tmp_path, max_steps=9, learning_rate=5e-3, label_smoothing=0.0))
    assert "training.label_smoothing: 0.1 -> 0.0" in caught.value.message
    assert "training.learning_rate: 0.01 -> 0.005" in caught.value.message
    assert "max_steps" not in caught.value.message
    assert "--fresh" in caught.value.hint


def test_a_cosine_cannot_be_lengthened(tmp_path):
    fit(make_run(tmp_path, schedule="cosine"))
    with pytest.raises(RecipeError, match="max_steps: 8 -> 12"):
        fit(make_run(tmp_path, schedule="cosine", max_steps=12))


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "manifest"])
def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_used(tmp_path, damage):
    through = make_run(tmp_path, name="through", max_steps=12)
    fit(through)
    run = make_run(tmp_path, max_steps=8)
    fit(run)
    newest = checkpoint_folders(run.run_dir / "checkpoints")[-1]
    target = newest / ("manifest.json" if damage == "manifest" else "model.safetensors")
    content = bytearray(target.read_bytes())
    if damage == "remove":
        target.unlink()
    elif damage == "flip":
        content[-3] ^= 1
        target.write_bytes(content)
    else:
        target.write_bytes(content[: len(content) // 2])
    longer = make_run(tmp_path, max_steps=12)
    fit(longer)
    assert any(str(newest) in warning and "damaged" in warning for warning in longer.reporter.warnings)
    assert final_bytes(longer) == final_bytes(through)


def test_when_all_checkpoints_are_damaged_the_user_is_told_how_to_start_over(tmp_path):
    run = make_run(tmp_path)
    fit(run)
    for folder in checkpoint_folders(run.run_dir / "checkpoints"):
        (folder / "state.json").unlink()
    with pytest.raises(CheckpointError, match="all 3 checkpoints are damaged") as caught:
        fit(run)
    assert "--fresh" in caught.value.hint
