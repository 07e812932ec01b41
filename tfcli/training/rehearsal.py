"""A dry run: the worst batch first, a few ordinary ones after it, and what that says about the whole run."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tfcli.corpus.feed import training_batches
from tfcli.training.distributed import deal
from tfcli.training.initial import begin
from tfcli.training.learner import make_learner
from tfcli.training.memory import Memory, ceiling, try_worst_batch
from tfcli.training.schedule import learning_rate
from tfcli.training.state import TrainingState
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
    begin(run, learner)
    memory = Memory(None, run.reporter.warn, ceiling(run))
    add = memory.adder(TrainingState())
    worst = try_worst_batch(
        learner, run.prepared.train, settings.batch_tokens, add, accumulates=settings.accumulation_steps > 1
    )
    rate = learning_rate(settings, 1)
    batches = training_batches(run.recipe, run.prepared)
    seconds, tokens = [], 0
    for number in range(1 + ORDINARY_STEPS):
        group = deal(batches, settings.accumulation_steps * run.ranks.size, run.ranks)
        start_time = time.perf_counter()
        result = train_step(learner, group, rate, add)
        if number > 0:  # the first one also makes the optimizer's moments
            tokens += result.tokens
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
