"""How running out of memory in training is told."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tfcli.errors import TrainingError, is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tfcli.corpus.batches import Batch

TOO_LARGE = (
    "take a smaller model (model.preset, model.d_model), shorter sentences (data.max_pieces), or a device or a machine "
    "with more memory"
)


class OutOfMemory(Exception):  # noqa: N818  # caught where the batch is cut, never shown
    """Memory ran out in the middle of a step, at `batch`."""

    def __init__(self, batch: Batch) -> None:
        super().__init__("out of memory")
        self.batch = batch


@contextmanager
def out_of_memory_is_told(when: str, hint: str) -> Iterator[None]:
    """Turn running out of memory in the block into a TrainingError that says `when` and what to do."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(f"out of memory {when}", hint) from error
