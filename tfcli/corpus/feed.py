"""What a network learns from, whichever its task is: batches of pairs, or of blocks of running text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tfcli.corpus.batches import TrainingBatches, fixed_batches, worst_batch
from tfcli.corpus.blocks import BlockBatches, fixed_blocks, worst_blocks
from tfcli.corpus.resample import gather_anew
from tfcli.corpus.stream import TextIds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tfcli.corpus.batches import Batch, Position
    from tfcli.corpus.prepare import Prepared
    from tfcli.corpus.prepare_text import PreparedText
    from tfcli.corpus.shards import ParallelIds
    from tfcli.recipe.schema import Recipe


class Batches(Protocol):
    """Endless batches, whose order is a function of seed, epoch and position."""

    @property
    def position(self) -> Position:
        """Where `next_batch` will take up."""

    def next_batch(self) -> Batch:
        """Return the next batch and move on."""

    def skip_batch(self) -> None:
        """Move on without reading the next batch."""


def training_batches(
    recipe: Recipe, prepared: Prepared | PreparedText, position: Position | None = None
) -> Batches:
    """Return the batches that a recipe trains on, from a position on."""
    ds, budget = prepared.train, recipe.training.batch_tokens
    if isinstance(ds, TextIds):
        return BlockBatches(ds, budget, recipe.seed, position)
    return TrainingBatches(ds, budget, recipe.seed, position, gather_anew(recipe, prepared.tokenizer, ds))


def validation_batches(ds: ParallelIds | TextIds, batch_tokens: int) -> Iterator[Batch]:
    """Yield all of a corpus once, always in the same order."""
    return fixed_blocks(ds, batch_tokens) if isinstance(ds, TextIds) else fixed_batches(ds, batch_tokens)


def largest_batch(ds: ParallelIds | TextIds, batch_tokens: int) -> Batch:
    """Return the batch of a corpus that takes most memory."""
    return worst_blocks(ds, batch_tokens) if isinstance(ds, TextIds) else worst_batch(ds, batch_tokens)
