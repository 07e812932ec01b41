"""Attention, sections 3.2.1 and 3.2.2 of the paper; the rest of the network stands in `transformer.py`, letters and all.

    (B, T, D) -> queries, keys, values -> heads (B, H, T, E) -> softmax(q k^T / sqrt(E)) v -> side by side -> (B, T, D)

All attention of all networks goes through `attend_between`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tfcli.model.dropout import dropout as apply_dropout
from tfcli.model.varlen import VarlenPacking, attend_packed

if TYPE_CHECKING:
    from tfcli.model.cache import LayerCache
    from tfcli.model.config import ModelConfig
    from tfcli.model.layout import Layout
    from tfcli.model.positions import Rotary

# --- Scaled dot-product attention, section 3.2.1 ---------------------------------------------------------------

# On a CPU, below this many scores a head, plain products beat the fused kernel (its backward above all).
EXPLICIT_BELOW = 128 * 128


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float = 0.0) -> Tensor:
    """Return softmax(q k^T / sqrt(E)) v, by whichever of two equal ways is faster for the shape.

    Shapes: q (B, H, T, E); k, v (B, H, S, E); mask broadcastable to (B, H, T, S); result (B, H, T, E).
    """
    if q.device.type == "cpu" and q.shape[2] * k.shape[2] < EXPLICIT_BELOW:
        return attend_explicitly(q, k, v, mask, dropout)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)


def attend_explicitly(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float = 0.0) -> Tensor:
    """Compute `attend` as the paper writes it, equation (1)."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)  # (B, H, T, S)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    weights = torch.softmax(scores, dim=-1)  # in fp32 inside, whatever goes in and out
    if dropout > 0.0:
        weights = apply_dropout(weights, dropout)
    return weights @ v


def attend_between(
    q: Tensor, k: Tensor, v: Tensor, queries: Layout, keys: Layout, dropout: float = 0.0
) -> Tensor:
    """Attend as the layouts of both sides say: heads (B, H, T, E) in padded rows, or (N, H, E) packed."""
    if isinstance(queries.packing, VarlenPacking) and isinstance(keys.packing, VarlenPacking):
        assert dropout == 0.0, "attention within packed sentences knows no dropout"
        return attend_packed(q, k, v, queries.packing, keys.packing, causal=keys.causal)
    return attend(q, k, v, keys.mask, dropout)


def causal_mask(length: int, start: int, device: torch.device, room: int | None = None) -> Tensor:
    """Return which of the positions 0 .. room - 1 each of the `length` from `start` on may see: none that follows.

    Shapes: (length, room); without `room`, nothing follows the last of the `length`.
    """
    seen = torch.arange(room or start + length, device=device)
    return seen <= seen[start : start + length, None]


# --- Multi-head attention, section 3.2.2 -----------------------------------------------------------------------


class SelfAttention(nn.Module):
    """H heads that attend from a sequence to itself; one product makes queries, keys and values."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_heads = config.n_heads
        self.dropout = config.attention_dropout
        self.qkv = nn.Linear(config.d_model, 3 * config.d_model)
        self.out = nn.Linear(config.d_model, config.d_model)

    def forward(
        self, x: Tensor, layout: Layout, rotary: Rotary | None, cache: LayerCache | None = None
    ) -> Tensor:
        """Attend within the sentences of `x` (B, T, D), and to what the cache holds of them."""
        q, k, v = layout.split_heads(self.qkv(x), 3, self.n_heads)  # (B, H, T, E) each
        if rotary is not None:
            positions = layout.head_positions(q)
            q, k = rotary(q, positions), rotary(k, positions)
        if cache is not None:
            assert layout.mask is not None
            k, v = cache.write(k, v, layout.start, layout.mask.shape[-1])
        dropout = self.dropout if self.training else 0.0
        attended = attend_between(q, k, v, layout, layout, dropout)  # (B, H, T, E)
        return self.out(layout.join_heads(attended))  # type: ignore[no-any-return]


class CrossAttention(nn.Module):
    """H heads that attend from the target to the encoder's memory."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_heads = config.n_heads
        self.dropout = config.attention_dropout
        self.q = nn.Linear(config.d_model, config.d_model)
        self.kv = nn.Linear(config.d_model, 2 * config.d_model)
        self.out = nn.Linear(config.d_model, config.d_model)

    def forward(
        self, x: Tensor, layout: Layout, memory: Tensor, src: Layout, cache: LayerCache | None = None
    ) -> Tensor:
        """Attend from `x` (R, T, D) to `memory` (B, S, D), row r belonging to sentence r // K.

        A search has K rows a sentence, of which `layout.places` may leave some out. No order is told between them
        here, so they may stand side by side as queries of one sentence, and the memory need not be repeated.
        """
        q = self.q(x)
        if layout.packing is None:
            if layout.places is not None:
                q = q.index_select(0, layout.places.spread)
            q = q.view(memory.shape[0], -1, q.shape[-1])  # (B, K*T, D)
        (q,) = layout.split_heads(q, 1, self.n_heads)  # (B, H, K*T, E)
        k, v = self._keys_and_values(memory, src, cache)
        attended = attend_between(q, k, v, layout, src, self.dropout if self.training else 0.0)
        attended = layout.join_heads(attended)
        if layout.places is not None:
            attended = attended.view(-1, *x.shape[1:]).index_select(0, layout.places.collect)
        return self.out(attended.view(x.shape))  # type: ignore[no-any-return]

    def _keys_and_values(
        self, memory: Tensor, src: Layout, cache: LayerCache | None
    ) -> tuple[Tensor, Tensor]:
        if cache is not None and cache.memory_keys is not None and cache.memory_values is not None:
            return cache.memory_keys, cache.memory_values
        k, v = src.split_heads(self.kv(memory), 2, self.n_heads)  # (B, H, S, E) each
        if cache is not None:
            cache.memory_keys, cache.memory_values = k, v
        return k, v
