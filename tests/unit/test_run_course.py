"""The course of a run in numbers, from rows and files as a training that is going on leaves them."""

import math
import os
import time
from pathlib import Path

import pytest

from tfcli.commands.run_course import (
    LEAST_SILENCE_SECONDS,
    UNKNOWN_SECONDS,
    Mark,
    about_course,
    allowed_silence,
    marks_of,
    rate,
    seconds_left,
    seconds_per_step,
    series,
)
from tfcli.commands.run_report import CURVES, course_rows, summary
from tfcli.training.holding import hold

TRAINING = {"max_steps": 1000, "log_every": 50, "validate_every": 200, "checkpoint_every": 100}


def train_row(step, *, loss=2.0, per_step=0.5, tokens_per_step=1000):
    seconds = round(step * per_step, 3)
    return {
        "step": step, "kind": "train", "loss": loss, "tokens": step * tokens_per_step, "elapsed_seconds": seconds
    }  # fmt: skip


def valid_row(step, bleu=10.0, loss=3.0):
    return {"step": step, "kind": "valid", "loss": loss, "bleu": bleu}


def rows_to(step, every=50):
    """Return what a run that has come to `step` has written, the validation of that step included."""
    rows = []
    for at in range(every, step + 1, every):
        rows.append(train_row(at))
        if at % TRAINING["validate_every"] == 0:
            rows.append(valid_row(at))
    return rows


@pytest.fixture
def folder(tmp_path):
    for name in ("recipe.yaml", "environment.json", "metrics.jsonl"):
        (tmp_path / name).touch()
    return tmp_path


def silent_for(folder: Path, seconds: float) -> None:
    for path in folder.glob("*.*"):
        os.utime(path, (time.time() - seconds,) * 2)


def saved(folder, step, **state):
    """Write the state of a checkpoint and return it."""
    path = folder / "checkpoints" / f"step-{step:08d}"
    path.mkdir(parents=True)
    (path / "state.json").touch()
    return {"step": step, "updates": step, "validations_since_best": 0, **state}


def course(folder, rows, state=None, end=None, **training):
    steps = [row["step"] for row in rows] + ([state["step"]] if state else [])
    last_step = max(steps, default=None)
    return about_course(folder, rows, {**TRAINING, **training}, state or {}, end or {}, last_step)


def test_a_series_has_a_value_a_step_in_their_order():
    rows = [train_row(100, loss=2.0), train_row(50, loss=3.0), valid_row(100), train_row(100, loss=1.5)]
    assert series(rows, "train", "loss") == [(50, 3.0), (100, 1.5)]


def test_a_series_leaves_out_what_is_no_number_but_keeps_nan():
    rows = [
        train_row(50, loss="low"), train_row(60, loss=None), train_row(70, loss=True), train_row(80, loss=math.nan),
        train_row(90, loss=4), {"kind": "train", "loss": 1.0}, {"step": "5", "kind": "train", "loss": 1.0}, {},
    ]  # fmt: skip
    found = series(rows, "train", "loss")
    assert [step for step, _ in found] == [80, 90]
    assert math.isnan(found[0][1])


def test_marks_are_the_rows_that_tell_tokens_and_time():
    half = train_row(100)
    del half["tokens"]
    timeless = {**train_row(150), "elapsed_seconds": math.nan}
    assert marks_of([train_row(50), half, timeless]) == [Mark(50, 50_000, 25.0)]


def test_the_rate_is_that_of_the_last_minutes():
    slow = [Mark(step, step * 1000, step * 2.0) for step in range(50, 501, 50)]
    fast = [Mark(500 + step, 500_000 + step * 1000, 1000 + step * 0.5) for step in range(50, 501, 50)]
    assert rate(slow) == pytest.approx(500.0)
    assert rate([*slow, *fast]) == pytest.approx(2000.0)
    assert seconds_per_step([*slow, *fast]) == pytest.approx(0.5)
    assert rate([*slow, fast[0]]) == pytest.approx(100_000 / 125.0)  # 125 s back, half of them slow


def test_one_row_has_the_rate_since_the_beginning():
    assert rate([Mark(50, 50_000, 25.0)]) == pytest.approx(2000.0)
    assert seconds_per_step([Mark(50, 50_000, 25.0)]) == pytest.approx(0.5)


def test_lines_that_are_far_apart_are_compared_with_the_one_before():
    marks = [Mark(100, 1000, 600.0), Mark(200, 5000, 1000.0)]
    assert rate(marks) == pytest.approx(10.0)
    assert seconds_per_step(marks) == pytest.approx(4.0)


