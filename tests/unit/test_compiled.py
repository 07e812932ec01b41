"""When the network is compiled, and that compiling leaves no trace in the course of a run."""

import functools
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch._dynamo.exc import TorchDynamoException

from tests.language_models import make_run as text_run
from tests.training_runs import make_run
from tfcli.corpus.batches import TrainingBatches
from tfcli.corpus.blocks import BlockBatches
from tfcli.errors import RecipeError, TrainingError
from tfcli.recipe.schema import TrainingSection
from tfcli.training import compiled
from tfcli.training.compiled import CompiledBlocks, CompiledForward, example_batch, pick_compile
from tfcli.training.learner import make_learner
from tfcli.training.step import train_step

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
    assert pick_compile(settings(max_steps=20_000), CPU, "bf16", begun=True) is True
    assert pick_compile(settings(max_steps=20_000, sharding=True), CPU, "bf16", begun=True) is False


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
def test_the_sizes_of_the_example_all_differ(tiny_config, batch_tokens):
    src, tgt_in, src_packing, tgt_packing = example_batch(batch_tokens, tiny_config(), CPU)
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
    batch = example_batch(100, model.config, CPU)
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


@pytest.mark.parametrize(
    ("values", "varlen", "expected"),
    [
        ({"max_steps": 100_000, "batch_tokens": 32_768}, True, True),
        (
            {"max_steps": 100_000, "batch_tokens": 32_768},
            False,
            False,
        ),  # sizes vary too much to be sure of a gain
        ({"max_steps": 10_000, "batch_tokens": 4096}, True, False),
        ({"compile": True}, True, True),
    ],
)
def test_on_a_gpu_long_runs_are_compiled_where_sentences_are_packed(monkeypatch, values, varlen, expected):
    monkeypatch.setattr(compiled.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(compiled.importlib.util, "find_spec", lambda name: name)
    cuda = torch.device("cuda")
    assert pick_compile(settings(**values), cuda, "bf16", varlen=varlen) is expected


def test_a_gpu_needs_triton_to_compile(monkeypatch):
    monkeypatch.setattr(compiled.importlib.util, "find_spec", lambda name: None)
    long_run = {"max_steps": 100_000, "batch_tokens": 32_768}
    assert pick_compile(settings(**long_run), torch.device("cuda"), "bf16", varlen=True) is False
    with pytest.raises(RecipeError, match=r"training\.compile: true needs the package triton"):
        pick_compile(settings(compile=True), torch.device("cuda"), "bf16", varlen=True)


class NeverCompiles:
    """Stands for torch.compile where it fails."""

    def __init__(self, message):
        self.message = message

    def __call__(self, model, **how):
        def fail(*inputs):
            raise TorchDynamoException(self.message)

        return fail


def filled_batch(learner, run):
    batches = TrainingBatches(run.prepared.train, run.recipe.training.batch_tokens, seed=1)
    size = learner.packer.fill.size
    packed = (learner.packer.pack(batches.next_batch()) for _ in range(50))
    return next(batch[:4] for batch in packed if len(batch.src) == size)


def test_a_network_that_cannot_be_compiled_is_told_with_the_setting_to_change(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "compile", NeverCompiles("no such kernel\nand a long trace"))
    run = replace(make_run(tmp_path, compile=True), varlen=True)
    learner = make_learner(run)
    with pytest.raises(TrainingError, match=r"^the network could not be compiled: no such kernel$") as caught:
        learner.forward(*filled_batch(learner, run))
    assert "training.compile to false" in caught.value.hint


def test_so_is_one_that_is_compiled_for_batches_of_any_size_or_for_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "compile", NeverCompiles("no such kernel"))
    learner = make_learner(make_run(tmp_path, compile=True))
    blocks = CompiledBlocks(learner.model, 2, 8)
    for call in (partial(learner.forward, None), partial(blocks, torch.zeros(2, 8))):
        with pytest.raises(TrainingError, match="could not be compiled: no such kernel"):
            call()


def test_memory_that_runs_out_in_a_compiled_network_is_no_failure_to_compile(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "compile", NeverCompiles("CUDA out of memory"))
    run = replace(make_run(tmp_path, compile=True), varlen=True)
    learner = make_learner(run)
    with pytest.raises(TorchDynamoException):
        learner.forward(*filled_batch(learner, run))


def test_one_graph_serves_all_filled_batches_and_computes_what_the_network_does(tmp_path, monkeypatch):
    # the graph is what is asked for here; making kernels of it would take a minute
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    run = replace(make_run(tmp_path, compile=True, batch_tokens=100), varlen=True)
    run = replace(run, config=replace(run.config, dropout=0.0))
    compiled_learner, plain = make_learner(run), make_learner(replace(run, compiled=False))
    fill, batches = compiled_learner.packer.fill, TrainingBatches(run.prepared.train, 100, seed=1)
    group = [batches.next_batch() for _ in range(16)]
    group = [each for each in group if fill.lengths(np.count_nonzero(each.src), each.n_tokens) is not None]
    assert len({len(batch.src) for batch in group}) > 2
    train_step(compiled_learner, group[:1], 1e-3)
    train_step(plain, group[:1], 1e-3)
    with torch.compiler.set_stance("fail_on_recompile"):
        for batch in group[1:]:
            found, expected = train_step(compiled_learner, [batch], 1e-3), train_step(plain, [batch], 1e-3)
            assert found.loss == pytest.approx(expected.loss, rel=1e-5)
            assert found.gradient_norm == pytest.approx(expected.gradient_norm, rel=1e-4)


def test_blocks_of_running_text_are_compiled_for_the_one_size_they_have(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    run = replace(text_run(tmp_path), compiled=True)
    run = replace(run, config=replace(run.config, dropout=0.0))
    compiled_learner, plain = make_learner(run), make_learner(replace(run, compiled=False))
    ds, batch_tokens = run.prepared.train, run.recipe.training.batch_tokens
    batches = BlockBatches(ds, batch_tokens, seed=1)
    epoch = -(-(len(ds) // ds.context) // (batch_tokens // ds.context))
    group = [batches.next_batch() for _ in range(epoch)]
    assert len({batch.tgt_in.shape for batch in group}) == 2  # the last one is smaller
    seen = []
    compiled_forward, network = compiled_learner.forward._compiled, compiled_learner.forward._model
    compiled_learner.forward._compiled = lambda ids: seen.append(len(ids)) or compiled_forward(ids)
    compiled_learner.forward._model = lambda ids: seen.append(-len(ids)) or network(ids)
    for learner in (compiled_learner, plain):
        train_step(learner, group[:1], 1e-3)
    with torch.compiler.set_stance("fail_on_recompile"):
        for batch in group[1:]:
            found, expected = train_step(compiled_learner, [batch], 1e-3), train_step(plain, [batch], 1e-3)
            assert found.loss == pytest.approx(expected.loss, rel=1e-5)
            assert found.gradient_norm == pytest.approx(expected.gradient_norm, rel=1e-4)
    assert seen == [*[len(batch.tgt_in) for batch in group[:-1]], -len(group[-1].tgt_in)]


def test_what_a_compiled_language_model_reads_twice_is_compiled_for_twice_the_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda model, dynamic: model)
    run = replace(text_run(tmp_path, r_drop=1.0), compiled=True)
    assert make_learner(run).forward._shape == (16, 8)
