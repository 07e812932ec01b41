"""Training by several processes, the ranks: each computes its share of every update, and holds all weights.

    batches of an update   0  1  2  3  4  5 ...        rank r of W takes r, r + W, r + 2W, ...
    before the gradients   target tokens               summed over the ranks
    after them             losses, then gradients      summed, not averaged: each was divided by all tokens

So an update is the same however its batches are dealt, but for the order in which numbers are added. Gradients are
summed when those of the whole group are there, rather than while they are made, as DistributedDataParallel would: a
batch that has to be cut for want of memory concerns its own rank until then. The price is that a GPU waits for the
network: 4 bytes a parameter, twice. With `training.sharding`, each holds a part of the weights instead (`sharding.py`).

Two kinds of waiting. Ranks that compute wait for each other up to a time-out: who is late by more is named. Ranks that
wait for the first one, which alone prepares, validates and writes, do so for as long as it lives.

torch.distributed is imported when there are several ranks.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tfcli.errors import TfcliError, TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import torch
    from torch import Tensor

    from tfcli.corpus.batches import Batch
    from tfcli.corpus.feed import Batches

# A rank may find out anew how much memory it has, or compile; ten minutes is what torch gives NCCL.
PATIENCE_SECONDS = 600.0
ROLL_CALL_SECONDS = 3.0
BUCKET_ELEMENTS = 2**23  # 32 MB at once: large enough for any network, small beside the gradients


class FirstRankError(TfcliError):
    """The first rank has failed, and said why: the others end with its exit code and without a word."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("")
        self.exit_code = exit_code


