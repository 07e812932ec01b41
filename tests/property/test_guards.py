"""What must hold when losses stop being finite: batches are named, and going back does not depend on interruptions."""

import json

import pytest
import torch

from tests.training_runs import make_run, rows_of
from tfcli.corpus.batches import Position, TrainingBatches
from tfcli.errors import TrainingError
from tfcli.training import fit as fit_module
from tfcli.training import step as step_module
from tfcli.training.checkpoint import checkpoint_folders, newest_checkpoint
from tfcli.training.fit import fit
from tfcli.training.guards import name_batches
from tfcli.training.learner import make_learner
from tfcli.training.schedule import learning_rate
from tfcli.training.step import StepResult, train_step

SETTINGS = {
    "max_steps": 30,
    "checkpoint_every": 4,
    "keep_checkpoints": 3,
    "validate_every": 7,
    "log_every": 3,
}


def places(run, count):
    """Return where the first batches of a run stand."""
    batches = TrainingBatches(run.prepared.train, run.recipe.training.batch_tokens, run.recipe.seed)
    return [batches.next_batch().position for _ in range(count)]


@pytest.fixture
def poison(monkeypatch):
    """Return a function that makes the loss of the batches at some places no number."""
    real = step_module.batch_loss

    def put(bad):
        def batch_loss(learner, batch, *settings):
            loss, nll = real(learner, batch, *settings)
            return (loss * float("nan"), nll) if batch.position in bad else (loss, nll)

        monkeypatch.setattr(step_module, "batch_loss", batch_loss)

    return put


def checkpoint_contents(run):
    """Return all that the checkpoints hold, times aside."""
    found = {}
    for folder in checkpoint_folders(run.run_dir / "checkpoints"):
        for path in folder.glob("*.safetensors"):
            found[folder.name, path.name] = path.read_bytes()
        state = json.loads((folder / "state.json").read_text())["state"]
        found[folder.name, "state"] = {key: value for key, value in state.items() if key != "elapsed_seconds"}
    return found


def outcome(run):
    best = run.run_dir / "best"
    return checkpoint_contents(run), rows_of(run), (best / "model.safetensors").read_bytes()


def test_a_step_that_is_not_finite_names_the_batch_and_no_other_of_its_group(tmp_path, poison):
    run = make_run(tmp_path, accumulation_steps=2, max_steps=6)
    batches = TrainingBatches(run.prepared.train, 64, run.recipe.seed)
    bad = [batches.next_batch() for _ in range(8)][7]
    poison({bad.position})
    assert fit(run).step == 6
    [warning] = run.reporter.warnings
    numbers = ", ".join(map(str, bad.indices[:5]))
    assert warning == (
        "step 4: loss or gradient is not finite; the update was skipped "
        f"(epoch {bad.position.epoch + 1}, batch {bad.position.batch + 1}: pairs {numbers} and "
        f"{len(bad.indices) - 5} more; pairs of {run.run_dir}/corpus/train, counted from 0)"
    )
    assert [row["step"] for row in rows_of(run) if row["kind"] == "train"] == [1, 2, 3, 5, 6]


def test_where_only_the_gradient_is_not_finite_the_whole_group_is_named_in_few_words(tmp_path):
    run = make_run(tmp_path)
    learner = make_learner(run)
    batches = TrainingBatches(run.prepared.train, 64, seed=1)
    group = [batches.next_batch() for _ in range(5)]
    learner.model.output.weight.register_hook(lambda gradient: gradient * float("inf"))
    result = train_step(learner, group, 1e-2)
    assert not result.updated
    assert [batch.position for batch in result.suspects] == [batch.position for batch in group]
    said = name_batches(result.suspects, run.run_dir)
    assert "epoch 1, batch 1: pairs " in said
    assert "epoch 1, batch 2: pairs " in said
    assert "batch 3" not in said
    assert "; and 3 batches more; " in said
    assert len(said) < 300


def test_a_batch_knows_its_place_across_the_end_of_an_epoch(tmp_path):
    run = make_run(tmp_path)
    seen = places(run, 40)
    epochs = [place.epoch for place in seen]
    assert epochs == sorted(epochs)
    assert max(epochs) >= 2
    first = [place.batch for place in seen if place.epoch == 0]
    assert first == list(range(len(first)))
    start = seen[len(first)]
    assert start == Position(1, 0)
    again = TrainingBatches(run.prepared.train, 64, run.recipe.seed, start)
    assert again.next_batch().position == start


def test_after_ten_in_a_row_the_run_goes_back_with_half_the_rate_and_other_batches(tmp_path, poison):
    run = make_run(tmp_path, **SETTINGS)
    poison(set(places(run, 30)[14:24]))  # those of steps 15 to 24
    assert fit(run).step == 30
    assert run.reporter.warnings[-1] == (
        f"step 24: 10 updates in a row were not finite; going back to {run.run_dir}/checkpoints/step-00000012, and on "
        f"with the batches that are next and half the learning rate, {learning_rate(run.recipe.training, 13) / 2:.2e}"
    )
    assert len(run.reporter.warnings) == 11
    rows = [row for row in rows_of(run) if row["kind"] == "train"]
    assert [row["step"] for row in rows] == list(range(3, 31, 3))
    for row in rows:
        factor = 0.5 if row["step"] > 12 else 1.0
        assert row["learning_rate"] == learning_rate(run.recipe.training, row["step"]) * factor
    state = newest_checkpoint(run.run_dir / "checkpoints", print).state
    assert state.position == places(run, 43)[-1]  # step 13 got the 25th batch, step 30 the 42nd
    assert (state.rate_factor, state.returns, state.returns_in_place, state.failed_step) == (0.5, 1, 0, 24)


