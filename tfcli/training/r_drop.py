"""R-Drop: a batch goes through the network twice, and where dropout makes the two outputs differ, that costs.

The second pass is the same batch again below the first, in one pass of twice the rows, as in the paper: fewer and
larger matrix products than two passes, and the same memory, since both must stand until the loss is known.

As in `loss.py` the projection to the vocabulary is part of the operation, and the logits of some rows at a time become
their own gradient. With A, B the logits of a row in the two passes, P, Q their softmax and R = log P - log Q,

    loss = sum over rows of  (CE(P) + CE(Q)) / 2 + alpha (KL(P || Q) + KL(Q || P)) / 4
    KL(P || Q) = P . R                                     KL(Q || P) = - Q . R
    d (KL + KL) / d A = P (R - KL(P || Q)) + P - Q         d (KL + KL) / d B = Q (- R - KL(Q || P)) + Q - P

and of the cross-entropies only P and Q need the logits; the rest is the gold pieces' and the mean's, as there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from tfcli.corpus.batches import Batch

# Seven matrices of this size stand at once: on a CPU they share its last-level cache, on a GPU they are to be large
# enough that starting a kernel costs nothing, and a small part of its memory.
CHUNK_ELEMENTS = {"cpu": 2**19, "cuda": 2**26}


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
        vocab_size = weight.shape[0]
        matrix, both = weight.to(states.dtype), states.reshape(2, -1, states.shape[1])  # (2, N, D)
        mean = weight.to(exact).mean(dim=0)
        gold_rows = weight[gold].to(exact)  # (N, D)
        states_grad = torch.empty(both.shape, dtype=exact, device=states.device)
        weight_grad = torch.zeros(weight.shape, dtype=exact, device=weight.device)
        loss, nll = torch.zeros((2,), dtype=exact, device=states.device)
        chunk = max(1, CHUNK_ELEMENTS.get(states.device.type, CHUNK_ELEMENTS["cpu"]) // vocab_size)
        for first in range(0, len(gold), chunk):
            rows = both[:, first : first + chunk]  # (2, n, D)
            log_z, divergence, logits_grad = _compare((rows @ matrix.T).to(exact), alpha)
            sums = rows.sum(dim=0, dtype=exact)  # (n, D)
            gold_scores = (sums * gold_rows[first : first + chunk]).sum()
            nll += (log_z - gold_scores) / 2
            loss += (log_z - (1 - smoothing) * gold_scores - smoothing * (sums @ mean).sum()) / 2
            loss += alpha / 4 * divergence
            logits_grad = logits_grad.to(states.dtype)  # (2, n, V)
            states_grad[:, first : first + chunk] = logits_grad @ matrix
            weight_grad += logits_grad.flatten(0, 1).T @ rows.flatten(0, 1)
        states_grad -= ((1 - smoothing) * gold_rows + smoothing * mean) / 2
        sums = both.sum(dim=0, dtype=exact)  # (N, D)
        weight_grad.index_add_(0, gold, sums, alpha=-(1 - smoothing) / 2)
        weight_grad -= smoothing / vocab_size / 2 * sums.sum(dim=0)
        ctx.mark_non_differentiable(nll)
        ctx.save_for_backward(states_grad.flatten(0, 1).to(states.dtype), weight_grad.to(weight.dtype))
        return loss, nll

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        states_grad, weight_grad = ctx.saved_tensors
        return states_grad * grads[0].to(states_grad.dtype), weight_grad * grads[0], None, None, None


def _compare(logits: Tensor, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the sum of log Z, that of both divergences, and the gradient of the loss but for the gold pieces and the mean.

    Shapes: logits (2, n, V), overwritten; scalar, scalar, (2, n, V).
    """
    log_z = logits.logsumexp(dim=-1, keepdim=True)  # (2, n, 1)
    log_probs = logits.sub_(log_z)
    probs = log_probs.exp()
    ratio = log_probs[0] - log_probs[1]  # (n, V)
    signed = torch.stack([ratio, -ratio])
    divergence = (probs * signed).sum(dim=-1, keepdim=True)  # (2, n, 1): KL(P || Q), KL(Q || P)
    scale = signed.sub_(divergence).add_(1).mul_(alpha / 4).add_(0.5)
    gradient = scale.mul_(probs).sub_(probs.flip(0), alpha=alpha / 4)
    return log_z.sum(), divergence.sum(), gradient
