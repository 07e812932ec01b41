"""The Transformer of "Attention Is All You Need" (Vaswani et al., 2017), to be read from top to bottom.

Letters for shapes, valid everywhere in this project:

    B  sentences of a batch        D  d_model, width of the residual stream
    S  source length               H  n_heads
    T  target length               E  width of a head, D / H
    N  tokens of a packed batch    G  n_kv_heads, heads of keys and values (H but with grouped queries)
    K  beam_size                   F  d_ff, width of the feed-forward
    R  rows of a search, B * K     V  vocab_size

Masks are boolean and say what MAY be attended to (True), as in `scaled_dot_product_attention`.

    source ids -> embedding + positions -> encoder layers -> memory (B, S, D)
                                                                |
    target ids -> embedding + positions -> decoder layers (self-attention, attention to memory) -> logits

Attention itself, sections 3.2.1 and 3.2.2, stands in `attention.py`: read that next, before the layers that use it.
Either stack alone makes another network, in `networks.py`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tfcli.model.attention import CrossAttention, SelfAttention, maps
from tfcli.model.cache import KeyValueCache
from tfcli.model.dropout import Dropout
from tfcli.model.layout import Layout, source_layout, target_layout
from tfcli.model.positions import LearnedPositions, Rotary, SinusoidalPositions
from tfcli.model.rms_norm import EPSILON, RMSNorm

if TYPE_CHECKING:
    from tfcli.model.cache import LayerCache
    from tfcli.model.config import ModelConfig
    from tfcli.model.layout import AnyPacking

# --- Position-wise feed-forward, section 3.3 -------------------------------------------------------------------


class FeedForward(nn.Module):
    """Two linear maps with a non-linearity between them, the same at every position.

        relu, gelu:  down(f(up(x)))          swiglu:  down(silu(gate(x)) * up(x))

    A third map that gates the width (SwiGLU; Shazeer, 2020, "GLU Variants Improve Transformer", equation (6)) makes two
    thirds of F cost as much.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.d_model, config.d_ff, bias=config.bias)
        self.down = nn.Linear(config.d_ff, config.d_model, bias=config.bias)
        gated = config.activation == "swiglu"
        self.gate = nn.Linear(config.d_model, config.d_ff, bias=config.bias) if gated else None
        # in place: its gradient needs its result alone, and the product before it needs neither
        self.activation = torch.relu_ if config.activation == "relu" else F.gelu

    def forward(self, x: Tensor) -> Tensor:
        """Map `x` (B, T, D) through width F and back."""
        if self.gate is not None:
            return self.down(F.silu(self.gate(x)) * self.up(x))  # type: ignore[no-any-return]
        return self.down(self.activation(self.up(x)))  # type: ignore[no-any-return]


# --- Layers, section 3.1 ---------------------------------------------------------------------------------------
#
#     post (the paper):  x = norm(x + dropout(f(x)))       pre:  x = x + dropout(f(norm(x)))
#
# "post" normalises the residual stream itself; "pre" leaves it untouched from end to end, trains without a long
# warm-up and needs one more norm after the last layer (Xiong et al., 2020).


def make_norm(config: ModelConfig) -> nn.Module:
    """Return a layer norm (Ba et al., 2016), or one by the root mean square alone (Zhang and Sennrich, 2019)."""
    if config.norm_kind == "rms":
        return RMSNorm(config.d_model)
    return nn.LayerNorm(config.d_model, eps=EPSILON, bias=config.bias)


class EncoderLayer(nn.Module):
    """Self-attention, then feed-forward."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.pre_norm = config.norm == "pre"
        self.self_attention = SelfAttention(config)
        self.feed_forward = FeedForward(config)
        self.self_attention_norm = make_norm(config)
        self.feed_forward_norm = make_norm(config)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, src: Layout, rotary: Rotary | None) -> Tensor:
        """Map `x` (B, S, D) to the next layer's input."""
        if self.pre_norm:
            x = x + self.dropout(self.self_attention(self.self_attention_norm(x), src, rotary))
            return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))  # type: ignore[no-any-return]
        x = self.self_attention_norm(x + self.dropout(self.self_attention(x, src, rotary)))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))  # type: ignore[no-any-return]


