"""A verb that torchrun has started several times: the ranks meet, the first one speaks, each takes its own device.

torchrun tells in the environment how many there are and which one this is; without it, there is one.
"""

import os
from typing import TYPE_CHECKING

from tfcli.commands.console import Verbosity, set_verbosity
from tfcli.commands.machine import share_the_cores
from tfcli.errors import RecipeError
from tfcli.model.torch_import import import_torch
from tfcli.training.distributed import ALONE, PATIENCE_SECONDS, Ranks

if TYPE_CHECKING:
    import torch


def meet(device: str | None) -> tuple[Ranks, str | None]:
    """Return the ranks, met, and the name of this one's device; on one process nothing is done.

    Raises: RecipeError when the ranks cannot have such a device each, TrainingError when they do not all come.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or "RANK" not in os.environ:
        return ALONE, device
    if os.environ["RANK"] != "0":
        set_verbosity(Verbosity.ERRORS)
    share_the_cores(training=True)
    import_torch()
    from datetime import timedelta

    from torch.distributed.rendezvous import rendezvous

    from tfcli.training.distributed import join

    own = _own_device(device or "auto", int(os.environ.get("LOCAL_RANK", os.environ["RANK"])))
    store, rank, size = next(rendezvous("env://", timeout=timedelta(seconds=PATIENCE_SECONDS)))
    return join(rank, size, own, store, PATIENCE_SECONDS), str(own)


def restarted() -> bool:
    """Tell whether torchrun has started the ranks anew, after one was lost."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


def _own_device(name: str, local_rank: int) -> "torch.device":
    """Return the CPU, which ranks share, or the GPU of this rank's number on its machine."""
    import torch

    from tfcli.model.precision import pick_device

    device = pick_device(name)
    if device.type == "cpu":
        return device
    if device.type != "cuda" or device.index is not None:
        raise RecipeError(
            f"--device {name}: several ranks cannot share one such device",
            "use --device cuda, where each rank takes a GPU of its own, or --device cpu",
        )
    if local_rank >= torch.cuda.device_count():
        raise RecipeError(
            f"--device {name}: rank {local_rank} of this machine finds no GPU: "
            f"there are {torch.cuda.device_count()}, and each rank needs its own",
            f"start {torch.cuda.device_count()} of them (torchrun --nproc-per-node), or use --device cpu",
        )
    return torch.device("cuda", local_rank)
