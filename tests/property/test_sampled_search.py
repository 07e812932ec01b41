"""Sampling: it draws what the model says, and a line's samples depend on nothing but the line and the seed."""

import collections
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.test_search import EOS, LookupNextPiece, log_prob_of
from tfcli.decoding.engine import Sampling, SearchSettings
from tfcli.decoding.hypothesis import LengthPenalty
from tfcli.decoding.sampling import draw, restricted, sample_seed, uniform
from tfcli.decoding.torch_search import Batch, search_with

CPU = torch.device("cpu")
AVERAGE = LengthPenalty(1.0)
samplings = st.builds(
    Sampling,
    seed=st.just(1),
    temperature=st.sampled_from([0.3, 1.0, 2.5]),
    top_k=st.sampled_from([None, 1, 2, 3, 50]),
    top_p=st.sampled_from([None, 0.05, 0.5, 0.9, 1.0]),
)


def naive_probs(scores, sampling):
    """Return the distribution that is drawn from, by the words of its definition."""
    ranked = sorted(range(len(scores)), key=lambda piece: -scores[piece])
    weights = {piece: math.exp(scores[piece] / sampling.temperature) for piece in ranked[: sampling.top_k]}
    total = sum(weights.values())
    kept, mass = {}, 0.0
    for piece, weight in weights.items():
        if mass >= (sampling.top_p or 2.0):
            break
        kept[piece] = weight / total
        mass += weight / total
    return [kept.get(piece, 0.0) / mass for piece in range(len(scores))]


@settings(max_examples=100)
@given(
    scores=st.lists(st.integers(-60, 0), min_size=2, max_size=8, unique=True),
    sampling=samplings,
    shift=st.sampled_from([0.0, -3.0]),
)
def test_temperature_top_k_and_top_p_leave_what_their_definitions_say(scores, sampling, shift):
    scores = [score / 7 + shift for score in scores]
    scores.append(-math.inf)  # forbidden by a rule
    probs = restricted(torch.tensor([scores]), sampling).double()[0]
    assert (probs / probs.sum()).tolist() == pytest.approx(naive_probs(scores, sampling), abs=1e-6)


# 0.9999 quantiles of the chi-square distribution: a fixed seed either passes for good or never does.
QUANTILE = {1: 15.1, 2: 18.4, 3: 21.1, 4: 23.5, 5: 25.7}


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=2.0, top_k=4), Sampling(top_p=0.8)])
def test_pieces_come_as_often_as_they_are_probable(sampling):
    scores = torch.tensor([-0.5, -2.0, -1.4, -3.0, -2.5, -math.inf])
    count = 20_000
    chances = [uniform(sample_seed(7, [4, 5, i], 0), step=i % 9) for i in range(count)]
    drawn = draw(scores.expand(count, -1), torch.tensor(chances, dtype=torch.float64), sampling)
    counts = collections.Counter(drawn.tolist())
    expected = {
        piece: prob * count for piece, prob in enumerate(naive_probs(scores.tolist(), sampling)) if prob
    }
    assert counts.keys() == expected.keys()
    deviation = sum((counts[piece] - wanted) ** 2 / wanted for piece, wanted in expected.items())
    assert deviation < QUANTILE[len(expected) - 1]


def test_whole_outputs_come_as_often_as_they_are_probable():
    count = 1500
    wanted = SearchSettings(1, AVERAGE, n_best=count, sampling=Sampling(seed=5))
    (found,) = search_with(LookupNextPiece([11], count), Batch([[4, EOS]], [3], [()]), wanted, CPU)
    counts = collections.Counter(hypothesis.ids for hypothesis in found)
    assert sum(counts.values()) == count
    deviation, cells = 0.0, 0
    for length in range(3):
        for ids in itertools.product((1, 4, 5), repeat=length):
            # the last allowed piece is the end mark, with certainty
            log_prob = log_prob_of(11, ids)
            if length == 2:
                log_prob -= float(LookupNextPiece.log_probs(11, (2, *ids))[EOS])
            expected = math.exp(log_prob) * count
            deviation += (counts[ids] - expected) ** 2 / expected
            cells += 1
    assert cells == 13
    assert deviation < 39.1  # 0.9999 quantile for 12 degrees of freedom


@settings(max_examples=15)
@given(
    seeds=st.lists(st.integers(0, 10**6), min_size=2, max_size=4, unique=True),
    sampling=samplings,
    n_best=st.integers(1, 3),
    ngram=st.sampled_from([None, 2]),
)
def test_company_and_order_never_change_a_sample(seeds, sampling, n_best, ngram):
    wanted = SearchSettings(1, AVERAGE, n_best, no_repeat_ngram=ngram, sampling=sampling)
    batch = Batch([[4, seed, EOS] for seed in seeds], [3 + i for i in range(len(seeds))], [()] * len(seeds))
    together = search_with(LookupNextPiece(seeds, n_best), batch, wanted, CPU)
    backwards = Batch(batch.sources[::-1], batch.max_lengths[::-1], batch.prefixes)
    turned = search_with(LookupNextPiece(seeds[::-1], n_best), backwards, wanted, CPU)
    assert turned[::-1] == together
    for i, seed in enumerate(seeds):
        alone = Batch([batch.sources[i]], [batch.max_lengths[i]], [()])
        assert search_with(LookupNextPiece([seed], n_best), alone, wanted, CPU) == [together[i]]


@settings(max_examples=15)
@given(
    seed=st.integers(0, 10**6),
    n_best=st.integers(1, 4),
    limit=st.integers(1, 7),
    temperature=st.floats(0.5, 2),
)
def test_samples_are_sorted_and_scored_as_forced_decoding_would(seed, n_best, limit, temperature):
    wanted = SearchSettings(1, LengthPenalty(0.6, "gnmt"), n_best, sampling=Sampling(temperature=temperature))
    (found,) = search_with(LookupNextPiece([seed], n_best), Batch([[4, EOS]], [limit], [()]), wanted, CPU)
    assert len(found) == n_best
    assert found == sorted(found, key=lambda one: -one.score)
    for hypothesis in found:
        assert len(hypothesis.ids) < limit
        assert hypothesis.log_prob == pytest.approx(log_prob_of(seed, hypothesis.ids), abs=1e-5)


def test_the_most_probable_piece_alone_is_greedy_search():
    seeds = list(range(20))
    batch = Batch([[4, seed, EOS] for seed in seeds], [8] * 20, [()] * 20)
    sampled = SearchSettings(1, AVERAGE, sampling=Sampling(top_k=1))
    assert search_with(LookupNextPiece(seeds), batch, sampled, CPU) == search_with(
        LookupNextPiece(seeds), batch, SearchSettings(1, AVERAGE), CPU
    )


def test_another_seed_source_number_or_step_is_another_chance():
    chances = {
        uniform(sample_seed(seed, source, number), step)
        for seed, source, number, step in itertools.product((1, 2), ([4], [4, 5], [45]), (0, 1), (1, 2))
    }
    assert len(chances) == 24
    assert all(0 <= chance < 1 for chance in chances)
