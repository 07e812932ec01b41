"""Searches with rules on a lookup table instead of a network, beside the same rules written once more with lists and sets."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.test_search import (
    BOS,
    EOS,
    VOCAB_SIZE,
    LookupNextPiece,
    divided,
    log_prob_of,
    penalties,
)
from tfcli.decoding import torch_search
from tfcli.decoding.beam import beam_search
from tfcli.decoding.engine import SearchSettings
from tfcli.decoding.hypothesis import LengthPenalty
from tfcli.decoding.rules import Rules, apply_rules
from tfcli.decoding.torch_search import Batch, search_with
from tfcli.text.tokenizer import Tokenizer

CPU = torch.device("cpu")
TEXT = (1, 4, 5)  # what a hypothesis may consist of


def allowed(ids, limit, prefix, n, min_length):
    """Return which pieces may follow `ids`."""
    if len(ids) < len(prefix):
        return {prefix[len(ids)]}
    if len(ids) + 1 == limit:
        return {EOS}
    pieces = {*TEXT, EOS}
    if n is not None:
        seen = [tuple(ids[i : i + n]) for i in range(len(ids) - n + 1)]
        pieces -= {piece for piece in pieces if (*ids[len(ids) - n + 1 :], piece) in seen}
    if len(ids) < min_length and pieces != {EOS}:
        pieces -= {EOS}
    return pieces


def everything_allowed(*rules):
    """Return all outputs that the rules let through."""
    found, open_ends = [], [()]
    while open_ends:
        ids = open_ends.pop()
        for piece in allowed(ids, *rules):
            if piece == EOS:
                found.append(ids)
            else:
                open_ends.append((*ids, piece))
    return found


@st.composite
def tasks(draw, max_limit=4):
    """Return a batch of sentences with limits and prefixes, their seeds, and settings for the rules."""
    seeds = draw(st.lists(st.integers(0, 10**6), min_size=1, max_size=3))
    limits = [draw(st.integers(1, max_limit)) for _ in seeds]
    prefixes = [tuple(draw(st.lists(st.sampled_from(TEXT), max_size=limit - 1))) for limit in limits]
    sources = [[4] * draw(st.integers(0, 3)) + [EOS] for _ in seeds]
    rules = {
        "no_repeat_ngram": draw(st.sampled_from([None, 1, 2, 3])),
        "min_output_ratio": draw(st.sampled_from([0.0, 0.5, 1.0, 2.0])),
    }
    return seeds, Batch(sources, limits, prefixes), rules


def naive_rules(batch, i, rules):
    shortest = math.ceil(rules["min_output_ratio"] * (len(batch.sources[i]) - 1))
    limit = batch.max_lengths[i]
    return limit, batch.prefixes[i], rules["no_repeat_ngram"], min(shortest, limit - 1)


@settings(max_examples=60)
@given(task=tasks(), penalty=penalties, n_best=st.integers(1, 4))
def test_with_rules_a_beam_as_wide_as_the_space_finds_what_trying_everything_finds(task, penalty, n_best):
    seeds, batch, rules = task
    width = 40
    wanted = SearchSettings(width, penalty, n_best, **rules)
    found = search_with(LookupNextPiece(seeds, width), batch, wanted, CPU)
    for i, (seed, hypotheses) in enumerate(zip(seeds, found, strict=True)):
        outputs = everything_allowed(*naive_rules(batch, i, rules))
        scored = sorted(
            ((divided(log_prob_of(seed, ids), len(ids) + 1, penalty), ids) for ids in outputs),
            key=lambda pair: -pair[0],
        )
        assert [h.ids for h in hypotheses] == [ids for _, ids in scored[:n_best]]
        assert [h.score for h in hypotheses] == pytest.approx(
            [score for score, _ in scored[:n_best]], abs=1e-5
        )


@settings(max_examples=60)
@given(task=tasks(max_limit=9), penalty=penalties)
def test_with_rules_beam_one_equals_greedy_and_a_naive_walk(task, penalty):
    seeds, batch, rules = task
    wanted = SearchSettings(1, penalty, **rules)
    greedy = search_with(LookupNextPiece(seeds), batch, wanted, CPU)
    ruled = torch_search._ruled(LookupNextPiece(seeds), batch, wanted, CPU)
    assert beam_search(ruled, torch.tensor(batch.max_lengths), wanted) == greedy
    for i, (seed, (best,)) in enumerate(zip(seeds, greedy, strict=True)):
        ids = ()
        while True:
            log_probs = LookupNextPiece.log_probs(seed, (BOS, *ids))
            piece = max(allowed(ids, *naive_rules(batch, i, rules)), key=lambda one: float(log_probs[one]))
            if piece == EOS:
                break
            ids = (*ids, piece)
        assert best.ids == ids


@settings(max_examples=40)
@given(task=tasks(max_limit=7), penalty=penalties, width=st.integers(2, 4), n_best=st.integers(1, 2))
def test_with_rules_company_changes_nothing_and_stopping_early_loses_nothing(task, penalty, width, n_best):
    seeds, batch, rules = task
    together = search_with(
        LookupNextPiece(seeds, width), batch, SearchSettings(width, penalty, n_best, **rules), CPU
    )
    for i, (seed, found) in enumerate(zip(seeds, together, strict=True)):
        alone = Batch([batch.sources[i]], [batch.max_lengths[i]], [batch.prefixes[i]])
        full = SearchSettings(width, penalty, width, **rules)
        assert found == search_with(LookupNextPiece([seed], width), alone, full, CPU)[0][:n_best]


@settings(max_examples=100)
@given(
    rows=st.lists(st.lists(st.integers(4, 7), min_size=6, max_size=6), min_size=1, max_size=4),
    n=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_a_piece_is_blocked_when_it_would_repeat_an_ngram_and_only_then(rows, n, seed):
    scores = torch.randn(len(rows), 9, generator=torch.Generator().manual_seed(seed))
    after = scores.clone()
    no_prefix, no_length = torch.zeros(len(rows), 0, dtype=torch.long), torch.zeros(len(rows))
    apply_rules(after, torch.tensor(rows), Rules(no_length, no_prefix, n))
    for row, old, new in zip(rows, scores.tolist(), after.tolist(), strict=True):
        for piece in range(9):
            whole = [*row, piece]
            grams = [tuple(whole[i : i + n]) for i in range(len(whole) - n + 1)]
            assert new[piece] == (-math.inf if grams[-1] in grams[:-1] else old[piece])


def test_the_rules_read_ids_of_rows_that_changed_places():
    """A beam reorders rows at almost every step; here row 1 takes the place of row 0, whose prefix would be blocked."""
    scores = torch.zeros(2, VOCAB_SIZE)

    class Flat:
        def step(self, last):
            return scores.clone()

        def select(self, rows, sentences):
            pass

    wanted = SearchSettings(2, LengthPenalty(1.0), no_repeat_ngram=1)
    ruled = torch_search._ruled(Flat(), Batch([[EOS]], [9], [()]), wanted, CPU)
    ruled.step(torch.tensor([BOS, BOS]))
    ruled.step(torch.tensor([4, 5]))
    ruled.select(torch.tensor([1, 1]), None)
    blocked = torch.isneginf(ruled.step(torch.tensor([4, 1])))
    assert [row.nonzero()[:, 0].tolist() for row in blocked] == [[4, 5], [1, 5]]
    assert Tokenizer.pad_id not in TEXT


def test_the_end_mark_stays_allowed_to_a_short_output_when_no_other_piece_is():
    scores = torch.full((2, VOCAB_SIZE), -1.0)
    scores[:, [Tokenizer.pad_id, BOS]] = -torch.inf
    no_prefix = torch.zeros(2, 0, dtype=torch.long)
    apply_rules(scores, torch.tensor([[1, 4, 5], [1, 4, 4]]), Rules(torch.tensor([9, 9]), no_prefix, 1))
    assert [row.isfinite().nonzero()[:, 0].tolist() for row in scores] == [[EOS], [5]]
