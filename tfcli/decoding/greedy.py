"""Greedy search: always the most probable next piece."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tfcli.decoding.hypothesis import Hypothesis, normalized
from tfcli.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from tfcli.decoding.search import NextPiece


def greedy_search(
    next_piece: NextPiece, max_lengths: torch.Tensor, length_penalty: float
) -> list[Hypothesis]:
    """Return one hypothesis for each sentence; finished sentences leave the batch.

    The last allowed piece is always the end mark.

    Shapes: max_lengths (B,), end mark counted; `next_piece` has one row a sentence.
    """
    device = max_lengths.device
    hypotheses: list[Hypothesis | None] = [None] * len(max_lengths)
    places = torch.arange(len(max_lengths), device=device)  # (B',) which sentence each row belongs to
    ids = torch.full((len(max_lengths), 1), Tokenizer.bos_id, device=device)  # (B', t + 1)
    total = torch.zeros(len(max_lengths), device=device)  # (B',) log-probabilities
    while len(places):
        log_probs = next_piece.step(ids[:, -1])  # (B', V)
        best, piece = log_probs.max(dim=-1)
        length = ids.shape[1]  # with the piece to come, begin mark not counted
        at_limit = max_lengths[places] <= length
        piece = torch.where(at_limit, Tokenizer.eos_id, piece)
        total = total + torch.where(at_limit, log_probs[:, Tokenizer.eos_id], best)
        ended = piece == Tokenizer.eos_id
        for row in ended.nonzero()[:, 0].tolist():
            log_prob = float(total[row])
            found = Hypothesis(
                tuple(ids[row, 1:].tolist()), log_prob, normalized(log_prob, length, length_penalty)
            )
            hypotheses[int(places[row])] = found
        ids = torch.cat((ids, piece[:, None]), dim=1)
        if ended.any():
            going_on = (~ended).nonzero()[:, 0]
            ids, total, places = ids[going_on], total[going_on], places[going_on]
            next_piece.select(going_on, going_on)
    return [hypothesis for hypothesis in hypotheses if hypothesis is not None]
