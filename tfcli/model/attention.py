"""Attention, sections 3.2.1 and 3.2.2 of the paper; the rest of the network stands in `transformer.py`, letters and all.

    (B, T, D) -> queries, keys, values -> heads (B, H, T, E) -> softmax(q k^T / sqrt(E)) v -> side by side -> (B, T, D)

With grouped queries (Ainslie et al., 2023, "GQA") there are G < H heads of keys and values: H/G heads of queries share
each. All attention of all networks goes through `attend_between`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tfcli.model.dropout import dropout as apply_dropout
from tfcli.model.rms_norm import RMSNorm
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

    Shapes: q (B, H, T, E); k, v (B, G, S, E); mask broadcastable to (B, H, T, S); result (B, H, T, E).
    """
    if q.device.type == "cpu" and q.shape[2] * k.shape[2] < EXPLICIT_BELOW:
        return attend_explicitly(q, k, v, mask, dropout)
    grouped = q.shape[1] != k.shape[1]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, enable_gqa=grouped)


def attend_explicitly(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float = 0.0) -> Tensor:
    """Compute `attend` as the paper writes it, equation (1).

    Heads that share their keys stand side by side as queries of one head, so that the keys need not be repeated.
    """
    n_groups = k.shape[1]
    scores = _grouped(q * q.shape[-1] ** -0.5, n_groups) @ k.transpose(-2, -1)  # (B, G, H/G*T, S)
    scores = scores.view(*q.shape[:3], k.shape[2])  # (B, H, T, S)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    weights = torch.softmax(scores, dim=-1)  # in fp32 inside, whatever goes in and out
    if dropout > 0.0:
        weights = apply_dropout(weights, dropout)
    return (_grouped(weights, n_groups) @ v).view(*q.shape[:3], v.shape[3])


def _grouped(heads: Tensor, n_groups: int) -> Tensor:
    """Join the heads of each group: (B, H, T, E) to (B, G, H/G*T, E)."""
    return heads.reshape(heads.shape[0], n_groups, -1, heads.shape[3])


def attend_between(
    q: Tensor, k: Tensor, v: Tensor, queries: Layout, keys: Layout, dropout: float = 0.0
) -> Tensor:
    """Attend as the layouts of both sides say: heads (B, H, T, E) in padded rows, or (N, H, E) packed."""
    if isinstance(queries.packing, VarlenPacking) and isinstance(keys.packing, VarlenPacking):
        assert dropout == 0.0, "attention within packed sentences knows no dropout"
        return attend_packed(q, k, v, queries.packing, keys.packing, causal=keys.causal)
    return attend(q, k, v, keys.mask, dropout)


# --- Multi-head attention, section 3.2.2 -----------------------------------------------------------------------


def maps(name: str, matrix: Tensor, config: ModelConfig) -> tuple[Tensor, ...]:
    """Return the maps in a layer's matrix: queries, keys and values share one but are maps of their own."""
    of_keys = config.kv_heads * config.head_width
    if "qkv" in name:
        return matrix.split_with_sizes((config.d_model, of_keys, of_keys))
    return matrix.split_with_sizes((of_keys, of_keys)) if "kv" in name else (matrix,)


class SelfAttention(nn.Module):
    """H heads that attend from a sequence to itself; one product makes queries, keys and values.

    With `qk_norm` each head of queries and keys is brought to one length, so that no score grows beyond bounds (Henry et
    al., 2020), by the root mean square and with a gain for each coordinate (Dehghani et al., 2023). In self-attention
    alone: CTranslate2 could not do it in attention to a memory, where it norms all heads as one.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = (config.n_heads, config.kv_heads, config.kv_heads)
        self.dropout = config.attention_dropout
        self.qkv = nn.Linear(config.d_model, sum(self.heads) * config.head_width, bias=config.bias)
        self.out = nn.Linear(config.d_model, config.d_model, bias=config.bias)
        self.q_norm = RMSNorm(config.head_width) if config.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(config.head_width) if config.qk_norm else nn.Identity()

    def forward(
        self, x: Tensor, layout: Layout, rotary: Rotary | None, cache: LayerCache | None = None
    ) -> Tensor:
        """Attend within the sentences of `x` (B, T, D), and to what the cache holds of them."""
        q, k, v = layout.split_heads(self.qkv(x), self.heads)  # (B, H, T, E); (B, G, T, E) twice
        q, k = self.q_norm(q), self.k_norm(k)
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
        self.q_heads = (config.n_heads,)
        self.kv_heads = (config.kv_heads, config.kv_heads)
        self.dropout = config.attention_dropout
        self.q = nn.Linear(config.d_model, config.d_model, bias=config.bias)
        self.kv = nn.Linear(config.d_model, sum(self.kv_heads) * config.head_width, bias=config.bias)
        self.out = nn.Linear(config.d_model, config.d_model, bias=config.bias)

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
        (q,) = layout.split_heads(q, self.q_heads)  # (B, H, K*T, E)
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
        k, v = src.split_heads(self.kv(memory), self.kv_heads)  # (B, G, S, E) each
        if cache is not None:
            cache.memory_keys, cache.memory_values = k, v
        return k, v