class DecoderLayer(nn.Module):
    """Self-attention to what came before, attention to the memory if there is an encoder, then feed-forward."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.pre_norm = config.norm == "pre"
        self.self_attention = SelfAttention(config)
        self.cross_attention = CrossAttention(config) if config.n_encoder_layers else None
        self.feed_forward = FeedForward(config)
        self.self_attention_norm = make_norm(config)
        self.cross_attention_norm = make_norm(config) if config.n_encoder_layers else nn.Identity()
        self.feed_forward_norm = make_norm(config)
        self.dropout = Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        tgt: Layout,
        memory: tuple[Tensor, Layout] | None,
        rotary: Rotary | None,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """Map `x` (R, T, D) to the next layer's input."""
        if self.pre_norm:
            x = x + self.dropout(self.self_attention(self.self_attention_norm(x), tgt, rotary, cache))
            if self.cross_attention is not None:
                assert memory is not None
                x = x + self.dropout(self.cross_attention(self.cross_attention_norm(x), tgt, *memory, cache))
            return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))  # type: ignore[no-any-return]
        x = self.self_attention_norm(x + self.dropout(self.self_attention(x, tgt, rotary, cache)))
        if self.cross_attention is not None:
            assert memory is not None
            x = self.cross_attention_norm(x + self.dropout(self.cross_attention(x, tgt, *memory, cache)))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))  # type: ignore[no-any-return]


# --- Embeddings, section 3.4, the two stacks, and the network ---------------------------------------------------------------


class Embedding(nn.Module):
    """Piece vectors times sqrt(D), plus positions, with dropout (sections 3.4, 3.5 and 5.4)."""

    def __init__(self, config: ModelConfig, vocab_size: int) -> None:
        super().__init__()
        self.scale = math.sqrt(config.d_model)
        self.pieces = nn.Embedding(vocab_size, config.d_model, padding_idx=config.pad_id)
        self.positions: nn.Module | None = None
        if config.positions != "rotary":
            kind = SinusoidalPositions if config.positions == "sinusoidal" else LearnedPositions
            self.positions = kind(config.max_positions, config.d_model)
        self.dropout = Dropout(config.dropout)

    def forward(self, ids: Tensor, layout: Layout) -> Tensor:
        """Embed `ids` (B, T): (B, T, D)."""
        embedded = self.pieces(ids) * self.scale
        if self.positions is not None:
            embedded = self.positions(embedded, layout.positions(ids.shape[-1]))
        return self.dropout(embedded)  # type: ignore[no-any-return]


def make_last_norm(config: ModelConfig) -> nn.Module:
    """Return the norm after the last layer of a stack."""
    return make_norm(config) if config.norm == "pre" else nn.Identity()


def make_rotary(config: ModelConfig) -> Rotary | None:
    """Return what turns queries and keys, if positions are told so."""
    return Rotary(config.max_positions, config.head_width) if config.positions == "rotary" else None


class Encoder(nn.ModuleList):
    """Encoder layers, one after the other."""

    def forward(self, x: Tensor, src: Layout, rotary: Rotary | None) -> Tensor:
        """Map embedded pieces (B, S, D) to the last layer's result."""
        for layer in self:
            x = layer(x, src, rotary)
        return x


