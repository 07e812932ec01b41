"""Segmentations drawn at random have the distributions that they should, told by enumeration and by SentencePiece."""

import math
import random
from collections import Counter
from itertools import pairwise

import pytest
import sentencepiece

from tests.training_runs import demo_lines
from tests.unit.test_tokenizer import SRC, trained
from tfcli.text.sampling import Segmenter

DRAWS = 4000
TEXT = demo_lines("en", 400)
KINDS = {"unigram": 0.1, "bpe": 0.3}


@pytest.fixture(scope="module", params=KINDS)
def model(request):
    """Return a kind, a SentencePiece model of it, and a word that can be cut in many ways."""
    content = trained(TEXT, TEXT, kind=request.param, vocab_size=300).src_model
    known = known_to(Segmenter(content, request.param, 0.5))
    words = sorted({word for line in TEXT for word in line.split()})
    return request.param, content, max(words, key=lambda word: len(ways("▁" + word, known)) % 100)


def known_to(segmenter):
    return {piece.text: number for number, piece in enumerate(segmenter.pieces) if piece.is_normal}


def processor_of(model):
    return sentencepiece.SentencePieceProcessor(model_proto=model)


def frequencies(draws):
    counts = Counter(map(tuple, draws))
    return {ids: count / sum(counts.values()) for ids, count in counts.items()}


def assert_close(found, expected, draws=DRAWS):
    assert found.keys() <= expected.keys()
    for ids, p in expected.items():
        assert abs(found.get(ids, 0.0) - p) <= 5 * math.sqrt(p * (1 - p) / draws) + 1 / draws, ids


def ways(text, known):
    """Return all segmentations of a text."""
    if not text:
        return [()]
    ends = [end for end in range(1, len(text) + 1) if text[:end] in known]
    return [(known[text[:end]], *rest) for end in ends for rest in ways(text[end:], known)]


def enumerated_unigram(segmenter, text, alpha):
    pieces, known = segmenter.pieces, known_to(segmenter)
    weights = {ids: math.exp(alpha * sum(pieces[i].score for i in ids)) for ids in ways(text, known)}
    return {ids: weight / sum(weights.values()) for ids, weight in weights.items()}


def enumerated_bpe(segmenter, text, dropout):
    """Go through all that merging and passing over can lead to, with what is passed over remembered by its place."""
    known, found = known_to(segmenter), Counter()

    def go(parts, passed, probability):
        places = [0]
        for part in parts:
            places.append(places[-1] + len(part))
        open_merges = [
            (-segmenter.pieces[known[a + b]].score, number)
            for number, (a, b) in enumerate(pairwise(parts))
            if a + b in known and (places[number], a, b) not in passed
        ]
        if not open_merges:
            found[tuple(known[part] for part in parts)] += probability
            return
        _, number = min(open_merges)
        a, b = parts[number : number + 2]
        go([*parts[:number], a + b, *parts[number + 2 :]], passed, probability * (1 - dropout))
        go(parts, passed | {(places[number], a, b)}, probability * dropout)

    go(list(text), frozenset(), 1.0)
    return dict(found)


def test_draws_are_distributed_as_enumeration_says(model):
    kind, content, word = model
    strength = KINDS[kind]
    segmenter = Segmenter(content, kind, strength)
    drawing = segmenter.word(processor_of(content).encode(word))
    uniform = random.Random(1).random
    enumerated = {"unigram": enumerated_unigram, "bpe": enumerated_bpe}[kind]
    expected = enumerated(segmenter, "▁" + word, strength)
    assert len(expected) > 4
    assert sum(expected.values()) == pytest.approx(1)
    assert_close(frequencies(drawing.draw(uniform) for _ in range(DRAWS)), expected)


def test_sentencepiece_draws_from_the_same_distribution(model):
    kind, content, word = model
    strength = KINDS[kind]
    processor, segmenter = processor_of(content), Segmenter(content, kind, strength)
    enumerated = {"unigram": enumerated_unigram, "bpe": enumerated_bpe}[kind]
    sentencepiece.set_random_generator_seed(3)
    draws = [
        processor.encode(word, enable_sampling=True, nbest_size=-1, alpha=strength) for _ in range(DRAWS)
    ]
    assert_close(frequencies(draws), enumerated(segmenter, "▁" + word, strength))


@pytest.mark.parametrize(("kind", "strength"), [("unigram", 1e4), ("bpe", 1e-12), ("bpe", 5e-324)])
def test_at_one_end_the_best_segmentation_is_drawn(kind, strength):
    content = trained(kind=kind).src_model
    processor, segmenter = processor_of(content), Segmenter(content, kind, strength)
    uniform = random.Random(1).random
    for word in {word for line in SRC for word in line.split()}:
        best = processor.encode(word)
        assert segmenter.word(best).draw(uniform) == best


def test_at_the_other_end_all_are_equally_likely_or_nothing_is_merged():
    content = trained(TEXT, TEXT, vocab_size=300).src_model
    segmenter = Segmenter(content, "unigram", 1e-12)
    ids = processor_of(content).encode("small")
    expected = enumerated_unigram(segmenter, "▁small", 0.0)
    assert len(expected) > 4
    uniform = random.Random(1).random
    assert_close(frequencies(segmenter.word(ids).draw(uniform) for _ in range(DRAWS)), expected)
    content = trained(kind="bpe").src_model
    processor, segmenter = processor_of(content), Segmenter(content, "bpe", 1 - 1e-16)
    for word in SRC[0].split():
        assert len(segmenter.word(processor.encode(word)).draw(uniform)) == len("▁" + word)


def test_a_word_of_one_character_is_itself():
    for kind in KINDS:
        content = trained(kind=kind, vocab_size=100).src_model
        segmenter = Segmenter(content, kind, 0.3)
        (number,) = [n for n, piece in enumerate(segmenter.pieces) if piece.text == "a"]
        assert segmenter.word([number]).draw(random.Random(1).random) == [number]