def test_no_rate_is_made_of_nothing():
    assert rate([]) is None
    assert seconds_per_step([]) is None
    assert rate([Mark(50, 50_000, 0.0)]) is None
    assert seconds_per_step([Mark(0, 0, 5.0)]) is None


def test_the_time_left_is_that_of_the_steps_left():
    marks = [Mark(step, step * 1000, step * 0.5) for step in (50, 100)]
    assert seconds_left(marks, 1000) == pytest.approx(450.0)
    assert seconds_left(marks, 100) == 0
    assert seconds_left(marks, 80) == 0, "max_steps may have been lowered"
    assert seconds_left(marks, None) is None
    assert seconds_left([], 1000) is None


def test_the_silence_allowed_grows_with_the_time_between_lines():
    assert allowed_silence(0.1, 50, validating=False) == LEAST_SILENCE_SECONDS
    assert allowed_silence(4.0, 50, validating=False) == pytest.approx(600.0)
    assert allowed_silence(4.0, 50, validating=True) == pytest.approx(600.0 + UNKNOWN_SECONDS)
    assert allowed_silence(None, 50, validating=False) == UNKNOWN_SECONDS
    assert allowed_silence(4.0, None, validating=False) == UNKNOWN_SECONDS


def test_a_run_that_writes_is_going_on(folder):
    silent_for(folder, 10)
    found = course(folder, rows_to(300), saved(folder, 300))
    assert found["status"] == "running"
    assert found["stopped_at"] is None
    assert found["seconds_since_last_line"] == pytest.approx(10, abs=5)
    assert found["seconds_left"] == pytest.approx(350.0)
    assert found["tokens"] == 300_000
    assert found["target_tokens_per_second"] == {"lately": pytest.approx(2000), "run": pytest.approx(2000)}
    assert course_rows(found, 300, 1000)["status"] == "going on: last line 10 s ago"
    assert course_rows(found, 300, 1000)["time left"] == (
        "6 min to step 1,000 at this speed, validations not counted"
    )


def test_a_run_that_has_been_silent_for_long_has_stopped(folder):
    rows = rows_to(300)
    silent_for(folder, LEAST_SILENCE_SECONDS - 20)
    assert course(folder, rows)["status"] == "running"
    silent_for(folder, LEAST_SILENCE_SECONDS + 20)
    found = course(folder, rows)
    assert found["status"] == "stopped"
    assert course_rows(found, 300, 1000)["status"] == "stopped, as it seems: last line 2 min ago"
    assert course_rows(found, 300, 1000)["time left"] == ""
    (folder / "log.txt").touch()  # a skipped update is told there, and nowhere else
    assert course(folder, rows)["status"] == "running"


def test_a_recipe_is_no_sign_of_life(folder):
    silent_for(folder, 86_400)
    (folder / "recipe.yaml").write_text("edited")
    assert course(folder, rows_to(300))["status"] == "stopped"
    (folder / "environment.json").touch()
    assert course(folder, rows_to(300))["status"] == "running"


def test_where_training_has_not_begun_there_is_no_status(folder):
    for name in ("environment.json", "metrics.jsonl"):
        (folder / name).unlink()
    for name in ("recipe.yaml", "log.txt"):
        (folder / name).touch()
        found = course(folder, [])
        assert found["status"] is None
        assert set(course_rows(found, None, 1000).values()) == {""}
    assert course(folder, [], saved(folder, 300))["status"] == "running", "its log is new"
    (folder / "log.txt").unlink()
    assert course(folder, [], {"step": 300})["status"] == "stopped", "a checkpoint is of a training"


def test_a_clock_that_is_behind_the_disks_gives_no_negative_time(folder):
    silent_for(folder, -100)
    assert course(folder, rows_to(300))["seconds_since_last_line"] == 0


@pytest.mark.parametrize(
    ("rows", "due"),
    [
        (rows_to(150), False),
        (rows_to(200)[:-1], True),
        (rows_to(200), False),
        (rows_to(1000), True),  # the last line of training is followed by the average's validation
    ],
    ids=["before", "at", "behind", "end"],
)
def test_a_validation_may_take_long(folder, rows, due):
    silent_for(folder, LEAST_SILENCE_SECONDS + 100)
    found = course(folder, rows)
    assert found["validation_is_due"] == due
    assert found["status"] == ("running" if due else "stopped")
    said = course_rows(found, rows[-1]["step"], 1000)["status"]
    assert said.endswith(", a validation is due") == due
    silent_for(folder, LEAST_SILENCE_SECONDS + UNKNOWN_SECONDS + 100)
    assert course(folder, rows)["status"] == "stopped"


