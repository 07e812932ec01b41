"""The loss of a classifier: label-smoothed cross-entropy, summed over texts; labels are few, so their logits stand as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def label_loss(
    logits: Tensor, gold: Tensor, smoothing: float, weights: Tensor | None, r_drop: float | None = None
) -> tuple[Tensor, Tensor]:
    """Return the loss and the plain negative log-likelihood, both summed over the texts.

    With label smoothing e the target is 1 - e on the gold label and e spread evenly over all. `weights` are how much a
    text of each label counts in the loss; the likelihood knows none. Only the first result carries a gradient.

    With `r_drop` the lower half of the rows is a second pass of the texts in the upper half: both results are the means
    of the two, and the loss has their divergence with this weight in it, as in `r_drop.py`.

    Shapes: logits (B, labels), gold (B,), weights (labels,); results are scalars in fp32.
    Units: nats.
    """
    log_probs = torch.log_softmax(logits.float(), dim=-1)
    nll = -log_probs.gather(1, gold[:, None]).squeeze(1)  # (B,)
    loss = (1 - smoothing) * nll - smoothing * log_probs.mean(dim=-1)
    if r_drop is not None:
        first, second = log_probs.chunk(2)
        divergence = ((first.exp() - second.exp()) * (first - second)).sum(dim=-1)  # both ways
        loss = torch.stack(loss.chunk(2)).mean(dim=0) + r_drop / 4 * divergence
        nll, gold = torch.stack(nll.chunk(2)).mean(dim=0), gold[: len(first)]
    if weights is not None:
        loss = loss * weights[gold]
    return loss.sum(), nll.detach().sum()


def balanced_weights(texts: Sequence[int]) -> list[float]:
    """Return the weight of each label, of which there are so many texts: the mean over all texts is 1.

    Where there are none, it does not matter.
    """
    present = sum(n > 0 for n in texts)
    return [sum(texts) / (present * n) if n else 0.0 for n in texts]
