"""torch.compile, decided from the recipe, and used so that a resumed run repeats bit for bit.

Left to itself, torch.compile makes new kernels whenever a batch does not fit the ones it has, so that which kernel a
batch meets depends on the batches since the program was started. Here kernels are made once, in one of three ways; a
batch that does not fit them (a single sentence, say) runs uncompiled, so that which way a batch goes is a function of
its shape.

- With sizes left open, on a batch that is the same for every start of a run: on CPUs, which pay for padding.
- For the one size to which all batches are filled up (`packer.py`): on GPUs with torch's kernel for packed sentences.
- For the one size that the batches of running text have, all but an epoch's last.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tfcli.errors import RecipeError, TrainingError, is_out_of_memory
from tfcli.model.layout import Packing
from tfcli.model.precision import autocast

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from tfcli.model.config import ModelConfig
    from tfcli.model.networks import Network
    from tfcli.model.precision import Precision
    from tfcli.model.varlen import VarlenPacking
    from tfcli.recipe.schema import TrainingSection

# What torch.compile takes for CPUs where the variable CXX names nothing else.
COMPILER = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
# With bf16 products on two cores of a server, compiling made the networks of benchmarks/ 1.04 to 1.11 times as fast and cost
# 90 seconds, as much as it saves on ten thousand batches of 4,096 pieces at the worst of that; in fp32 it made 0.85 of the
# rate (benchmarks/RESULTS.md).
PIECES_WORTH_COMPILING = 50_000_000
# On a GPU a guess, to be replaced by a measurement: at 250,000 pieces a second and a fifth saved, half an hour of training
# repays a minute or two of compiling several times over.
PIECES_WORTH_COMPILING_ON_CUDA = 500_000_000


def pick_compile(
    settings: TrainingSection,
    device: torch.device,
    precision: Precision,
    begun: bool | None = None,
    *,
    varlen: bool = False,
) -> bool:
    """Return whether the network is compiled; null in the recipe: where that is known to end the run sooner.

    A run that has begun goes on as it began: `begun` tells how. A sharded network is never compiled. `varlen`: attention is by torch's kernel for packed
    sentences.

    Raises: RecipeError when the recipe wants it and there is no compiler.
    """
    compiler = _has_compiler(device)
    if settings.sharding:
        return False
    if settings.compile is None and begun is not None:
        return begun
    if settings.compile is None:
        pieces = settings.max_steps * settings.accumulation_steps * settings.batch_tokens
        if device.type == "cuda":
            pays = varlen and pieces >= PIECES_WORTH_COMPILING_ON_CUDA
        else:
            pays = device.type == "cpu" and precision == "bf16" and pieces >= PIECES_WORTH_COMPILING
        return pays and compiler
    if settings.compile and not compiler:
        if device.type == "cuda" and not _has_triton():
            raise RecipeError(
                "training.compile: true needs the package triton on a GPU, and it is missing",
                "install torch with it (its CUDA builds for Linux bring it), or leave training.compile out",
            )
        raise RecipeError(
            f"training.compile: true needs a C++ compiler ({COMPILER}) and Python's header files, and one is missing",
            "install them, or name another compiler in the variable CXX, or leave training.compile out",
        )
    return settings.compile


def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def _has_compiler(device: torch.device) -> bool:
    if device.type not in ("cpu", "cuda"):
        return True  # Metal has its own
    if device.type == "cuda" and not _has_triton():
        return False
    command = shlex.split(os.environ.get("CXX") or COMPILER)
    header = Path(sysconfig.get_path("include")) / "Python.h"
    return shutil.which(command[0]) is not None and header.is_file()


class CompiledForward:
    """A network's `forward` on packed sentences, compiled on the first call."""

    def __init__(self, model: Network, device: torch.device, precision: Precision, batch_tokens: int) -> None:
        self._model = model
        self._compiled = torch.compile(model, dynamic=True)
        self._example = (device, precision, batch_tokens)
        self._is_compiled = False

    def __call__(self, *inputs: Any) -> Tensor:
        """Return what the network returns."""
        if not self._is_compiled:
            self._compile()
            self._is_compiled = True
        with torch.compiler.set_stance("eager_on_recompile"):
            return _told(self._compiled, *inputs)

    def _compile(self) -> None:
        """Run the example forwards and backwards; gradients and random numbers are left as they were."""
        device, precision, batch_tokens = self._example
        kept = [parameter.grad for parameter in self._model.parameters()]
        self._model.zero_grad()  # what is kept is not added to
        devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices), torch.enable_grad():
            with autocast(device, precision):
                states = _told(self._compiled, *example_batch(batch_tokens, self._model.config, device))
            states.float().sum().backward()  # type: ignore[no-untyped-call]
        for parameter, grad in zip(self._model.parameters(), kept, strict=True):
            parameter.grad = grad


