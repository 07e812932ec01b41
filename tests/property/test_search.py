"""Searches on a lookup table instead of a network: what they find can be checked by trying everything."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tfcli.decoding.beam import beam_search
from tfcli.decoding.engine import SearchSettings
from tfcli.decoding.greedy import greedy_search
from tfcli.decoding.hypothesis import LengthPenalty
from tfcli.decoding.search import TransformerNextPiece
from tfcli.text.tokenizer import Tokenizer

EOS, BOS = Tokenizer.eos_id, Tokenizer.bos_id
VOCAB_SIZE = 6  # pad, unk, bos, eos and two pieces of text


class LookupNextPiece:
    """Log-probabilities drawn once for each sentence and prefix; keeps the prefixes of its rows itself."""

    def __init__(self, seeds, width=1):
        self.seeds = list(seeds)
        self.prefixes = [()] * (len(self.seeds) * width)

    @staticmethod
    def log_probs(seed, prefix):
        generator = torch.Generator().manual_seed(hash((seed, prefix)) % 2**31)
        logits = 2 * torch.randn(VOCAB_SIZE, generator=generator)
        logits[[Tokenizer.pad_id, BOS]] = -torch.inf
        return torch.log_softmax(logits, dim=-1)

    def step(self, last):
        per_sentence = len(self.prefixes) // len(self.seeds)
        self.prefixes = [(*prefix, piece) for prefix, piece in zip(self.prefixes, last.tolist(), strict=True)]
        return torch.stack(
            [self.log_probs(self.seeds[i // per_sentence], p) for i, p in enumerate(self.prefixes)]
        )

    def select(self, rows, sentences):
        self.prefixes = [self.prefixes[row] for row in rows.tolist()]
        if sentences is not None:
            self.seeds = [self.seeds[i] for i in sentences.tolist()]


def log_prob_of(seed, ids):
    prefix, total = (BOS,), 0.0
    for piece in (*ids, EOS):
        total += float(LookupNextPiece.log_probs(seed, prefix)[piece])
        prefix = (*prefix, piece)
    return total


def every_hypothesis(seed, max_length, length_penalty):
    """Return all that can be written with at most `max_length` pieces, end mark counted, best first."""
    pieces = [i for i in range(VOCAB_SIZE) if i not in (Tokenizer.pad_id, BOS, EOS)]
    found = [
        (divided(log_prob_of(seed, ids), len(ids) + 1, length_penalty), ids)
        for length in range(max_length)
        for ids in itertools.product(pieces, repeat=length)
    ]
    return sorted(found, key=lambda pair: -pair[0])


def divided(log_prob, length, penalty):
    """Write the two formulas down once more, apart from the code."""
    if penalty.kind == "average":
        return log_prob / length**penalty.exponent
    return log_prob / (
        (5 + length) ** penalty.exponent / (5 + 1) ** penalty.exponent
    )  # Wu et al., equation 14


penalties = st.builds(
    LengthPenalty, st.sampled_from([0.0, 0.6, 1.0, 1.7]), st.sampled_from(["average", "gnmt"])
)


@settings(max_examples=25)
@given(
    seeds=st.lists(st.integers(0, 10**6), min_size=1, max_size=3), penalty=penalties, n_best=st.integers(1, 4)
)
def test_a_beam_as_wide_as_the_space_finds_what_trying_everything_finds(seeds, penalty, n_best):
    max_length = 4
    width = sum(3**length for length in range(max_length))
    limits = torch.full((len(seeds),), max_length)
    found = beam_search(LookupNextPiece(seeds, width), limits, SearchSettings(width, penalty, n_best))
    for seed, hypotheses in zip(seeds, found, strict=True):
        expected = every_hypothesis(seed, max_length, penalty)[:n_best]
        assert [h.ids for h in hypotheses] == [ids for _, ids in expected]
        assert [h.score for h in hypotheses] == pytest.approx([score for score, _ in expected], abs=1e-5)


@settings(max_examples=50)
@given(
    seeds=st.lists(st.integers(0, 10**6), min_size=1, max_size=5),
    limits=st.lists(st.integers(1, 9), min_size=5, max_size=5),
    penalty=penalties,
)
def test_beam_one_equals_greedy(seeds, limits, penalty):
    max_lengths = torch.tensor(limits[: len(seeds)])
    beam = beam_search(LookupNextPiece(seeds), max_lengths, SearchSettings(1, penalty))
    assert [hypotheses[0] for hypotheses in beam] == greedy_search(
        LookupNextPiece(seeds), max_lengths, penalty
    )


@settings(max_examples=50)
@given(
    seeds=st.lists(st.integers(0, 10**6), min_size=2, max_size=4),
    penalty=penalties,
    width=st.integers(1, 4),
    n_best=st.integers(1, 4),
)
def test_company_never_changes_a_search_and_stopping_early_loses_nothing(seeds, penalty, width, n_best):
    limits = [3 + i for i in range(len(seeds))]
    together = beam_search(
        LookupNextPiece(seeds, width), torch.tensor(limits), SearchSettings(width, penalty, n_best)
    )
    for seed, limit, found in zip(seeds, limits, together, strict=True):
        # asking for every place of the beam, the search cannot stop before all places are filled
        full = beam_search(
            LookupNextPiece([seed], width), torch.tensor([limit]), SearchSettings(width, penalty, width)
        )
        assert found == full[0][:n_best]


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), penalty=penalties, width=st.integers(1, 5))
def test_n_best_lists_are_sorted_distinct_and_scored_as_forced_decoding_would(seed, penalty, width):
    (found,) = beam_search(
        LookupNextPiece([seed], width), torch.tensor([6]), SearchSettings(width, penalty, width)
    )
    assert found == sorted(found, key=lambda h: -h.score)
    assert len({h.ids for h in found}) == len(found)
    for hypothesis in found:
        assert hypothesis.log_prob == pytest.approx(log_prob_of(seed, hypothesis.ids), abs=1e-5)
        assert hypothesis.score == pytest.approx(
            divided(hypothesis.log_prob, len(hypothesis.ids) + 1, penalty), abs=1e-6
        )


@pytest.mark.parametrize("beam_size", [1, 3])
def test_a_networks_hypotheses_score_as_teacher_forcing_does(tiny_model, beam_size):
    model = tiny_model(seed=3)
    src = torch.tensor([[5, 9, 7, 3], [8, 3, 0, 0]])
    limits = torch.tensor([7, 5])
    with torch.no_grad():
        next_piece = TransformerNextPiece(model, src)
        found = beam_search(next_piece, limits, SearchSettings(beam_size, LengthPenalty(1.0)))
        for row, limit, (best,) in zip(src, limits.tolist(), found, strict=True):
            assert len(best.ids) < limit
            tgt = torch.tensor([[BOS, *best.ids]])
            log_probs = model.logits(model(row[row != 0][None], tgt))[0].log_softmax(-1)
            forced = sum(float(log_probs[i, piece]) for i, piece in enumerate((*best.ids, EOS)))
            assert best.log_prob == pytest.approx(forced, abs=1e-4)


def naive_beam(seed, max_length, width, length_penalty):
    """Search one sentence with lists alone; return the ids of the hypotheses, best first."""
    alive, ended = [((), 0.0)], []
    for length in range(1, max_length + 1):
        slots = width - len(ended)
        candidates = []
        for ids, total in alive:
            for piece, log_prob in enumerate(LookupNextPiece.log_probs(seed, (BOS, *ids)).tolist()):
                if log_prob > -math.inf and (piece == EOS or length < max_length):
                    candidates.append(((*ids, piece), total + log_prob))
        candidates.sort(key=lambda pair: -pair[1])
        ended += [
            (divided(total, length, length_penalty), ids[:-1])
            for ids, total in candidates[:slots]
            if ids[-1] == EOS
        ]
        alive = [pair for pair in candidates[: 2 * width] if pair[0][-1] != EOS][: width - len(ended)]
    return [ids for _, ids in sorted(ended, key=lambda pair: -pair[0])]


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), penalty=penalties, width=st.integers(1, 5), limit=st.integers(1, 8))
def test_a_beam_of_any_width_finds_what_a_naive_one_finds(seed, penalty, width, limit):
    (found,) = beam_search(
        LookupNextPiece([seed], width), torch.tensor([limit]), SearchSettings(width, penalty, width)
    )
    assert [hypothesis.ids for hypothesis in found] == naive_beam(seed, limit, width, penalty)
