"""One update of the weights from one group of batches, and the loss of a corpus without an update."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tfcli.corpus.batches import Batch
from tfcli.corpus.feed import validation_batches
from tfcli.errors import is_out_of_memory
from tfcli.model.networks import Classifier
from tfcli.model.precision import autocast
from tfcli.text.tokenizer import Tokenizer
from tfcli.training.label_loss import label_loss
from tfcli.training.loss import smoothed_cross_entropy
from tfcli.training.out_of_memory import TOO_LARGE, OutOfMemory, out_of_memory_is_told
from tfcli.training.packer import Packed
from tfcli.training.r_drop import r_drop_loss, twice
from tfcli.training.random_states import random_states, restore_random_states
from tfcli.training.repeatable import repeatable
from tfcli.training.sharding import lost_ranks_are_named

if TYPE_CHECKING:
    from tfcli.corpus.shards import ParallelIds
    from tfcli.corpus.stream import TextIds
    from tfcli.training.learner import Learner


# Adds up the gradients of a group of batches over so many tokens.
AddGradients = Callable[["Learner", Iterable[Batch], int], "list[BatchLoss]"]


@dataclass(frozen=True)
class StepResult:
    """What a step saw; losses are sums over `tokens`, in nats.

    `suspects` are the batches of this rank to blame when nothing was `updated`: those whose loss is not finite, or
    all where every loss is.
    """

    loss: float
    nll: float
    tokens: int
    gradient_norm: float
    learning_rate: float
    updated: bool
    suspects: tuple[Batch, ...] = ()


class BatchLoss(NamedTuple):
    """Smoothed loss and negative log-likelihood of a batch, summed over its target tokens, in nats."""

    batch: Batch
    loss: Tensor
    nll: Tensor


def batch_loss(
    learner: Learner, batch: Batch, smoothing: float, r_drop: float | None = None
) -> tuple[Tensor, Tensor]:
    """Return the smoothed loss and the plain negative log-likelihood of a batch, both summed over its tokens.

    With `r_drop` the batch goes through the network twice, and the loss has the divergence with that weight in it.
    """
    n_tokens = batch.n_tokens
    if r_drop is not None:
        batch = twice(batch)
    if isinstance(learner.model, Classifier):
        return _label_loss(learner, batch, smoothing, r_drop)
    *inputs, gold = learner.packer.pack(batch)
    with autocast(learner.device, learner.precision):
        states = learner.forward(*inputs).flatten(0, -2)  # (N, D)
    if learner.precision == "bf16":
        states = states.to(torch.bfloat16)
    if len(states) > len(gold):
        states = states[: len(gold)]  # what a batch was filled up with stands behind it
    if r_drop is not None:
        return r_drop_loss(states, learner.model.output.weight, gold[:n_tokens], smoothing, r_drop)
    return smoothed_cross_entropy(states, learner.model.output.weight, gold, smoothing)


def _label_loss(
    learner: Learner, batch: Batch, smoothing: float, r_drop: float | None
) -> tuple[Tensor, Tensor]:
    packed = learner.packer.pack(batch)
    assert isinstance(packed, Packed)
    with autocast(learner.device, learner.precision):
        logits = learner.forward(packed.src, packed.src_packing)  # (B, labels)
    gold = packed.gold - 1  # 0 is padding
    return label_loss(logits, gold, smoothing, learner.class_weights, r_drop)


def add_gradients(learner: Learner, batches: Iterable[Batch], tokens: int) -> list[BatchLoss]:
    """Add the gradient of each batch's loss, divided by `tokens`, to those that are there.

    Raises: OutOfMemory when a batch does not fit.
    """
    if not learner.sharded:
        return [_add_gradient(learner, batch, tokens) for batch in batches]
    parts = list(batches)
    most = -int(learner.ranks.least(-len(parts)))
    with lost_ranks_are_named(learner.ranks):
        losses = [_add_gradient(learner, part, tokens) for part in parts]
        for _ in range(len(parts), most):
            _keep_up(learner)
    return losses


def _add_gradient(learner: Learner, batch: Batch, tokens: float) -> BatchLoss:
    try:
        with repeatable(learner.device):
            loss, nll = batch_loss(learner, batch, learner.label_smoothing, learner.r_drop)
            (loss / tokens).backward()  # type: ignore[no-untyped-call]
        return BatchLoss(batch, loss.detach(), nll)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    raise OutOfMemory(batch)  # behind the handler, so that it holds none of the step's tensors


def _keep_up(learner: Learner) -> None:
    """Take part in a pass of the other ranks that this one has no batch for: nothing is learnt or drawn by it."""
    before = random_states()
    end = np.array([[Tokenizer.eos_id]])
    _add_gradient(learner, Batch(end, end, end, np.array([0])), math.inf)
    restore_random_states(before)


def train_step(
    learner: Learner, group: list[Batch], rate: float, add: AddGradients = add_gradients
) -> StepResult:
    """Update the weights once from the whole group, of which each rank has its share.

    The gradient is that of the loss summed over the group's tokens, divided by their number: how the group is
    cut into batches, and these dealt to ranks, makes no difference, and `add` may cut it further. A gradient that is not finite changes nothing.
    """
    ranks = learner.ranks
    tokens = int(ranks.total(sum(batch.n_tokens for batch in group))[0])
    losses = add(learner, group, tokens)
    loss_sum = torch.zeros((), device=learner.device)
    nll_sum = torch.zeros((), device=learner.device)
    for each in losses:
        loss_sum += each.loss
        nll_sum += each.nll
    ranks.least(0.0)  # who is gone is noticed here, where waiting can name it, and not among the gradients
    if not learner.sharded:  # else they are added up already
        ranks.add_up(learner.model.parameters())
    limit = learner.clip_norm if learner.clip_norm is not None else float("inf")
    norm_of_all: Any = nn.utils.clip_grad_norm_(learner.model.parameters(), limit)
    if learner.sharded:
        norm_of_all = norm_of_all.full_tensor()
    # the one moment of a step at which a GPU is waited for: until then, all is only asked of it
    own_loss, own_nll, norm = torch.stack([loss_sum, nll_sum, norm_of_all]).tolist()
    loss, nll = ranks.total(own_loss, own_nll)
    updated = math.isfinite(norm) and math.isfinite(loss)
    if updated:
        for parameters in learner.optimizer.param_groups:
            parameters["lr"] = rate
        with out_of_memory_is_told("in an update: the network and its optimizer do not fit", TOO_LARGE):
            learner.optimizer.step()
            if learner.ema is not None:
                learner.ema.update(learner.model)
    learner.optimizer.zero_grad()
    elsewhere = math.isfinite(own_loss) and not math.isfinite(loss)  # another rank has the batch to blame
    suspects = () if updated else _suspects(losses, none_needed=elsewhere)
    return StepResult(loss, nll, tokens, norm, rate, updated, suspects)


def _suspects(losses: list[BatchLoss], *, none_needed: bool) -> tuple[Batch, ...]:
    culprits = tuple(each.batch for each in losses if not torch.isfinite(each.loss))
    return culprits if culprits or none_needed else tuple(each.batch for each in losses)


def corpus_nll(learner: Learner, ds: ParallelIds | TextIds, batch_tokens: int) -> float:
    """Return the negative log-likelihood of a corpus, in nats a target token, without label smoothing."""
    was_training = learner.model.training
    learner.model.eval()
    total, tokens = 0.0, 0
    # not the compiled network, which was compiled with dropout and gradients
    plain = replace(learner, forward=learner.model, packer=replace(learner.packer, fill=None))
    with torch.no_grad():
        for batch in validation_batches(ds, batch_tokens):
            _, nll = batch_loss(plain, batch, 0.0)
            total += float(nll)
            tokens += batch.n_tokens
    learner.model.train(was_training)
    return total / tokens
