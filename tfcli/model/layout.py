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

from tfcli.model.varlen import VarlenPacking

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Packing:
    """Where the tokens of packed sentences stand: `positions` (N,) in their sentences, and rows to move heads by.

    `spread[m]` (m*B*H*T,) names for each head of each padded position the row of (N, m, H) it comes from; padding
    takes the first token, which masks and `collect` leave out. `collect[m]` (N*m*H,) is the way back.
    """

    n_sentences: int
    longest: int
    positions: Tensor
    is_real: Tensor  # (B, T), False where a padded row has no token
    spread: dict[int, Tensor]
    collect: dict[int, Tensor]

    @classmethod
    def of(cls, lengths: NDArray[np.integer[Any]], n_heads: int, device: torch.device) -> Packing:
        """Plan the moves for sentences of `lengths` (B,), each at least 1."""
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
        head = torch.arange(n_heads, device=device)
        spread, collect = {}, {}
        for n_maps in (1, 2, 3):
            part = torch.arange(n_maps, device=device)
            rows = (token * n_maps + part[:, None, None, None]) * n_heads + head[:, None]  # (m, B, H, T)
            places = (part[:, None] * n_sentences + sentence[:, None, None]) * n_heads + head  # (N, m, H)
            spread[n_maps] = rows.flatten()
            collect[n_maps] = (places * longest + position[:, None, None]).flatten()
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

    def split_heads(self, projected: Tensor, n_maps: int, n_heads: int) -> tuple[Tensor, ...]:
        """Divide the result of `n_maps` maps, (B, T, m*D) or packed (N, m*D), into heads: (B, H, T, E) each.

        With a `VarlenPacking` they are (N, H, E).
        """
        if self.packing is None:
            heads = projected.view(*projected.shape[:2], n_maps, n_heads, -1)
            return heads.permute(2, 0, 3, 1, 4).unbind()
        if isinstance(self.packing, VarlenPacking):
            return projected.view(projected.shape[0], n_maps, n_heads, -1).unbind(dim=1)
        rows = projected.reshape(projected.shape[0] * n_maps * n_heads, -1)  # (N*m*H, E)
        spread: Tensor = _Spread.apply(rows, self.packing.spread[n_maps], self.packing.collect[n_maps])  # type: ignore[no-untyped-call]
        shape = (n_maps, self.packing.n_sentences, n_heads, self.packing.longest, -1)
        return spread.view(shape).unbind()

    def join_heads(self, attended: Tensor) -> Tensor:
        """Put heads, (B, H, T, E) or (N, H, E), side by side again: (B, T, D), or packed (N, D)."""
        if self.packing is None:
            return attended.transpose(1, 2).flatten(2)
        if isinstance(self.packing, VarlenPacking):
            return attended.flatten(1)
        rows = attended.flatten(0, 2)  # (B*H*T, E)
        collected: Tensor = _Collect.apply(rows, self.packing.collect[1])  # type: ignore[no-untyped-call]
        return collected.view(-1, attended.shape[1] * attended.shape[3])

    def select(self, sentences: Tensor) -> Layout:
        """Keep `sentences` (B',) of padded rows."""
        return self if self.mask is None else replace(self, mask=self.mask.index_select(0, sentences))


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
