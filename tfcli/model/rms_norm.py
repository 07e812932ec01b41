"""RMSNorm: bring vectors to a root mean square of 1, then scale each coordinate by a gain that is learnt.

    r = 1 / sqrt(mean of x^2 + epsilon)                                     y = x r g
    d loss / d g = sum over vectors of  dy x r       d loss / d x = r (dy g - x r mean(dy g x r))

On a CPU torch differentiates it one elementwise operation after the other. Its kernel for the gradient of layer norms does
the same work in one pass: with a mean of 0 and a deviation of 1 / r it gives what is wanted, less r mean(dy g), which is put
back. Forward and backward together take a fifth to four fifths of torch's time, the less the larger (benchmarks/RESULTS.md).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

# Of every normalization, what keeps it from dividing by nothing: torch's for layer norms.
EPSILON = 1e-5


class RMSNorm(nn.Module):
    """Normalise vectors of `width` by their root mean square.

    Source: Zhang and Sennrich, 2019, "Root Mean Square Layer Normalization", equation (4).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `x` (..., width), in fp32 inside."""
        if x.device.type == "cpu" and torch.is_grad_enabled() and not torch.compiler.is_compiling():
            return _RMSNorm.apply(x, self.weight)  # type: ignore[no-any-return, no-untyped-call]
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), EPSILON)


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor) -> Tensor:
        exact = torch.promote_types(x.dtype, torch.float32)
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=exact)
        r = norm.square_().div_(x.shape[-1]).add_(EPSILON).rsqrt_()  # (..., 1)
        ctx.save_for_backward(x, gain, r)
        y: Tensor = (x * r).mul_(gain.to(x.dtype)).to(x.dtype)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        x, gain, r = ctx.saved_tensors
        # in bf16 the kernel would add up in bf16, too; the gain is rounded as it was on the way there
        dy, g = grads[0].to(r.dtype), gain.to(x.dtype).to(r.dtype)
        dx, dg, _ = torch.ops.aten.native_layer_norm_backward(
            dy, x.to(r.dtype), [x.shape[-1]], torch.zeros_like(r), r, g, None, [True, True, False]
        )
        dx.addcmul_((dy @ g).unsqueeze(-1), r, value=1 / x.shape[-1])
        return dx.to(x.dtype), dg.to(gain.dtype)
