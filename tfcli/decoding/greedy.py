"""Greedy search: always the most probable next piece."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tfcli.decoding.hypothesis import Hypothesis, normalized
from tfcli.decoding.search import best_continuations, going_on
from tfcli.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

    from tfcli.decoding.hypothesis import LengthPenalty
    from tfcli.decoding.search import NextPiece


def greedy_search(
    next_piece: NextPiece, max_lengths: Tensor, length_penalty: LengthPenalty
) -> list[Hypothesis]:
    """Return one hypothesis for each sentence; finished sentences leave the batch.

    The last allowed piece is always the end mark.

    Shapes: max_lengths (B,), end mark counted; `next_piece` has one row a sentence.
    """
    device = max_lengths.device
    n_sentences, longest = len(max_lengths), int(max_lengths.max())
    ids = torch.empty((n_sentences, longest), dtype=torch.int64, device=device)  # end marks among them
    log_probs = torch.zeros(n_sentences, device=device)
    lengths = torch.zeros_like(max_lengths)  # end mark counted; 0 as long as there is none
    places = torch.arange(n_sentences, device=device)  # (B',) which sentence each row belongs to
    total = torch.zeros(n_sentences, device=device)  # (B',)
    last = torch.full((n_sentences,), Tokenizer.bos_id, device=device)  # (B',)
    for length in range(1, longest + 1):
        scores = next_piece.step(last)  # (B', V)
        best, _, piece = (found[:, 0] for found in best_continuations(total[:, None], scores[:, None], 1))
        at_limit = max_lengths[places] <= length
        last = torch.where(at_limit, Tokenizer.eos_id, piece)
        total = torch.where(at_limit, total + scores[:, Tokenizer.eos_id], best)
        ids[places, length - 1] = last
        ends = (last == Tokenizer.eos_id) & (lengths[places] == 0)
        log_probs[places] = torch.where(ends, total, log_probs[places])
        lengths[places] = torch.where(ends, length, lengths[places])
        kept = going_on(lengths[places] == 0, 1)
        if kept is not None:
            if not len(kept):
                break
            places, total, last = places[kept], total[kept], last[kept]
            next_piece.select(kept, kept)
    return [
        Hypothesis(tuple(pieces[: length - 1]), log_prob, normalized(log_prob, length, length_penalty))
        for pieces, log_prob, length in zip(ids.tolist(), log_probs.tolist(), lengths.tolist(), strict=True)
    ]
