"""Which device and which arithmetic a run uses, decided once and said aloud."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tfcli.errors import RecipeError

Precision = Literal["fp32", "bf16"]
Network = TypeVar("Network", bound=nn.Module)


def pick_device(name: str = "auto") -> torch.device:
    """Return the device of that name; `auto` takes a CUDA device, then Apple's, then the CPU.

    Raises: RecipeError when the name is unknown or the device is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise RecipeError(f"--device {name}: unknown device", "use auto, cpu, cuda, cuda:1 or mps") from error
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }.get(device.type)
    if not there:
        raise RecipeError(f"--device {name}: this machine has no such device", "use --device auto or cpu")
    return device


def pick_precision(wanted: str, device: torch.device) -> Precision:
    """Return the arithmetic of matrix products; `auto` is bf16 where the hardware multiplies it natively.

    Raises: RecipeError when the name is unknown.
    """
    if wanted not in ("auto", "fp32", "bf16"):
        raise RecipeError(f"precision {wanted}: unknown", "use auto, fp32 or bf16")
    if wanted != "auto":
        return "bf16" if wanted == "bf16" else "fp32"
    return "bf16" if has_native_bf16(device) else "fp32"


def has_native_bf16(device: torch.device) -> bool:
    """Tell whether bf16 products run faster than fp32 ones: CUDA from compute capability 8.0, CPUs with AVX512-BF16."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # torch has no public name for these yet
    return any(getattr(torch.cpu, probe, bool)() for probe in probes)


def widest_float(device: torch.device) -> torch.dtype:
    """Return the type for sums and comparisons that must not tie by rounding: fp64, but Apple's GPUs have none."""
    return torch.float32 if device.type == "mps" else torch.float64


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Return the context in which the network runs in `precision`; weights and optimizer stay fp32."""
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


class CastLinear(nn.Linear):
    """A product in the type of its matrix, whatever comes in."""

    def forward(self, x: Tensor) -> Tensor:
        """Multiply, as `nn.Linear` does."""
        return F.linear(x.to(self.weight.dtype), self.weight, self.bias)


def with_cast_products(network: Network, precision: Precision) -> Network:
    """Return what computes as `network` does under `autocast`, outside of it, with the matrices cast once.

    It is for reading only: embeddings and norms are those of `network` itself, and nothing of it has a gradient.
    """
    if precision != "bf16":
        return network
    shared = {id(tensor): tensor.detach() for tensor in (*network.parameters(), *network.buffers())}
    cast = copy.deepcopy(network, shared)
    for module in cast.modules():
        if isinstance(module, nn.Linear):
            module.__class__ = CastLinear
            for name, parameter in list(module.named_parameters(recurse=False)):
                setattr(module, name, nn.Parameter(parameter.bfloat16(), requires_grad=False))
    return cast
