"""The keys and values a decoder has computed, so that each step of decoding computes only one position.

Rows are hypotheses, sentence by sentence: R = B * K of them. A sentence's memory is the same for all of its K
hypotheses and is held once. Letters for shapes stand in the legend of `transformer.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class LayerCache:
    """Keys and values of one decoder layer."""

    keys: Tensor | None = None  # (R, H, t, E), the t positions decoded so far
    values: Tensor | None = None
    memory_keys: Tensor | None = None  # (B, H, S, E)
    memory_values: Tensor | None = None

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add the newest positions (R, H, T, E) and return all of them (R, H, t + T, E)."""
        if self.keys is not None and self.values is not None:
            keys = torch.cat((self.keys, keys), dim=2)
            values = torch.cat((self.values, values), dim=2)
        self.keys, self.values = keys, values
        return keys, values


@dataclass
class KeyValueCache:
    """What the decoder remembers between steps; made empty, filled by `Transformer.decode`."""

    layers: list[LayerCache]
    length: int = field(default=0)  # positions decoded so far

    @classmethod
    def empty(cls, n_layers: int) -> KeyValueCache:
        """Return a cache that holds nothing."""
        return cls([LayerCache() for _ in range(n_layers)])

    def select_rows(self, rows: Tensor) -> None:
        """Keep the hypotheses `rows` (R',), in that order; a row may be taken several times."""
        for layer in self.layers:
            if layer.keys is not None and layer.values is not None:
                layer.keys = layer.keys.index_select(0, rows)
                layer.values = layer.values.index_select(0, rows)

    def select_sentences(self, sentences: Tensor) -> None:
        """Keep the memories of `sentences` (B',); the caller selects their rows."""
        for layer in self.layers:
            if layer.memory_keys is not None and layer.memory_values is not None:
                layer.memory_keys = layer.memory_keys.index_select(0, sentences)
                layer.memory_values = layer.memory_values.index_select(0, sentences)
