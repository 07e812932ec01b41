"""Lines through the whole translator in many batches and orders, as `benchmarks/batch_invariance.py` measures it."""

import random

import pytest
import torch

from benchmarks.batch_invariance import compare, translate_file, translate_pipe
from tfcli.decoding.engine import Sampling
from tfcli.decoding.torch_engine import TorchEngine
from tfcli.decoding.translator import Translator
from tfcli.recipe.schema import DecodingSection, TokenizerSection
from tfcli.text.tokenizer import train_tokenizer

WORDS = ("dog", "cat", "bird", "sees", "sleeps", "the", "a", "small")


@pytest.fixture(scope="module")
def lines():
    draw = random.Random(5)
    some = [" ".join(draw.choices(WORDS, k=draw.randint(1, 8))) for _ in range(30)]
    return [line.encode() for line in (*some, "", some[0])]


@pytest.fixture(scope="module")
def tokenizer(lines):
    text = [line.decode() for line in lines]
    settings = TokenizerSection(kind="char", vocab_size=40)
    return train_tokenizer(settings, text, text, lambda _: None)


@pytest.fixture
def translator(tokenizer, tiny_model):
    """Return a function that makes a translator with a random network and some settings."""

    def make(sampling=None, **decoding):
        sizes = {"src_vocab_size": tokenizer.src_vocab_size, "tgt_vocab_size": tokenizer.tgt_vocab_size}
        model = tiny_model(seed=3, tie_embeddings="none", **sizes)
        with torch.no_grad():
            model.output.weight *= 4
        section = DecodingSection(min_output_ratio=0.3, max_output_ratio=0.5, max_output_extra=3, **decoding)
        return Translator(TorchEngine(model), tokenizer, section, 60, sampling=sampling)

    return make


@pytest.mark.parametrize("search", [{"beam_size": 1}, {"beam_size": 3, "no_repeat_ngram": 2}, {}])
def test_batches_order_and_source_never_change_a_translation(translator, lines, search):
    sampling = None if search else Sampling(seed=9)
    order = list(range(len(lines)))
    random.Random(1).shuffle(order)
    first = translate_file(translator(sampling, **search), lines)
    assert len(set(first)) > 10
    for batches in ({"batch_size": 1}, {"batch_size": 7}, {"batch_tokens": 100}):
        made = translator(sampling, **search, **batches)
        assert translate_pipe(made, lines) == first
        assert translate_file(made, [lines[i] for i in order]) == [first[i] for i in order]


def test_only_translations_that_the_model_finds_equally_good_are_ties(translator, lines):
    made = translator(beam_size=1)
    first = translate_file(made, lines)
    # one space more is no other piece, since the tokenizer writes one of them
    spaced = [text.replace(b" ", b"  ") if b" " in text else text + b" " for text in first]
    outcome = compare(made, lines, first, spaced)
    assert (outcome.lines, outcome.different, outcome.defects) == (len(lines), len(lines), 0)
    worse = [first[0] + b"dog", *first[1:]]
    assert compare(made, lines, first, worse).defects == 1
    assert compare(made, lines, first, first).different == 0
