"""AdamW, with weight decay on matrices alone, or Muon for the matrices of the layers with AdamW for the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tfcli.errors import CheckpointError
from tfcli.training.adamw import AdamW
from tfcli.training.muon import MuonAndAdamW
from tfcli.training.sharding import placed_as

if TYPE_CHECKING:
    from tfcli.model.networks import Network
    from tfcli.model.precision import Precision
    from tfcli.recipe.schema import TrainingSection

Optimizer = AdamW | MuonAndAdamW
MOMENTS = ("exp_avg", "exp_avg_sq")


def trained_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that are not frozen, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def layer_matrices(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the matrices that are to be trained, by name; embeddings and output are none of them."""
    return {
        name: parameter
        for name, parameter in trained_parameters(model).items()
        if parameter.dim() > 1 and "embedding" not in name and not name.startswith("output")
    }


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Return what is to be trained in two groups: matrices, which decay, and embeddings, biases and norms, which do not."""
    decayed = layer_matrices(model)
    others = [parameter for name, parameter in trained_parameters(model).items() if name not in decayed]
    return [
        {"params": list(decayed.values()), "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def make_optimizer(model: Network, settings: TrainingSection, precision: Precision) -> Optimizer:
    """Build the optimizer; its learning rate is set anew for each step.

    Raises: RecipeError when there is nothing for Muon to do.
    """
    matrices, others = parameter_groups(model, settings.weight_decay)
    adamw = AdamW(
        [others] if settings.optimizer == "muon" else [matrices, others],
        betas=(settings.adam_beta1, settings.adam_beta2),
        eps=settings.adam_epsilon,
    )
    if settings.optimizer == "adamw":
        return adamw
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    return MuonAndAdamW(model, layer_matrices(model), adamw, settings, dtype)


def optimizer_tensors(model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the optimizer's moments by `MOMENT.PARAMETER`; AdamW has none before the first step."""
    adamw = optimizer.adamw if isinstance(optimizer, MuonAndAdamW) else optimizer
    tensors = {
        f"{moment}.{name}": adamw.state[parameter][moment]
        for name, parameter in model.named_parameters()
        for moment in MOMENTS
        if parameter in adamw.state
    }
    if isinstance(optimizer, MuonAndAdamW):
        tensors |= {f"momentum.{name}": momentum for name, momentum in optimizer.momentum.items()}
    return tensors


def restore_optimizer(
    model: nn.Module, optimizer: Optimizer, tensors: dict[str, Tensor], updates: int
) -> None:
    """Put moments from `optimizer_tensors` back, after `updates` updates.

    Raises: CheckpointError when a parameter's moments are missing.
    """
    momentum = optimizer.momentum if isinstance(optimizer, MuonAndAdamW) else {}
    adamw = optimizer.adamw if isinstance(optimizer, MuonAndAdamW) else optimizer
    if updates == 0:
        optimizer.forget()
        return
    try:
        for name, parameter in trained_parameters(model).items():
            if name in momentum:
                momentum[name].copy_(tensors[f"momentum.{name}"])
                continue
            moments = {moment: placed_as(tensors[f"{moment}.{name}"], parameter) for moment in MOMENTS}
            step = torch.tensor(float(updates), device=parameter.device)
            adamw.state[parameter] = {"step": step, **moments}
    except KeyError as error:
        raise CheckpointError(
            f"the checkpoint's optimizer state lacks {error}", "use --fresh to start over"
        ) from error
