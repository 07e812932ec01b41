"""Forced decoding: how probable given translations are, all positions of a batch at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tfcli.decoding.ensemble import average
from tfcli.decoding.hypothesis import ForcedTarget
from tfcli.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tfcli.model.transformer import Transformer

# Logits are made and dropped so many at a time; they would be by far the largest tensor.
_CHUNK_ELEMENTS = 2**24


def force(
    models: Sequence[Transformer],
    sources: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    device: torch.device,
) -> list[ForcedTarget]:
    """Return the log-probability of every piece of the targets; both sides end with the end mark.

    Several models are averaged as in a search (`ensemble.average`).
    """
    src = padded(sources, device)
    tgt_out = padded(targets, device)
    begin = torch.full_like(tgt_out[:, :1], Tokenizer.bos_id)
    tgt_in = torch.cat((begin, tgt_out[:, :-1]), dim=1)
    real = tgt_out != Tokenizer.pad_id  # (B, T)
    gold = tgt_out[real]  # (N,)
    states = [model(src, tgt_in)[real] for model in models]  # (N, D) each
    log_probs = _gold_log_probs(models, states, gold).tolist()
    forced, first = [], 0
    for target in targets:
        forced.append(ForcedTarget(tuple(target), tuple(log_probs[first : first + len(target)])))
        first += len(target)
    return forced


def _gold_log_probs(models: Sequence[Transformer], states: Sequence[Tensor], gold: Tensor) -> Tensor:
    """Return the averaged log-probability of each gold piece (N,)."""
    n_rows = max(1, _CHUNK_ELEMENTS // models[0].config.tgt_vocab_size)
    parts = []
    for first in range(0, len(gold), n_rows):
        rows = slice(first, first + n_rows)
        of_models = []
        for model, mine in zip(models, states, strict=True):
            log_probs = torch.log_softmax(model.logits(mine[rows]).float(), dim=-1)  # (n, V)
            of_models.append(log_probs.gather(1, gold[rows, None])[:, 0])
        parts.append(average(of_models))
    return torch.cat(parts)


def padded(sequences: Sequence[Sequence[int]], device: torch.device, width: int | None = None) -> Tensor:
    """Return the sequences as rows of one tensor, padded on the right: as wide as the longest, or as `width`."""
    longest = max(map(len, sequences)) if width is None else width
    rows = [[*ids] + [Tokenizer.pad_id] * (longest - len(ids)) for ids in sequences]
    return torch.tensor(rows, dtype=torch.long, device=device)
