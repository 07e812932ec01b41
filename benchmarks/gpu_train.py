"""Training on one GPU, on generated ids: rate, share of the machine's own bf16 rate, memory, and whether the fast paths are right.

    python benchmarks/gpu_train.py [--out FILE] [--batch-tokens 32768] [--seconds 15] [--minutes 7.5] [--device cpu --tiny]

1. The rate of plain bf16 matrix products, which rates are set in relation to.
2. Checks: the kernel for packed sentences against padded rows, and the compiled network against the uncompiled one.
3. Transformer-base and -big (presets, 32,000 shared pieces): packed and compiled, packed, padded; without sums in a fixed
   order; and where transformers is installed, a plain loop around Marian of the same size.

It needs nothing but torch and tfcli. Rates are in target pieces that are no padding, end marks included. What fails is
noted, and the next part begins; when the minutes are used up, the rest is left out. The JSON is written after each part.
"""

import argparse
import contextlib
import math
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from parts import Report, free, machine, peak_memory, wait

from tfcli.corpus.batches import Batch, TrainingBatches
from tfcli.corpus.prepare import Prepared
from tfcli.corpus.shards import IdBlock, ParallelIds, ShardWriter, id_dtype
from tfcli.model.config import ModelConfig
from tfcli.model.varlen import has_varlen
from tfcli.recipe.loader import build_recipe
from tfcli.training import step as step_module
from tfcli.training.learner import Learner, make_learner
from tfcli.training.run import Run
from tfcli.training.step import train_step

WARM_UP_STEPS = 5
RATE = 1e-4


@dataclass(frozen=True)
class Bench:
    """What all parts share."""

    device: torch.device
    vocab_size: int
    batch_tokens: int
    seconds: float
    tiny: bool
    ids: ParallelIds

    def run(self, preset: str, *, compiled: bool, varlen: bool, **sizes: Any) -> Run:
        """Return a run of a preset; on a CPU `varlen` is the reference with a mask."""
        if self.tiny:
            sizes |= {"d_model": 32, "d_ff": 64, "n_heads": 2, "n_encoder_layers": 1, "n_decoder_layers": 1}
        recipe = build_recipe(
            {
                "name": preset,
                "data": {"train": [{"src": "a", "tgt": "b"}], "valid": {"src": "c", "tgt": "d"}},
                "model": {"preset": preset, **sizes},
                "training": {"batch_tokens": self.batch_tokens, "precision": "bf16", "max_steps": 1_000_000},
            }
        )
        config = ModelConfig.from_recipe(recipe.model, self.vocab_size, self.vocab_size)
        if self.device.type == "cuda" and varlen and not has_varlen(self.device, "bf16", config):
            raise RuntimeError("this torch or this device has no kernel for packed sentences")
        prepared: Any = Prepared(None, self.ids, self.ids, None, [], [], {}, reused=False)  # type: ignore[arg-type]
        return Run(
            recipe=recipe, run_dir=Path(), config=config, prepared=prepared, device=self.device, precision="bf16",
            compiled=compiled, environment={}, validate=lambda _: 0.0, reporter=Silent(), stop_asked=lambda: False,
            varlen=varlen,
        )  # fmt: skip

    def batches(self) -> TrainingBatches:
        """Return the batches, always the same."""
        return TrainingBatches(self.ids, self.batch_tokens, 1)


class Silent:
    """Hears what a run says."""

    def note(self, *_: object) -> None:
        """Take a remark."""

    warn = progress = row = note


