"""Perplexity, from a text's log-probability to the figures that are told of it."""

import gzip
import math
import os
from pathlib import Path

import pytest

from tfcli.scoring.perplexity import Perplexity
from tfcli.text.passage import Counts, Passage

TEXT = "two words\n\nä third\n"


def perplexity(nats=12.0, pieces=6, text=TEXT):
    return Perplexity("text", nats, pieces, Counts.of(text))


def test_words_are_counted_with_line_ends():
    assert perplexity().words == 4 + 3
    assert perplexity().word_perplexity == pytest.approx(math.exp(12 / 7))


def test_pieces_and_bytes_have_their_own_figures():
    assert perplexity().loss == 2.0
    assert perplexity().token_perplexity == pytest.approx(math.exp(2))
    assert perplexity().bits_per_byte == pytest.approx(12 / math.log(2) / len(TEXT.encode()))


def test_even_bytes_cost_eight_bits_each():
    n_bytes = len(TEXT.encode())
    assert perplexity(n_bytes * math.log(256), n_bytes).bits_per_byte == pytest.approx(8)


def test_a_text_without_words_has_no_perplexity_a_word_and_a_hopeless_one_an_infinite_one():
    assert perplexity(text="\u2028").word_perplexity is None
    assert perplexity(nats=1e6).token_perplexity == math.inf
    assert list(perplexity(text="\u2028").scores) == ["loss", "token-perplexity", "bits-per-byte"]


@pytest.mark.real_data
def test_wikitext_2_has_as_many_words_as_its_published_scores_count():
    root = Path(os.environ.get("TFCLI_DATA", "")) / "wikitext-2"
    if not os.environ.get("TFCLI_DATA") or not (root / "test.txt.gz").is_file():
        pytest.skip("TFCLI_DATA does not name a folder with wikitext-2/test.txt.gz")
    counts = Passage((root / "test.txt.gz",)).counts()
    assert (counts.words, counts.line_ends) == (241_211, 4_358)
    assert Perplexity("test", 1.0, 1, counts).words == 245_569
    assert counts.bytes == len(gzip.decompress((root / "test.txt.gz").read_bytes()))