def test_a_validation_between_two_lines_is_due_as_well(folder):
    rows = rows_to(180, every=30)
    assert not course(folder, rows, log_every=20)["validation_is_due"]
    assert course(folder, rows, log_every=30)["validation_is_due"]


def test_a_run_without_a_line_may_still_be_on_its_way_to_the_first(folder):
    silent_for(folder, 600)
    found = course(folder, [])
    assert found["status"] == "running"
    assert found["seconds_left"] is None
    assert course_rows(found, None, 1000) == {
        "status": "going on: started 10 min ago, no line yet", "speed": "", "time left": "", "skipped": ""
    }  # fmt: skip
    silent_for(folder, 7200)
    assert course_rows(course(folder, []), None, 1000)["status"] == (
        "stopped, as it seems: started 2 h 00 min ago, no line yet"
    )


def test_a_run_that_resumed_may_take_as_long_to_its_first_line_as_a_new_one(folder):
    rows, state = rows_to(300), saved(folder, 300)
    os.utime(folder / "checkpoints/step-00000300/state.json", (time.time() - 7200,) * 2)
    silent_for(folder, UNKNOWN_SECONDS - 100)
    found = course(folder, rows, state)
    assert (found["status"], found["validation_is_due"]) == ("running", False)
    (folder / "log.txt").touch()  # what it says of the start is no line
    found = course(folder, rows, state)
    assert found["seconds_since_resumed"] == pytest.approx(UNKNOWN_SECONDS - 100, abs=5)
    assert course_rows(found, 300, 1000)["status"] == "going on: resumed 28 min ago, no line yet"
    silent_for(folder, UNKNOWN_SECONDS + 100)
    assert course(folder, rows, state)["status"] == "stopped"
    silent_for(folder, LEAST_SILENCE_SECONDS + 20)
    found = course(folder, rows_to(350), state)
    assert found["status"] == "stopped", "it has written a line"
    assert found["seconds_since_resumed"] is None
    os.utime(folder / "checkpoints/step-00000300/state.json")
    assert course(folder, rows, state)["status"] == "stopped", "it has saved a step"


def test_a_run_stopped_by_a_signal_is_known_by_the_step_it_saved(folder):
    rows = rows_to(300)
    state = saved(folder, 317)
    found = course(folder, rows, state)
    assert (found["status"], found["stopped_at"]) == ("stopped", 317)
    assert course_rows(found, 317, 1000)["status"] == ("stopped at step 317 of 1,000: last line 0 s ago")
    # it resumes: the rows are written anew
    os.utime(folder / "metrics.jsonl", (time.time() + 1,) * 2)
    assert course(folder, rows, state)["status"] == "running"


def test_a_stop_at_a_step_that_was_to_be_saved_is_told_by_silence_alone(folder):
    rows, state = rows_to(300), saved(folder, 300)
    found = course(folder, rows, state)
    assert (found["status"], found["stopped_at"]) == ("running", None)
    silent_for(folder, LEAST_SILENCE_SECONDS + 20)
    found = course(folder, rows, state)
    assert (found["status"], found["stopped_at"]) == ("stopped", None)
    assert course_rows(found, 300, 1000)["status"] == "stopped, as it seems: last line 2 min ago"
    assert course_rows(found, 300, 1000)["time left"] == ""


def test_who_holds_the_folder_tells_more_than_files_and_their_times(folder):
    rows, state = rows_to(300), saved(folder, 300)
    with hold(folder, pytest.fail):
        silent_for(folder, 86_400)
        found = course(folder, rows, state)
        assert (found["status"], found["held"], found["stopped_at"]) == ("running", True, None)
    found = course(folder, rows, state)
    assert (found["status"], found["held"], found["stopped_at"]) == ("stopped", False, 300)
    (folder / "metrics.jsonl").touch()
    assert (
        course_rows(found, 300, 1000)["status"] == "stopped at step 300 of 1,000: last line 24 h 00 min ago"
    )
    found = course(folder, rows_to(350), state)
    assert course_rows(found, 350, 1000)["status"] == (
        "stopped at step 350 of 1,000, saved at step 300: last line 0 s ago"
    )
    found = course(folder, rows_to(50))
    assert course_rows(found, 50, 1000)["status"] == "stopped: last line 0 s ago, nothing saved yet"


