"""What must hold for training: exact normalisation, exact resume, every weight optimized once."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from torch import nn

from tests.training_runs import final_bytes, make_run, rows_of
from tfcli.corpus.batches import Batch, TrainingBatches
from tfcli.errors import CheckpointError, TrainingError
from tfcli.model import folder as folder_module
from tfcli.training import fit as fit_module
from tfcli.training.adamw import AdamW
from tfcli.training.checkpoint import average_weights, checkpoint_folders, read_checkpoint
from tfcli.training.fit import fit
from tfcli.training.learner import make_learner
from tfcli.training.optimizer import parameter_groups
from tfcli.training.step import train_step


def halves(batch):
    middle = len(batch.indices) // 2
    for rows in (slice(0, middle), slice(middle, None)):
        yield Batch(batch.src[rows], batch.tgt_in[rows], batch.tgt_out[rows], batch.indices[rows])


def weights(learner):
    return torch.cat([parameter.detach().flatten() for parameter in learner.model.parameters()])


def test_one_batch_of_many_equals_several_of_few(tmp_path):
    run = make_run(tmp_path)
    run = replace(run, config=replace(run.config, dropout=0.0))
    whole, parts = make_learner(run), make_learner(run)
    batches = TrainingBatches(run.prepared.train, 200, seed=1)
    for _ in range(4):
        batch = batches.next_batch()
        one = train_step(whole, [batch], 1e-2)
        several = train_step(parts, [quarter for half in halves(batch) for quarter in halves(half)], 1e-2)
        assert several.loss == pytest.approx(one.loss, rel=1e-5)
        assert several.gradient_norm == pytest.approx(one.gradient_norm, rel=1e-4)


def test_training_learns_to_reverse(tmp_path):
    run = make_run(tmp_path, max_steps=80, validate_every=80, checkpoint_every=80)
    fit(run)
    losses = [row["loss"] for row in rows_of(run) if row["kind"] == "train"]
    assert losses[-1] < 0.75 * losses[0]


def test_the_same_seed_gives_the_same_losses_and_another_seed_others(tmp_path):
    first, again = make_run(tmp_path, name="a"), make_run(tmp_path, name="b")
    other = make_run(tmp_path, name="c")
    other = replace(other, recipe=other.recipe.model_copy(update={"seed": 2}))
    for run in (first, again, other):
        fit(run)
    assert rows_of(first) == rows_of(again)
    assert rows_of(first) != rows_of(other)


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    run = make_run(tmp_path)
    fit(run)
    assert [folder.name for folder in checkpoint_folders(run.run_dir / "checkpoints")] == [
        "step-00000004", "step-00000006", "step-00000008"
    ]  # fmt: skip


def test_the_average_is_kept_only_when_it_translates_better(tmp_path):
    scores = iter([10.0, 20.0, 25.0])
    better = make_run(tmp_path, name="better", validate=lambda model: next(scores))
    assert fit(better).best_score == 25.0
    info = json.loads((better.run_dir / "best" / "config.json").read_text())
    assert info["trained"] == {
        "step": 8,
        "averaged_checkpoints": 3,
        "ema_decay": None,
        "validation_bleu": 25.0,
    }
    scores = iter([10.0, 20.0, 15.0])
    worse = make_run(tmp_path, name="worse", validate=lambda model: next(scores))
    assert fit(worse).best_score == 20.0
    assert (worse.run_dir / "best" / "model.safetensors").read_bytes() == final_bytes(worse)


def test_averaging_takes_the_mean_of_the_weights(tmp_path):
    run = make_run(tmp_path)
    fit(run)
    folders = checkpoint_folders(run.run_dir / "checkpoints")
    from safetensors.torch import load_file

    each = [load_file(folder / "model.safetensors") for folder in folders]
    for name, mean in average_weights(folders).items():
        torch.testing.assert_close(mean, torch.stack([tensors[name] for tensors in each]).mean(0))


def test_patience_ends_training_early_and_a_resumed_run_remembers_it(tmp_path):
    scores = iter([5.0, 4.0, 4.5, 9.0, 9.0])
    run = make_run(tmp_path, max_steps=50, validate_every=2, patience=2, validate=lambda model: next(scores))
    outcome = fit(run)
    assert (outcome.reason, outcome.step) == ("finished", 6)
    assert fit(run).reason == "already finished"


def test_a_gradient_that_is_not_finite_changes_nothing_and_many_end_the_run(tmp_path, monkeypatch):
    run = make_run(tmp_path, max_steps=100)
    learner = make_learner(run)
    before = weights(learner).clone()
    batch = TrainingBatches(run.prepared.train, 64, seed=1).next_batch()
    with torch.no_grad():
        learner.model.output.weight[5, 0] = float("inf")
    assert not train_step(learner, [batch], 1e-2).updated
    with torch.no_grad():
        learner.model.output.weight[5, 0] = 0.0
    changed = (weights(learner) != before).sum()
    assert changed <= 1

    real = fit_module.make_learner

    def broken(run):
        learner = real(run)
        with torch.no_grad():
            learner.model.output.weight[5, 0] = float("nan")
        return learner

    monkeypatch.setattr(fit_module, "make_learner", broken)
    with pytest.raises(TrainingError, match="10 updates in a row were not finite, the last at step 10"):
        fit(run)
    assert run.reporter.warnings[0].startswith(
        "step 1: loss or gradient is not finite; the update was skipped ("
    )


@pytest.mark.parametrize("kind", [{}, {"activation": "swiglu", "norm_kind": "rms", "qk_norm": True}])
def test_every_parameter_is_in_exactly_one_group_and_only_matrices_decay(tiny_model, kind):
    model = tiny_model(positions="learned", tie_embeddings="none", **kind)
    groups = parameter_groups(model, 0.1)
    seen = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(seen) == sorted(id(parameter) for parameter in model.parameters())
    decayed = {id(parameter) for group in groups if group["weight_decay"] for parameter in group["params"]}
    matrices = {
        id(module.weight)
        for module in model.modules()
        if isinstance(module, nn.Linear) and module is not model.output
    }
    assert decayed == matrices


def test_a_checkpoint_holds_no_pickle(tmp_path):
    run = make_run(tmp_path)
    fit(run)
    folder = checkpoint_folders(run.run_dir / "checkpoints")[-1]
    assert {path.suffix for path in folder.iterdir()} == {".safetensors", ".json"}
    assert read_checkpoint(folder).state.step == 8


def test_clipping_bounds_what_one_step_can_do(tmp_path):
    run = make_run(tmp_path, clip_norm=1e-3)
    learner = make_learner(run)
    batch = TrainingBatches(run.prepared.train, 64, seed=1).next_batch()
    norms = []
    step = learner.optimizer.step
    learner.optimizer.step = lambda: (norms.append(_norm(learner)), step())
    assert train_step(learner, [batch], 1e-2).gradient_norm > 1e-3
    assert norms[0] == pytest.approx(1e-3, rel=1e-2)


def _norm(learner):
    return float(np.sqrt(sum(float((p.grad**2).sum()) for p in learner.model.parameters())))


def test_going_on_after_the_end_keeps_an_average_that_no_later_model_beats(tmp_path):
    scores = iter([10.0, 20.0, 25.0])
    fit(make_run(tmp_path, validate=lambda model: next(scores)))
    longer = make_run(tmp_path, max_steps=12, validate=lambda model: 22.0)
    assert fit(longer).best_score == 25.0
    info = json.loads((longer.run_dir / "best" / "config.json").read_text())
    assert info["trained"]["averaged_checkpoints"] == 3


def test_a_damaged_note_of_the_end_is_written_again(tmp_path):
    run = make_run(tmp_path)
    fit(run)
    (run.run_dir / "finished.json").write_text('{"step": 8, "be')
    assert fit(run).reason == "finished"
    assert fit(run).reason == "already finished"
    assert [row["kind"] for row in rows_of(run)].count("average") == 1


def test_other_scoring_chooses_the_best_model_anew(tmp_path):
    run = make_run(tmp_path, max_steps=4, validate=lambda model: 90.0)
    fit(run)
    other = make_run(tmp_path, max_steps=8, validate=lambda model: 30.0)
    scoring = other.recipe.scoring.model_copy(update={"lowercase": True})
    other = replace(other, recipe=other.recipe.model_copy(update={"scoring": scoring}))
    assert fit(other).best_score == 30.0
    assert "the best model is chosen anew" in " ".join(other.reporter.notes)


def test_how_many_are_translated_at_once_is_no_other_scoring(tmp_path):
    run = make_run(tmp_path, max_steps=4, validate=lambda model: 90.0)
    fit(run)
    other = make_run(tmp_path, max_steps=8, validate=lambda model: 30.0)
    decoding = other.recipe.decoding.model_copy(update={"batch_tokens": 77, "batch_size": 3})
    other = replace(other, recipe=other.recipe.model_copy(update={"decoding": decoding}))
    assert fit(other).best_score == 90.0
    assert "decoding.batch_tokens" in " ".join(other.reporter.notes)


def test_a_full_disk_leaves_the_last_good_checkpoint_and_says_what_to_do(tmp_path, monkeypatch):
    run = make_run(tmp_path)
    saved = folder_module.save_file
    written = []

    def full_disk(tensors, path):
        written.append(path)
        if len(written) > 4:  # in the second checkpoint
            raise SafetensorError("Error while serializing: I/O error: No space left on device")
        saved(tensors, path)

    with monkeypatch.context() as patch:
        patch.setattr(folder_module, "save_file", full_disk)
        with pytest.raises(
            CheckpointError, match=r"step-00000004: cannot be written.*No space left"
        ) as caught:
            fit(run)
    assert "resumes from the last good checkpoint" in caught.value.hint
    assert [path.name for path in (run.run_dir / "checkpoints").iterdir()] == ["step-00000002"]
    assert fit(run).reason == "finished"


def test_a_model_folder_that_cannot_be_written_leaves_the_one_before(tmp_path, monkeypatch):
    scores = iter([1.0, 2.0])
    run = make_run(tmp_path, validate=lambda model: next(scores))
    saved = folder_module.save_file

    def full_disk(tensors, path):
        if path.parent.name == ".best.new" and (run.run_dir / "best").exists():
            raise SafetensorError("No space left on device")
        saved(tensors, path)

    monkeypatch.setattr(folder_module, "save_file", full_disk)
    with pytest.raises(CheckpointError, match="best: cannot be written"):
        fit(run)
    assert json.loads((run.run_dir / "best" / "config.json").read_text())["trained"]["step"] == 4


@pytest.mark.gpu
@pytest.mark.filterwarnings("default")  # torch's compiler gives advice in warnings
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("compiled", [False, True])
def test_a_gpu_trains_stops_and_resumes_in_bf16(tmp_path, compiled):
    def make(name, stop_asked=lambda: False):
        run = make_run(tmp_path, name=name, stop_asked=stop_asked, max_steps=6, compile=compiled)
        return replace(run, device=torch.device("cuda"), precision="bf16")

    through = make("through")
    fit(through)
    asked = iter([False, True, *[False] * 20])
    stopped = make("stopped", lambda: next(asked))
    assert fit(stopped).reason == "stopped"
    assert fit(stopped).reason == "finished"
    losses = [[row["loss"] for row in rows_of(run) if row["kind"] == "train"] for run in (through, stopped)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)


def test_adamw_computes_what_torchs_does(tiny_model):
    ours, theirs = tiny_model(), tiny_model()
    theirs.load_state_dict(ours.state_dict())
    adamw = AdamW(parameter_groups(ours, 0.1), betas=(0.9, 0.98), eps=1e-9)
    expected = torch.optim.AdamW(parameter_groups(theirs, 0.1), betas=(0.9, 0.98), eps=1e-9, fused=True)
    generator = torch.Generator().manual_seed(2)
    for rate in (1e-2, 1e-3, 1e-2):
        for ours_too, parameter in zip(ours.parameters(), theirs.parameters(), strict=True):
            parameter.grad = torch.randn(parameter.shape, generator=generator)
            ours_too.grad = parameter.grad.clone()
        for group in (*adamw.param_groups, *expected.param_groups):
            group["lr"] = rate
        adamw.step()
        expected.step()
        adamw.zero_grad()
    for found, wanted in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(found, wanted)
        assert found.grad is None


def test_an_uncompiled_step_does_not_load_torchs_compiler():
    program = """
import pathlib, sys, tempfile
from tests.training_runs import make_run
from tfcli.training.fit import fit
fit(make_run(pathlib.Path(tempfile.mkdtemp()), max_steps=1))
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])
