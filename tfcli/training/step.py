"""One update of the weights from one group of batches, and the loss of a corpus without an update."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from tfcli.corpus.batches import Batch, fixed_batches
from tfcli.model.layout import Packing
from tfcli.model.precision import autocast
from tfcli.text.tokenizer import Tokenizer
from tfcli.training.loss import smoothed_cross_entropy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tfcli.corpus.shards import ParallelIds
    from tfcli.training.learner import Learner


@dataclass(frozen=True)
class StepResult:
    """What a step saw; losses are sums over `tokens`, in nats."""

    loss: float
    nll: float
    tokens: int
    gradient_norm: float
    learning_rate: float
    updated: bool


def batch_loss(learner: Learner, batch: Batch, smoothing: float) -> tuple[Tensor, Tensor]:
    """Return the smoothed loss and the plain negative log-likelihood of a batch, both summed over its tokens."""
    src, src_packing = _packed(learner, batch.src, batch.src)
    tgt_in, tgt_packing = _packed(learner, batch.tgt_in, batch.tgt_out)
    gold = torch.from_numpy(batch.tgt_out[batch.tgt_out != Tokenizer.pad_id]).to(learner.device)  # (N,)
    with autocast(learner.device, learner.precision):
        states = learner.forward(src, tgt_in, src_packing, tgt_packing)  # (N, D)
    if learner.precision == "bf16":
        states = states.to(torch.bfloat16)
    return smoothed_cross_entropy(states, learner.model.output.weight, gold, smoothing)


def _packed(learner: Learner, ids: NDArray[np.int64], real: NDArray[np.int64]) -> tuple[Tensor, Packing]:
    """Return the ids (N,) that stand where `real` (B, T) holds no padding, and how they lie."""
    is_real = real != Tokenizer.pad_id
    packing = Packing.of(is_real.sum(axis=1), learner.model.config.n_heads, learner.device)
    return torch.from_numpy(ids[is_real]).to(learner.device, non_blocking=True), packing


def train_step(learner: Learner, group: list[Batch], rate: float) -> StepResult:
    """Update the weights once from the whole group.

    The gradient is that of the loss summed over the group's tokens, divided by their number: how the group is
    cut into batches makes no difference. A gradient that is not finite changes nothing.
    """
    tokens = sum(batch.n_tokens for batch in group)
    loss_sum = torch.zeros((), device=learner.device)
    nll_sum = torch.zeros((), device=learner.device)
    for batch in group:
        loss, nll = batch_loss(learner, batch, learner.label_smoothing)
        (loss / tokens).backward()  # type: ignore[no-untyped-call]
        loss_sum += loss.detach()
        nll_sum += nll
    limit = learner.clip_norm if learner.clip_norm is not None else float("inf")
    norm = float(nn.utils.clip_grad_norm_(learner.model.parameters(), limit))
    updated = bool(np.isfinite(norm)) and bool(torch.isfinite(loss_sum))
    if updated:
        for parameters in learner.optimizer.param_groups:
            parameters["lr"] = rate
        learner.optimizer.step()
    learner.optimizer.zero_grad()
    return StepResult(float(loss_sum), float(nll_sum), tokens, norm, rate, updated)


def corpus_nll(learner: Learner, ds: ParallelIds, batch_tokens: int) -> float:
    """Return the negative log-likelihood of a corpus, in nats a target token, without label smoothing."""
    was_training = learner.model.training
    learner.model.eval()
    total, tokens = 0.0, 0
    # not the compiled network, which was compiled with dropout and gradients
    plain = replace(learner, forward=learner.model)
    with torch.no_grad():
        for batch in fixed_batches(ds, batch_tokens):
            _, nll = batch_loss(plain, batch, 0.0)
            total += float(nll)
            tokens += batch.n_tokens
    learner.model.train(was_training)
    return total / tokens
