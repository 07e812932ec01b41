"""What every search shares: the step from a prefix to the next piece, and the best of all continuations.

Letters for shapes stand in the legend of `model/transformer.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from tfcli.model.layout import Places
from tfcli.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from tfcli.model.transformer import Transformer

# Sorting out the best of V numbers looks at each of them in turn; the maxima of groups are found 16 numbers at once.
GROUP = 16
SORTED_BELOW = 1024  # pieces; a smaller vocabulary is quickly looked through

# oneDNN generates code for each new shape of a bf16 product, and keeps it: 0.5 ms, where a product of 250 rows takes 0.2
# to 5 ms, and some 0.1 MiB.
ROWS_STEP = 40


class NextPiece(Protocol):
    """Scores of the piece that follows, for every row of a search; rows are hypotheses, sentence by sentence.

    A row whose newest piece is padding is an empty place: nobody looks at its scores.
    """

    def step(self, last: Tensor) -> Tensor:
        """Take the newest piece of each row (R,), return the log-probabilities of the next one (R, V).

        They may be changed, and are overwritten by the next step.
        """

    def select(self, rows: Tensor, sentences: Tensor | None) -> None:
        """Go on with `rows` (R',) in that order and, if given, with these `sentences` (B',) alone."""


class TransformerNextPiece:
    """`NextPiece` by a Transformer with a key/value cache, for K rows of each source sentence."""

    def __init__(self, model: Transformer, src: Tensor) -> None:
        """Encode `src` (B, S), padded on the right."""
        self._model = model
        self._memory, self._src = model.encode(src)
        self._cache = model.new_cache()
        # which row of the cache (R,) each row goes on from; None where it is its own
        self._past: Tensor | None = None
        # where scores are put: memory of their size, allocated anew, would cost a page fault for each 4 KiB
        self._rooms: list[Tensor] = []

    def step(self, last: Tensor) -> Tensor:
        """Take the newest piece of each row (R,), return the log-probabilities of the next one (R, V)."""
        n_rows = len(last)
        last = self._taken(last)  # (N,)
        states = self._model.decode(last[:, None], self._memory, self._src, self._cache)  # (N, 1, D)
        logits = self._model.logits(states[:, 0])  # (N, V)
        if not self._rooms or len(self._rooms[0]) < n_rows:
            shape = (n_rows, logits.shape[1])
            self._rooms = [logits.new_empty(shape, dtype=torch.float32) for _ in range(2)]
        log_probs = self._rooms[0][: len(last)].copy_(logits)
        torch.log_softmax(log_probs, dim=-1, out=log_probs)
        # Padding and the begin mark are no text; they were never a target in training. What probability they have is not
        # shared out among the others, so that a hypothesis is as probable here as in the training loss.
        log_probs[:, Tokenizer.pad_id] = -torch.inf
        log_probs[:, Tokenizer.bos_id] = -torch.inf
        if self._cache.places is None:
            self._past = None
            return log_probs
        self._past = self._cache.places.spread
        return torch.index_select(log_probs, 0, self._past, out=self._rooms[1][:n_rows])

    def _taken(self, last: Tensor) -> Tensor:
        """Leave empty places out of the newest pieces (R,) and of the cache: (N,)."""
        kept = going_on(last != Tokenizer.pad_id, 1)
        self._cache.places = None
        if kept is not None:
            rows = torch.arange(len(kept), device=last.device)
            spread = torch.zeros_like(last).index_copy_(0, kept, rows)
            self._cache.places = Places(collect=kept, spread=spread)
            last = last[kept]
            self._past = kept if self._past is None else self._past[kept]
        if self._past is not None:
            self._cache.select_rows(self._past)
        return last

    def select(self, rows: Tensor, sentences: Tensor | None) -> None:
        """Go on with `rows` (R',) in that order and, if given, with these `sentences` (B',) alone."""
        self._past = rows if self._past is None else self._past[rows]
        if sentences is not None:
            self._cache.select_sentences(sentences)
            self._memory = self._memory.index_select(0, sentences)
            self._src = self._src.select(sentences)


def best_continuations(scores: Tensor, log_probs: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return score, prefix and piece of each sentence's `n` best continuations (B, n), best first.

    A large vocabulary is looked through in groups: the n best are in the n groups with the best maxima.

    Shapes: scores (B, K) of the prefixes, log_probs (B, K, V) of what may follow them.
    """
    n_prefixes, vocab_size = log_probs.shape[1:]
    n_groups = vocab_size // GROUP
    if vocab_size < SORTED_BELOW or n_groups < n:
        best, place = (scores[:, :, None] + log_probs).flatten(1).topk(n, dim=1)
        return best, place // vocab_size, place % vocab_size
    # group g holds the pieces g, g + n_groups, g + 2 n_groups, ...; a few of the last pieces stand in no group
    grouped = log_probs[:, :, : GROUP * n_groups].view(-1, n_prefixes, GROUP, n_groups)
    maxima = (grouped.amax(dim=2) + scores[:, :, None]).flatten(1)  # (B, K * n_groups)
    chosen = maxima.topk(n, dim=1, sorted=False).indices  # (B, n)
    first = chosen // n_groups * vocab_size + chosen % n_groups  # where the groups begin in K * V
    members = torch.arange(GROUP, device=scores.device) * n_groups
    prefixes = torch.arange(n_prefixes, device=scores.device) * vocab_size
    others = prefixes[:, None] + torch.arange(GROUP * n_groups, vocab_size, device=scores.device)
    places = torch.cat(
        ((first[:, :, None] + members).flatten(1), others.flatten().expand(len(scores), -1)), dim=1
    )
    totals = log_probs.flatten(1).gather(1, places) + scores.gather(1, places // vocab_size)
    best, position = totals.topk(n, dim=1)
    place = places.gather(1, position)
    return best, place // vocab_size, place % vocab_size


def going_on(undone: Tensor, rows_each: int) -> Tensor | None:
    """Return the sentences (B'',) to go on with, those that are `undone` (B',) first; None for all as they stand.

    Rows leave by the `ROWS_STEP` alone, so that products have few different shapes: some finished ones may stay.
    """
    step = -(-ROWS_STEP // rows_each)
    size = -(-int(undone.sum()) // step) * step
    return None if size >= len(undone) else undone.argsort(descending=True, stable=True)[:size]
