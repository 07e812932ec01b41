"""RMSNorm and its gradient are those of torch's, in every arithmetic and layout, and with a gradient or without."""

import pytest
import torch
import torch.nn.functional as F

from tfcli.model.rms_norm import EPSILON, RMSNorm


def as_it_is(t):
    return t


def as_heads(t):
    """Return the same numbers as a part of a larger tensor whose dimensions lie in another order."""
    room = torch.zeros(t.shape[1], t.shape[0] + 3, *t.shape[2:], dtype=t.dtype)
    room[:, 2 : 2 + t.shape[0]] = t.transpose(0, 1)
    return room.transpose(0, 1)[2 : 2 + t.shape[0]]


def normed(x, gain, dtype, layout=as_it_is):
    """Return the result and both gradients, ours in `dtype` and exact ones, from the same numbers."""
    torch.manual_seed(2)
    dy = torch.randn(x.shape, dtype=torch.float64).to(dtype)
    norm = RMSNorm(x.shape[-1]).to(gain.dtype)
    with torch.no_grad():
        norm.weight.copy_(gain)
    ours_x = x.to(dtype).requires_grad_()
    ours = norm(layout(ours_x))
    ours.backward(layout(dy))
    exact_x = x.to(dtype).double().requires_grad_()
    exact_gain = gain.to(dtype).double().requires_grad_()  # products of bf16 take a gain of bf16
    exact = F.rms_norm(exact_x, gain.shape, exact_gain, EPSILON)
    exact.backward(dy.double())
    return (ours, ours_x.grad, norm.weight.grad), (exact, exact_x.grad, exact_gain.grad)


@pytest.mark.parametrize("layout", [as_it_is, as_heads])
@pytest.mark.parametrize("shape", [(7, 16), (3, 4, 5, 8), (1, 1), (33, 100)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_result_and_gradients_are_torchs(shape, dtype, tolerance, layout):
    torch.manual_seed(1)
    # the mean counts here, as it does not in a layer norm
    x = torch.randn(shape, dtype=torch.float64) * 3 + 1
    gain = torch.randn(shape[-1], dtype=dtype)
    for ours, exact in zip(*normed(x, gain, dtype, layout), strict=True):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours.double(), exact, rtol=tolerance, atol=tolerance)


def test_in_bf16_nothing_is_rounded_but_gain_and_results():
    torch.manual_seed(1)
    x, gain = torch.randn(512, 64, dtype=torch.float64), torch.randn(64)
    ours, exact = normed(x, gain, torch.bfloat16)
    assert [each.dtype for each in ours] == [torch.bfloat16, torch.bfloat16, torch.float32]
    for mine, wanted, tolerance in zip(ours, exact, (2**-8, 2**-8, 1e-5), strict=True):
        assert (mine.double() - wanted).norm() / wanted.norm() < tolerance / 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_training_computes_what_ships(dtype):
    torch.manual_seed(1)
    norm, x = RMSNorm(48), torch.randn(40, 48).to(dtype)
    with torch.no_grad():
        norm.weight.copy_(torch.randn(48))
        quiet = norm(x)
    assert torch.equal(quiet, F.rms_norm(x, (48,), norm.weight.to(dtype), EPSILON))
    # a sum, a quotient, a root and two products, which both round in fp32, and in bf16 the result once more
    torch.testing.assert_close(norm(x), quiet, rtol=5 * torch.finfo(dtype).eps, atol=0)


def test_either_side_may_do_without_a_gradient():
    torch.manual_seed(1)
    norm, x = RMSNorm(8), torch.randn(5, 8, requires_grad=True)
    norm(x).square().sum().backward()
    of_x, of_gain = x.grad, norm.weight.grad
    x.grad = norm.weight.grad = None
    norm(x.detach()).square().sum().backward()
    assert torch.equal(norm.weight.grad, of_gain)
    norm.weight.requires_grad_(False)
    norm(x).square().sum().backward()
    assert torch.equal(x.grad, of_x)


def test_a_vector_of_zeros_stays_one_and_its_gradient_is_finite():
    norm, x = RMSNorm(8), torch.zeros(3, 8, requires_grad=True)
    norm(x).sum().backward()
    assert norm(x).eq(0).all()
    assert x.grad.isfinite().all()


def test_a_second_derivative_is_refused_rather_than_wrong():
    norm, x = RMSNorm(8), torch.randn(3, 8, requires_grad=True)
    (first,) = torch.autograd.grad(norm(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()
