"""What does not fit into memory at all is told with what to do, and the largest batch is tried before the first step."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.property.test_memory import SmallDevice, decisions, gradients, room, stop_at  # noqa: F401  # fixtures
from tests.training_runs import final_bytes, make_run, rows_of
from tfcli.corpus.batches import Batch, TrainingBatches
from tfcli.errors import TrainingError, is_out_of_memory
from tfcli.training import fit as fit_module
from tfcli.training import memory as memory_module
from tfcli.training.fit import fit
from tfcli.training.learner import make_learner
from tfcli.training.memory import Memory, positions, try_worst_batch
from tfcli.training.state import TrainingState
from tfcli.training.step import train_step


def test_a_single_pair_that_does_not_fit_ends_the_run_with_what_to_do(tmp_path, room):  # noqa: F811
    run = make_run(tmp_path)
    room(5)
    with pytest.raises(TrainingError) as caught:
        fit(run)
    assert caught.value.message.startswith("out of memory with a single pair of ")
    assert "data.max_pieces" in caught.value.hint
    assert decisions(run) == []


def test_of_a_classifier_it_is_a_single_text():
    ids, label = np.ones((1, 5), dtype=np.int64), np.ones((1, 1), dtype=np.int64)
    with pytest.raises(TrainingError, match="out of memory with a single text of 5 pieces"):
        memory_module._smaller(Batch(ids, label, label, np.array([0])))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"),
            True,
        ),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1.0 GB)"), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:75] data. DefaultCPUAllocator: not enough memory"),
            True,
        ),
        (RuntimeError("could not create a memory object"), True),
        (RuntimeError("CUDA failed with error out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_running_out_of_memory_is_told_from_other_errors(tmp_path, error, said):
    assert is_out_of_memory(error) is said
    run = make_run(tmp_path)
    learner = make_learner(run)
    batch = TrainingBatches(run.prepared.train, 200, seed=1).next_batch()
    small = replace(learner, forward=SmallDevice(learner.forward, 60, error))
    memory = Memory(None, run.reporter.warn)
    if said:
        assert train_step(small, [batch], 1e-2, memory.adder(TrainingState())).updated
    else:
        with pytest.raises(type(error), match=str(error)):
            train_step(small, [batch], 1e-2, memory.adder(TrainingState()))


def test_torch_really_says_so_when_a_cpu_has_no_room():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.int8)
    assert is_out_of_memory(caught.value)


def test_an_optimizer_that_does_not_fit_is_told(tmp_path):
    run = make_run(tmp_path)
    learner = make_learner(run)

    def full():
        raise torch.OutOfMemoryError("CUDA out of memory.")

    learner.optimizer.step = full
    batch = TrainingBatches(run.prepared.train, 64, seed=1).next_batch()
    with pytest.raises(
        TrainingError, match="out of memory in an update: the network and its optimizer"
    ) as caught:
        train_step(learner, [batch], 1e-2)
    assert "smaller model" in caught.value.hint


def test_validation_that_does_not_fit_is_told(tmp_path):
    def full(model):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(TrainingError, match="out of memory in validation") as caught:
        fit(make_run(tmp_path, validate=full))
    assert "decoding.batch_tokens" in caught.value.hint


@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_trying_the_largest_batch_first_leaves_no_trace(tmp_path, monkeypatch, accumulation_steps):
    settings = {"accumulation_steps": accumulation_steps, "max_steps": 6}
    tried = []

    def counting(learner, *args, **options):
        before = {name: parameter.detach().clone() for name, parameter in learner.model.named_parameters()}
        worst = try_worst_batch(learner, *args, **options)
        tried.append(worst)
        assert all(parameter.grad is None for parameter in learner.model.parameters())
        assert all(
            torch.equal(parameter, before[name]) for name, parameter in learner.model.named_parameters()
        )
        return worst

    monkeypatch.setattr(fit_module, "try_worst_batch", counting)
    run = make_run(tmp_path, name="tried", stop_asked=stop_at(3), **settings)
    fit(run)
    fit(run)
    assert len(tried) == 2  # at each start
    assert positions(tried[0]) >= max(positions(batch) for batch in epoch(run))
    assert fit(run).reason == "already finished"
    assert len(tried) == 2
    monkeypatch.setattr(fit_module, "_try_worst_batch", lambda *args: None)
    plain = make_run(tmp_path, name="plain", **settings)
    fit(plain)
    assert final_bytes(run) == final_bytes(plain)
    assert rows_of(run) == rows_of(plain)


def epoch(run):
    batches = TrainingBatches(run.prepared.train, run.recipe.training.batch_tokens, run.recipe.seed)
    while batches.position.epoch == 0:
        yield batches.next_batch()


@pytest.mark.parametrize("held", ["moments", "gradients"])
def test_the_trial_holds_what_a_step_needs_beside_the_batch(tmp_path, monkeypatch, held):
    run = make_run(tmp_path)
    learner = make_learner(run)
    made = []
    real = torch.empty_like
    monkeypatch.setattr(torch, "empty_like", lambda tensor: (made.append(tensor.numel()), real(tensor))[1])
    size = sum(parameter.numel() for parameter in learner.model.parameters())
    if held == "gradients":
        train_step(learner, [next(epoch(run))], 1e-2)  # now the moments are there
        made.clear()
    try_worst_batch(
        learner,
        run.prepared.train,
        64,
        Memory(None, print).adder(TrainingState()),
        accumulates=held == "gradients",
    )
    assert sum(made) == (2 * size if held == "moments" else size)


def test_a_network_that_does_not_fit_at_all_is_told_before_the_first_step(tmp_path, monkeypatch):
    def full(tensor):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(torch, "empty_like", full)
    with pytest.raises(
        TrainingError, match="before the first step: the network and its optimizer do not fit"
    ):
        fit(make_run(tmp_path))
