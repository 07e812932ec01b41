"""The exponential moving average of the weights (EMA): what validation scores and best/ holds, when it is asked for.

    average = decay * average + (1 - decay) * weights       after each update

Training itself never sees the average. Early on the decay is smaller, so that the first weights, which are random, are
soon forgotten: after n updates it is at most (1 + n) / (10 + n).

Source: Polyak and Juditsky, 1992, for averages along the way; the bound on the decay is that of Marian
(src/optimizers/exponential_smoothing.cpp) and of TensorFlow's ExponentialMovingAverage. Marian, too, validates and
saves the averaged weights.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from tfcli.model.folder import load_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from tfcli.model.networks import Network


class Ema:
    """A network that has the averaged weights: `model`."""

    def __init__(self, model: Network, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(requires_grad=False)
        self._decay = decay
        self._updates = 0

    @torch.no_grad()
    def update(self, model: Network) -> None:
        """Move towards the weights that `model` has after an update."""
        self._updates += 1
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        # all tensors in one call, as torch.optim.swa_utils does it; there is no public name for it
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - decay)

    def restore(self, tensors: Mapping[str, Tensor], updates: int, origin: str) -> None:
        """Put an average back as it was after `updates` updates.

        Raises: CheckpointError when it does not fit, naming `origin`.
        """
        load_weights(self.model, tensors, origin)
        self._updates = updates
