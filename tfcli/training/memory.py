"""What is done when memory runs out: batches are computed in parts, which add up to the same gradient.

The gradients of the group that was begun are dropped, the random numbers put back, and the batch that did not fit is
halved until its parts do. Their size is a decision for the rest of the run: from that step on, every batch of more
padded positions is halved in the same way. How much memory is free differs from start to start, so the decision is
written to a journal, and reaches the disk before the update it concerns; a run that resumes from a checkpoint of before
decides alike. Where one of several ranks runs out of memory, all compute the group anew in parts of that size,
unless the network is sharded: then the others wait in the middle of a pass, and the run ends.

    decisions.jsonl     {"step": 812, "returns": 0, "positions": 4032}

`returns` is how often the run had gone back before (see `guards.py`): steps come anew when it does.

So that memory runs out at the start rather than after hours, the largest batch is tried before the first step.
"""

from __future__ import annotations

import functools
import json
import math
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch

from tfcli.corpus.batches import Batch
from tfcli.corpus.feed import largest_batch
from tfcli.errors import CheckpointError, TrainingError
from tfcli.text.whole_file import sync
from tfcli.training.out_of_memory import TOO_LARGE, OutOfMemory, out_of_memory_is_told
from tfcli.training.random_states import random_states, restore_random_states
from tfcli.training.step import add_gradients

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tfcli.corpus.shards import ParallelIds
    from tfcli.corpus.stream import TextIds
    from tfcli.training.learner import Learner
    from tfcli.training.run import Run
    from tfcli.training.state import TrainingState
    from tfcli.training.step import AddGradients, BatchLoss


@dataclass(frozen=True)
class Decision:
    """From update `step` on, after so many `returns`, no more than so many padded `positions` are computed at once."""

    step: int
    returns: int
    positions: int


class Memory:
    """Computes the gradients of a group of batches in as many parts as memory asks for, and remembers in how many."""

    def __init__(self, journal: Path | None, warn: Callable[[str], None], ceiling: int | None = None) -> None:
        """Read the decisions of a run from its journal; without one nothing is read or written.

        No more than `ceiling` padded positions are computed at once, whatever was decided.

        Raises: CheckpointError when the journal is damaged.
        """
        self._journal = journal
        self._warn = warn
        self._ceiling = [] if ceiling is None else [ceiling]
        self._decisions = _read(journal) if journal is not None else []

    def limit(self, state: TrainingState) -> int | None:
        """Return how many padded positions the next update may compute at once; None: any number.

        Units: source and target positions, padding included.
        """
        now = (state.returns, state.step + 1)
        limits = [known.positions for known in self._decisions if (known.returns, known.step) <= now]
        return min([*limits, *self._ceiling], default=None)

    def adder(self, state: TrainingState) -> AddGradients:
        """Return what adds up the gradients of the next update as `add_gradients` does, in parts where it must."""
        return functools.partial(self._add_gradients, state)

    def _add_gradients(
        self, state: TrainingState, learner: Learner, group: Iterable[Batch], tokens: int
    ) -> list[BatchLoss]:
        known = limit = self.limit(state)
        before = random_states()
        while True:
            parts = [part for batch in group for part in cut(batch, limit)]
            failed = None
            try:
                losses = add_gradients(learner, parts, tokens)
            except OutOfMemory as error:
                failed = error.batch
            if failed is not None and learner.sharded:
                raise TrainingError(
                    f"out of memory with a batch of {positions(failed):,} padded positions, and training.sharding "
                    "does not let one rank compute it in parts",
                    "set training.gradient_checkpointing to true, or lower training.batch_tokens and raise "
                    "training.accumulation_steps in the same measure",
                )
            wanted = limit if failed is None else _smaller(failed)
            agreed = learner.ranks.least(math.inf if wanted is None else wanted)
            if agreed in (limit, math.inf):
                break
            # only here, where the error is gone, is the memory free that its frames held
            learner.optimizer.zero_grad()
            restore_random_states(before)
            if learner.device.type == "cuda":
                torch.cuda.empty_cache()
            limit = int(agreed)
        if limit is not None and limit != known:
            decision = Decision(state.step + 1, state.returns, limit)
            if learner.ranks.is_first:
                self._decide(decision)
            else:
                self._decisions.append(decision)  # the first rank writes it down
        return losses

    def _decide(self, decision: Decision) -> None:
        self._decisions.append(decision)
        kept = ""
        if self._journal is not None:
            _append(self._journal, decision)
            kept = f"; {self._journal} keeps this"
        self._warn(
            f"step {decision.step}: not enough memory for a whole batch; from here on, batches of more "
            f"than {decision.positions:,} padded positions are computed in parts, with the same gradient{kept}"
        )


