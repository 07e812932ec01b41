"""What every search shares: the step from a prefix to the next piece.

Letters for shapes stand in the legend of `model/transformer.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from tfcli.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from tfcli.model.transformer import Transformer


class NextPiece(Protocol):
    """Scores of the piece that follows, for every row of a search; rows are hypotheses, sentence by sentence."""

    def step(self, last: Tensor) -> Tensor:
        """Take the newest piece of each row (R,), return the log-probabilities of the next one (R, V)."""

    def select(self, rows: Tensor, sentences: Tensor | None) -> None:
        """Go on with `rows` (R',) in that order and, if given, with these `sentences` (B',) alone."""


class TransformerNextPiece:
    """`NextPiece` by a Transformer with a key/value cache, for K rows of each source sentence."""

    def __init__(self, model: Transformer, src: Tensor) -> None:
        """Encode `src` (B, S), padded on the right."""
        self._model = model
        self._memory, self._src = model.encode(src)
        self._cache = model.new_cache()

    def step(self, last: Tensor) -> Tensor:
        """Take the newest piece of each row (R,), return the log-probabilities of the next one (R, V)."""
        states = self._model.decode(last[:, None], self._memory, self._src, self._cache)  # (R, 1, D)
        logits = self._model.logits(states[:, 0]).float()  # (R, V)
        # Padding and the begin mark are no text; they were never a target in training.
        logits[:, [Tokenizer.pad_id, Tokenizer.bos_id]] = -torch.inf
        return torch.log_softmax(logits, dim=-1)

    def select(self, rows: Tensor, sentences: Tensor | None) -> None:
        """Go on with `rows` (R',) in that order and, if given, with these `sentences` (B',) alone."""
        self._cache.select_rows(rows)
        if sentences is not None:
            self._cache.select_sentences(sentences)
            self._memory = self._memory.index_select(0, sentences)
            self._src = self._src.select(sentences)