class Ranks:
    """All ranks as one of them, number `rank` of `size`, sees them; alone, every method is what it is on one process."""

    def __init__(self, rank: int = 0, size: int = 1, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self.rank = rank
        self.size = size
        self._patience_seconds = patience_seconds
        self._store: Any = None
        self._waiting: Any = None

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that prepares, validates, writes and speaks."""
        return self.rank == 0

    def total(self, *numbers: float) -> list[float]:
        """Return the sum over the ranks of each number; whole numbers are exact up to 2 ** 53."""
        return self._reduced(numbers, "SUM")

    def least(self, number: float) -> float:
        """Return the smallest of the numbers that the ranks give."""
        return self._reduced((number,), "MIN")[0]

    def _reduced(self, numbers: tuple[float, ...], how: str) -> list[float]:
        if self.size == 1:
            return list(numbers)
        import torch
        import torch.distributed as dist

        values = torch.tensor(numbers, dtype=torch.float64)
        with self._answering():
            dist.all_reduce(values, getattr(dist.ReduceOp, how))
        return [float(value) for value in values]

    def add_up(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace each gradient by its sum over the ranks; a rank that had no batch counts as zero."""
        if self.size == 1:
            return
        import torch

        gradients = []
        for parameter in parameters:
            if parameter.requires_grad:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                gradients.append(parameter.grad)
        for bucket in _buckets(gradients):
            self._add_up_bucket(bucket)

    def _add_up_bucket(self, gradients: list[Tensor]) -> None:
        import torch
        import torch.distributed as dist

        flat = torch.cat([gradient.flatten() for gradient in gradients])
        with self._answering():
            dist.all_reduce(flat)
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def gather(self, text: str) -> list[str]:
        """Return the texts that the ranks give, in their order."""
        if self.size == 1:
            return [text]
        import torch
        import torch.distributed as dist

        content = text.encode()
        longest = -int(self.least(-len(content)))
        mine = torch.zeros(8 + longest, dtype=torch.uint8)
        mine[: 8 + len(content)] = _bytes_tensor(len(content).to_bytes(8, "little") + content)
        found = [torch.empty_like(mine) for _ in range(self.size)]
        with self._answering():
            dist.all_gather(found, mine)
        whole = [bytes(each.numpy()) for each in found]
        return [each[8 : 8 + int.from_bytes(each[:8], "little")].decode() for each in whole]

    def first_does(self, work: Callable[[], Any]) -> Any:
        """Have the first rank do something that takes as long as it takes; all get the result, which JSON must hold.

        Raises: FirstRankError on the others when it fails.
        """
        if self.size == 1:
            return work()
        if not self.is_first:
            return self._hear()
        with self._failure_told():
            result = work()
        self._tell({"result": result})
        return result

    @contextmanager
    def first_ahead(self) -> Iterator[None]:
        """Have the first rank go through the block, and when it is through the others.

        Raises: FirstRankError on the others when it fails.
        """
        if self.size == 1:
            yield
        elif self.is_first:
            with self._failure_told():
                yield
            self._tell({"result": None})
        else:
            self._hear()
            yield

    def leave(self) -> None:
        """Take leave of the others, when all is done."""
        if self.size > 1:
            import torch.distributed as dist

            dist.destroy_process_group()

    @contextmanager
    def _failure_told(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            with suppress(TrainingError):  # nobody is left to be told
                self._tell({"exit_code": getattr(error, "exit_code", 1)})
            raise

    def _tell(self, message: dict[str, Any]) -> None:
        import torch
        import torch.distributed as dist

        content = _bytes_tensor(json.dumps(message).encode())
        with self._answering():
            dist.broadcast(torch.tensor([len(content)]), 0, group=self._waiting)
            dist.broadcast(content, 0, group=self._waiting)

    def _hear(self) -> Any:
        import torch
        import torch.distributed as dist

        length = torch.zeros(1, dtype=torch.int64)
        with self._answering():
            dist.broadcast(length, 0, group=self._waiting)
            content = torch.empty(int(length), dtype=torch.uint8)
            dist.broadcast(content, 0, group=self._waiting)
        message = json.loads(bytes(content.numpy()))
        if "exit_code" in message:
            raise FirstRankError(message["exit_code"])
        return message["result"]

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Turn what torch says when a rank is gone or late into an error that names it."""
        try:
            yield
        except RuntimeError as error:
            raise self.lost(error) from error

    def lost(self, error: RuntimeError) -> TrainingError:
        """Return what names the rank that is gone or late, of which torch said `error`."""
        missing = self._missing()
        who = f"{_named(missing) if missing else 'a rank'} of {self.size} {'have' if len(missing) > 1 else 'has'}"
        late = "timed out" in str(error).lower()
        return TrainingError(
            f"{who} not answered for {self._patience_seconds:.0f} s" if late else f"{who} ended",
            "what it said before tells why; run again: training goes on from the last checkpoint",
        )

    def _missing(self) -> list[int]:
        """Call the roll: return the ranks that do not notice within a few seconds that one is gone or late."""
        others = {rank: f"missed-one/{rank}" for rank in range(self.size) if rank != self.rank}
        try:
            self._store.set(f"missed-one/{self.rank}", "")
            end_time = time.monotonic() + ROLL_CALL_SECONDS
            while others and time.monotonic() < end_time:
                others = {rank: key for rank, key in others.items() if not self._store.check([key])}
                time.sleep(0.1)
        except RuntimeError:  # the store went with the process that held it
            return []
        return list(others)


ALONE = Ranks()


def join(rank: int, size: int, device: torch.device, store: Any, patience_seconds: float) -> Ranks:
    """Meet the other ranks at `store`; each is to have come with the same `size`, and a device of the same type.

    Raises: TrainingError when they do not come.
    """
    import torch
    import torch.distributed as dist

    if device.type == "cuda":
        torch.cuda.set_device(device)
    ranks = Ranks(rank, size, patience_seconds)
    store = _meeting_place(ranks, store, patience_seconds)
    try:
        dist.init_process_group(
            # what ranks agree on lies in the processor's memory, whatever they compute on
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            store=store,
            rank=rank,
            world_size=size,
            timeout=timedelta(seconds=patience_seconds),
        )
        ranks._waiting = dist.new_group(backend="gloo", timeout=timedelta(days=365))  # noqa: SLF001  # our own
    except RuntimeError as error:
        raise TrainingError(
            f"the ranks cannot reach each other: {error}",
            "on several machines, name the network they share in GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME",
        ) from error
    ranks._store = store  # noqa: SLF001
    return ranks


def _meeting_place(ranks: Ranks, store: Any, patience_seconds: float) -> Any:
    """Return a part of `store` that is new, and the same for all ranks.

    torchrun has one store for all restarts (seen in 2.13), in which the ranks that are gone have left their addresses.
    So each rank comes with a token of its own, and the first answers until all have heard from it.

    Raises: TrainingError naming those that do not come.
    """
    from torch.distributed.distributed_c10d import PrefixStore

    token = os.urandom(8).hex()
    store.set(f"came/{ranks.rank}", token)
    end_time = time.monotonic() + patience_seconds
    absent = list(range(1, ranks.size)) if ranks.is_first else [0]
    while absent and time.monotonic() < end_time:
        if ranks.is_first:
            for other in absent:
                if store.check([f"came/{other}"]):
                    store.set(f"welcome/{store.get(f'came/{other}').decode()}", token)
            absent = [other for other in absent if not store.check([f"heard/{token}/{other}"])]
        elif store.check([f"welcome/{token}"]):
            token, absent = store.get(f"welcome/{token}").decode(), []
            store.set(f"heard/{token}/{ranks.rank}", "")
        time.sleep(0.01)
    if absent:
        raise TrainingError(
            f"{_named(absent)} of {ranks.size} did not come within {patience_seconds:.0f} s",
            "look at what it said; each rank is to be started with the same command",
        )
    return PrefixStore(token, store)


def _named(numbers: Iterable[int]) -> str:
    names = [str(number) for number in numbers]
    return f"rank{'' if len(names) == 1 else 's'} {', '.join(names)}"


def deal(batches: Batches, count: int, ranks: Ranks) -> list[Batch]:
    """Return this rank's share of the next `count` batches, and move on behind all of them."""
    group = []
    for number in range(count):
        if number % ranks.size == ranks.rank:
            group.append(batches.next_batch())
        else:
            batches.skip_batch()
    return group


def _buckets(gradients: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Yield the gradients in groups of about BUCKET_ELEMENTS numbers."""
    bucket: list[Tensor] = []
    elements = 0
    for gradient in gradients:
        if bucket and elements + gradient.numel() > BUCKET_ELEMENTS:
            yield bucket
            bucket, elements = [], 0
        bucket.append(gradient)
        elements += gradient.numel()
    if bucket:
        yield bucket


def _bytes_tensor(content: bytes) -> Tensor:
    import torch

    return torch.frombuffer(bytearray(content), dtype=torch.uint8)
