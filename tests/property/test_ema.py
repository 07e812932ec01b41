"""What must hold for the moving average of the weights: its arithmetic, who sees it, and that it comes back exactly."""

import json

import pytest
import torch
from safetensors.torch import load_file

from tests.training_runs import fit_until_crash, make_run, rows_of
from tfcli.corpus.batches import TrainingBatches
from tfcli.errors import CheckpointError, RecipeError
from tfcli.training.checkpoint import checkpoint_folders, read_checkpoint
from tfcli.training.fit import fit
from tfcli.training.learner import make_learner
from tfcli.training.step import corpus_nll, train_step


def last_checkpoint(run):
    return checkpoint_folders(run.run_dir / "checkpoints")[-1]


def weights_of(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def step_of(learner, batches):
    return train_step(learner, [batches.next_batch()], 1e-2)


def test_the_average_follows_the_weights_with_a_decay_that_grows_to_the_one_asked_for(tmp_path):
    run = make_run(tmp_path, ema_decay=0.3)
    learner = make_learner(run)
    batches = TrainingBatches(run.prepared.train, 64, seed=1)
    expected = {name: tensor.double() for name, tensor in weights_of(learner.model).items()}
    for decay in (2 / 11, 3 / 12, 0.3, 0.3):  # (1 + n) / (10 + n) is 4 / 13 for n = 3
        step_of(learner, batches)
        for name, tensor in weights_of(learner.model).items():
            expected[name] = decay * expected[name] + (1 - decay) * tensor.double()
    for name, tensor in weights_of(learner.ema.model).items():
        torch.testing.assert_close(tensor, expected[name].float())


def test_averaging_changes_no_update(tmp_path):
    plain, averaged = make_run(tmp_path, name="plain"), make_run(tmp_path, name="averaged", ema_decay=0.5)
    for run in (plain, averaged):
        fit(run)
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert (last_checkpoint(plain) / name).read_bytes() == (last_checkpoint(averaged) / name).read_bytes()


def test_validation_scores_the_average_and_keeps_it_as_the_best(tmp_path):
    seen = []

    def score(model):
        seen.append(weights_of(model))
        return float(len(seen))

    run = make_run(tmp_path, ema_decay=0.9, average_checkpoints=False, validate=score)
    fit(run)
    folder = last_checkpoint(run)
    average, raw = load_file(folder / "ema.safetensors"), load_file(folder / "model.safetensors")
    assert all(torch.equal(seen[-1][name], tensor) for name, tensor in average.items())
    assert not any(torch.equal(average[name], raw[name]) for name in raw)
    assert (run.run_dir / "best" / "model.safetensors").read_bytes() == (
        folder / "ema.safetensors"
    ).read_bytes()
    learner = make_learner(run)
    losses = {}
    for kind, tensors in (("average", average), ("raw", raw)):
        learner.model.load_state_dict(tensors, strict=False)
        losses[kind] = corpus_nll(learner, run.prepared.valid, 64)
    reported = [row["loss"] for row in rows_of(run) if row["kind"] == "valid"][-1]
    assert reported == losses["average"] != losses["raw"]
    info = json.loads((run.run_dir / "best" / "config.json").read_text())
    assert info["trained"]["ema_decay"] == 0.9
    assert "exponential moving average (decay 0.9)" in (run.run_dir / "best" / "README.md").read_text()


@pytest.mark.parametrize(("at_the_end", "ema_decay"), [(25.0, None), (15.0, 0.9)])
def test_the_average_of_the_last_checkpoints_competes_with_it(tmp_path, at_the_end, ema_decay):
    scores = iter([10.0, 20.0, at_the_end])
    run = make_run(tmp_path, ema_decay=0.9, validate=lambda model: next(scores))
    assert fit(run).best_score == max(20.0, at_the_end)
    trained = json.loads((run.run_dir / "best" / "config.json").read_text())["trained"]
    assert trained["ema_decay"] == ema_decay
    best = load_file(run.run_dir / "best" / "model.safetensors")
    each = [
        load_file(folder / "model.safetensors") for folder in checkpoint_folders(run.run_dir / "checkpoints")
    ]
    for name, tensor in best.items():
        mean_of_raw = torch.stack([tensors[name] for tensors in each]).mean(0)
        assert torch.allclose(tensor, mean_of_raw, atol=1e-7) == (ema_decay is None), name


@pytest.mark.parametrize("steps_before", [1, 3, 4])
def test_stopping_and_resuming_gives_the_same_average(tmp_path, steps_before):
    through = make_run(tmp_path, name="through", ema_decay=0.9)
    fit(through)
    asked = iter([False] * (steps_before - 1) + [True] + [False] * 20)
    stopped = make_run(tmp_path, name="stopped", stop_asked=lambda: next(asked), ema_decay=0.9)
    assert fit(stopped).reason == "stopped"
    assert fit(stopped).reason == "finished"
    for name in ("model.safetensors", "ema.safetensors"):
        assert (last_checkpoint(through) / name).read_bytes() == (
            last_checkpoint(stopped) / name
        ).read_bytes()
    assert rows_of(through) == rows_of(stopped)


def test_a_skipped_update_does_not_move_the_average(tmp_path):
    run = make_run(tmp_path, ema_decay=0.5)
    learner = make_learner(run)
    batches = TrainingBatches(run.prepared.train, 64, seed=1)
    step_of(learner, batches)
    before = weights_of(learner.ema.model)
    with torch.no_grad():
        learner.model.output.weight[5, 0] = float("inf")
    assert not step_of(learner, batches).updated
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights_of(learner.ema.model).items())


