"""What must hold for Muon: each map is orthogonalised for itself, AdamW has the rest, and the state comes back exactly."""

import pytest
import torch
from torch import nn

from tests.training_runs import make_run, recipe_with, rows_of
from tfcli.corpus.batches import TrainingBatches
from tfcli.errors import CheckpointError, RecipeError
from tfcli.training.checkpoint import checkpoint_folders
from tfcli.training.fit import fit
from tfcli.training.learner import make_learner, refuse_impossible
from tfcli.training.muon import orthogonalize
from tfcli.training.optimizer import make_optimizer, optimizer_tensors, restore_optimizer
from tfcli.training.step import train_step


def settings(**changes):
    return recipe_with(optimizer="muon", **changes).training


def matrices_of(model):
    return {
        name: module.weight
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not model.output
    }


def with_gradients(model, seed=5):
    torch.manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    return model


@pytest.mark.parametrize(
    "kind",
    [
        {"tie_embeddings": "all"},
        {"tie_embeddings": "none"},
        {"activation": "swiglu", "norm_kind": "rms", "qk_norm": True, "n_kv_heads": 2},
    ],
)
def test_every_parameter_belongs_to_exactly_one_of_the_two(tiny_model, kind):
    model = tiny_model(positions="learned", **kind)
    optimizer = make_optimizer(model, settings(), "fp32")
    adamw = [id(parameter) for group in optimizer.adamw.param_groups for parameter in group["params"]]
    muon = [id(matrix) for matrix in optimizer.matrices.values()]
    assert sorted(adamw + muon) == sorted(id(parameter) for parameter in model.parameters())
    assert sorted(muon) == sorted(id(matrix) for matrix in matrices_of(model).values())


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch has it from 2.9 on")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_is_that_of_torchs_muon_on_each_map_for_itself(tiny_model, precision):
    model, alone = with_gradients(tiny_model()), with_gradients(tiny_model())
    before = {name: matrix.detach().clone() for name, matrix in matrices_of(model).items()}
    optimizer = make_optimizer(model, settings(weight_decay=0.1, muon_momentum=0.8), precision)
    parts = {}
    for name, matrix in matrices_of(alone).items():
        n_maps = {"qkv": 3, "kv": 2}.get(name.rsplit(".", 1)[1], 1)
        parts[name] = [nn.Parameter(rows.clone()) for rows in matrix.detach().chunk(n_maps)]
        for part, rows in zip(parts[name], matrix.grad.chunk(n_maps), strict=True):
            part.grad = rows.clone()
    assert {len(maps) for maps in parts.values()} == {1, 2, 3}
    reference = torch.optim.Muon(
        [part for maps in parts.values() for part in maps],
        lr=0.02, weight_decay=0.1, momentum=0.8, adjust_lr_fn="match_rms_adamw",
    )  # fmt: skip
    for step in range(3):
        for group in optimizer.param_groups:
            group["lr"] = 0.02
        optimizer.step()
        reference.step()
        with_gradients(model, seed=step)
        for name, matrix in matrices_of(model).items():
            for part, rows in zip(parts[name], matrix.grad.chunk(len(parts[name])), strict=True):
                part.grad = rows.clone()
    for name, matrix in matrices_of(model).items():
        ours = matrix.detach() - before[name]
        theirs = torch.cat([part.detach() for part in parts[name]]) - before[name]
        assert (ours - theirs).norm() < 0.03 * theirs.norm()  # torch's is in bf16, which has eight bits


@pytest.mark.parametrize("shape", [(5, 5), (4, 9), (9, 4)])
def test_orthogonalizing_keeps_singular_vectors_and_brings_singular_values_near_one(shape):
    torch.manual_seed(3)
    matrices = torch.randn(3, *shape, dtype=torch.float64)
    for matrix, found in zip(matrices, orthogonalize(matrices), strict=True):
        u, values, v = torch.linalg.svd(matrix, full_matrices=False)
        values = values / values.norm()
        for _ in range(5):
            values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
        torch.testing.assert_close(found, u @ torch.diag(values) @ v)
        assert values.min() > 0.6
        assert values.max() < 1.25


@pytest.mark.parametrize("n_kv_heads", [None, 2])
def test_what_stands_in_one_matrix_is_orthogonalized_map_by_map(tiny_model, n_kv_heads):
    model = with_gradients(tiny_model(n_kv_heads=n_kv_heads))
    optimizer = make_optimizer(model, settings(), "fp32")
    before = model.encoder[0].self_attention.qkv.weight.detach().clone()
    for group in optimizer.param_groups:
        group["lr"] = 1.0
    optimizer.step()
    moved = (before - model.encoder[0].self_attention.qkv.weight.detach()) / (0.2 * 16**0.5)
    of_keys = 16 if n_kv_heads is None else 8
    parts = moved.split((16, of_keys, of_keys))
    assert all(torch.linalg.svdvals(part).max() < 1.25 for part in parts)
    assert all(torch.linalg.svdvals(part).min() > 0.6 for part in parts)
    assert (
        torch.linalg.svdvals(moved).max() > 1.25
    )  # three orthogonal maps on top of each other are none themselves


