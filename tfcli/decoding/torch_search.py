"""One batch through the search that the settings ask for: greedy, beam or sampling, by one network or several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tfcli.decoding.beam import beam_search
from tfcli.decoding.ensemble import EnsembleNextPiece
from tfcli.decoding.forced import padded
from tfcli.decoding.greedy import greedy_search
from tfcli.decoding.ruled import RuledNextPiece
from tfcli.decoding.rules import Rules
from tfcli.decoding.sampling import sampling_search
from tfcli.decoding.search import TransformerNextPiece
from tfcli.model.cache import room_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tfcli.decoding.engine import SearchSettings
    from tfcli.decoding.hypothesis import Hypothesis
    from tfcli.decoding.search import NextPiece
    from tfcli.model.transformer import Transformer


@dataclass(frozen=True)
class Batch:
    """Sources with their end marks, the longest output allowed for each, and what it is to begin with."""

    sources: Sequence[Sequence[int]]
    max_lengths: Sequence[int]
    prefixes: Sequence[Sequence[int]]


def search_batch(
    models: Sequence[Transformer], batch: Batch, settings: SearchSettings, device: torch.device
) -> list[list[Hypothesis]]:
    """Return up to `n_best` hypotheses for each source, best first."""
    # by eights, as products of few different shapes are fast
    most = min(model.config.max_positions for model in models)
    src = padded(batch.sources, device, min(room_for(max(map(len, batch.sources))), most))  # (B, S)
    members: list[NextPiece] = [TransformerNextPiece(model, src) for model in models]
    scorer = members[0] if len(members) == 1 else EnsembleNextPiece(members)
    return search_with(scorer, batch, settings, device)


def search_with(
    scorer: NextPiece, batch: Batch, settings: SearchSettings, device: torch.device
) -> list[list[Hypothesis]]:
    """Search as the settings say by whatever scores the pieces."""
    max_lengths = torch.tensor(batch.max_lengths, device=device)
    next_piece = _ruled(scorer, batch, settings, device)
    if settings.sampling is not None:
        return sampling_search(next_piece, batch.sources, max_lengths, settings)
    if settings.beam_size == 1:
        return [[best] for best in greedy_search(next_piece, max_lengths, settings.length_penalty)]
    return beam_search(next_piece, max_lengths, settings)


def _ruled(scorer: NextPiece, batch: Batch, settings: SearchSettings, device: torch.device) -> NextPiece:
    """Return the scorer with the rules in front of it; itself where none is asked for."""
    if settings.no_repeat_ngram is None and settings.min_output_ratio == 0 and not any(batch.prefixes):
        return scorer
    lengths = [
        settings.min_length(len(source), max_length)
        for source, max_length in zip(batch.sources, batch.max_lengths, strict=True)
    ]
    min_lengths = torch.tensor(lengths, device=device)
    rules = Rules(min_lengths, padded(batch.prefixes, device), settings.no_repeat_ngram)
    return RuledNextPiece(scorer, rules)
