"""The same sums in the same order: what makes a run on a GPU repeat, and resume, to the last bit.

On a CPU torch's kernels do so anyway. On a GPU several of them (attention's backward pass, adding up rows of the same
piece) let threads add in the order in which they happen to arrive, unless they are told otherwise.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Have kernels in the block add up in a fixed order."""
    if device.type != "cuda":
        yield
        return
    # cuBLAS repeats itself with workspaces of fixed sizes alone; torch looks for this before each product
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    memory: Any = torch.utils.deterministic  # what it has is set up in a way that type checkers do not see
    fills = memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    memory.fill_uninitialized_memory = False  # no kernel here reads what none has written
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        memory.fill_uninitialized_memory = fills