class Decoder(nn.ModuleList):
    """Decoder layers, one after the other, each with its part of the cache."""

    def forward(
        self,
        x: Tensor,
        tgt: Layout,
        memory: tuple[Tensor, Layout] | None,
        rotary: Rotary | None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Map embedded pieces (R, T, D) to the last layer's result."""
        for i, layer in enumerate(self):
            x = layer(x, tgt, memory, rotary, cache.layers[i] if cache is not None else None)
        if cache is not None:
            cache.length += x.shape[1]
        return x


class Transformer(nn.Module):
    """An encoder-decoder: `encode` reads a source, `decode` writes a target, `logits` scores the next piece.

    Built with the sizes of `config`; random numbers come from torch's global generator, so seed it first.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.src_embedding = Embedding(config, config.src_vocab_size)
        self.tgt_embedding = Embedding(config, config.tgt_vocab_size)
        self.encoder = Encoder(EncoderLayer(config) for _ in range(config.n_encoder_layers))
        self.decoder = Decoder(DecoderLayer(config) for _ in range(config.n_decoder_layers))
        self.encoder_norm = make_last_norm(config)
        self.decoder_norm = make_last_norm(config)
        self.output = nn.Linear(config.d_model, config.tgt_vocab_size, bias=False)
        self.rotary = make_rotary(config)
        initialize(self, config)
        self._tie()

    def forward(
        self,
        src: Tensor,
        tgt_in: Tensor,
        src_packing: AnyPacking | None = None,
        tgt_packing: AnyPacking | None = None,
    ) -> Tensor:
        """Return the decoder's states for every target position, teacher-forced; `logits` scores them.

        Shapes: src (B, S), tgt_in (B, T), padded on the right with pad_id; result (B, T, D). With packings: src and
        tgt_in are (N,), of either side its own N, and the result is (N, D).
        """
        memory, src_layout = self.encode(src, src_packing)
        return self.decode(tgt_in, memory, src_layout, packing=tgt_packing)

    def encode(self, src: Tensor, packing: AnyPacking | None = None) -> tuple[Tensor, Layout]:
        """Read the source ids (B, S); return the memory (B, S, D), and its layout with a mask (B, 1, 1, S)."""
        layout = source_layout(src, self.config.pad_id, packing)
        x = self.encoder(self.src_embedding(src, layout), layout, self.rotary)
        return self.encoder_norm(x), layout

    def decode(
        self,
        tgt_in: Tensor,
        memory: Tensor,
        src: Layout,
        cache: KeyValueCache | None = None,
        packing: AnyPacking | None = None,
    ) -> Tensor:
        """Return the states (R, T, D) of the positions `tgt_in` (R, T), which follow those in the cache."""
        layout = target_layout(tgt_in, cache, packing)
        x = self.decoder(self.tgt_embedding(tgt_in, layout), layout, (memory, src), self.rotary, cache)
        return self.decoder_norm(x)  # type: ignore[no-any-return]

    def logits(self, states: Tensor) -> Tensor:
        """Score the vocabulary for each state: (..., D) to (..., V), section 3.4."""
        return self.output(states)  # type: ignore[no-any-return]

    def new_cache(self) -> KeyValueCache:
        """Return an empty cache for `decode`."""
        return KeyValueCache.empty(len(self.decoder))

    def _tie(self) -> None:
        """Share the matrices that `tie_embeddings` names (Press and Wolf, 2017)."""
        if self.config.tie_embeddings == "all":
            self.src_embedding.pieces.weight = self.tgt_embedding.pieces.weight
        if self.config.tie_embeddings in ("all", "decoder"):
            self.output.weight = self.tgt_embedding.pieces.weight


def initialize(model: nn.Module, config: ModelConfig) -> None:
    """Draw Xavier-uniform matrices and embeddings of variance 1/D, which `Embedding` scales to 1."""
    for name, parameter in model.named_parameters():
        if "norm" in name:
            continue  # they start as the identity
        if parameter.dim() == 1:
            nn.init.zeros_(parameter)
        elif "embedding" in name or name.startswith("output"):
            nn.init.normal_(parameter, std=config.d_model**-0.5)
        else:
            for part in maps(name, parameter, config):
                nn.init.xavier_uniform_(part)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, Embedding):
                module.pieces.weight[config.pad_id].zero_()
