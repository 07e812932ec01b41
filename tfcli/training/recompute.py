"""Gradient checkpointing: a layer keeps its input alone, and is computed again when its gradient is wanted.

The second computation draws the same random numbers as the first, since torch puts the generators back to where they
stood: losses and gradients are the same to the last bit.

Source: Chen et al., 2016, "Training Deep Nets with Sublinear Memory Cost", section 4.1, with a segment for each layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils.checkpoint import checkpoint

from tfcli.model.networks import layers

if TYPE_CHECKING:
    from collections.abc import Callable

    from tfcli.model.networks import Network


def recompute_layers(model: Network) -> None:
    """Have each layer of the encoder and the decoder computed again for its gradient."""
    for layer in layers(model):
        layer.forward = _recomputed(layer.forward)


def _recomputed(forward: Callable[..., Any]) -> Callable[..., Any]:
    def again(*args: Any) -> Any:
        if not torch.is_grad_enabled():  # validation: nothing is kept anyway
            return forward(*args)
        return checkpoint(forward, *args, use_reentrant=False)

    return again
