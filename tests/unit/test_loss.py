"""The projected loss against torch's cross-entropy, and dropout against its definition."""

import pytest
import torch
import torch.nn.functional as F

import tfcli.training.loss as loss_module
from tfcli.model.dropout import Dropout, dropout
from tfcli.training.loss import smoothed_cross_entropy


def problem(vocab_size=37, rows=50, width=8):
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(rows, width, generator=generator, requires_grad=True)
    weight = torch.randn(vocab_size, width, generator=generator, requires_grad=True)
    return states, weight, torch.randint(0, vocab_size, (rows,), generator=generator)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.6])
def test_loss_and_gradients_equal_torchs_cross_entropy(smoothing, monkeypatch):
    monkeypatch.setattr(loss_module, "CHUNK_ELEMENTS", 37 * 7)  # several chunks, the last one shorter
    monkeypatch.setattr(loss_module, "STRETCH_ELEMENTS", 37 * 16)  # and several stretches of them, likewise
    states, weight, gold = problem()
    loss, nll = smoothed_cross_entropy(states, weight, gold, smoothing)
    (0.3 * loss).backward()
    ours = states.grad, weight.grad
    states.grad = weight.grad = None
    expected = F.cross_entropy(states @ weight.T, gold, reduction="sum", label_smoothing=smoothing)
    (0.3 * expected).backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(ours, (states.grad, weight.grad), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(nll, F.cross_entropy(states @ weight.T, gold, reduction="sum"))


def test_bf16_comes_as_near_as_its_products_do(monkeypatch):
    monkeypatch.setattr(loss_module, "CHUNK_ELEMENTS", 37 * 7)
    monkeypatch.setattr(loss_module, "STRETCH_ELEMENTS", 37 * 16)
    states, weight, gold = problem()
    exact, _ = smoothed_cross_entropy(states, weight, gold, 0.1)
    exact.backward()
    expected = states.grad, weight.grad
    states.grad = weight.grad = None
    loss, _ = smoothed_cross_entropy(states.bfloat16(), weight, gold, 0.1)
    loss.backward()
    assert loss.item() == pytest.approx(exact.item(), rel=0.005)  # bf16 has 8 bits: 0.4 % a number
    for ours, theirs in zip((states.grad, weight.grad), expected, strict=True):
        assert (ours - theirs).norm() < 0.01 * theirs.norm()


def test_large_scores_do_not_overflow():
    states, weight, gold = problem()
    loss, _ = smoothed_cross_entropy(states * 1000, weight, gold, 0.1)
    assert torch.isfinite(loss)


def test_the_plain_likelihood_carries_no_gradient():
    states, weight, gold = problem()
    assert not smoothed_cross_entropy(states, weight, gold, 0.1)[1].requires_grad


def test_dropout_zeroes_the_share_it_says_and_keeps_the_mean():
    torch.manual_seed(0)
    x = torch.ones(1001, 503, requires_grad=True)
    y = dropout(x, 0.3)
    assert (y == 0).float().mean().item() == pytest.approx(0.3, abs=0.003)
    assert y.max().item() == pytest.approx(1 / 0.7, rel=1e-5)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())  # what was dropped gets no gradient, what was scaled a scaled one


def test_dropout_draws_anew_each_time_and_repeats_with_the_seed():
    x = torch.ones(64, 64)
    torch.manual_seed(5)
    first, second = dropout(x, 0.5), dropout(x, 0.5)
    torch.manual_seed(5)
    assert torch.equal(first, dropout(x, 0.5))
    assert not torch.equal(first, second)


def test_dropout_is_off_in_evaluation():
    x = torch.ones(8, 8)
    assert Dropout(0.9).eval()(x) is x
