"""The engine that is the reference: the network itself, in torch, on any device."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import torch

from tfcli.decoding.beam import beam_search
from tfcli.decoding.greedy import greedy_search
from tfcli.decoding.search import ROWS_STEP, TransformerNextPiece
from tfcli.model.cache import room_for
from tfcli.model.precision import Precision, autocast, with_cast_products
from tfcli.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tfcli.decoding.engine import SearchSettings
    from tfcli.decoding.hypothesis import Hypothesis
    from tfcli.model.transformer import Transformer


class TorchEngine:
    """An `Engine` around a network, which is to be in evaluation mode and to stay as it is."""

    name = "torch"

    def __init__(self, model: Transformer, precision: Precision = "fp32") -> None:
        self.model = model
        self.precision: Precision = precision
        self._network = with_cast_products(model, precision)
        self._device = next(model.parameters()).device
        self.device = str(self._device)
        self.max_positions = model.config.max_positions

    def search(
        self, sources: Sequence[Sequence[int]], max_lengths: Sequence[int], settings: SearchSettings
    ) -> Iterator[tuple[int, list[Hypothesis]]]:
        """Yield each source's place and its hypotheses, batch by batch, long sources first.

        On a CPU, each core works on a batch of its own: that takes no waiting for each other within a product.
        """
        n_cores = torch.get_num_threads() if self._device.type == "cpu" else 1
        batches = _batches(sources, settings, n_cores)
        found = _in_turn(self._search_of(sources, max_lengths, settings), batches, n_cores)
        for batch, hypotheses in zip(batches, found, strict=True):
            yield from zip(batch, hypotheses, strict=True)

    def _search_of(
        self, sources: Sequence[Sequence[int]], max_lengths: Sequence[int], settings: SearchSettings
    ) -> Callable[[list[int]], list[list[Hypothesis]]]:
        """Return what searches for translations of the sources at given places."""

        def search(batch: list[int]) -> list[list[Hypothesis]]:
            # by eights, as products of few different shapes are fast
            longest = min(room_for(max(len(sources[i]) for i in batch)), self.max_positions)
            rows = [[*sources[i]] + [Tokenizer.pad_id] * (longest - len(sources[i])) for i in batch]
            src = torch.tensor(rows, device=self._device)  # (B, S)
            limits = torch.tensor([max_lengths[i] for i in batch], device=self._device)
            with torch.inference_mode(), autocast(self._device, self.precision):
                next_piece = TransformerNextPiece(self._network, src)  # rows: one a sentence, or K
                if settings.beam_size == 1:
                    return [[best] for best in greedy_search(next_piece, limits, settings.length_penalty)]
                return beam_search(next_piece, limits, settings)

        return search


def _in_turn(
    search: Callable[[list[int]], list[list[Hypothesis]]], batches: list[list[int]], n_cores: int
) -> Iterator[list[list[Hypothesis]]]:
    """Yield what `search` finds for each batch, in their order, from so many threads of one core each."""
    n_workers = min(n_cores, len(batches))
    if n_workers < 2:
        yield from map(search, batches)
        return
    before = torch.get_num_threads()
    workers = ThreadPoolExecutor(n_workers, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield from workers.map(search, batches)
    finally:
        workers.shutdown(cancel_futures=True)
        torch.set_num_threads(before)  # a worker's setting is also the default of all threads to come


def _batches(sources: Sequence[Sequence[int]], settings: SearchSettings, n_cores: int) -> list[list[int]]:
    """Cut the sources into batches: longest first, padded pieces times beam size within the budget.

    Where there are few, each core gets its share of them, down to `ROWS_STEP` rows.
    """
    largest = max(-(-len(sources) // n_cores), -(-ROWS_STEP // settings.beam_size))
    order = sorted(range(len(sources)), key=lambda i: (-len(sources[i]), i))
    batches: list[list[int]] = []
    for i in order:
        size = len(batches[-1]) + 1 if batches else 0
        over = (
            size * settings.beam_size * len(sources[batches[-1][0]]) > settings.batch_tokens
            if batches
            else True
        )
        if over or size > largest:
            batches.append([])
        batches[-1].append(i)
    return batches
