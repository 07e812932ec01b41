"""The engine that is the reference: the network itself, in torch, on any device."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import torch

from tfcli.decoding.forced import force
from tfcli.decoding.search import ROWS_STEP
from tfcli.decoding.torch_search import Batch, search_batch
from tfcli.model.precision import Precision, with_cast_products

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tfcli.decoding.engine import SearchSettings
    from tfcli.decoding.hypothesis import ForcedTarget, Hypothesis
    from tfcli.model.transformer import Transformer

Found = TypeVar("Found")


class TorchEngine:
    """An `Engine` around a network, or around several of one vocabulary as an ensemble.

    They are to be in evaluation mode and to stay as they are. On a CPU, each core works on a batch of its own: that
    takes no waiting for each other within a product.
    """

    name = "torch"

    def __init__(
        self, model: Transformer, precision: Precision = "fp32", others: Sequence[Transformer] = ()
    ) -> None:
        self.models = tuple(with_cast_products(member, precision) for member in (model, *others))
        self.precision: Precision = precision
        self._device = next(model.parameters()).device
        self.device = str(self._device)
        self.max_positions = min(member.config.max_positions for member in self.models)

    def search(
        self,
        sources: Sequence[Sequence[int]],
        max_lengths: Sequence[int],
        settings: SearchSettings,
        prefixes: Sequence[Sequence[int]] | None = None,
    ) -> Iterator[tuple[int, list[Hypothesis]]]:
        """Yield each source's place and its hypotheses, batch by batch, long sources first."""
        begins = prefixes or [()] * len(sources)

        def search(places: list[int]) -> list[list[Hypothesis]]:
            batch = Batch(
                [sources[i] for i in places], [max_lengths[i] for i in places], [begins[i] for i in places]
            )
            with torch.inference_mode():
                return search_batch(self.models, batch, settings, self._device)

        yield from self._in_batches(search, [len(source) for source in sources], settings.rows, settings)

    def score(
        self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], settings: SearchSettings
    ) -> Iterator[tuple[int, ForcedTarget]]:
        """Yield each pair's place and its target with log-probabilities, batch by batch, long pairs first."""

        def score(places: list[int]) -> list[ForcedTarget]:
            with torch.inference_mode():
                return force(
                    self.models, [sources[i] for i in places], [targets[i] for i in places], self._device
                )

        sizes = [max(len(src), len(tgt)) for src, tgt in zip(sources, targets, strict=True)]
        yield from self._in_batches(score, sizes, 1, settings)

    def _in_batches(
        self,
        work: Callable[[list[int]], list[Found]],
        sizes: Sequence[int],
        rows: int,
        settings: SearchSettings,
    ) -> Iterator[tuple[int, Found]]:
        """Cut items of these sizes into batches; yield the place of each item and what `work` finds for it."""
        n_cores = torch.get_num_threads() if self._device.type == "cpu" else 1
        batches = _batches(sizes, rows, settings, n_cores)
        for places, found in zip(batches, _in_turn(work, batches, n_cores), strict=True):
            yield from zip(places, found, strict=True)


def _in_turn(
    work: Callable[[list[int]], list[Found]], batches: list[list[int]], n_cores: int
) -> Iterator[list[Found]]:
    """Yield what `work` finds for each batch, in their order, from so many threads of one core each."""
    n_workers = min(n_cores, len(batches))
    if n_workers < 2:
        yield from map(work, batches)
        return
    before = torch.get_num_threads()
    workers = ThreadPoolExecutor(n_workers, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield from workers.map(work, batches)
    finally:
        workers.shutdown(cancel_futures=True)
        torch.set_num_threads(before)  # a worker's setting is also the default of all threads to come


def _batches(sizes: Sequence[int], rows: int, settings: SearchSettings, n_cores: int) -> list[list[int]]:
    """Cut items into batches, longest first: `batch_size` of them, or padded size times `rows` within the budget.

    They come in rounds of one for each core, and what is left for the last round is shared out evenly, down to `ROWS_STEP`
    rows, so that no core waits long for another. Rows come by the `ROWS_STEP` where so many fit, as they leave, so that products have few
    different shapes.
    """
    step = -(-ROWS_STEP // rows)
    order = sorted(range(len(sizes)), key=lambda i: (-sizes[i], i))
    batches: list[list[int]] = []
    while order:
        cores_left = n_cores - len(batches) % n_cores
        share = max(-(-len(order) // cores_left), step)
        fitting = settings.batch_tokens // (rows * sizes[order[0]])
        n = min(settings.batch_size or fitting // step * step or max(1, fitting), share)
        batches.append(order[:n])
        order = order[n:]
    return batches
