"""The loss: label-smoothed cross-entropy, summed over target tokens.

Projection to the vocabulary and loss are one operation here. Its logits, (N, V), are by far the largest tensor of
a step. They are made a few hundred rows at a time, turned into their own gradient in place, and dropped: they stay
in the processor's cache and never stand in memory as a whole. With h the states, W the matrix, P the softmax of
h W^T, g the gold pieces and e the smoothing,

    loss = sum over rows of  log Z - (1 - e) h W[g] - e h mean(W)
    d loss / d h = P W - (1 - e) W[g] - e mean(W)
    d loss / d W = P^T h - (1 - e) (h added up at g) - e sum(h) / V

so the terms other than P need no pass over the logits.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CHUNK_ELEMENTS = 2**21  # 8 MB of fp32 logits: a share of the last-level cache of a laptop or server


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
        chunk = max(1, CHUNK_ELEMENTS // vocab_size) if states.device.type == "cpu" else max(1, n_rows)
        for first in range(0, n_rows, chunk):
            rows = states[first : first + chunk]
            logits = (rows @ matrix.T).float()  # (n, V)
            highest = logits.amax(dim=-1, keepdim=True)
            exp = logits.sub_(highest).exp_()
            z = exp.sum(dim=-1, keepdim=True)
            log_z[first : first + chunk] = (z.log() + highest).squeeze(1)
            if not wants_grad:
                continue
            exp = exp.to(states.dtype)
            states_grad[first : first + chunk] = (exp @ matrix).float() / z
            if matrix.dtype == torch.float32:
                weight_grad.addmm_(exp.T, rows / z)
            else:
                weight_grad += exp.T @ (rows.float() / z).to(states.dtype)
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
