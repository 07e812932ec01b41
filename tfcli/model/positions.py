"""How a Transformer is told the order of its input: sinusoids, a learned table, or rotations.

Letters for shapes stand in the legend of `transformer.py`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def sinusoids(max_positions: int, d_model: int) -> Tensor:
    """Return the table of positional encodings: sines in even columns, cosines in odd ones.

    Shapes: (max_positions, D).
    Source: "Attention Is All You Need", section 3.5.
    """
    position = torch.arange(max_positions, dtype=torch.float64)[:, None]
    rate = torch.exp(torch.arange(0, d_model, 2, dtype=torch.float64) * (-math.log(10_000.0) / d_model))
    table = torch.empty(max_positions, d_model, dtype=torch.float64)
    table[:, 0::2] = torch.sin(position * rate)
    table[:, 1::2] = torch.cos(position * rate)
    return table.float()


class SinusoidalPositions(nn.Module):
    """Add fixed sinusoids to the embeddings."""

    table: Tensor

    def __init__(self, max_positions: int, d_model: int) -> None:
        super().__init__()
        self.register_buffer("table", sinusoids(max_positions, d_model), persistent=False)

    def forward(self, embedded: Tensor, positions: slice | Tensor) -> Tensor:
        """Add the encodings of the positions, a slice for (B, T, D) or (N,) for packed `embedded` (N, D)."""
        return embedded + self.table[positions].to(embedded.dtype)


class LearnedPositions(nn.Module):
    """Add a trained vector for each position to the embeddings."""

    def __init__(self, max_positions: int, d_model: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(max_positions, d_model))

    def forward(self, embedded: Tensor, positions: slice | Tensor) -> Tensor:
        """Add the vectors of the positions, a slice for (B, T, D) or (N,) for packed `embedded` (N, D)."""
        return embedded + self.table[positions].to(embedded.dtype)


class Rotary(nn.Module):
    """Rotate pairs of a head's coordinates by angles that grow with the position.

    The product of a query and a key then depends on their distance alone.

    Source: Su et al., 2021, "RoFormer", section 3.4, with the pairs (i, i + E/2) in place of (2i, 2i + 1).
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, max_positions: int, head_width: int) -> None:
        super().__init__()
        rate = 10_000.0 ** (-torch.arange(0, head_width, 2, dtype=torch.float64) / head_width)
        angle = torch.arange(max_positions, dtype=torch.float64)[:, None] * rate  # (max_positions, E/2)
        self.register_buffer("cos", angle.cos().float(), persistent=False)
        self.register_buffer("sin", angle.sin().float(), persistent=False)

    def forward(self, heads: Tensor, positions: slice | Tensor) -> Tensor:
        """Rotate `heads`, (B, H, T, E) at a slice of positions, or (N, H, E) at positions (N,)."""
        cos = self.cos[positions].to(heads.dtype)
        sin = self.sin[positions].to(heads.dtype)
        if isinstance(positions, Tensor):
            cos, sin = cos[:, None], sin[:, None]  # the same for all heads
        first, second = heads.chunk(2, dim=-1)  # coordinate i turns with coordinate i + E/2
        return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