def test_frozen_weights_stay_as_they_are_in_the_average(tmp_path):
    learner = make_learner(run := make_run(tmp_path, ema_decay=0.5, freeze=["encoder"]))
    batches = TrainingBatches(run.prepared.train, 64, seed=1)
    for _ in range(3):
        step_of(learner, batches)
    raw, average = weights_of(learner.model), weights_of(learner.ema.model)
    assert {name for name in raw if torch.equal(raw[name], average[name])} == {
        name for name in raw if name.startswith("encoder.")
    }


def test_a_checkpoint_whose_average_is_gone_is_damaged_and_the_one_before_is_used(tmp_path):
    through = make_run(tmp_path, name="through", ema_decay=0.9, max_steps=12)
    fit(through)
    run = make_run(tmp_path, ema_decay=0.9)
    fit(run)
    folder = last_checkpoint(run)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["ema.safetensors"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=r"manifest.json: damaged \(lacks ema.safetensors\)"):
        read_checkpoint(folder)
    longer = make_run(tmp_path, ema_decay=0.9, max_steps=12)
    fit(longer)
    assert any(str(folder) in warning for warning in longer.reporter.warnings)
    assert (last_checkpoint(longer) / "ema.safetensors").read_bytes() == (
        last_checkpoint(through) / "ema.safetensors"
    ).read_bytes()


@pytest.mark.parametrize(("before", "now"), [(None, 0.9), (0.9, 0.99), (0.9, None)])
def test_another_decay_is_refused_when_resuming(tmp_path, before, now):
    fit(make_run(tmp_path, ema_decay=before))
    with pytest.raises(RecipeError, match=f"training.ema_decay: {before} -> {now}"):
        fit(make_run(tmp_path, ema_decay=now, max_steps=9))


def test_a_crash_after_a_checkpoint_is_undone_in_the_average_too(tmp_path, monkeypatch):
    through = make_run(tmp_path, name="through", ema_decay=0.9)
    fit(through)
    crashed = make_run(tmp_path, name="crashed", ema_decay=0.9)
    fit_until_crash(crashed, monkeypatch, at=6)
    fit(crashed)
    assert (last_checkpoint(crashed) / "ema.safetensors").read_bytes() == (
        last_checkpoint(through) / "ema.safetensors"
    ).read_bytes()
