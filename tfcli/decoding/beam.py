"""Beam search: the K best prefixes of each sentence, extended together, until K of them have ended.

A hypothesis that ends leaves the beam and its place stays empty, so that beam size 1 is greedy search. A sentence
is done when all K places are empty, or when none of the prefixes left could still become better than what the
caller will take: their log-probability can only fall, and the longest allowed length divides it most.

At step t a sentence looks like this (K = 3, one hypothesis has ended):

    alive   [prefix a | prefix b | empty]      scores (B, K), -inf where empty
    ended   [hypothesis c]
    next    top 2K of the K * V continuations; of the best (K - ended) of these, those with the end mark end,
            and the best others become the new prefixes
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tfcli.decoding.hypothesis import Hypothesis, normalized
from tfcli.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from tfcli.decoding.engine import SearchSettings
    from tfcli.decoding.search import NextPiece


@dataclass
class _Beam:
    """The prefixes of the sentences that are not done yet, and what has ended for every sentence."""

    places: Tensor  # (B',) which sentence of the batch each row group belongs to
    ids: Tensor  # (B', K, t + 1), begin mark first
    scores: Tensor  # (B', K) log-probabilities, -inf for an empty place
    max_lengths: Tensor  # (B',) end mark counted
    slots: Tensor  # (B',) places not yet taken by an ended hypothesis
    ended: list[list[Hypothesis]] = field(default_factory=list)  # B lists


def beam_search(
    next_piece: NextPiece, max_lengths: Tensor, settings: SearchSettings
) -> list[list[Hypothesis]]:
    """Return up to `n_best` hypotheses for each sentence, best first; finished sentences leave the batch.

    The last allowed piece is always the end mark.

    Shapes: max_lengths (B,), end mark counted; `next_piece` has B * K rows.
    """
    n_sentences, k = len(max_lengths), settings.beam_size
    device = max_lengths.device
    scores = torch.full((n_sentences, k), -torch.inf, device=device)
    scores[:, 0] = 0.0  # all K rows start alike: only one of them may bear continuations
    beam = _Beam(
        places=torch.arange(n_sentences, device=device),
        ids=torch.full((n_sentences, k, 1), Tokenizer.bos_id, device=device),
        scores=scores,
        max_lengths=max_lengths,
        slots=torch.full((n_sentences,), k, device=device),
        ended=[[] for _ in range(n_sentences)],
    )
    while len(beam.places):
        log_probs = next_piece.step(beam.ids[:, :, -1].flatten())  # (B' * K, V)
        rows = _extend(beam, log_probs.view(len(beam.places), k, -1), settings)
        keep = _undone(beam, settings)
        if keep.all():
            next_piece.select(rows.flatten(), None)
            continue
        kept = keep.nonzero()[:, 0]
        next_piece.select(rows[kept].flatten(), kept)
        beam.places, beam.ids, beam.scores = beam.places[kept], beam.ids[kept], beam.scores[kept]
        beam.max_lengths, beam.slots = beam.max_lengths[kept], beam.slots[kept]
    return [
        sorted(found, key=lambda hypothesis: -hypothesis.score)[: settings.n_best] for found in beam.ended
    ]


def _extend(beam: _Beam, log_probs: Tensor, settings: SearchSettings) -> Tensor:
    """Move every prefix one piece on; return the rows (B', K) that the new prefixes continue.

    Shapes: log_probs (B', K, V).
    """
    n_sentences, k, vocab_size = log_probs.shape
    length = beam.ids.shape[2]  # of a hypothesis that ends now, end mark counted
    at_limit = beam.max_lengths <= length
    if at_limit.any():
        only_end = torch.full_like(log_probs[0, 0], -torch.inf)
        only_end[Tokenizer.eos_id] = 0.0
        log_probs = torch.where(at_limit[:, None, None], log_probs + only_end, log_probs)
    total = (beam.scores[:, :, None] + log_probs).flatten(1)  # (B', K * V)
    n_candidates = 2 * k  # at most K of them end, so K others are among them
    top_scores, top = total.topk(n_candidates, dim=1)  # (B', 2K), best first
    origin, piece = top // vocab_size, top % vocab_size
    ends = (piece == Tokenizer.eos_id) & (top_scores > -torch.inf)

    rank = torch.arange(n_candidates, device=top.device)
    ending = ends & (rank < beam.slots[:, None])
    _collect(beam, ending, top_scores, origin, length, settings.length_penalty)
    beam.slots = beam.slots - ending.sum(dim=1)

    # The prefixes that go on: the best candidates without an end mark, as many as there are places left.
    candidate_scores = top_scores.masked_fill(piece == Tokenizer.eos_id, -torch.inf)
    order = candidate_scores.argsort(dim=1, descending=True, stable=True)[:, :k]  # (B', K)
    empty = torch.arange(k, device=top.device) >= beam.slots[:, None]
    beam.scores = candidate_scores.gather(1, order).masked_fill(empty, -torch.inf)
    chosen_origin = origin.gather(1, order)
    prefixes = beam.ids.gather(1, chosen_origin[:, :, None].expand(-1, -1, length))
    beam.ids = torch.cat((prefixes, piece.gather(1, order)[:, :, None]), dim=2)
    return chosen_origin + torch.arange(n_sentences, device=top.device)[:, None] * k


def _collect(
    beam: _Beam, ending: Tensor, top_scores: Tensor, origin: Tensor, length: int, length_penalty: float
) -> None:
    """Write the candidates marked in `ending` (B', 2K) down as hypotheses."""
    for i, candidate in ending.nonzero().tolist():
        log_prob = float(top_scores[i, candidate])
        ids = tuple(beam.ids[i, int(origin[i, candidate]), 1:].tolist())
        score = normalized(log_prob, length, length_penalty)
        beam.ended[int(beam.places[i])].append(Hypothesis(ids, log_prob, score))


def _undone(beam: _Beam, settings: SearchSettings) -> Tensor:
    """Tell which sentences (B',) can still gain a hypothesis that the caller would take."""
    undone = []
    columns = (beam.places.tolist(), beam.scores[:, 0].tolist(), beam.max_lengths.tolist())
    for place, log_prob, max_length in zip(*columns, strict=True):
        possible = normalized(log_prob, max_length, settings.length_penalty)
        scores = sorted((hypothesis.score for hypothesis in beam.ended[place]), reverse=True)
        enough = len(scores) >= settings.n_best and scores[settings.n_best - 1] >= possible
        undone.append(not enough and possible > float("-inf"))
    return torch.tensor(undone, device=beam.places.device)
