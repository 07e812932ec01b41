"""How a command uses the machine: cores, and what torch keeps. All of it is set before torch is first imported."""

import os
from contextlib import suppress
from pathlib import Path

# Of what is generated for each shape of a bf16 product, how many are kept. When training, hardly two batches have the same
# shape; the steps of a search come back to some of theirs. Measured in benchmarks/RESULTS.md.
SHAPES_KEPT = 256
SHAPES_KEPT_TRAINING = 64


def share_the_cores(*, training: bool = False) -> None:
    """Set how torch shares the machine with others; to be called before it is first imported. What is set stays.

    By default its waiting threads spin for billions of turns. When another process holds one of the cores, that makes two-thread
    training several times slower; this bound costs nothing when the machine is quiet.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    # By default oneDNN and torch keep 1,024 shapes each. That fills the heap with small blocks, between which nothing large fits
    # any more.
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, str(SHAPES_KEPT_TRAINING if training else SHAPES_KEPT))
    ranks_here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if (
        ranks_here > 1 and os.environ.get("OMP_NUM_THREADS", "1") == "1"
    ):  # 1 is torchrun's default, whatever there is
        os.environ["OMP_NUM_THREADS"] = str(max(1, n_cores() // ranks_here))


def n_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_compiled_code_at_home() -> None:
    """Let torch.compile cache its code in the user's cache folder; to be called before torch is first imported.

    Its own default is a folder below the shared /tmp, whose name others can guess.
    """
    with suppress(RuntimeError):  # a user without a home: torch's own place has to do
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache / "tfcli" / "torch-compile"))
