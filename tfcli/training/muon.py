"""Muon for the matrices of the layers, with AdamW for all else.

Where AdamW scales each element of the averaged gradient, Muon takes the matrix as a whole and replaces it by the
orthogonal matrix next to it: every direction moves by the same amount.

    gradient -> momentum (Nesterov) -> orthogonal matrix, by five steps of Newton and Schulz -> scale -> weights

The matrix of a self-attention holds three maps, one below the other (queries, keys, values), that of an attention to
the memory two. They are orthogonalised one by one; together, what belongs to different maps would be mixed. Updates
are scaled to the root mean square that AdamW's have, so that one learning rate serves both.

torch.optim.Muon knows no such maps, takes one matrix at a time, and computes in bf16 whatever the hardware. Here maps
of one shape are taken together, in the arithmetic of the run: for the preset `small` on a CPU without bf16 units that
takes 0.7 s of processor time a step instead of 1.8 s. The tests compare the two.

Source: Jordan et al., 2024, https://kellerjordan.github.io/posts/muon/ (the method, its constants, and the maps taken
apart); Liu et al., 2025, arXiv:2502.16982, section 2.2 (the scale).
"""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import torch

from tfcli.errors import RecipeError
from tfcli.model.attention import maps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from tfcli.model.networks import Network
    from tfcli.recipe.schema import TrainingSection
    from tfcli.training.adamw import AdamW

# Of the polynomial a x + b x^3 + c x^5 that is applied to the singular values, five times: of norm 1 together, it
# brings all from 0.002 on to between 0.68 and 1.21, rather than the large ones to 1 exactly.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
STEPS = 5
ADAMW_RMS = 0.2  # of AdamW's updates in units of the learning rate, as a rule


def orthogonalize(matrices: Tensor) -> Tensor:
    """Return the orthogonal matrices next to `matrices`, nearly, which have the same singular vectors.

    Shapes: (n, rows, columns), also of the result.
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices  # the products are of the smaller side's size
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class MuonAndAdamW:
    """Two optimizers that step as one; `matrices` and `momentum` are Muon's, by the names of the matrices."""

    def __init__(
        self,
        model: Network,
        matrices: Mapping[str, nn.Parameter],
        adamw: AdamW,
        settings: TrainingSection,
        dtype: torch.dtype,
    ) -> None:
        refuse_muon_without(matrices)
        self.adamw = adamw
        self.matrices = matrices
        self.momentum = {name: torch.zeros_like(matrix) for name, matrix in matrices.items()}
        self._maps = functools.partial(maps, config=model.config)
        self._group: dict[str, Any] = {"lr": 0.0, "weight_decay": settings.weight_decay}
        self._decay = settings.muon_momentum
        self._dtype = dtype

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of both, each with its `lr`."""
        return [*self.adamw.param_groups, self._group]

    @torch.no_grad()
    def step(self) -> None:
        """Update the weights from their gradients."""
        self.adamw.step()
        rate = self._group["lr"]
        by_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for name, matrix in self.matrices.items():
            if matrix.grad is None:
                continue
            momentum = self.momentum[name].lerp_(matrix.grad, 1 - self._decay)
            update = matrix.grad.lerp(momentum, self._decay).to(self._dtype)
            matrix.mul_(1 - rate * self._group["weight_decay"])
            for weights, part in zip(self._maps(name, matrix), self._maps(name, update), strict=True):
                by_shape[part.shape].append((weights, part))
        for shape, pairs in by_shape.items():
            orthogonal = orthogonalize(torch.stack([part for _, part in pairs]))
            # an orthogonal matrix of this shape has a root mean square of 1 / sqrt(the larger side)
            step_size = rate * ADAMW_RMS * math.sqrt(max(shape))
            for (weights, _), direction in zip(pairs, orthogonal, strict=True):
                weights.add_(direction, alpha=-step_size)

    def holds(self, parameter: nn.Parameter) -> bool:
        """Tell whether there is room already for what is kept of `parameter`'s gradients."""
        return self.adamw.holds(parameter) or any(parameter is matrix for matrix in self.matrices.values())

    def forget(self) -> None:
        """Drop what is kept of past gradients."""
        self.adamw.forget()
        for momentum in self.momentum.values():
            momentum.zero_()

    def zero_grad(self) -> None:
        """Drop the gradients."""
        self.adamw.zero_grad()
        for matrix in self.matrices.values():
            matrix.grad = None


def refuse_muon_without(matrices: Mapping[str, nn.Parameter]) -> None:
    """Raise an error where Muon would have nothing to do.

    Raises: RecipeError.
    """
    if not matrices:
        raise RecipeError(
            "training.optimizer: muon has nothing to do: training.freeze names every matrix of the layers",
            "use adamw, or take some names out of training.freeze",
        )
