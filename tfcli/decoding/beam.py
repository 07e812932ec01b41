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

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tfcli.decoding.hypothesis import Hypothesis, normalized
from tfcli.decoding.search import best_continuations, going_on
from tfcli.model.precision import widest_float
from tfcli.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from tfcli.decoding.engine import SearchSettings
    from tfcli.decoding.search import NextPiece


@dataclass
class _Beam:
    """The prefixes of the sentences that are not done yet; a few that are done may still be among them."""

    places: Tensor  # (B',) which sentence of the batch each row group belongs to
    ids: Tensor  # (B', K, t + 1), begin mark first; an empty place ends with padding
    scores: Tensor  # (B', K) log-probabilities, best first, -inf for an empty place
    max_lengths: Tensor  # (B',) end mark counted
    slots: Tensor  # (B',) places not yet taken by an ended hypothesis

    def keep(self, kept: Tensor) -> None:
        """Go on with the sentences `kept` (B'',) alone."""
        self.places, self.ids, self.scores = self.places[kept], self.ids[kept], self.scores[kept]
        self.max_lengths, self.slots = self.max_lengths[kept], self.slots[kept]


@dataclass
class _Ended:
    """The hypotheses that have ended, in the order they did."""

    log_probs: Tensor  # (B, K), -inf where none is yet
    scores: Tensor  # (B, K) the same, normalized
    lengths: Tensor  # (B, K) end mark counted
    ids: Tensor  # (B, K, longest), end mark left out
    divisors: Tensor  # (longest + 1,) what a log-probability is divided by at each length

    @classmethod
    def none(cls, max_lengths: Tensor, settings: SearchSettings) -> _Ended:
        """Return room for K hypotheses of each sentence."""
        device, longest = max_lengths.device, int(max_lengths.max())
        shape = (len(max_lengths), settings.beam_size)
        divisors = [settings.length_penalty.divisor(length) for length in range(longest + 1)]
        return cls(
            log_probs=torch.full(shape, -torch.inf, device=device),
            scores=torch.full(shape, -torch.inf, dtype=widest_float(device), device=device),
            lengths=torch.zeros(shape, dtype=torch.int64, device=device),
            ids=torch.zeros((*shape, longest), dtype=torch.int64, device=device),
            divisors=torch.tensor(divisors, dtype=widest_float(device), device=device),
        )

    def add(self, beam: _Beam, ending: Tensor, top_scores: Tensor, origin: Tensor) -> None:
        """Write the candidates marked in `ending` (B', 2K) down as hypotheses."""
        n_places, length = self.scores.shape[1], beam.ids.shape[2]
        i, candidate = ending.nonzero(as_tuple=True)
        place = beam.places[i]
        slot = n_places - beam.slots[i] + ending.cumsum(dim=1)[i, candidate] - 1
        log_probs = top_scores[i, candidate]
        self.log_probs[place, slot] = log_probs
        self.scores[place, slot] = log_probs.to(self.scores.dtype) / self.divisors[length]
        self.lengths[place, slot] = length
        self.ids[place, slot, : length - 1] = beam.ids[i, origin[i, candidate], 1:]

    def hypotheses(self, settings: SearchSettings) -> list[list[Hypothesis]]:
        """Return up to `n_best` hypotheses of each sentence, best first."""
        return [
            sorted(
                (
                    Hypothesis(
                        tuple(ids[: length - 1]),
                        log_prob,
                        normalized(log_prob, length, settings.length_penalty),
                    )
                    for ids, log_prob, length in zip(*of_sentence, strict=True)
                    if length
                ),
                key=lambda hypothesis: -hypothesis.score,
            )[: settings.n_best]
            for of_sentence in zip(
                self.ids.tolist(), self.log_probs.tolist(), self.lengths.tolist(), strict=True
            )
        ]


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
    scores[:, 0] = 0.0  # one prefix to begin with
    ids = torch.full((n_sentences, k, 1), Tokenizer.pad_id, device=device)
    ids[:, 0] = Tokenizer.bos_id
    beam = _Beam(
        places=torch.arange(n_sentences, device=device),
        ids=ids,
        scores=scores,
        max_lengths=max_lengths,
        slots=torch.full((n_sentences,), k, device=device),
    )
    ended = _Ended.none(max_lengths, settings)
    shortest = int(max_lengths.min())
    while len(beam.places):
        log_probs = next_piece.step(beam.ids[:, :, -1].flatten()).view(len(beam.places), k, -1)  # (B', K, V)
        if beam.ids.shape[2] >= shortest:
            log_probs = _ended_at_the_limit(beam, log_probs)
        rows = _extend(beam, ended, log_probs)
        undone = _undone(beam, ended, settings)
        kept = going_on(undone, k)
        next_piece.select((rows if kept is None else rows[kept]).flatten(), kept)
        if kept is not None:
            beam.keep(kept)
    return ended.hypotheses(settings)


def _ended_at_the_limit(beam: _Beam, log_probs: Tensor) -> Tensor:
    """Leave the end mark alone to the sentences whose next piece is the last allowed: (B', K, V)."""
    at_limit = beam.max_lengths <= beam.ids.shape[2]
    only_end = torch.full_like(log_probs[0, 0], -torch.inf)
    only_end[Tokenizer.eos_id] = 0.0
    return torch.where(at_limit[:, None, None], log_probs + only_end, log_probs)


def _extend(beam: _Beam, ended: _Ended, log_probs: Tensor) -> Tensor:
    """Move every prefix one piece on; return the rows (B', K) that the new prefixes continue.

    Shapes: log_probs (B', K, V).
    """
    n_sentences, k, _ = log_probs.shape
    n_candidates = 2 * k  # at most K of them end, so K others are among them
    top_scores, origin, piece = best_continuations(beam.scores, log_probs, n_candidates)  # (B', 2K)
    is_end = piece == Tokenizer.eos_id
    rank = torch.arange(n_candidates, device=piece.device)
    ending = is_end & (top_scores > -torch.inf) & (rank < beam.slots[:, None])
    ended.add(beam, ending, top_scores, origin)
    beam.slots = beam.slots - ending.sum(dim=1)

    # The prefixes that go on: the best candidates without an end mark, as many as there are places left.
    candidate_scores = top_scores.masked_fill(is_end, -torch.inf)
    order = candidate_scores.argsort(dim=1, descending=True, stable=True)[:, :k]  # (B', K)
    empty = rank[:k] >= beam.slots[:, None]
    beam.scores = candidate_scores.gather(1, order).masked_fill(empty, -torch.inf)
    chosen_origin = origin.gather(1, order)
    prefixes = beam.ids.gather(1, chosen_origin[:, :, None].expand(-1, -1, beam.ids.shape[2]))
    newest = piece.gather(1, order).masked_fill(beam.scores == -torch.inf, Tokenizer.pad_id)
    beam.ids = torch.cat((prefixes, newest[:, :, None]), dim=2)
    return chosen_origin + torch.arange(n_sentences, device=piece.device)[:, None] * k


def _undone(beam: _Beam, ended: _Ended, settings: SearchSettings) -> Tensor:
    """Tell which sentences (B',) can still gain a hypothesis that the caller would take."""
    possible = beam.scores[:, 0].to(ended.scores.dtype) / ended.divisors[beam.max_lengths]
    if settings.n_best > settings.beam_size:  # as many are never found
        return possible > -torch.inf
    found = ended.scores[beam.places].topk(settings.n_best, dim=1).values[:, -1]
    return (possible > -torch.inf) & (found < possible)
