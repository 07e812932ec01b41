"""The engine that is the reference: the network itself, in torch, on any device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tfcli.decoding.beam import beam_search
from tfcli.decoding.greedy import greedy_search
from tfcli.decoding.search import TransformerNextPiece
from tfcli.model.precision import Precision, autocast
from tfcli.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tfcli.decoding.engine import SearchSettings
    from tfcli.decoding.hypothesis import Hypothesis
    from tfcli.model.transformer import Transformer


class TorchEngine:
    """An `Engine` around a network, which is to be in evaluation mode."""

    name = "torch"

    def __init__(self, model: Transformer, precision: Precision = "fp32") -> None:
        self.model = model
        self.precision: Precision = precision
        self._device = next(model.parameters()).device
        self.device = str(self._device)
        self.max_positions = model.config.max_positions

    def search(
        self, sources: Sequence[Sequence[int]], max_lengths: Sequence[int], settings: SearchSettings
    ) -> Iterator[tuple[int, list[Hypothesis]]]:
        """Yield each source's place and its hypotheses, batch by batch, long sources first."""
        for batch in _batches(sources, settings):
            found = self._search([sources[i] for i in batch], [max_lengths[i] for i in batch], settings)
            yield from zip(batch, found, strict=True)

    def _search(
        self, sources: list[Sequence[int]], limits: list[int], settings: SearchSettings
    ) -> list[list[Hypothesis]]:
        longest = max(map(len, sources))
        rows = [[*source] + [Tokenizer.pad_id] * (longest - len(source)) for source in sources]
        src = torch.tensor(rows, device=self._device)  # (B, S)
        max_lengths = torch.tensor(limits, device=self._device)
        # not inference_mode: there autocast would cast the weights again at every step instead of once
        with torch.no_grad(), autocast(self._device, self.precision):
            next_piece = TransformerNextPiece(self.model, src)  # rows: one a sentence, or K
            if settings.beam_size == 1:
                return [[best] for best in greedy_search(next_piece, max_lengths, settings.length_penalty)]
            return beam_search(next_piece, max_lengths, settings)


def _batches(sources: Sequence[Sequence[int]], settings: SearchSettings) -> list[list[int]]:
    """Cut the sources into batches: longest first, padded pieces times beam size within the budget."""
    order = sorted(range(len(sources)), key=lambda i: (-len(sources[i]), i))
    batches: list[list[int]] = []
    for i in order:
        rows = (len(batches[-1]) + 1) * settings.beam_size if batches else 0
        if not batches or len(sources[batches[-1][0]]) * rows > settings.batch_tokens:
            batches.append([])
        batches[-1].append(i)
    return batches