def main() -> None:
    """Measure part after part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a network and batches for a minute on a CPU")
    parser.add_argument("--batch-tokens", type=int, default=32_768)
    parser.add_argument("--seconds", type=float, default=15.0, help="that each network trains, after warm-up")
    parser.add_argument("--minutes", type=float, default=7.5, help="after which no other part is begun")
    parser.add_argument("--out", type=Path, default=Path("gpu_train.json"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        vocab_size, n_pairs, batch_tokens = (
            (100, 400, 256) if args.tiny else (32_000, 300_000, args.batch_tokens)
        )
        ids = generate(Path(folder) / "ids", n_pairs, vocab_size, longest=40 if args.tiny else 250)
        seconds = min(args.seconds, 1.0) if args.tiny else args.seconds
        bench = Bench(torch.device(args.device), vocab_size, batch_tokens, seconds, args.tiny, ids)
        found = Report(args.out, time.monotonic() + 60 * args.minutes)
        found.part("machine", lambda: machine(bench.device) | {"batch_tokens": bench.batch_tokens})
        products = found.part("bf16 products", lambda: products_rate(bench))
        peak = products.get("flops_per_second")
        for name, work in parts(bench, peak).items():
            found.part(name, work)
            tidy(bench)
    print(f"all of it: {args.out}")


def parts(bench: Bench, peak: float | None) -> dict[str, Any]:
    """Return what is measured, the most important first."""

    def ours(preset: str, *, compiled: bool, varlen: bool, fixed_order: bool = True) -> Any:
        return lambda: train(
            bench, bench.run(preset, compiled=compiled, varlen=varlen), peak, fixed_order=fixed_order
        )

    return {
        "check: kernel against padded rows": lambda: check_kernel(bench),
        "check: compiled against uncompiled": lambda: check_compiled(bench),
        "vaswani-big, packed, compiled": ours("vaswani-big", compiled=True, varlen=True),
        "vaswani-big, Marian": lambda: marian(bench, "vaswani-big", peak),
        "vaswani-base, packed, compiled": ours("vaswani-base", compiled=True, varlen=True),
        "vaswani-base, Marian": lambda: marian(bench, "vaswani-base", peak),
        "vaswani-base, packed": ours("vaswani-base", compiled=False, varlen=True),
        "vaswani-base, packed, sums in any order": ours(
            "vaswani-base", compiled=False, varlen=True, fixed_order=False
        ),
        "vaswani-base, padded": ours("vaswani-base", compiled=False, varlen=False),
        "vaswani-big, packed": ours("vaswani-big", compiled=False, varlen=True),
    }


def generate(folder: Path, n_pairs: int, vocab_size: int, longest: int) -> ParallelIds:
    """Write pairs with lengths as those of news text: log-normal, mean 27, and a target of 0.7 to 1.5 times the source."""
    generator = np.random.default_rng(1)
    src = np.exp(generator.normal(3.15, 0.55, n_pairs))
    tgt = src * np.exp(generator.normal(0.03, 0.18, n_pairs))
    blocks = []
    for wanted in (src, tgt):
        lengths = np.clip(wanted, 2, longest).astype(np.int32)
        # a Zipf-like course of frequencies, as of words
        ranks = (vocab_size - 4) ** generator.random(int(lengths.sum()))
        ids = (3 + ranks).astype(id_dtype(vocab_size))
        ids[np.cumsum(lengths) - 1] = 3  # the end mark
        blocks.append(IdBlock(ids, lengths))
    with ShardWriter(folder, vocab_size, vocab_size) as writer:
        writer.append(*blocks)
    return ParallelIds.open(folder)


def products_rate(bench: Bench) -> dict[str, float]:
    """Return the rate of large bf16 products: the best of some rounds."""
    size, rounds = (256, 3) if bench.device.type == "cpu" else (8192, 10)
    a, b = (torch.randn(size, size, device=bench.device).bfloat16() for _ in range(2))
    rates = []
    for _ in range(rounds):
        wait(bench.device)
        start_time = time.perf_counter()
        for _ in range(5):
            a @ b
        wait(bench.device)
        rates.append(5 * 2 * size**3 / (time.perf_counter() - start_time))
    return {"flops_per_second": max(rates), "median": statistics.median(rates)}


def check_kernel(bench: Bench) -> dict[str, Any]:
    """Compare loss and gradient of a batch with the kernel and with padded rows, without dropout."""
    found = {}
    for name, varlen in (("padded", False), ("packed", True)):
        learner = make_learner(bench.run("vaswani-base", compiled=False, varlen=varlen, dropout=0.0))
        found[name] = gradient_of(learner, bench.batches().next_batch())
    return compare(found["padded"], found["packed"])


def check_compiled(bench: Bench) -> dict[str, Any]:
    """Compare the compiled network on filled batches with the uncompiled one, and count the graphs of twenty batches."""
    sizes = {"n_encoder_layers": 2, "n_decoder_layers": 2, "dropout": 0.0}
    learners = [
        make_learner(bench.run("vaswani-base", compiled=compiled, varlen=True, **sizes))
        for compiled in (False, True)
    ]
    batch = bench.batches().next_batch()
    result = compare(*(gradient_of(learner, batch) for learner in learners))
    from torch._dynamo.utils import counters

    batches_again, before = bench.batches(), counters["stats"]["unique_graphs"]
    for _ in range(20):
        train_step(learners[1], [batches_again.next_batch()], RATE)
    return result | {"graphs_made_in_20_batches": counters["stats"]["unique_graphs"] - before}


def gradient_of(learner: Learner, batch: Batch) -> tuple[float, float, torch.Tensor]:
    """Return loss and likelihood a token and the gradient."""
    [losses] = step_module.add_gradients(learner, [batch], batch.n_tokens)
    parameters = [p.grad for p in learner.model.parameters() if p.grad is not None]
    gradient = torch.cat([grad.detach().flatten().float() for grad in parameters])
    learner.optimizer.zero_grad()
    return float(losses.loss) / batch.n_tokens, float(losses.nll) / batch.n_tokens, gradient


def compare(
    one: tuple[float, float, torch.Tensor], other: tuple[float, float, torch.Tensor]
) -> dict[str, Any]:
    """Return how far two ways to compute a gradient are apart."""
    difference = float((one[2] - other[2]).norm() / one[2].norm())
    losses = abs(one[0] - other[0]) / abs(one[0])
    agree = losses < 2e-3 and difference < 5e-2  # bf16 keeps 8 bits
    return {
        "losses": [one[0], other[0]],
        "loss_differs_by": losses,
        "gradient_differs_by": difference,
        "agree": agree,
    }


def train(bench: Bench, run: Run, peak: float | None, *, fixed_order: bool) -> dict[str, Any]:
    """Train one network for so many seconds."""
    order = contextlib.nullcontext if fixed_order else any_order
    with order():
        learner = make_learner(run)
        batches = bench.batches()
        return measure(bench, run.config, peak, batches, lambda batch: step(learner, batch))


def step(learner: Learner, batch: Batch) -> float:
    """Make an update and return its loss a token."""
    result = train_step(learner, [batch], RATE)
    return result.nll / result.tokens


@contextlib.contextmanager
def any_order() -> Any:
    """Let kernels add up as they like, as torch does by default."""
    kept = step_module.repeatable
    step_module.repeatable = contextlib.nullcontext
    try:
        yield
    finally:
        step_module.repeatable = kept


def measure(
    bench: Bench, config: ModelConfig, peak: float | None, batches: TrainingBatches, update: Any
) -> dict[str, Any]:
    """Return rate, memory and losses of `update` on batch after batch."""
    start_time = time.perf_counter()
    losses = [update(batches.next_batch())]
    wait(bench.device)
    first = time.perf_counter() - start_time
    losses += [update(batches.next_batch()) for _ in range(WARM_UP_STEPS)]
    wait(bench.device)
    tokens, flops, seconds = 0, 0.0, []
    start_time = last = time.perf_counter()
    while time.perf_counter() - start_time < bench.seconds:
        batch = batches.next_batch()
        losses.append(update(batch))
        now = time.perf_counter()
        seconds.append(now - last)
        last = now
        tokens, flops = tokens + batch.n_tokens, flops + count_flops(config, batch)
    wait(bench.device)
    taken = time.perf_counter() - start_time
    return {
        "target_tokens_per_second": round(tokens / taken),
        "tflops_per_second": flops / taken / 1e12,
        "share_of_bf16_products": flops / taken / peak if peak else None,
        "median_step_seconds": statistics.median(seconds),
        "first_step_seconds": first,
        "steps": len(seconds),
        "peak_memory_mib": peak_memory(bench.device),
        "losses": [losses[0], losses[len(losses) // 2], losses[-1]],
        "finite": all(map(math.isfinite, losses)),
    }


def count_flops(config: ModelConfig, batch: Batch) -> float:
    """Return the operations of the matrix products of an update, on real pieces alone: three times the forward pass's.

    A product of (n, a) and (a, b) counts 2nab; embeddings, norms, dropout and softmax count nothing. A causal score
    counts for what may be seen.
    """
    d, f = config.d_model, config.d_ff * (1.5 if config.activation == "swiglu" else 1)
    g = config.kv_heads * config.head_width  # of keys, and of values
    s, t = ((side != 0).sum(axis=1).astype(np.float64) for side in (batch.src, batch.tgt_out))
    own = 4 * d * (d + g)  # a layer's products for queries, keys, values and the joined heads
    src_token = config.n_encoder_layers * (own + 4 * d * f) + config.n_decoder_layers * 4 * d * g
    tgt_token = config.n_decoder_layers * (own + 4 * d * d + 4 * d * f) + 2 * d * config.tgt_vocab_size
    attention = (
        4
        * d
        * (
            config.n_encoder_layers * (s * s).sum()
            + config.n_decoder_layers * ((t * t).sum() / 2 + (s * t).sum())
        )
    )
    return float(3 * (s.sum() * src_token + t.sum() * tgt_token + attention))


def marian(bench: Bench, preset: str, peak: float | None) -> dict[str, Any]:
    """Train transformers' Marian of the same size in a plain loop."""
    try:
        from peers.marian_gpu import marian_update
    except ImportError as error:
        return {"skipped": f"transformers is not installed ({error})"}
    config = bench.run(preset, compiled=False, varlen=False).config
    return measure(bench, config, peak, bench.batches(), marian_update(config, bench.device, RATE))


def tidy(bench: Bench) -> None:
    """Free what the part before has left."""
    torch.compiler.reset()
    free(bench.device)


if __name__ == "__main__":
    main()
