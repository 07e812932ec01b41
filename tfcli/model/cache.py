"""The keys and values a decoder has computed, so that each step of decoding computes only one position.

Rows are hypotheses, sentence by sentence: R = B * K of them. A sentence's memory is the same for all of its K
hypotheses and is held once. Letters for shapes stand in the legend of `transformer.py`.

    keys  (R, H, room, E)   [position 0 | 1 | 2 | ... | length - 1 | zeros ... ]

There is room for more positions than have been decoded, and a mask hides the rest: a new position is written in
place, and the products of attention keep their shape for `ROOM_STEP` steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from tfcli.model.layout import Places

# For each new shape of a bf16 product, oneDNN generates code, as long as two small products take (0.25 ms each on a
# core of an EPYC with AVX512-BF16). Products over eight positions cost no more than over one.
ROOM_STEP = 8


@dataclass
class LayerCache:
    """Keys and values of one decoder layer."""

    keys: Tensor | None = None  # (R, H, room, E)
    values: Tensor | None = None
    memory_keys: Tensor | None = None  # (B, H, S, E)
    memory_values: Tensor | None = None

    def write(self, keys: Tensor, values: Tensor, start: int, room: int) -> tuple[Tensor, Tensor]:
        """Put the positions from `start` on (R, H, T, E) to the others; return all of them (R, H, room, E)."""
        self.keys = _written(self.keys, keys, start, room)
        self.values = _written(self.values, values, start, room)
        return self.keys, self.values


def _written(held: Tensor | None, new: Tensor, start: int, room: int) -> Tensor:
    """Return `held` (R, H, room, E), grown if need be, with `new` (R, H, T, E) in its place."""
    if held is None or held.shape[2] < room:
        grown = new.new_zeros(*new.shape[:2], room, new.shape[3])
        if held is not None:
            grown[:, :, :start] = held[:, :, :start]
        held = grown
    held[:, :, start : start + new.shape[2]] = new
    return held


@dataclass
class KeyValueCache:
    """What the decoder remembers between steps; made empty, filled by `Transformer.decode`."""

    layers: list[LayerCache]
    length: int = field(default=0)  # positions decoded so far
    places: Places | None = field(default=None)  # when some hypotheses are left out

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


def room_for(n_positions: int) -> int:
    """Return the room that a cache keeps for so many positions."""
    return -(-n_positions // ROOM_STEP) * ROOM_STEP
