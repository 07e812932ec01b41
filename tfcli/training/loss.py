"""The loss: label-smoothed cross-entropy, summed over target tokens.

Projection to the vocabulary and loss are one operation here. Its logits, (N, V), are by far the largest tensor of
a step. They are made a few hundred rows at a time, turned into probabilities, used for the gradient at once, and
dropped: they never stand in memory as a whole. With h the states, W the matrix, P the softmax of h W^T, g the gold
pieces and e the smoothing,

    loss = sum over rows of  log Z - (1 - e) h W[g] - e h mean(W)
    d loss / d h = P W - (1 - e) W[g] - e mean(W)
    d loss / d W = P^T h - (1 - e) (h added up at g) - e sum(h) / V

so the terms other than P need no pass over the logits.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# On a CPU, logits are made and turned into probabilities while they are in its cache; the probabilities of more rows are
# gathered for each product with them, since adding to the gradient of the whole matrix costs as much every time. Of 2^20 to
# 2^23 and 2^23 to 2^25 these were the fastest (benchmarks/RESULTS.md).
CHUNK_ELEMENTS = 2**21
STRETCH_ELEMENTS = 2**24  # 32 MB of bf16
GPU_STRETCH_ELEMENTS = (
    2**28
)  # half a gigabyte: enough to keep a large GPU busy, and not all the memory of a small one


class _ProjectedLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, gold: Tensor, smoothing: float, wants_grad: bool
    ) -> tuple[Tensor, Tensor]:
        n_rows, vocab_size = states.shape[0], weight.shape[0]
        matrix = weight.to(states.dtype)
        gold_scores = (states.float() * weight[gold].float()).sum(dim=-1)  # h W[g]
        mean_scores = states.float() @ weight.float().mean(dim=0)  # h mean(W)
        log_z = torch.empty(n_rows, dtype=torch.float32, device=states.device)
        states_grad = torch.empty(states.shape, dtype=torch.float32, device=states.device)
        weight_grad = torch.zeros(weight.shape, dtype=torch.float32, device=weight.device)
        elements = STRETCH_ELEMENTS if states.device.type == "cpu" else GPU_STRETCH_ELEMENTS
        stretch = max(1, elements // vocab_size)
        room = matrix.new_empty(min(stretch, n_rows), vocab_size)
        for first in range(0, n_rows, stretch):
            rows = states[first : first + stretch]
            probs = room[: len(rows)]  # (n, V)
            _softmax(rows, matrix, probs, log_z[first : first + stretch])
            if not wants_grad:
                continue
            states_grad[first : first + stretch] = probs @ matrix
            if matrix.dtype == torch.float32:
                weight_grad.addmm_(probs.T, rows)
            else:
                weight_grad += probs.T @ rows
        nll = (log_z - gold_scores).sum()
        loss = (log_z - (1 - smoothing) * gold_scores - smoothing * mean_scores).sum()
        ctx.mark_non_differentiable(nll)
        if not wants_grad:
            return loss, nll
        states_grad -= (1 - smoothing) * weight[gold].float() + smoothing * weight.float().mean(dim=0)
        weight_grad.index_add_(0, gold, states.float(), alpha=-(1 - smoothing))
        weight_grad -= smoothing / vocab_size * states.float().sum(dim=0)
        ctx.save_for_backward(states_grad.to(states.dtype), weight_grad.to(weight.dtype))
        return loss, nll

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        states_grad, weight_grad = ctx.saved_tensors
        return states_grad * grads[0].to(states_grad.dtype), weight_grad * grads[0], None, None, None


def _softmax(rows: Tensor, matrix: Tensor, probs: Tensor, log_z: Tensor) -> None:
    """Write the softmax of rows W^T into `probs`, and the logarithm of what it was divided by into `log_z`.

    That follows from the most probable piece, log Z = logit - log P. In bf16 it is as exact as the logits are, and spares
    two passes over them.

    Shapes: rows (n, D), matrix (V, D), probs (n, V), log_z (n,).
    """
    on_cpu = rows.device.type == "cpu"
    chunk = max(1, CHUNK_ELEMENTS // len(matrix)) if on_cpu else max(1, len(rows))
    room = probs.new_empty(min(chunk, len(rows)), len(matrix))
    for first in range(0, len(rows), chunk):
        part = slice(first, first + chunk)
        logits = torch.mm(rows[part], matrix.T, out=room[: len(rows[part])])
        torch.softmax(logits, dim=-1, out=probs[part])
        log_z[part] = logits.amax(dim=-1).float() - probs[part].amax(dim=-1).float().log()


def smoothed_cross_entropy(
    states: Tensor, weight: Tensor, gold: Tensor, smoothing: float
) -> tuple[Tensor, Tensor]:
    """Return the smoothed loss and the plain negative log-likelihood, both summed over the rows.

    With label smoothing e the target is 1 - e on the gold piece and e spread evenly over the vocabulary, the gold
    piece included. Only the first result carries a gradient.

    Shapes: states (N, D), weight (V, D), gold (N,); results are scalars in fp32.
    Units: nats.
    Source: Szegedy et al., 2016, section 7; "Attention Is All You Need", section 5.4.
    """
    loss, nll = _ProjectedLoss.apply(states, weight, gold, smoothing, torch.is_grad_enabled())  # type: ignore[no-untyped-call]
    return loss, nll
