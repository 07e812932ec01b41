"""What must hold for frozen parameters: they stay as they are to the last bit, and nothing else does."""

import pytest
import torch
from torch import nn

from tests.training_runs import make_run, rows_of
from tfcli.corpus.batches import TrainingBatches
from tfcli.errors import RecipeError
from tfcli.training.checkpoint import checkpoint_folders
from tfcli.training.fit import fit
from tfcli.training.freeze import freeze
from tfcli.training.learner import make_learner
from tfcli.training.optimizer import optimizer_tensors, parameter_groups
from tfcli.training.step import train_step


def frozen_names(model):
    return {name for name, parameter in model.named_parameters() if not parameter.requires_grad}


def step_of(learner, run):
    return train_step(learner, [TrainingBatches(run.prepared.train, 64, seed=1).next_batch()], 1e-2)


def test_what_is_frozen_keeps_its_bits_and_all_else_moves(tmp_path):
    run = make_run(tmp_path, freeze=["src_embedding", "encoder.0.self_attention"])
    learner = make_learner(run)
    before = {name: parameter.detach().clone() for name, parameter in learner.model.named_parameters()}
    for _ in range(3):
        step_of(learner, run)
    after = dict(learner.model.named_parameters())
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == {
        name for name in before if name.startswith(("src_embedding", "encoder.0.self_attention."))
    }
    assert len(same) == 5


def test_a_prefix_ends_where_a_part_of_the_name_does():
    layers = nn.ModuleDict({"encoder": nn.ModuleList(nn.Linear(2, 2) for _ in range(11))})
    layers["encoder_norm"] = nn.LayerNorm(2)
    freeze(layers, ["encoder.1"])
    assert frozen_names(layers) == {"encoder.1.weight", "encoder.1.bias"}
    freeze(layers, ["encoder"])
    assert not any(name.startswith("encoder_norm") for name in frozen_names(layers))


@pytest.mark.parametrize("prefix", ["src_embedding", "tgt_embedding.pieces", "output.weight"])
def test_a_tied_matrix_is_frozen_under_all_its_names_and_that_is_told(tmp_path, prefix):
    run = make_run(tmp_path, freeze=[prefix])
    learner = make_learner(run)
    assert frozen_names(learner.model) == {"src_embedding.pieces.weight"}
    told = " ".join(run.reporter.notes)
    names = ("src_embedding.pieces.weight", "tgt_embedding.pieces.weight", "output.weight")
    assert [f"{name} is frozen, too" in told for name in names] == [
        not name.startswith(prefix) for name in names
    ]


def test_without_ties_only_the_named_matrix_is_frozen(tiny_model):
    model = tiny_model(tie_embeddings="none")
    assert freeze(model, ["src_embedding"]) == []
    assert frozen_names(model) == {"src_embedding.pieces.weight"}


def test_a_name_that_no_parameter_has_is_refused_with_names_that_are_near(tiny_model):
    with pytest.raises(
        RecipeError, match=r"training.freeze: no parameter's name begins with 'encodr.0'"
    ) as caught:
        freeze(tiny_model(), ["decoder.0", "encodr.0"])
    assert "encoder.0" in caught.value.hint
    with pytest.raises(RecipeError) as caught:
        freeze(tiny_model(), ["xyz"])
    assert caught.value.hint == (
        "the top names: src_embedding, tgt_embedding, encoder, decoder, encoder_norm, decoder_norm, output"
    )


def test_freezing_everything_is_refused(tiny_model):
    everything = ["src_embedding", "encoder", "decoder", "encoder_norm", "decoder_norm"]  # the rest is tied
    with pytest.raises(RecipeError, match="every parameter is frozen"):
        freeze(tiny_model(), everything)


def test_the_optimizer_knows_only_what_is_trained(tmp_path):
    run = make_run(tmp_path, freeze=["decoder"])
    learner = make_learner(run)
    step_of(learner, run)
    groups = parameter_groups(learner.model, 0.1)
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    trained = [
        parameter for name, parameter in learner.model.named_parameters() if not name.startswith("decoder.")
    ]
    assert sorted(grouped) == sorted(map(id, trained))
    assert not any(".decoder." in name for name in optimizer_tensors(learner.model, learner.optimizer))


def test_the_norm_that_is_clipped_is_that_of_the_trained_gradients(tmp_path):
    whole = make_run(tmp_path, clip_norm=None)
    learner = make_learner(whole)
    norms = {}

    def note_norms():
        for name, parameter in learner.model.named_parameters():
            norms[name] = float(parameter.grad.norm())

    learner.optimizer.step = note_norms
    step_of(learner, whole)
    part = make_run(tmp_path, clip_norm=None, freeze=["encoder", "src_embedding"])
    expected = sum(norm**2 for name, norm in norms.items() if not name.startswith(("encoder.", "src_")))
    assert step_of(make_learner(part), part).gradient_norm == pytest.approx(expected**0.5, rel=1e-5)


def test_a_run_with_frozen_parts_resumes_to_the_same_bytes_and_with_no_others(tmp_path):
    through = make_run(tmp_path, name="through", freeze=["encoder"])
    fit(through)
    asked = iter([False, False, True] + [False] * 20)
    stopped = make_run(tmp_path, name="stopped", stop_asked=lambda: next(asked), freeze=["encoder"])
    assert fit(stopped).reason == "stopped"
    assert fit(stopped).reason == "finished"
    last = [checkpoint_folders(run.run_dir / "checkpoints")[-1] for run in (through, stopped)]
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert (last[0] / name).read_bytes() == (last[1] / name).read_bytes()
    assert rows_of(through) == rows_of(stopped)
    with pytest.raises(RecipeError, match=r"training.freeze\[0\]: 'encoder' -> 'decoder'"):
        fit(make_run(tmp_path, name="stopped", freeze=["decoder"], max_steps=9))
