"""Sharding: each rank keeps its part of every weight, gradient and moment, for networks that no single GPU holds.

    a matrix of 6 rows     rank 0: rows 0 1 2     rank 1: rows 3 4 5
    a layer's turn         its weights are gathered before it computes, forwards and backwards, and dropped after it
    its gradients          summed over the ranks, not averaged; each rank keeps those of its part

torch's FSDP2 does this, a layer at a time. What is in no layer (embeddings, output, last norms) is whole from the
beginning of a batch to the end of its backward pass, since the loss needs the output matrix (`loss.py`).

Every pass is one of all ranks: while one computes a batch, the others must as well. A rank that has fewer batches, or
parts of them, makes up for it with a pass over next to nothing whose gradient is zero; and a batch that does not fit
into memory ends the run, since the others cannot know that they are to begin anew.

torch's part of it is imported when it is asked for.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from tfcli.errors import RecipeError
from tfcli.model.folder import load_weights, model_tensors
from tfcli.model.networks import Network, build_network, layers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor, nn

    from tfcli.training.distributed import Ranks
    from tfcli.training.learner import Learner
    from tfcli.training.run import Run


def shard(model: Network, ranks: Ranks, device: torch.device) -> None:
    """Leave each rank its part of `model`, which all have whole and alike, and move that to the device.

    Only a layer at a time goes there whole, and what is in none.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    mesh = init_device_mesh(device.type, (ranks.size,))
    for layer in layers(model):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh, reshard_after_forward=False)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)  # each was divided by the tokens of all ranks
            module.set_force_sum_reduction_for_comms(enable=True)  # Gloo multiplies by no factor, not even 1


def refuse_output_alone(model: nn.Module) -> None:
    """Raise an error where no gradient would pass through the network, which is what has the ranks exchange theirs.

    Raises: RecipeError.
    """
    if not any(p.requires_grad for name, p in model.named_parameters() if name != "output.weight"):
        raise RecipeError(
            "training.sharding: nothing but the output matrix is trained, and that is never sharded alone",
            "set it to false, or take some names out of training.freeze",
        )


def is_sharded(tensor: Tensor) -> bool:
    """Tell whether a rank has only its part of a tensor."""
    return hasattr(tensor, "device_mesh")


def placed_as(tensor: Tensor, parameter: Tensor) -> Tensor:
    """Return a whole tensor where `parameter` is, or this rank's part of it where that is sharded."""
    if not is_sharded(parameter):
        return tensor.to(parameter.device)
    from torch.distributed.tensor import DTensor

    sharded: Any = parameter
    mesh = sharded.device_mesh
    n_rows = -(-len(tensor) // mesh.size())
    start = min(mesh.get_local_rank() * n_rows, len(tensor))
    part = tensor[start : start + n_rows].clone()  # a view would keep all of it in memory
    placed: Tensor = DTensor.from_local(
        part, mesh, sharded.placements, run_check=False, shape=tensor.shape, stride=tensor.stride()
    )
    return placed


def parts_of(tensors: Mapping[str, Tensor], model: nn.Module) -> Mapping[str, Tensor]:
    """Return whole `tensors` as the parameters of `model` are; those that do not fit it stay as they are."""
    parameters = dict(model.named_parameters())
    if not any(map(is_sharded, parameters.values())):
        return tensors
    return {
        name: placed_as(tensor, parameters[name])
        if name in parameters and parameters[name].shape == tensor.shape
        else tensor
        for name, tensor in tensors.items()
    }


def gathered(tensors: Mapping[str, Tensor], ranks: Ranks) -> Mapping[str, Tensor]:
    """Return the whole of sharded tensors, in the processor's memory of the first rank; nothing on the others.

    All ranks take part, one tensor after the other, so that no device holds more than one whole.
    """
    whole = {}
    with lost_ranks_are_named(ranks):
        for name, tensor in tensors.items():
            sharded: Any = tensor
            full = sharded.full_tensor() if is_sharded(tensor) else tensor
            if ranks.is_first:
                whole[name] = full.cpu()
    return whole


def whole(run: Run, learner: Learner) -> Learner:
    """Return a learner that the first rank can validate with alone, in which the network is what is to be validated.

    Where the network is sharded, all ranks take part, and the first one has it whole on its device for the time.
    """
    model = learner.ema.model if learner.ema is not None else learner.model
    if learner.sharded:
        tensors = gathered(model_tensors(model), learner.ranks)
        if not learner.ranks.is_first:
            return learner
        with torch.random.fork_rng(devices=[]):  # the weights that it begins with are drawn for nothing
            model = build_network(run.config).to(run.device)
        load_weights(model, tensors, "the gathered weights")
    return replace(learner, model=model, forward=model, sharded=False)


@contextmanager
def lost_ranks_are_named(ranks: Ranks) -> Iterator[None]:
    """Turn what torch says in the block when another rank is gone or late into an error that names it."""
    import torch.distributed as dist

    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error).lower():
            raise
        raise ranks.lost(error) from error
