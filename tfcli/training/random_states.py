"""The states of torch's random number generators: taken, and put back; on several ranks each has its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from torch import Tensor

    from tfcli.training.distributed import Ranks


def random_states() -> dict[str, Tensor]:
    """Return the state of the generator of each device, by `cpu`, `cuda.NUMBER` and `mps`."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states |= {f"cuda.{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    if torch.backends.mps.is_available():
        states["mps"] = torch.mps.get_rng_state()
    return states


def all_random_states(ranks: Ranks) -> dict[str, Tensor]:
    """Return the states of all ranks: the first one's by their names, those of rank 1 by `rank1.NAME`."""
    mine = random_states()
    if ranks.size == 1:
        return mine
    texts = ranks.gather(json.dumps({name: bytes(state.numpy()).hex() for name, state in mine.items()}))
    return {
        f"rank{rank}.{name}" if rank else name: torch.frombuffer(bytearray.fromhex(state), dtype=torch.uint8)
        for rank, text in enumerate(texts)
        for name, state in json.loads(text).items()
    }


def states_of_rank(states: dict[str, Tensor], rank: int) -> dict[str, Tensor]:
    """Return a rank's own of the states from `all_random_states`; none when there were fewer ranks."""
    prefix = f"rank{rank}."
    if rank == 0:
        return {name: state for name, state in states.items() if not name.startswith("rank")}
    return {name.removeprefix(prefix): state for name, state in states.items() if name.startswith(prefix)}


def restore_random_states(states: dict[str, Tensor]) -> None:
    """Put states from `random_states` back; those of devices that are not there are left out."""
    torch.set_rng_state(states["cpu"])
    for i in range(torch.cuda.device_count()):
        if f"cuda.{i}" in states:
            torch.cuda.set_rng_state(states[f"cuda.{i}"], i)
    if "mps" in states and torch.backends.mps.is_available():
        torch.mps.set_rng_state(states["mps"])


def seed_rank(seed: int, rank: int, step: int = 0) -> None:
    """Seed a rank's generators for what it draws behind `step`; the first rank goes on with those that it has."""
    if rank > 0 or step > 0:
        [number] = np.random.SeedSequence((seed, rank, step)).generate_state(1, np.uint64)
        torch.manual_seed(int(number))
