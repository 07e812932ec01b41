"""Where a network looks: the attention weights of a sentence pair, by layer and head.

The network computes them as ever and knows nothing of this: torch tells a listener of every softmax and every fused
attention on its way.

    source + </s>  ->  encoder  ->  L maps of encoder self-attention
    <s> + target   ->  decoder  ->  L times: a map of its self-attention, then one of attention to the source

Letters for shapes stand in the legend of `transformer.py`; L is the number of layers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from tfcli.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from tfcli.model.transformer import Transformer

    Maps = NDArray[np.float32]


@dataclass(frozen=True)
class AttentionMaps:
    """The weights that each position of the row gives to the positions of the columns; a row sums to 1.

    Row t of `decoder` and `cross` is where piece t of the target is written, which has read those before it: columns
    of `decoder` are the begin mark and the target but for its end.

    Shapes: encoder (L, H, S, S), decoder (L, H, T, T), cross (L, H, T, S).
    """

    encoder: Maps
    decoder: Maps
    cross: Maps


def attention_maps(model: Transformer, src: Sequence[int], tgt: Sequence[int]) -> AttentionMaps:
    """Return where `model` looks while it reads `src` and is made to write `tgt`; both end with the end mark.

    The model must be in evaluation mode.
    """
    assert not model.training, "dropout would be part of the maps"
    device = next(model.parameters()).device
    tgt_in = [Tokenizer.bos_id, *tgt[:-1]]
    with torch.inference_mode():
        with _Listener() as reading:
            memory, layout = model.encode(torch.tensor([list(src)], device=device))
        with _Listener() as writing:
            model.decode(torch.tensor([tgt_in], device=device), memory, layout)
    of_itself, of_source = writing.heard[0::2], writing.heard[1::2]
    # what else the network may compute a softmax of one day is no attention
    assert (len(reading.heard), len(of_itself), len(of_source)) == (
        len(model.encoder),
        len(model.decoder),
        len(model.decoder),
    )
    return AttentionMaps(_stacked(reading.heard), _stacked(of_itself), _stacked(of_source))


class _Listener(TorchFunctionMode):
    """Keeps the weights (1, H, T, S) of each attention that is computed within the context, in this thread."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Tensor] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is torch.softmax:
            self.heard.append(result)
        elif func is F.scaled_dot_product_attention:  # which keeps its weights to itself
            self.heard.append(_weights(*args, **(kwargs or {})))
        return result


def _weights(q: Tensor, k: Tensor, _: Tensor, attn_mask: Tensor | None = None, **options: Any) -> Tensor:
    """Return the weights of `scaled_dot_product_attention` for heads q (1, H, T, E), of which groups may share a k."""
    assert not options.get("is_causal"), "the network says by a mask what follows"
    scale = options.get("scale") or q.shape[-1] ** -0.5
    scores = (q * scale) @ k.repeat_interleave(q.shape[1] // k.shape[1], dim=1).transpose(-2, -1)
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -math.inf)
    return torch.softmax(scores, dim=-1)


def _stacked(maps: Sequence[Tensor]) -> Maps:
    """Return maps of one sentence as (L, H, T, S), whether heads stand side by side or in groups."""
    heads = [weights.float().reshape(-1, *weights.shape[-2:]) for weights in maps]
    return torch.stack(heads).cpu().numpy()
