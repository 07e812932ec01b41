"""How the tokens of a batch lie in memory: in padded rows, or packed one after the other.

    padded  (B, T, D)   decoding, where every hypothesis grows by one position at a time
    packed  (N, D)      training: no product, norm or dropout is spent on padding; only attention, which works
                        sentence by sentence, spreads its heads over padded rows and collects them again
    varlen  (N, D)      training on a GPU, by a kernel that attends within packed sentences (`varlen.py`)

Attention sees its heads as (B, H, T, E), or as (N, H, E) with the kernel. Letters for shapes stand in the legend of
`transformer.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tfcli.model.cache import room_for
from tfcli.model.varlen import VarlenPacking

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tfcli.model.cache import KeyValueCache


Heads = tuple[int, ...]  # how many of each kind a product makes


@dataclass(frozen=True)
class Packing:
    """Where the tokens of packed sentences stand: `positions` (N,) in their sentences, and rows to move heads by.

    A token has P heads in all, such as (H, G, G) of queries, keys and values. `spread[heads]` (P*B*T,) names for each
    kind after the other, each head of each padded position, the row of (N, P) it comes from; padding takes the first
    token, which masks and `collect` leave out. `collect[heads]` (N*P,) is the way back.
    """

    n_sentences: int
    longest: int
    positions: Tensor
    is_real: Tensor  # (B, T), False where a padded row has no token
    spread: dict[Heads, Tensor]
    collect: dict[Heads, Tensor]

    @classmethod
    def of(
        cls,
        lengths: NDArray[np.integer[Any]],
        n_heads: int,
        device: torch.device,
        n_kv_heads: int | None = None,
    ) -> Packing:
        """Plan the moves for sentences of `lengths` (B,), each at least 1; as many heads of keys unless told."""
        n_sentences, longest = len(lengths), int(lengths.max())
        first = np.cumsum(lengths) - lengths  # (B,)
        sentence_of = np.repeat(np.arange(n_sentences), lengths)
        sentence = torch.from_numpy(sentence_of).to(device, non_blocking=True)  # (N,)
        position = torch.from_numpy(np.arange(len(sentence_of)) - first[sentence_of]).to(
            device, non_blocking=True
        )  # (N,)
        token = torch.zeros((n_sentences, 1, longest), dtype=torch.int64, device=device)
        token[sentence, 0, position] = torch.arange(len(sentence_of), device=device)
        is_real = torch.zeros((n_sentences, longest), dtype=torch.bool, device=device)
        is_real[sentence, position] = True
        g = n_kv_heads or n_heads
        spread: dict[Heads, Tensor] = {}
        collect: dict[Heads, Tensor] = {}
        for heads in ((n_heads,), (g, g), (n_heads, g, g)):
            rows, places = [], []
            before = 0  # heads of the kinds before this one
            for n in heads:
                head = torch.arange(n, device=device)
                rows.append((token * sum(heads) + before + head[:, None]).flatten())  # (B, n, T)
                place = (before * n_sentences + sentence[:, None] * n + head) * longest  # (N, n)
                places.append(place + position[:, None])
                before += n
            spread[heads] = torch.cat(rows)
            collect[heads] = torch.cat(places, dim=1).flatten()
        return cls(n_sentences, longest, position, is_real, spread, collect)


AnyPacking = Packing | VarlenPacking


@dataclass(frozen=True)
class Places:
    """Where the rows of a search stand that are computed, N of them, among the K places of each sentence.

    `collect` (N,) names the place of each row, `spread` (B*K,) the row of each place; an empty place has another's.
    """

    collect: Tensor
    spread: Tensor


@dataclass(frozen=True)
class Layout:
    """One side of a batch: what may be attended to, and how its tokens lie.

    Shapes: mask broadcastable to (B, H, T, S); None where every position may be attended to, and with a
    `VarlenPacking`, for which `causal` says whether what follows is hidden.
    """

    mask: Tensor | None
    start: int = 0  # position of the first token, where a cache holds those before it
    packing: AnyPacking | None = field(default=None)
    causal: bool = False
    places: Places | None = field(default=None)

    def positions(self, n_positions: int) -> slice | Tensor:
        """Return where in their sentences the tokens stand, to index a table of positions with."""
        if self.packing is not None:
            return self.packing.positions
        return slice(self.start, self.start + n_positions)

    def head_positions(self, heads: Tensor) -> slice | Tensor:
        """Return where in their sentences the positions of `heads` stand, as attention sees them."""
        if isinstance(self.packing, VarlenPacking):
            return self.packing.positions
        return slice(self.start, self.start + heads.shape[2])

    def split_heads(self, projected: Tensor, heads: Heads) -> tuple[Tensor, ...]:
        """Divide a product (B, T, P*E), or packed (N, P*E), into so many heads of each kind: (B, H, T, E) each.

        With a `VarlenPacking` they are (N, H, E).
        """
        if self.packing is None:
            each = projected.view(*projected.shape[:2], sum(heads), -1).transpose(1, 2)  # (B, P, T, E)
            return each.split_with_sizes(heads, dim=1)
        if isinstance(self.packing, VarlenPacking):
            return projected.view(len(projected), sum(heads), -1).split_with_sizes(heads, dim=1)
        rows = projected.reshape(projected.shape[0] * sum(heads), -1)  # (N*P, E)
        spread: Tensor = _Spread.apply(rows, self.packing.spread[heads], self.packing.collect[heads])  # type: ignore[no-untyped-call]
        n_sentences, longest = self.packing.n_sentences, self.packing.longest
        parts = spread.split_with_sizes([n_sentences * n * longest for n in heads])
        return tuple(part.view(n_sentences, n, longest, -1) for part, n in zip(parts, heads, strict=True))

    def join_heads(self, attended: Tensor) -> Tensor:
        """Put heads, (B, H, T, E) or (N, H, E), side by side again: (B, T, D), or packed (N, D)."""
        if self.packing is None:
            return attended.transpose(1, 2).flatten(2)
        if isinstance(self.packing, VarlenPacking):
            return attended.flatten(1)
        rows = attended.flatten(0, 2)  # (B*H*T, E)
        collected: Tensor = _Collect.apply(rows, self.packing.collect[attended.shape[1],])  # type: ignore[no-untyped-call]
        return collected.view(-1, attended.shape[1] * attended.shape[3])

    def first(self, states: Tensor) -> Tensor:
        """Return the first state of each sentence: (B, T, D), or packed (N, D), to (B, D)."""
        return states[:, 0] if self.packing is None else states[self.packing.positions == 0]

    def mean(self, states: Tensor) -> Tensor:
        """Return the mean of each sentence's states, without padding: (B, T, D), or packed (N, D), to (B, D)."""
        if self.packing is None:
            assert self.mask is not None
            real = self.mask[:, 0, 0, :, None]  # (B, T, 1)
            return (states * real).sum(dim=1) / real.sum(dim=1)
        begins = self.packing.positions == 0
        sentence = begins.cumsum(dim=0) - 1  # (N,)
        sums = states.new_zeros(int(begins.sum()), states.shape[-1]).index_add(0, sentence, states)
        return sums / sentence.bincount()[:, None]

    def select(self, sentences: Tensor) -> Layout:
        """Keep `sentences` (B',) of padded rows."""
        return self if self.mask is None else replace(self, mask=self.mask.index_select(0, sentences))