def test_a_run_that_is_let_go_of_before_it_began_has_no_status(folder):
    for path in folder.iterdir():
        path.unlink()
    with hold(folder, pytest.fail):
        assert course(folder, [])["status"] is None
    assert course(folder, [])["status"] is None


def test_an_end_that_was_reached_is_no_stop(folder):
    state = saved(folder, 1000)
    with hold(folder, pytest.fail):
        assert course(folder, rows_to(1000), state)["status"] == "running"
    found = course(folder, rows_to(1000), state, {"step": 1000})
    assert (found["status"], found["stopped_at"]) == ("finished", None)


def test_what_is_saved_at_the_end_is_no_sign_of_a_stop(folder):
    state = saved(folder, 1000)
    assert course(folder, rows_to(1000), state, checkpoint_every=300)["status"] == "running"


def test_what_is_saved_when_patience_ends_is_no_sign_of_a_stop(folder):
    state = saved(folder, 450, validations_since_best=3)
    found = course(folder, rows_to(450), state, patience=3)
    assert (found["status"], found["validation_is_due"]) == ("running", True)


def test_a_finished_run_is_finished_however_long_ago(folder):
    silent_for(folder, 1e7)
    end = {"step": 1000, "best_step": 800, "best_score": 20.0}
    for state in (saved(folder, 1000), None):  # its checkpoints may have been deleted
        found = course(folder, rows_to(1000), state, end)
        assert (found["status"], found["seconds_left"], found["ended_early"]) == ("finished", None, False)
        assert course_rows(found, 1000, 1000)["status"] == "finished at step 1,000"


def test_a_run_whose_patience_ended_is_finished_early(folder):
    state = saved(folder, 600, validations_since_best=3)
    found = course(folder, rows_to(600), state, {"step": 600}, patience=3)
    assert (found["status"], found["ended_early"], found["seconds_left"]) == ("finished", True, None)
    assert course_rows(found, 600, 1000)["status"] == (
        "finished at step 600: validation no longer improved (training.patience)"
    )


def test_a_finished_run_that_was_made_longer_goes_on(folder):
    state = saved(folder, 600)
    assert course(folder, rows_to(600), state, {"step": 600})["status"] == "running"
    assert course(folder, rows_to(650), state, {"step": 600})["status"] == "running"


def test_a_run_that_began_anew_after_its_end_goes_on(folder):
    """Its checkpoints were deleted by hand, so that the end that was written down is that of another training."""
    assert course(folder, rows_to(50), None, {"step": 1000})["status"] == "running"
    assert course(folder, [], None, {"step": 1000})["status"] == "finished", "only its record was deleted"


def test_skipped_updates_are_counted_from_the_checkpoint(folder):
    assert course(folder, rows_to(300))["skipped_updates"] is None
    found = course(folder, rows_to(300), saved(folder, 300, updates=297))
    assert found["skipped_updates"] == 3
    assert course_rows(found, 300, 1000)["skipped"] == "3 updates, not finite"
    assert course_rows({**found, "skipped_updates": 1}, 300, 1000)["skipped"] == "1 update, not finite"
    assert course_rows({**found, "skipped_updates": 0}, 300, 1000)["skipped"] == ""


def test_a_recipe_of_other_contents_leaves_out_what_depends_on_it(folder):
    odd = {
        "max_steps": "many",
        "log_every": None,
        "validate_every": [],
        "checkpoint_every": 0,
        "patience": "x",
    }
    found = course(folder, rows_to(300), saved(folder, 317), **odd)
    assert found["status"] == "running"
    assert found["seconds_left"] is None


def test_a_summary_tells_the_ends_and_the_best():
    points = [(50, 9.0), (100, 2.0), (1150, 2.5)]
    assert (
        summary(points, CURVES["train_loss"])
        == "9.000 at step 50 to 2.500 at step 1,150, lowest 2.000 at step 100"
    )
    assert (
        summary(points, CURVES["valid_bleu"]) == "9.00 at step 50 to 2.50 at step 1,150, best 9.00 at step 50"
    )
    assert summary(points[:1], CURVES["valid_loss"]) == "9.000 at step 50"


def test_a_summary_counts_what_is_not_finite():
    points = [(1, math.nan), (2, 3.0), (3, math.inf)]
    assert summary(points, CURVES["train_loss"]) == (
        "nan at step 1 to inf at step 3, lowest 3.000 at step 2, 2 of 3 values not finite"
    )
    assert summary(points[:1], CURVES["train_loss"]) == "nan at step 1, 1 of 1 value not finite"
