"""RMSNorm and its gradient on a CPU: torch's, tfcli's, and a layer norm beside them.

    OMP_NUM_THREADS=1 python benchmarks/norms.py [--rounds 30]

Milliseconds forward and backward, medians; the three take turns in each round. Heads lie as a step's do: a part of the product
of queries, keys and values.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, rms_norm

from tfcli.model.rms_norm import EPSILON, RMSNorm

SHAPES = (
    ("3,900 of 256, fp32", (1, 3900, 256), torch.float32),
    ("3,900 of 128, fp32", (1, 3900, 128), torch.float32),
    ("64 x 4 x 64 heads of 64, bf16", (64, 4, 64, 64), torch.bfloat16),
    ("64 x 4 x 20 heads of 64, bf16", (64, 4, 20, 64), torch.bfloat16),
)


def main() -> None:
    """Time all shapes and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for name, shape, dtype in SHAPES:
        norm = RMSNorm(shape[-1])
        ways: dict[str, Callable[[Tensor], Tensor]] = {
            "torch": lambda x, w=norm.weight: rms_norm(x, w.shape, w.to(x.dtype), EPSILON),
            "tfcli": norm,
            "layer norm": lambda x, w=norm.weight: layer_norm(x, w.shape, w.to(x.dtype), None, EPSILON),
        }
        seconds: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, forward in ways.items():
                seconds[way].append(timed(forward, shape, dtype))
        print(name)
        for way, pairs in seconds.items():
            there, back = (1e3 * statistics.median(times) for times in zip(*pairs, strict=True))
            print(f"    {way:10} {there:.2f} + {back:.2f}")


def timed(
    forward: Callable[[Tensor], Tensor], shape: tuple[int, ...], dtype: torch.dtype
) -> tuple[float, float]:
    """Return the seconds of one forward and one backward pass over new numbers."""
    product = torch.randn(3, *shape).to(dtype).requires_grad_()
    x, dy = product[1], torch.randn(shape).to(dtype)
    start = time.perf_counter()
    y = forward(x)
    middle = time.perf_counter()
    torch.autograd.grad(y, x, dy)
    return middle - start, time.perf_counter() - middle


if __name__ == "__main__":
    main()
