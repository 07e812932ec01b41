"""R-Drop: a batch goes through the network twice, and where dropout makes the two outputs differ, that costs.

The second pass is the same batch again below the first, in one pass of twice the rows, as in the paper: fewer and
larger matrix products than two passes, and the same memory, since both must stand until the loss is known.

As in `loss.py` the projection to the vocabulary is part of the operation, and the logits of some rows at a time become
their own gradient. With a, b the logits of a row in the two passes, p, q their softmax, d = log p - log q and k = alpha / 4,

    loss = sum over rows of  (CE(p) + CE(q)) / 2 + k (KL(p || q) + KL(q || p))
    KL(p || q) = p . d                                         KL(q || p) = - q . d
    d loss / d a = p / 2 + k (p d - p (p . d) + p - q)         d loss / d b = q / 2 - k (q d - q (q . d) + p - q)

and of the cross-entropies only p / 2 and q / 2 need the logits; the rest is the gold pieces' and the mean's, as there. The
gradients are made divided by k, which spares a pass over them. In bf16, d and p - q are taken first: p and q may both be
near 1, and what is left of their difference after a rounding would be noise.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from tfcli.corpus.batches import Batch

# Logits of both passes that are made and compared at a time, of which three matrices stand at once: on a CPU in its cache, on
# a GPU enough that starting a kernel costs nothing. And those whose gradients are gathered for a product with them, as in
# `loss.py`. These were the fastest on a CPU (benchmarks/RESULTS.md).
CHUNK_ELEMENTS = {"cpu": 2**22, "cuda": 2**26}
STRETCH_ELEMENTS = {"cpu": 2**24, "cuda": 2**26}


def twice(batch: Batch) -> Batch:
    """Return a batch with its pairs once more below themselves."""
    return replace(
        batch,
        src=np.concatenate([batch.src, batch.src]),
        tgt_in=np.concatenate([batch.tgt_in, batch.tgt_in]),
        tgt_out=np.concatenate([batch.tgt_out, batch.tgt_out]),
        indices=np.concatenate([batch.indices, batch.indices]),
    )


def r_drop_loss(
    states: Tensor, weight: Tensor, gold: Tensor, smoothing: float, alpha: float
) -> tuple[Tensor, Tensor]:
    """Return the loss of two passes and their mean negative log-likelihood, both summed over the rows of one pass.

    The loss is half of the paper's: the mean of both cross-entropies instead of their sum, and half of the weighted
    divergence with it. To be divided by the target tokens of the batch, counted once, as fairseq's criterion does. So
    it has the scale of the loss without R-Drop, and `alpha` is the paper's: the minimum is the same, and AdamW's steps
    do not depend on the factor. Only the first result carries a gradient.

    Shapes: states (2N, D), the second pass below the first; weight (V, D), gold (N,); results are scalars.
    Units: nats.
    Source: Liang et al., 2021, "R-Drop: Regularized Dropout for Neural Networks", section 2.1: L = L_NLL + alpha L_KL
    with L_NLL = - log P(y) - log Q(y) and L_KL = (KL(P || Q) + KL(Q || P)) / 2; alpha is 5 for translation.
    """
    loss, nll = _RDropLoss.apply(states, weight, gold, smoothing, alpha)  # type: ignore[no-untyped-call]
    return loss, nll


class _RDropLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, gold: Tensor, smoothing: float, alpha: float
    ) -> tuple[Tensor, Tensor]:
        exact = torch.promote_types(states.dtype, torch.float32)
        vocab_size, device = weight.shape[0], states.device
        matrix, both = weight.to(states.dtype), states.reshape(2, -1, states.shape[1])  # (2, N, D)
        n_rows, k = both.shape[1], alpha / 4
        states_grad = torch.empty(both.shape, dtype=exact, device=device)
        weight_grad = torch.zeros(weight.shape, dtype=exact, device=device)
        log_z = torch.empty((2, n_rows), dtype=exact, device=device)
        divergence = torch.zeros((), dtype=exact, device=device)
        chunk, stretch = (
            max(1, elements.get(device.type, elements["cpu"]) // (2 * vocab_size))
            for elements in (CHUNK_ELEMENTS, STRETCH_ELEMENTS)
        )
        room = matrix.new_empty(2 * min(stretch, n_rows), vocab_size)
        for first in range(0, n_rows, stretch):
            rows = both[:, first : first + stretch]  # (2, n, D)
            logits_grad = room[: rows.shape[0] * rows.shape[1]].view(2, -1, vocab_size)  # over k
            for start in range(0, rows.shape[1], chunk):
                part = slice(start, start + chunk)
                chunk_log_z = log_z[:, first : first + stretch][:, part]
                divergence += _compare(rows[:, part], matrix, 0.5 / k, logits_grad[:, part], chunk_log_z)
            states_grad[:, first : first + stretch] = logits_grad @ matrix
            weight_grad += logits_grad.flatten(0, 1).T @ rows.flatten(0, 1)
        mean = weight.to(exact).mean(dim=0)
        gold_rows = weight[gold].to(exact)  # (N, D)
        sums = both.sum(dim=0, dtype=exact)  # (N, D)
        gold_scores = (sums * gold_rows).sum()
        nll = (log_z.sum() - gold_scores) / 2
        smoothed = (1 - smoothing) * gold_scores + smoothing * (sums @ mean).sum()
        loss = (log_z.sum() - smoothed) / 2 + k * divergence
        states_grad.mul_(k).sub_(((1 - smoothing) * gold_rows + smoothing * mean) / 2)
        weight_grad.mul_(k).index_add_(0, gold, sums, alpha=-(1 - smoothing) / 2)
        weight_grad -= smoothing / vocab_size / 2 * sums.sum(dim=0)
        ctx.mark_non_differentiable(nll)
        ctx.save_for_backward(states_grad.flatten(0, 1).to(states.dtype), weight_grad.to(weight.dtype))
        return loss, nll

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        states_grad, weight_grad = ctx.saved_tensors
        return states_grad * grads[0].to(states_grad.dtype), weight_grad * grads[0], None, None, None


def _compare(rows: Tensor, matrix: Tensor, share: float, gradient: Tensor, log_z: Tensor) -> Tensor:
    """Write log Z, and the gradient over k without the terms of the gold pieces and the mean; return the sum of both divergences.

    `share` is 1 / 2k, what the cross-entropies add. log Z follows from the most probable piece, as in `loss.py`.

    Shapes: rows (2, n, D), matrix (V, D), gradient (2, n, V), log_z (2, n).
    """
    logits = rows @ matrix.T  # (2, n, V)
    probs = torch.softmax(logits, dim=-1)
    log_z[:] = logits.amax(dim=-1).to(log_z.dtype) - probs.amax(dim=-1).to(log_z.dtype).log()
    p, q = probs
    d = logits[0].sub_(logits[1]).sub_((log_z[0] - log_z[1]).unsqueeze(-1).to(logits.dtype))
    p_less_q = torch.sub(p, q, out=logits[1])
    products = torch.mul(probs, d, out=gradient)
    along_p, along_q = products.sum(dim=-1, keepdim=True, dtype=log_z.dtype)  # (n, 1): p . d, q . d
    gradient[0].add_(p_less_q).addcmul_(p, (share - along_p).to(p.dtype))
    gradient[1].add_(p_less_q).neg_().addcmul_(q, (share + along_q).to(q.dtype))
    divergence: Tensor = (along_p - along_q).sum()
    return divergence
