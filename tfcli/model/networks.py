"""The two other networks that the stacks of `transformer.py` make, a decoder alone and an encoder alone.

    language model   ids -> embedding + positions -> decoder layers without a memory -> states -> logits of the next piece
    classifier       ids -> embedding + positions -> encoder layers -> states -> one of each text -> logits of the labels

Which one a configuration describes follows from the stacks it has: `ModelConfig.task`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from tfcli.model.cache import KeyValueCache
from tfcli.model.dropout import Dropout
from tfcli.model.layout import source_layout, target_layout
from tfcli.model.transformer import (
    Decoder,
    DecoderLayer,
    Embedding,
    Encoder,
    EncoderLayer,
    Transformer,
    initialize,
    make_last_norm,
    make_rotary,
)

if TYPE_CHECKING:
    from tfcli.model.config import ModelConfig
    from tfcli.model.layout import AnyPacking


class LanguageModel(nn.Module):
    """A decoder alone: `decode` reads what is written so far, `logits` scores the next piece (Liu et al., 2018)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        assert config.task == "language_model"
        self.config = config
        self.tgt_embedding = Embedding(config, config.tgt_vocab_size)
        self.decoder = Decoder(DecoderLayer(config) for _ in range(config.n_decoder_layers))
        self.decoder_norm = make_last_norm(config)
        self.output = nn.Linear(config.d_model, config.tgt_vocab_size, bias=False)
        self.rotary = make_rotary(config)
        initialize(self, config)
        if config.tie_embeddings != "none":
            self.output.weight = self.tgt_embedding.pieces.weight

    def forward(self, ids: Tensor, packing: AnyPacking | None = None) -> Tensor:
        """Return the states of every position of texts (B, T), padded on the right: (B, T, D); packed (N,): (N, D)."""
        return self.decode(ids, packing=packing)

    def decode(
        self, ids: Tensor, cache: KeyValueCache | None = None, packing: AnyPacking | None = None
    ) -> Tensor:
        """Return the states (R, T, D) of the positions `ids` (R, T), which follow those in the cache."""
        layout = target_layout(ids, cache, packing)
        x = self.decoder(self.tgt_embedding(ids, layout), layout, None, self.rotary, cache)
        return self.decoder_norm(x)  # type: ignore[no-any-return]

    def logits(self, states: Tensor) -> Tensor:
        """Score the vocabulary for each state: (..., D) to (..., V)."""
        return self.output(states)  # type: ignore[no-any-return]

    def new_cache(self) -> KeyValueCache:
        """Return an empty cache for `decode`."""
        return KeyValueCache.empty(len(self.decoder))


class Classifier(nn.Module):
    """An encoder alone, which tells a label from the mean of its states, or from the first (Devlin et al., 2019)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        assert config.task == "classification"
        assert config.n_labels is not None
        self.config = config
        self.src_embedding = Embedding(config, config.src_vocab_size)
        self.encoder = Encoder(EncoderLayer(config) for _ in range(config.n_encoder_layers))
        self.encoder_norm = make_last_norm(config)
        self.dropout = Dropout(config.dropout)
        self.output = nn.Linear(config.d_model, config.n_labels)
        self.rotary = make_rotary(config)
        initialize(self, config)

    def forward(self, ids: Tensor, packing: AnyPacking | None = None) -> Tensor:
        """Score the labels of texts (B, S), padded on the right, or packed (N,): (B, n_labels)."""
        layout = source_layout(ids, self.config.pad_id, packing)
        states = self.encoder_norm(self.encoder(self.src_embedding(ids, layout), layout, self.rotary))
        pooled = layout.mean(states) if self.config.pooling == "mean" else layout.first(states)
        return self.output(self.dropout(pooled))  # type: ignore[no-any-return]


Network = Transformer | LanguageModel | Classifier


def build_network(config: ModelConfig) -> Network:
    """Build the network that a configuration describes; random numbers come from torch's global generator."""
    match config.task:
        case "translation":
            return Transformer(config)
        case "language_model":
            return LanguageModel(config)
        case "classification":
            return Classifier(config)


def layers(network: Network) -> list[nn.Module]:
    """Return the layers of the stacks that a network has."""
    return [*getattr(network, "encoder", ()), *getattr(network, "decoder", ())]
