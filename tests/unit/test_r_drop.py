"""R-Drop's loss and its hand-made gradient against the formula of the paper, left to autograd."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import tfcli.training.r_drop as module
from tests.training_runs import make_run
from tfcli.corpus.batches import TrainingBatches
from tfcli.training.learner import make_learner
from tfcli.training.loss import smoothed_cross_entropy
from tfcli.training.r_drop import r_drop_loss, twice
from tfcli.training.step import train_step

VOCAB_SIZE = 37


@pytest.fixture(autouse=True)
def several_chunks(monkeypatch):
    # chunks of 7 rows in stretches of 16, so that 25 rows make several of both, the last ones shorter
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", {"cpu": 2 * VOCAB_SIZE * 7})
    monkeypatch.setattr(module, "STRETCH_ELEMENTS", {"cpu": 2 * VOCAB_SIZE * 16})


def problem(dtype=torch.float64, rows=25, width=8):
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(2 * rows, width, generator=generator, dtype=dtype, requires_grad=True)
    weight = torch.randn(VOCAB_SIZE, width, generator=generator, dtype=dtype, requires_grad=True)
    return states, weight, torch.randint(0, VOCAB_SIZE, (rows,), generator=generator)


def by_the_paper(states, weight, gold, smoothing, alpha):
    """Half of the paper's loss: its cross-entropies are added up, and its divergence is the mean of both directions."""
    first, second = (states @ weight.T).chunk(2)
    likelihoods = sum(
        F.cross_entropy(logits, gold, reduction="sum", label_smoothing=smoothing)
        for logits in (first, second)
    )
    p, q = first.log_softmax(-1), second.log_softmax(-1)
    both_ways = F.kl_div(p, q, reduction="sum", log_target=True) + F.kl_div(
        q, p, reduction="sum", log_target=True
    )
    return (likelihoods + alpha * both_ways / 2) / 2


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("alpha", [0.5, 5.0])
def test_loss_and_gradients_are_those_of_the_paper(smoothing, alpha):
    states, weight, gold = problem()
    loss, nll = r_drop_loss(states, weight, gold, smoothing, alpha)
    (0.3 * loss).backward()
    ours = states.grad, weight.grad
    states.grad = weight.grad = None
    expected = by_the_paper(states, weight, gold, smoothing, alpha)
    (0.3 * expected).backward()
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(ours, (states.grad, weight.grad), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(nll, by_the_paper(states, weight, gold, 0.0, 0.0), rtol=1e-12, atol=0)
    assert not nll.requires_grad


def test_the_gradient_is_that_of_small_differences():
    states, weight, gold = problem(rows=5, width=3)
    assert torch.autograd.gradcheck(lambda s, w: r_drop_loss(s, w, gold, 0.1, 5.0)[0], (states, weight))


def test_equal_passes_cost_what_one_costs():
    states, weight, gold = problem()
    one = states.detach()[:25]
    loss, nll = r_drop_loss(torch.cat([one, one]), weight, gold, 0.1, 5.0)
    torch.testing.assert_close(loss, by_the_paper(torch.cat([one, one]), weight, gold, 0.1, 0.0))
    torch.testing.assert_close(
        torch.stack([loss, nll]).float(),
        torch.stack(smoothed_cross_entropy(one.float(), weight.detach().float(), gold, 0.1)),
    )


@pytest.mark.parametrize("alpha", [1.0, 5.0])
@pytest.mark.parametrize("sure", [False, True])
def test_bf16_states_give_nearly_the_same_results(sure, alpha):
    states, weight, gold = problem(torch.float32, width=64)
    states, matrix = 0.2 * states.detach(), weight.detach().bfloat16()
    if (
        sure
    ):  # nearly all of the probability is the gold piece's, and one pass has larger logits than the other
        states += 0.25 * matrix[gold].repeat(2, 1)
        states[len(gold) :] *= 1.1
    found = {}
    for dtype in (torch.bfloat16, torch.float64):
        rows = states.bfloat16().to(dtype).requires_grad_()
        loss, nll = r_drop_loss(rows, matrix.to(torch.promote_types(dtype, torch.float32)), gold, 0.1, alpha)
        found[dtype] = loss.detach(), nll, *torch.autograd.grad(loss, rows)
    assert found[torch.bfloat16][0].dtype == torch.float32
    assert (nll / len(gold) < 0.1) == sure
    (*near_sums, near), (*sums, gradient) = found.values()
    for near_sum, exact in zip(near_sums, sums, strict=True):
        assert abs(float(near_sum - exact)) / len(gold) < 0.01
    assert float((near.double() - gradient).norm() / gradient.norm()) < (0.05 if sure else 0.02)


def test_large_scores_do_not_overflow():
    states, weight, gold = problem(torch.float32)
    loss, _ = r_drop_loss(states * 100, weight, gold, 0.1, 5.0)
    assert torch.isfinite(loss)
    assert all(torch.isfinite(each).all() for each in torch.autograd.grad(loss, (states, weight)))


def test_a_batch_twice_has_its_pairs_below_themselves(tmp_path):
    batch = TrainingBatches(make_run(tmp_path).prepared.train, 64, seed=1).next_batch()
    both, n_pairs = twice(batch), len(batch.indices)
    for name in ("src", "tgt_in", "tgt_out", "indices"):
        for half in (getattr(both, name)[:n_pairs], getattr(both, name)[n_pairs:]):
            assert np.array_equal(half, getattr(batch, name))


def test_a_step_tells_the_divergence_in_the_loss_and_counts_each_token_once(tmp_path):
    results = {}
    for r_drop in (None, 1e-9, 5.0):
        run = make_run(tmp_path, r_drop=r_drop)
        batch = TrainingBatches(run.prepared.train, 64, seed=1).next_batch()
        results[r_drop] = train_step(make_learner(run), [batch], 1e-3)
    without, nearly_without, with_divergence = results.values()
    assert without.tokens == nearly_without.tokens == with_divergence.tokens == batch.n_tokens
    assert nearly_without.nll == with_divergence.nll  # the same weights and the same dropout
    assert nearly_without.loss == pytest.approx(without.loss, rel=0.1)  # other dropout, the same scale
    assert with_divergence.loss > nearly_without.loss + 0.01 * batch.n_tokens
