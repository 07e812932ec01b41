"""When the network is compiled, and that compiling leaves no trace in the course of a run."""

import pytest
import torch

from tfcli.errors import RecipeError
from tfcli.recipe.schema import TrainingSection
from tfcli.training import compiled
from tfcli.training.compiled import CompiledForward, example_batch, pick_compile

CPU = torch.device("cpu")


def settings(**values):
    return TrainingSection.model_validate(values)


@pytest.mark.parametrize(
    ("values", "precision", "expected"),
    [
        ({}, "bf16", True),
        ({}, "fp32", False),
        ({"max_steps": 10_000}, "bf16", False),  # over before kernels have repaid the time to make them
        ({"max_steps": 10_000, "accumulation_steps": 2}, "bf16", True),
        ({"compile": False}, "bf16", False),
        ({"compile": True}, "fp32", True),
    ],
)
def test_whether_to_compile_follows_from_recipe_and_precision(monkeypatch, values, precision, expected):
    monkeypatch.setattr(compiled.shutil, "which", lambda name: f"/bin/{name}")
    assert pick_compile(settings(**values), CPU, precision) is expected


def test_a_run_that_has_begun_goes_on_as_it_began_when_it_gets_more_steps(monkeypatch):
    monkeypatch.setattr(compiled.shutil, "which", lambda name: f"/bin/{name}")
    assert pick_compile(settings(max_steps=400), CPU, "bf16") is False
    assert pick_compile(settings(max_steps=20_000), CPU, "bf16", begun=False) is False
    assert pick_compile(settings(max_steps=20_000, compile=True), CPU, "bf16", begun=False) is True


def test_the_compiler_that_cxx_names_is_looked_for_without_its_options(monkeypatch):
    monkeypatch.setenv("CXX", "ccache some++ -pipe")
    asked = []
    monkeypatch.setattr(compiled.shutil, "which", asked.append)
    assert pick_compile(settings(), CPU, "bf16") is False
    assert asked == ["ccache"]


def test_without_a_compiler_nothing_is_compiled_and_asking_for_it_is_an_error(monkeypatch):
    monkeypatch.setattr(compiled.shutil, "which", lambda name: None)
    assert pick_compile(settings(), CPU, "bf16") is False
    with pytest.raises(RecipeError, match=r"training\.compile: true needs a C\+\+ compiler"):
        pick_compile(settings(compile=True), CPU, "fp32")


@pytest.mark.parametrize("batch_tokens", [64, 100, 150, 576, 600, 1000, 4096])
def test_the_sizes_of_the_example_all_differ(batch_tokens):
    src, tgt_in, src_packing, tgt_packing = example_batch(batch_tokens, 2, CPU)
    n_sentences, s, t = src_packing.n_sentences, src_packing.longest, tgt_packing.longest
    sizes = [len(src), len(tgt_in), n_sentences, s, t, n_sentences * s, n_sentences * t]
    assert len(set(sizes)) == len(sizes)
    assert max(sizes) <= batch_tokens


def test_compiling_leaves_random_numbers_and_gradients_alone(tiny_model, monkeypatch):
    calls = []

    def compile_nothing(model, dynamic):
        assert dynamic
        return lambda *inputs: calls.append(inputs) or model(*inputs)

    monkeypatch.setattr(torch, "compile", compile_nothing)
    model = tiny_model(dropout=0.3)
    model.train()
    kept = torch.ones_like(model.encoder_norm.weight)
    model.encoder_norm.weight.grad = kept
    before = kept.clone()
    forward = CompiledForward(model, CPU, "fp32", 64)
    batch = example_batch(100, model.config.n_heads, CPU)
    torch.manual_seed(4)
    expected = model(*batch)
    torch.manual_seed(4)
    torch.testing.assert_close(forward(*batch), expected, rtol=0, atol=0)
    assert len(calls) == 2  # the example and the batch
    assert model.encoder_norm.weight.grad is kept
    assert torch.equal(kept, before)
    assert model.output.weight.grad is None
    forward(*batch)
    assert len(calls) == 3
