"""A dry run: the worst batch first, a few ordinary ones after it, and what that says about the whole run."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tfcli.corpus.batches import TrainingBatches, worst_batch
from tfcli.training.learner import make_learner
from tfcli.training.schedule import learning_rate
from tfcli.training.step import train_step

if TYPE_CHECKING:
    from tfcli.training.run import Run

ORDINARY_STEPS = 5


@dataclass(frozen=True)
class Rehearsal:
    """What a dry run found; times are of steps alone, without validations."""

    parameters: int
    worst_src: tuple[int, int]  # (B, S) of the worst batch
    worst_tgt: tuple[int, int]  # (B, T)
    peak_memory_bytes: int
    seconds_per_step: float
    target_tokens_per_second: float
    expected_seconds: float


def rehearse(run: Run) -> Rehearsal:
    """Take steps on the worst batch and on ordinary ones with a throw-away network; write nothing."""
    settings = run.recipe.training
    learner = make_learner(run)
    worst = worst_batch(run.prepared.train, settings.batch_tokens)
    rate = learning_rate(settings, 1)
    train_step(learner, [worst], rate)
    batches = TrainingBatches(run.prepared.train, settings.batch_tokens, run.recipe.seed)
    seconds, tokens = [], 0
    for _ in range(ORDINARY_STEPS):
        group = [batches.next_batch() for _ in range(settings.accumulation_steps)]
        start_time = time.perf_counter()
        tokens += train_step(learner, group, rate).tokens
        seconds.append(time.perf_counter() - start_time)
    per_step = sorted(seconds)[len(seconds) // 2]
    return Rehearsal(
        parameters=sum(parameter.numel() for parameter in learner.model.parameters()),
        worst_src=(worst.src.shape[0], worst.src.shape[1]),
        worst_tgt=(worst.tgt_out.shape[0], worst.tgt_out.shape[1]),
        peak_memory_bytes=peak_memory(run.device),
        seconds_per_step=per_step,
        target_tokens_per_second=tokens / sum(seconds),
        expected_seconds=per_step * settings.max_steps,
    )


def peak_memory(device: torch.device) -> int:
    """Return the most memory that was in use so far, in bytes: of the device, or of the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024  # Linux counts kibibytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