def test_all_but_the_matrices_moves_as_under_adamw_alone(tiny_model):
    models = with_gradients(tiny_model()), with_gradients(tiny_model())
    optimizers = (
        make_optimizer(models[0], settings(), "fp32"),
        make_optimizer(models[1], recipe_with().training, "fp32"),
    )
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = 0.01
        optimizer.step()
    after = [dict(model.named_parameters()) for model in models]
    differing = {name for name in after[0] if not torch.equal(after[0][name], after[1][name])}
    assert differing == {f"{name}.weight" for name in matrices_of(models[0])}


def test_training_with_muon_learns_to_reverse(tmp_path):
    run = make_run(
        tmp_path, optimizer="muon", learning_rate=3e-2, max_steps=80, validate_every=80, checkpoint_every=80
    )
    fit(run)
    losses = [row["loss"] for row in rows_of(run) if row["kind"] == "train"]
    assert losses[-1] < 0.75 * losses[0]


@pytest.mark.parametrize("steps_before", [1, 3, 4])
def test_stopping_and_resuming_gives_the_same_bytes_as_going_through(tmp_path, steps_before):
    through = make_run(tmp_path, name="through", optimizer="muon", weight_decay=0.1)
    fit(through)
    asked = iter([False] * (steps_before - 1) + [True] + [False] * 20)
    stopped = make_run(
        tmp_path, name="stopped", stop_asked=lambda: next(asked), optimizer="muon", weight_decay=0.1
    )
    assert fit(stopped).reason == "stopped"
    assert fit(stopped).reason == "finished"
    last = [checkpoint_folders(run.run_dir / "checkpoints")[-1] for run in (through, stopped)]
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert (last[0] / name).read_bytes() == (last[1] / name).read_bytes()
    assert rows_of(through) == rows_of(stopped)


def test_another_optimizer_is_refused_when_resuming(tmp_path):
    fit(make_run(tmp_path))
    with pytest.raises(RecipeError, match=r"training.optimizer: 'adamw' -> 'muon'"):
        fit(make_run(tmp_path, optimizer="muon", max_steps=9))


def test_a_state_that_lacks_a_momentum_is_refused_and_that_of_no_update_is_zero(tiny_model):
    model = with_gradients(tiny_model())
    optimizer = make_optimizer(model, settings(), "fp32")
    optimizer.step()
    tensors = {name: tensor.clone() for name, tensor in optimizer_tensors(model, optimizer).items()}
    restore_optimizer(model, optimizer, tensors, updates=0)
    assert not any(momentum.any() for momentum in optimizer.momentum.values())
    assert not optimizer.adamw.state
    del tensors["momentum.decoder.1.cross_attention.kv.weight"]
    with pytest.raises(CheckpointError, match=r"lacks 'momentum.decoder.1.cross_attention.kv.weight'"):
        restore_optimizer(model, optimizer, tensors, updates=1)


def test_a_gradient_that_is_not_finite_changes_nothing(tmp_path):
    run = make_run(tmp_path, optimizer="muon")
    learner = make_learner(run)
    batch = TrainingBatches(run.prepared.train, 64, seed=1).next_batch()
    before = {name: parameter.detach().clone() for name, parameter in learner.model.named_parameters()}
    with torch.no_grad():
        learner.model.encoder_norm.bias[0] = float("nan")
    assert not train_step(learner, [batch], 1e-2).updated
    assert not any(momentum.any() for momentum in learner.optimizer.momentum.values())
    assert all(parameter.grad is None for parameter in learner.model.parameters())
    for name, parameter in learner.model.named_parameters():
        assert name == "encoder_norm.bias" or torch.equal(parameter, before[name])


def test_muon_without_a_matrix_to_train_is_refused(tiny_model):
    names = [
        f"{stack}.0.{part}" for stack in ("encoder", "decoder") for part in ("self_attention", "feed_forward")
    ]
    recipe = recipe_with(optimizer="muon", freeze=[*names, "decoder.0.cross_attention"])
    with pytest.raises(RecipeError, match=r"training.freeze names every matrix of the layers"):
        refuse_impossible(recipe)
    refuse_impossible(recipe_with(optimizer="muon", freeze=names))
