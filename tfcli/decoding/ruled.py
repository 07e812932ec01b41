"""A `NextPiece` whose scores obey the rules of a search."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tfcli.decoding.rules import Rules, apply_rules

if TYPE_CHECKING:
    from tfcli.decoding.search import NextPiece


class RuledNextPiece:
    """Wraps the `NextPiece` that scores, and keeps the pieces of every row for the rules to look at."""

    def __init__(self, scorer: NextPiece, rules: Rules) -> None:
        """Take the rules of the sentences; all rows of a sentence obey its own."""
        self._scorer = scorer
        self._rules = rules
        self._ids: Tensor | None = None  # (R, t), without the begin mark

    def step(self, last: Tensor) -> Tensor:
        """Take the newest piece of each row (R,), return the scores of the next one (R, V)."""
        if self._ids is None:  # the begin marks: now it is known how many rows a sentence has
            n_sentences = len(self._rules.min_lengths)
            sentences = torch.arange(n_sentences, device=last.device)
            self._rules = self._rules.of(sentences.repeat_interleave(len(last) // n_sentences))
            self._ids = last[:, None][:, :0]
        else:
            self._ids = torch.cat((self._ids, last[:, None]), dim=1)
        scores = self._scorer.step(last)
        apply_rules(scores, self._ids, self._rules)
        return scores

    def select(self, rows: Tensor, sentences: Tensor | None) -> None:
        """Go on with `rows` (R',) in that order and, if given, with these `sentences` (B',) alone."""
        self._scorer.select(rows, sentences)
        self._rules = self._rules.of(rows)
        if self._ids is not None:
            self._ids = self._ids[rows]