def test_the_course_is_that_of_training_from_the_checkpoint_with_those_batches_and_that_rate(
    tmp_path, poison
):
    run = make_run(tmp_path, **SETTINGS)
    whole = make_run(tmp_path, name="whole", **{**SETTINGS, "max_steps": 12})
    fit(whole)
    poison(set(places(run, 30)[14:24]))
    fit(run)
    learner = make_learner(run)
    from tfcli.training.checkpoint import restore

    restore(newest_checkpoint(whole.run_dir / "checkpoints", print), learner, run.recipe.seed)
    batches = TrainingBatches(run.prepared.train, 64, run.recipe.seed, places(run, 25)[24])
    for step in range(13, 31):
        train_step(learner, [batches.next_batch()], learning_rate(run.recipe.training, step) * 0.5)
    from safetensors.torch import load_file

    final = load_file(run.run_dir / "checkpoints" / "step-00000030" / "model.safetensors")
    for name, parameter in learner.model.named_parameters():
        assert torch.equal(final[name], parameter), name


def test_without_a_checkpoint_the_run_begins_anew_from_its_seed(tmp_path, poison):
    run = make_run(tmp_path, **SETTINGS)
    poison(set(places(run, 30)[2:12]))  # steps 3 to 12, before any good checkpoint
    assert fit(run).step == 30
    assert "going back to the beginning, and on with" in run.reporter.warnings[-1]
    learner = make_learner(run)
    batches = TrainingBatches(run.prepared.train, 64, run.recipe.seed, places(run, 13)[12])
    for step in range(1, 31):
        train_step(learner, [batches.next_batch()], learning_rate(run.recipe.training, step) * 0.5)
    from safetensors.torch import load_file

    final = load_file(run.run_dir / "checkpoints" / "step-00000030" / "model.safetensors")
    assert all(torch.equal(final[name], parameter) for name, parameter in learner.model.named_parameters())


def through_and_again(tmp_path, poison, bad):
    """Return a run that went through, and a function that makes the same one, to be disturbed."""

    def make(name, stop_asked=lambda: False):
        return make_run(tmp_path, name=name, stop_asked=stop_asked, **SETTINGS)

    through = make("through")
    poison(set(places(through, 60)[bad]))
    fit(through)
    return through, make


BAD = [slice(14, 24), slice(2, 12), slice(11, 32)]


@pytest.mark.parametrize("bad", BAD, ids=["once", "before the first checkpoint", "twice"])
@pytest.mark.parametrize("stop_every", [1, 5])
def test_stopping_again_and_again_changes_nothing_about_going_back(tmp_path, poison, bad, stop_every):
    through, make = through_and_again(tmp_path, poison, bad)
    assert any("going back" in warning for warning in through.reporter.warnings)
    count = iter(range(1, 10_000))
    stopped = make("stopped", lambda: next(count) % stop_every == 0)
    starts = 0
    while fit(stopped).reason == "stopped":
        starts += 1
        assert starts < 200
    assert starts >= 4
    assert outcome(stopped) == outcome(through)


@pytest.mark.parametrize("bad", BAD, ids=["once", "before the first checkpoint", "twice"])
def test_crashing_again_and_again_changes_nothing_about_going_back(tmp_path, poison, bad, monkeypatch):
    through, make = through_and_again(tmp_path, poison, bad)
    crashed = make("crashed")
    step, count = fit_module.train_step, iter(range(1, 10_000))

    def crashing(*args):
        if next(count) % 11 == 0:
            raise KeyboardInterrupt
        return step(*args)

    monkeypatch.setattr(fit_module, "train_step", crashing)
    crashes = 0
    for _ in range(12):
        try:
            fit(crashed)
            break
        except KeyboardInterrupt:
            crashes += 1
    monkeypatch.setattr(fit_module, "train_step", step)
    fit(crashed)
    assert crashes >= 2
    assert outcome(crashed) == outcome(through)


def test_a_checkpoint_of_a_stop_in_between_is_not_gone_back_to(tmp_path, poison):
    asked = iter([False] * 13 + [True] + [False] * 100)
    run = make_run(tmp_path, stop_asked=lambda: next(asked), **SETTINGS)
    poison(set(places(run, 30)[15:25]))  # steps 16 to 25
    assert fit(run).step == 14
    assert (run.run_dir / "checkpoints" / "step-00000014").is_dir()
    fit(run)
    assert "going back to " + str(run.run_dir / "checkpoints" / "step-00000012") in run.reporter.warnings[-1]


