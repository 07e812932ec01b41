"""RMSNorm and its gradient are those of torch's, in every arithmetic, and with a gradient or without."""

import pytest
import torch
import torch.nn.functional as F

from tfcli.model.rms_norm import EPSILON, RMSNorm


def normed(x, gain, dtype):
    """Return the result and both gradients, of torch's operation and of ours, from the same numbers in `dtype`."""
    torch.manual_seed(2)
    dy = torch.randn(x.shape, dtype=torch.float64).to(dtype)
    norm = RMSNorm(x.shape[-1]).to(gain.dtype)
    with torch.no_grad():
        norm.weight.copy_(gain)
    ours_x = x.to(dtype).requires_grad_()
    ours = norm(ours_x)
    ours.backward(dy)
    exact_x, exact_gain = x.to(dtype).double().requires_grad_(), gain.double().requires_grad_()
    exact = F.rms_norm(exact_x, gain.shape, exact_gain, EPSILON)
    exact.backward(dy.double())
    return (ours, ours_x.grad, norm.weight.grad), (exact, exact_x.grad, exact_gain.grad)


@pytest.mark.parametrize("shape", [(7, 16), (3, 4, 5, 8), (1, 1), (33, 100)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_result_and_gradients_are_torchs(shape, dtype, tolerance):
    torch.manual_seed(1)
    x = (
        torch.randn(shape, dtype=torch.float64) * 3 + 1
    )  # the mean counts here, as it does not in a layer norm
    gain = torch.randn(shape[-1], dtype=dtype)
    for ours, exact in zip(*normed(x, gain, dtype), strict=True):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours.double(), exact, rtol=tolerance, atol=tolerance)


def test_in_bf16_nothing_is_rounded_but_the_results():
    torch.manual_seed(1)
    x, gain = torch.randn(512, 64, dtype=torch.float64), torch.randn(64)
    ours, exact = normed(x, gain, torch.bfloat16)
    assert [each.dtype for each in ours] == [torch.bfloat16, torch.bfloat16, torch.float32]
    for mine, wanted, tolerance in zip(ours, exact, (2**-8, 2**-8, 1e-5), strict=True):
        assert (mine.double() - wanted).norm() / wanted.norm() < tolerance / 2


def test_a_vector_of_zeros_stays_one_and_its_gradient_is_finite():
    norm, x = RMSNorm(8), torch.zeros(3, 8, requires_grad=True)
    norm(x).sum().backward()
    assert norm(x).eq(0).all()
    assert x.grad.isfinite().all()


def test_without_a_gradient_it_is_torchs_operation_to_the_last_digits():
    torch.manual_seed(1)
    norm, x = RMSNorm(48), torch.randn(40, 48)
    with torch.no_grad():
        quiet = norm(x)
    torch.testing.assert_close(norm(x), quiet, rtol=1e-6, atol=1e-6)
    assert torch.equal(quiet, F.rms_norm(x, (48,), norm.weight, EPSILON))
