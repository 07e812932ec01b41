"""What must hold on a CUDA device: the kernel computes what padded rows do, one graph serves all, and runs repeat exactly."""

from dataclasses import replace

import pytest
import torch

from tests.training_runs import make_run, rows_of
from tfcli.corpus.batches import TrainingBatches
from tfcli.model.varlen import has_varlen
from tfcli.training.checkpoint import checkpoint_folders
from tfcli.training.fit import fit
from tfcli.training.learner import make_learner
from tfcli.training.step import batch_loss, train_step

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.filterwarnings("default"),  # torch's compiler gives advice in warnings
]
BATCH_TOKENS = 200


@pytest.fixture
def gpu_run(tmp_path):
    """Return a function that makes a run in bf16 on the first GPU, whose heads are wide enough for the kernel."""

    def make(*, varlen=True, compiled=False, dropout=0.0, **settings):
        run = make_run(tmp_path, batch_tokens=BATCH_TOKENS, **settings)
        config = replace(run.config, d_model=64, d_ff=128, n_heads=2, dropout=dropout, n_encoder_layers=2)
        device = torch.device("cuda")
        if varlen and not has_varlen(device, "bf16", config):
            pytest.skip("no kernel for packed sentences in this torch or on this device")
        return replace(run, config=config, device=device, precision="bf16", varlen=varlen, compiled=compiled)

    return make


def batches_of(run):
    return TrainingBatches(run.prepared.train, BATCH_TOKENS, seed=1)


def filled_batches(learner, run, count):
    batches = batches_of(run)
    found = []
    while len(found) < count:
        batch = batches.next_batch()
        if len(learner.packer.pack(batch).src) == learner.packer.fill.size:
            found.append(batch)
    return found


def loss_and_gradient(learner, batch):
    loss, _ = batch_loss(learner, batch, 0.1)
    loss.backward()
    gradient = torch.cat([parameter.grad.flatten() for parameter in learner.model.parameters()])
    learner.optimizer.zero_grad()
    return float(loss.detach()) / batch.n_tokens, gradient


def agree(found, expected):
    assert found[0] == pytest.approx(expected[0], rel=2e-3)  # bf16 keeps 8 bits
    assert float((found[1] - expected[1]).norm() / expected[1].norm()) < 5e-2
    assert torch.isfinite(found[1]).all()


def test_the_kernel_computes_what_padded_rows_do(gpu_run):
    packed, padded = (make_learner(gpu_run(varlen=varlen)) for varlen in (True, False))
    batches = batches_of(gpu_run())
    for _ in range(4):
        batch = batches.next_batch()
        agree(loss_and_gradient(packed, batch), loss_and_gradient(padded, batch))


def test_the_compiled_network_computes_what_the_uncompiled_one_does_on_filled_batches(gpu_run):
    run = gpu_run(compiled=True)
    compiled, plain = make_learner(run), make_learner(gpu_run())
    for batch in filled_batches(compiled, run, 3):
        agree(loss_and_gradient(compiled, batch), loss_and_gradient(plain, batch))


def test_nothing_is_compiled_again_over_twenty_batches(gpu_run):
    run = gpu_run(compiled=True, dropout=0.1)
    learner = make_learner(run)
    first, *others = filled_batches(learner, run, 20)
    train_step(learner, [first], 1e-3)
    with torch.compiler.set_stance("fail_on_recompile"):
        for batch in others:
            assert train_step(learner, [batch], 1e-3).updated


def test_a_step_repeats_to_the_last_bit(gpu_run):
    batch = batches_of(gpu_run()).next_batch()
    weights = [weights_after_a_step(make_learner(gpu_run(dropout=0.1)), batch) for _ in range(2)]
    assert torch.equal(*weights)


def weights_after_a_step(learner, batch):
    train_step(learner, [batch], 1e-2)
    return torch.cat([parameter.detach().flatten() for parameter in learner.model.parameters()])


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("varlen", [False, True])
def test_stopping_and_resuming_gives_the_same_bytes_as_going_through(gpu_run, varlen, compiled):
    how = {"varlen": varlen, "compiled": compiled, "dropout": 0.1}
    through = gpu_run(name="through", **how)
    fit(through)
    asked = iter([False, False, True, *[False] * 20])
    stopped = gpu_run(name="stopped", stop_asked=lambda: next(asked), **how)
    assert fit(stopped).reason == "stopped"
    assert fit(stopped).reason == "finished"
    assert rows_of(stopped) == rows_of(through)
    last = [checkpoint_folders(run.run_dir / "checkpoints")[-1] for run in (through, stopped)]
    assert (last[0] / "model.safetensors").read_bytes() == (last[1] / "model.safetensors").read_bytes()