def ceiling(run: Run) -> int | None:
    """Return how many padded positions may be computed at once; None: what a batch has.

    A batch that is cut into pieces anew may become larger than the largest one as it is stored, which is tried before
    the first step: it is then computed in parts that are no larger.
    """
    if run.recipe.training.subword_regularization is None:
        return None
    return positions(largest_batch(run.prepared.train, run.recipe.training.batch_tokens))


def positions(batch: Batch) -> int:
    """Return the padded positions of a batch, of both sides."""
    return batch.src.size + batch.tgt_out.size


def cut(batch: Batch, limit: int | None) -> list[Batch]:
    """Halve a batch until no part has more than `limit` padded positions, or more than one pair."""
    if limit is None or positions(batch) <= limit or len(batch.indices) == 1:
        return [batch]
    return [part for half in _halves(batch) for part in cut(half, limit)]


def _halves(batch: Batch) -> tuple[Batch, Batch]:
    """Cut a batch of at least two pairs in two, the larger half first."""
    middle = -(-len(batch.indices) // 2)
    return _rows(batch, slice(0, middle)), _rows(batch, slice(middle, None))


def _rows(batch: Batch, rows: slice) -> Batch:
    return Batch(
        batch.src[rows], batch.tgt_in[rows], batch.tgt_out[rows], batch.indices[rows], batch.position
    )


def _smaller(failed: Batch) -> int:
    """Return the limit that halves a batch which did not fit.

    One just below its size would have every batch that is a little smaller fail in turn.

    Raises: TrainingError when it is a single pair.
    """
    if len(failed.indices) == 1:
        if failed.is_running_text:
            raise TrainingError(
                f"out of memory with a single block of {failed.tgt_out.shape[1]} pieces",
                "lower data.context, or take a smaller network",
            )
        if failed.has_labels:
            raise TrainingError(
                f"out of memory with a single text of {failed.src.shape[1]} pieces", TOO_LARGE
            )
        raise TrainingError(
            f"out of memory with a single pair of {failed.src.shape[1]} source and {failed.tgt_out.shape[1]} target "
            "pieces",
            TOO_LARGE,
        )
    return positions(_halves(failed)[0])


def try_worst_batch(
    learner: Learner, ds: ParallelIds | TextIds, batch_tokens: int, add: AddGradients, *, accumulates: bool
) -> Batch:
    """Compute the gradient of the largest batch of the corpus, drop it, and return the batch; nothing else changes.

    `add` cuts it where memory asks for that. What a step needs beside it is held meanwhile: the optimizer's moments,
    which come into being at the first update, and the gradients of a batch before, if the run `accumulates`.

    Raises: TrainingError when not even parts of it fit.
    """
    worst = largest_batch(ds, batch_tokens)
    before = random_states()
    parameters = list(learner.model.parameters())
    with out_of_memory_is_told("before the first step: the network and its optimizer do not fit", TOO_LARGE):
        held = [torch.empty_like(p) for p in parameters if not learner.optimizer.holds(p) for _ in range(2)]
        held += [torch.empty_like(p) for p in parameters if accumulates]
    try:
        add(learner, [worst], worst.n_tokens)
    finally:
        learner.optimizer.zero_grad()
        restore_random_states(before)
        del held
    return worst


def _read(journal: Path) -> list[Decision]:
    """Return the decisions in a journal; a last line that a crash cut short decided nothing."""
    found = []
    for number, line in enumerate(_whole_lines(journal), start=1):
        try:
            values = json.loads(line)
            found.append(Decision(int(values["step"]), int(values["returns"]), int(values["positions"])))
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{journal}:{number}: damaged, expected step, returns and positions",
                "put a copy of it back, or delete it: the run then finds out anew what fits",
            ) from error
    return found


def _append(journal: Path, decision: Decision) -> None:
    """Add a decision to the journal and have it reach the disk."""
    try:
        is_new = not journal.exists()
        whole = sum(map(len, _whole_lines(journal)))
        with journal.open("ab", buffering=0) as stream:
            stream.truncate(whole)
            stream.write(json.dumps(asdict(decision)).encode() + b"\n")
            os.fsync(stream.fileno())
        if is_new:
            sync(journal.parent)
    except OSError as error:
        raise CheckpointError(
            f"{journal}: cannot be written: {error.strerror or error}",
            "free some space or mend the folder's permissions, then run again",
        ) from error


def _whole_lines(journal: Path) -> list[bytes]:
    lines = journal.read_bytes().split(b"\n") if journal.exists() else [b""]
    return [line + b"\n" for line in lines[:-1]]
