"""Attention within packed sentences: every query meets the keys of its own sentence, and no padding is computed.

On a CUDA device torch's kernel for sentences of varying length does it. Elsewhere a mask over all tokens computes the
same, at a cost that grows with the square of the batch: what tests compare the kernel with, no way to train.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tfcli.model.config import ModelConfig
    from tfcli.model.precision import Precision

# The backward pass of the kernel takes heads up to 256 wide on some GPUs, and up to 192 on all.
WIDEST_HEAD = 192


@dataclass(frozen=True)
class VarlenPacking:
    """Where packed sentences begin: sentence b is the tokens from `offsets[b]` to before `offsets[b + 1]`.

    Shapes: positions (N,), of each token in its sentence; offsets (B + 1,), int32, as the kernel wants it.
    """

    positions: Tensor
    offsets: Tensor
    longest: int  # at least the pieces of the longest sentence

    @classmethod
    def of(cls, lengths: NDArray[np.integer[Any]], longest: int, device: torch.device) -> VarlenPacking:
        """Plan sentences of `lengths` (B,)."""
        ends = np.cumsum(lengths)
        positions = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
        offsets = np.concatenate(([0], ends)).astype(np.int32)
        return cls(to_device(positions, device), to_device(offsets, device), longest)


def to_device(values: NDArray[Any], device: torch.device) -> Tensor:
    """Copy an array to a device; nobody waits for a copy to a GPU."""
    tensor = torch.from_numpy(values)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def has_varlen(device: torch.device, precision: Precision, config: ModelConfig) -> bool:
    """Tell whether a network can be trained with the kernel on this device, and by this torch."""
    return (
        device.type == "cuda"
        and precision == "bf16"
        and config.attention_dropout == 0.0  # the kernel has none
        and config.head_width % 8 == 0
        and config.head_width <= WIDEST_HEAD
        and torch.version.hip is None
        and torch.cuda.get_device_capability(device) >= (8, 0)
        and torch.backends.cuda.is_flash_attention_available()
        and _torch_has_the_kernel(grouped=config.kv_heads != config.n_heads)
    )


def _torch_has_the_kernel(*, grouped: bool = False) -> bool:
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False
    # its first versions had other arguments
    needed = {"window_size", "enable_gqa"} if grouped else {"window_size"}
    return needed <= inspect.signature(varlen_attn).parameters.keys()


def attend_packed(
    q: Tensor, k: Tensor, v: Tensor, queries: VarlenPacking, keys: VarlenPacking, *, causal: bool
) -> Tensor:
    """Return softmax(q k^T / sqrt(E)) v within each sentence, `causal` without what comes after the query.

    Sentence b of the queries belongs to sentence b of the keys, and each with a query has at least one key.

    Shapes: q (N, H, E); k, v (N', G, E); result (N, H, E).
    """
    if q.device.type != "cuda":
        return attend_by_mask(q, k, v, queries, keys, causal=causal)
    from torch.nn.attention.varlen import varlen_attn

    window = (-1, 0) if causal else (-1, -1)  # so many to the left and to the right; -1: all
    grouped: dict[str, Any] = {"enable_gqa": True} if q.shape[1] != k.shape[1] else {}
    attended = varlen_attn(
        q, k, v, queries.offsets, keys.offsets, queries.longest, keys.longest, window_size=window, **grouped
    )
    assert isinstance(attended, Tensor)  # a tuple only for those who ask for more
    return attended


def attend_by_mask(
    q: Tensor, k: Tensor, v: Tensor, queries: VarlenPacking, keys: VarlenPacking, *, causal: bool
) -> Tensor:
    """Compute `attend_packed` with a mask over all pairs of tokens."""
    mask = _sentences(queries)[:, None] == _sentences(keys)  # (N, N')
    if causal:
        mask = mask & (keys.positions <= queries.positions[:, None])
    q, k, v = (each.transpose(0, 1)[None] for each in (q, k, v))  # (1, H, N, E); (1, G, N', E)
    grouped = q.shape[1] != k.shape[1]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=grouped)[0].transpose(0, 1)


def _sentences(packing: VarlenPacking) -> Tensor:
    """Return the number of each token's sentence: (N,)."""
    tokens = torch.arange(packing.positions.shape[0], device=packing.offsets.device, dtype=torch.int32)
    return torch.searchsorted(packing.offsets[1:], tokens, right=True)