def source_layout(ids: Tensor, pad_id: int, packing: AnyPacking | None) -> Layout:
    """Lay sentences (B, S), or packed (N,), out so that every position which holds a piece is attended to."""
    if isinstance(packing, VarlenPacking):
        return Layout(None, packing=packing)
    real = packing.is_real if packing is not None else ids != pad_id  # (B, S)
    return Layout(real[:, None, None, :], packing=packing)


def target_layout(ids: Tensor, cache: KeyValueCache | None, packing: AnyPacking | None) -> Layout:
    """Lay sentences (R, T), or packed (N,), out so that no position sees a later one.

    Padding needs no mask: it stands on the right, where the causal mask hides it from every real position.
    """
    if isinstance(packing, VarlenPacking):
        return Layout(None, packing=packing, causal=True)
    start = cache.length if cache is not None else 0
    n_positions = packing.longest if packing is not None else ids.shape[1]
    room = room_for(start + n_positions) if cache is not None else None
    mask = causal_mask(n_positions, start, ids.device, room)
    return Layout(mask, start, packing, places=cache.places if cache is not None else None)


def causal_mask(length: int, start: int, device: torch.device, room: int | None = None) -> Tensor:
    """Return which of the positions 0 .. room - 1 each of the `length` from `start` on may see: none that follows.

    Shapes: (length, room); without `room`, nothing follows the last of the `length`.
    """
    seen = torch.arange(room or start + length, device=device)
    return seen <= seen[start : start + length, None]


class _Spread(torch.autograd.Function):
    """Rows to padded places; the way back reads each row at its one real place, where autograd would add up."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, spread: Tensor, collect: Tensor) -> Tensor:
        ctx.save_for_backward(collect)
        return rows.index_select(0, spread)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (collect,) = ctx.saved_tensors
        return grads[0].index_select(0, collect), None, None


class _Collect(torch.autograd.Function):
    """Padded places to rows; the way back leaves padding at zero."""

    @staticmethod
    def forward(ctx: Any, places: Tensor, collect: Tensor) -> Tensor:
        ctx.save_for_backward(collect)
        ctx.n_places = places.shape[0]
        return places.index_select(0, collect)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (collect,) = ctx.saved_tensors
        places = grads[0].new_zeros(ctx.n_places, grads[0].shape[1])
        return places.index_copy_(0, collect, grads[0]), None
