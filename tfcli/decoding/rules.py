"""What a hypothesis may not say next: rules that set the scores of forbidden pieces to minus infinity.

They work in place on the scores (R, V) of R rows and leave the others as they are, so that a hypothesis keeps the
probability that the network gives it. Within its target prefix a row obeys nothing else. The pieces so far, `ids`
(R, t), have no begin mark.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tfcli.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Rules:
    """The rules for R rows.

    Shapes: min_lengths (R,), end mark not counted; prefixes (R, P), padded on the right with pad_id.
    """

    min_lengths: Tensor
    prefixes: Tensor
    no_repeat_ngram: int | None = None

    def of(self, rows: Tensor) -> Rules:
        """Return the rules for `rows` (R',), in that order."""
        return Rules(self.min_lengths[rows], self.prefixes[rows], self.no_repeat_ngram)


def apply_rules(scores: Tensor, ids: Tensor, rules: Rules) -> None:
    """Forbid what the rules say; at least one piece of every row stays allowed.

    Shapes: scores (R, V), ids (R, t).
    """
    length = ids.shape[1]
    rows, pieces = forced_pieces(length, rules.prefixes)
    forced = scores[rows, pieces]
    if rules.no_repeat_ngram is not None:
        block_repeated_ngrams(scores, ids, rules.no_repeat_ngram)
    block_early_ends(scores, length, rules.min_lengths)
    scores[rows] = -torch.inf
    scores[rows, pieces] = forced


def forced_pieces(length: int, prefixes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows that are within their prefixes (R, P) after `length` pieces, and the next piece of each."""
    if length >= prefixes.shape[1]:
        return prefixes.new_empty(0), prefixes.new_empty(0)
    rows = (prefixes[:, length] != Tokenizer.pad_id).nonzero()[:, 0]
    return rows, prefixes[rows, length]


def block_repeated_ngrams(scores: Tensor, ids: Tensor, n: int) -> None:
    """Forbid every piece that would complete n pieces which stand in the row already.

    Source: Paulus et al., 2018, section 2.5, for n = 3.
    """
    if ids.shape[1] < n:
        return
    seen = ids.unfold(1, n, 1)  # (R, t - n + 1, n)
    newest = ids[:, ids.shape[1] - n + 1 :]  # (R, n - 1)
    rows, places = (seen[:, :, :-1] == newest[:, None]).all(dim=2).nonzero(as_tuple=True)
    scores[rows, seen[rows, places, -1]] = -torch.inf


def block_early_ends(scores: Tensor, length: int, min_lengths: Tensor) -> None:
    """Forbid the end mark to rows of fewer than `min_lengths` (R,) pieces, unless no other piece is allowed."""
    rows = (length < min_lengths).nonzero()[:, 0]
    end = scores[rows, Tokenizer.eos_id]
    scores[rows, Tokenizer.eos_id] = -torch.inf
    stuck = torch.isneginf(scores[rows]).all(dim=1)
    scores[rows, Tokenizer.eos_id] = torch.where(stuck, end, -torch.inf)