def test_a_checkpoint_whose_own_weights_have_gone_wrong_is_not_gone_back_to(tmp_path, poison):
    run = make_run(tmp_path, **SETTINGS)
    poison(set(places(run, 30)[12:22]))  # from the step after the checkpoint of step 12 on
    fit(run)
    assert "going back to " + str(run.run_dir / "checkpoints" / "step-00000008") in run.reporter.warnings[-1]


def test_weights_that_may_have_gone_wrong_are_better_than_none(tmp_path, poison):
    run = make_run(tmp_path, **{**SETTINGS, "keep_checkpoints": 1})
    poison(set(places(run, 30)[12:22]))
    assert fit(run).step == 30
    assert any("going back to" in warning and "step-00000012" in warning for warning in run.reporter.warnings)


def test_skipped_steps_do_not_push_the_checkpoints_of_good_ones_out(tmp_path, poison):
    run = make_run(tmp_path, **{**SETTINGS, "checkpoint_every": 1, "keep_checkpoints": 2})
    poison(set(places(run, 30)[14:24]))
    assert fit(run).step == 30
    assert any("going back to" in warning and "step-00000013" in warning for warning in run.reporter.warnings)
    assert [folder.name for folder in checkpoint_folders(run.run_dir / "checkpoints")] == [
        "step-00000029", "step-00000030"
    ]  # fmt: skip


def test_a_damaged_checkpoint_is_named_and_passed_over_when_going_back(tmp_path, poison, monkeypatch):
    run = make_run(tmp_path, **SETTINGS)
    poison(set(places(run, 30)[14:24]))
    step = fit_module.train_step

    def damage(*args):
        for folder in (run.run_dir / "checkpoints").glob("step-00000012"):
            (folder / "rng.safetensors").unlink(missing_ok=True)
        return step(*args)

    monkeypatch.setattr(fit_module, "train_step", damage)
    fit(run)
    assert any(
        "step-00000012/rng.safetensors: damaged (the file is missing); trying the checkpoint" in warning
        for warning in run.reporter.warnings
    )
    assert any("going back to" in warning and "step-00000008" in warning for warning in run.reporter.warnings)


def fail_where(monkeypatch, is_bad):
    """Have each update whose state is bad skipped, whatever its batches are."""
    step = fit_module.train_step

    def failing(learner, group, rate, add):
        (state,) = add.args
        if is_bad(state):
            return StepResult(float("nan"), float("nan"), 1, float("nan"), rate, False, tuple(group))
        return step(learner, group, rate, add)

    monkeypatch.setattr(fit_module, "train_step", failing)


def test_training_ends_when_going_back_does_not_get_past_the_place(tmp_path, monkeypatch):
    run = make_run(tmp_path, **SETTINGS)
    fail_where(monkeypatch, lambda state: state.step >= 14)
    for _ in range(2):  # run again, it goes on from a checkpoint of the last try, to the same end
        with pytest.raises(TrainingError) as caught:
            fit(run)
        assert caught.value.message == (
            "10 updates in a row were not finite, the last at step 24; going back and halving the learning rate 3 "
            "times did not help"
        )
        assert "--fresh" in caught.value.hint
    assert sum("going back" in warning for warning in run.reporter.warnings) == 3


def test_a_run_that_gets_past_the_place_may_go_back_as_often_at_another(tmp_path, monkeypatch):
    run = make_run(tmp_path, **{**SETTINGS, "max_steps": 60})
    fail_where(
        monkeypatch,
        lambda state: (
            (state.returns < 3 and state.step >= 14) or (3 <= state.returns < 6 and state.step >= 34)
        ),
    )
    assert fit(run).step == 60
    rows = [row for row in rows_of(run) if row["kind"] == "train"]
    assert rows[-1]["learning_rate"] == learning_rate(run.recipe.training, 60) / 64


def test_when_no_update_was_ever_finite_there_is_nothing_to_go_back_to(tmp_path, monkeypatch):
    run = make_run(tmp_path, **SETTINGS)
    fail_where(monkeypatch, lambda state: True)
    with pytest.raises(TrainingError, match=r"10 updates in a row were not finite, the last at step 10$"):
        fit(run)


def test_the_best_model_stays_the_best_when_its_step_is_undone(tmp_path, poison):
    settings = {**SETTINGS, "validate_every": 5, "patience": 3}
    # validations at steps 5, 10, 15, 20; at step 25 back to step 12; again at 15, 20 and 25; the average
    scores = iter([5.0, 6.0, 30.0, 7.0, 8.0, 9.0, 10.0, 11.0])
    run = make_run(tmp_path, validate=lambda model: next(scores), **settings)
    poison(set(places(run, 40)[15:25]))
    done = fit(run)
    assert (done.step, done.best_step, done.best_score) == (25, 15, 30.0)
    trained = json.loads((run.run_dir / "best" / "config.json").read_text())["trained"]
    assert (trained["step"], trained["validation_bleu"]) == (15, 30.0)
    assert next(scores, None) is None


def test_loss_that_stays_finite_never_sends_a_run_back(tmp_path):
    run = make_run(tmp_path, **SETTINGS)
    fit(run)
    assert run.reporter.warnings == []