class CompiledFilled:
    """A network's `forward` on batches that are filled up to `size` pieces a side, compiled on the first of them.

    Only the number of sentences is left open: nothing is computed with it but inside the kernel for attention.
    """

    def __init__(self, model: Network, size: int) -> None:
        self._model = model
        self._compiled = torch.compile(model, dynamic=False, fullgraph=True)
        self._size = size

    def __call__(
        self, src: Tensor, tgt_in: Tensor, src_packing: VarlenPacking, tgt_packing: VarlenPacking
    ) -> Tensor:
        """Return what the network returns."""
        from torch._dynamo import mark_dynamic  # here, where the compiler is loaded anyway

        if not (len(src) == len(tgt_in) == self._size):
            states: Tensor = self._model(src, tgt_in, src_packing, tgt_packing)
            return states
        for packing in (src_packing, tgt_packing):
            mark_dynamic(packing.offsets, 0)
        return _told(self._compiled, src, tgt_in, src_packing, tgt_packing)


class CompiledBlocks:
    """A language model's `forward` on `n_blocks` blocks of `context` pieces, compiled on the first such batch."""

    def __init__(self, model: Network, n_blocks: int, context: int) -> None:
        self._model = model
        self._compiled = torch.compile(model, dynamic=False)
        self._shape = (n_blocks, context)

    def __call__(self, ids: Tensor) -> Tensor:
        """Return what the network returns."""
        if ids.shape == self._shape:
            return _told(self._compiled, ids)
        states: Tensor = self._model(ids)
        return states


def _told(compiled: Callable[..., Tensor], *inputs: Any) -> Tensor:
    """Call a compiled network, which is compiled by it if need be.

    Raises: TrainingError when it cannot be compiled.
    """
    from torch._dynamo.exc import TorchDynamoException

    try:
        return compiled(*inputs)
    except TorchDynamoException as error:
        if is_out_of_memory(error):
            raise
        raise TrainingError(
            f"the network could not be compiled: {str(error).strip().partition(chr(10))[0]}",
            "set training.compile to false, and report this with the output of tfcli info",
        ) from error


def example_batch(
    batch_tokens: int, config: ModelConfig, device: torch.device
) -> tuple[Tensor, Tensor, Packing, Packing]:
    """Return a batch of about `batch_tokens` padded pieces whose sizes all differ, as those of real ones do.

    Shapes: source ids (N,), target ids (N',), and how they lie.
    """
    longest = max(7, min(24, batch_tokens // 8))
    n_sentences = batch_tokens // longest
    if n_sentences in (longest - 1, longest):
        n_sentences -= 2
    sides = []
    for most in (longest - 1, longest):
        lengths = most - np.arange(n_sentences) % (most // 2)
        ids = torch.full((int(lengths.sum()),), 3, device=device)  # any piece will do: the end mark
        sides.append((ids, Packing.of(lengths, config.n_heads, device, config.n_kv_heads)))
    (src, src_packing), (tgt_in, tgt_packing) = sides
    return src, tgt_in, src_packing, tgt_packing
