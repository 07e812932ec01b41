"""AdamW, with weight decay on matrices alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tfcli.errors import CheckpointError

if TYPE_CHECKING:
    from tfcli.recipe.schema import TrainingSection

MOMENTS = ("exp_avg", "exp_avg_sq")


def trained_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that are not frozen, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Return what is to be trained in two groups: matrices, which decay, and embeddings, biases and norms, which do not."""
    decayed: list[Tensor] = []
    others: list[Tensor] = []
    for name, parameter in trained_parameters(model).items():
        is_matrix = parameter.dim() > 1 and "embedding" not in name and not name.startswith("output")
        (decayed if is_matrix else others).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def make_optimizer(model: nn.Module, settings: TrainingSection) -> torch.optim.AdamW:
    """Build the optimizer; its learning rate is set anew for each step.

    Source: Loshchilov and Hutter, 2019.
    """
    return torch.optim.AdamW(
        parameter_groups(model, settings.weight_decay),
        lr=0.0,
        betas=(settings.adam_beta1, settings.adam_beta2),
        eps=settings.adam_epsilon,
        fused=True,
    )


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimizer's moments by `MOMENT.PARAMETER`; empty before the first step."""
    return {
        f"{moment}.{name}": optimizer.state[parameter][moment]
        for name, parameter in model.named_parameters()
        for moment in MOMENTS
        if parameter in optimizer.state
    }


def restore_optimizer(
    model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], updates: int
) -> None:
    """Put moments from `optimizer_tensors` back, after `updates` updates.

    Raises: CheckpointError when a parameter's moments are missing.
    """
    if updates == 0:
        return
    for name, parameter in trained_parameters(model).items():
        try:
            moments = {moment: tensors[f"{moment}.{name}"].to(parameter.device) for moment in MOMENTS}
        except KeyError as error:
            raise CheckpointError(
                f"the checkpoint's optimizer state lacks {error}", "use --fresh to start over"
            ) from error
        step = torch.tensor(float(updates), device=parameter.device)
        optimizer.state[parameter] = {"step": step, **moments}
