"""Perplexity: how probable a language model finds a text, told in units that can be compared.

    loss                  nats a piece: depends on the tokenizer
    token-perplexity      exp(loss)
    word-perplexity       exp(nats / words), words standing between white space, and each line end one more
    bits-per-byte         nats / ln 2 / bytes of UTF-8: comparable whatever the tokenizer

Words and line ends together are what the standard figures of WikiText count: 245,569 for the test text of WikiText-2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfcli.text.passage import Counts


@dataclass(frozen=True)
class Perplexity:
    """What a text scores. Units: nats of the whole text; `counts` are its own, `pieces` what it was predicted in."""

    name: str
    nats: float
    pieces: int
    counts: Counts

    @property
    def words(self) -> int:
        """Words and line ends."""
        return self.counts.words + self.counts.line_ends

    @property
    def loss(self) -> float:
        """Nats a piece."""
        return self.nats / self.pieces

    @property
    def token_perplexity(self) -> float:
        """Perplexity a piece."""
        return _exp(self.loss)

    @property
    def word_perplexity(self) -> float | None:
        """Perplexity a word; None for a text without words and line ends."""
        return _exp(self.nats / self.words) if self.words else None

    @property
    def bits_per_byte(self) -> float:
        """Bits for each byte of the text."""
        return self.nats / math.log(2) / self.counts.bytes

    @property
    def scores(self) -> dict[str, float]:
        """The figures by the names that JSON and files use, but for those that the text has not."""
        found = {
            "loss": self.loss,
            "token-perplexity": self.token_perplexity,
            "word-perplexity": self.word_perplexity,
            "bits-per-byte": self.bits_per_byte,
        }
        return {name: score for name, score in found.items() if score is not None}

    @property
    def sizes(self) -> dict[str, float]:
        """What the figures are made of."""
        return {
            "nats": self.nats,
            "pieces": self.pieces,
            "words": self.words,
            "bytes": self.counts.bytes,
            "characters": self.counts.characters,
        }


def _exp(exponent: float) -> float:
    return math.exp(exponent) if exponent < 700 else math.inf
