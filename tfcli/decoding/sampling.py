"""Sampling: pieces are drawn at random, as probable as the network says or nearly so.

Chance comes from a hash of the seed, the source, the number of the sample and the step. So a line's samples depend on
nothing else: neither on its neighbours and its place in the file, nor, but for rounding, on the device. The same line twice in a file has the
same samples twice.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tfcli.decoding.hypothesis import Hypothesis, normalized
from tfcli.model.precision import widest_float
from tfcli.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tfcli.decoding.engine import Sampling, SearchSettings
    from tfcli.decoding.hypothesis import LengthPenalty
    from tfcli.decoding.search import NextPiece


def sampling_search(
    next_piece: NextPiece, sources: Sequence[Sequence[int]], max_lengths: Tensor, settings: SearchSettings
) -> list[list[Hypothesis]]:
    """Draw `n_best` translations of each source, each by itself, and return them best first.

    The last allowed piece is always the end mark. A sentence leaves the batch when all of its samples have ended.

    Shapes: max_lengths (B,), end mark counted; `next_piece` has B * `n_best` rows.
    """
    sampling, k = settings.sampling, settings.n_best
    assert sampling is not None
    seeds = [sample_seed(sampling.seed, source, i) for source in sources for i in range(k)]
    places = torch.arange(len(seeds), device=max_lengths.device)  # (R,) which sample each row is
    limits = max_lengths.repeat_interleave(k)
    ids = torch.full((len(seeds), 1), Tokenizer.bos_id, device=max_lengths.device)  # (R, t + 1)
    totals = torch.zeros(len(seeds), device=max_lengths.device)
    found: list[Hypothesis | None] = [None] * len(seeds)
    while len(places):
        log_probs = next_piece.step(ids[:, -1])  # (R, V)
        length = ids.shape[1]  # with the piece to come, begin mark not counted
        chances = [uniform(seeds[place], length) for place in places.tolist()]
        pieces = draw(
            log_probs, torch.tensor(chances, dtype=widest_float(ids.device), device=ids.device), sampling
        )
        over = (ids[:, -1] == Tokenizer.eos_id) | (
            limits <= length
        )  # those that had ended go on with end marks
        pieces = torch.where(over, Tokenizer.eos_id, pieces)
        totals = totals + log_probs.gather(1, pieces[:, None])[:, 0]
        ids = torch.cat((ids, pieces[:, None]), dim=1)
        _collect(found, places, ids, totals, settings.length_penalty)
        rows, sentences = _going_on(ids[:, -1] == Tokenizer.eos_id, k)
        if len(rows) < len(places):
            places, limits, ids, totals = places[rows], limits[rows], ids[rows], totals[rows]
            next_piece.select(rows, sentences)
    drawn = [hypothesis for hypothesis in found if hypothesis is not None]
    return [sorted(drawn[i : i + k], key=lambda one: -one.score) for i in range(0, len(drawn), k)]


def sample_seed(seed: int, source: Sequence[int], number: int) -> bytes:
    """Return what all chance in a source's sample of this number comes from."""
    return hashlib.blake2b(f"{seed} {number} {','.join(map(str, source))}".encode(), digest_size=16).digest()


def uniform(seed: bytes, step: int) -> float:
    """Return a number in [0, 1) that looks random, always the same for the same seed and step."""
    digest = hashlib.blake2b(step.to_bytes(4, "little"), key=seed, digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) * 2.0**-53


def draw(scores: Tensor, chances: Tensor, sampling: Sampling) -> Tensor:
    """Return a piece for each row (R,): the first at which the distribution function passes the row's chance.

    Shapes: scores (R, V) need not be normalised; chances (R,), in [0, 1) or rounded from there to the widest float that
    the device has, in which probabilities are added up.
    """
    # (R, V), added up in vocabulary order, so that near ties cannot change places
    mass = restricted(scores, sampling).to(chances.dtype).cumsum(dim=1)
    below_one = chances.clamp(max=1 - torch.finfo(chances.dtype).eps)
    return (mass > below_one[:, None] * mass[:, -1:]).int().argmax(dim=1)  # the first of the largest


def restricted(scores: Tensor, sampling: Sampling) -> Tensor:
    """Return probabilities (R, V) after temperature, then top-k, then top-p, which need not sum to 1.

    Source: top-k of Fan et al., 2018; top-p, the smallest set of the most probable pieces that have at least this mass,
    of Holtzman et al., 2020.
    """
    scores = scores / sampling.temperature
    if sampling.top_k is not None and sampling.top_k < scores.shape[1]:
        smallest = scores.topk(sampling.top_k, dim=1).values[:, -1:]
        scores = scores.masked_fill(scores < smallest, -torch.inf)
    probs = torch.softmax(scores, dim=1)
    if sampling.top_p is not None:
        ordered, order = probs.sort(dim=1, descending=True, stable=True)
        before = ordered.cumsum(dim=1) - ordered  # mass of the more probable ones
        outside = torch.zeros_like(probs, dtype=torch.bool).scatter(1, order, before >= sampling.top_p)
        outside.scatter_(1, order[:, :1], value=False)
        probs = probs.masked_fill(outside, 0.0)
    return probs


def _collect(
    found: list[Hypothesis | None], places: Tensor, ids: Tensor, totals: Tensor, penalty: LengthPenalty
) -> None:
    """Write down the samples that have just ended."""
    ended = (ids[:, -1] == Tokenizer.eos_id) & (ids[:, -2] != Tokenizer.eos_id)
    for row in ended.nonzero()[:, 0].tolist():
        log_prob, length = float(totals[row]), ids.shape[1] - 1
        score = normalized(log_prob, length, penalty)
        found[int(places[row])] = Hypothesis(tuple(ids[row, 1:-1].tolist()), log_prob, score)


def _going_on(ended: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the rows (R',) and the sentences (B',) that have a sample left; `ended` is (R,)."""
    sentences = (~ended.view(-1, k).all(dim=1)).nonzero()[:, 0]
    rows = sentences[:, None] * k + torch.arange(k, device=ended.device)
    return rows.flatten(), sentences
