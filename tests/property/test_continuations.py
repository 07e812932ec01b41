"""A language model at work: the cache, windows and company change nothing of what it says."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.language_models import CONTEXT, VOCAB_SIZE, language_model
from tfcli.decoding.engine import Sampling, SearchSettings
from tfcli.decoding.hypothesis import LengthPenalty
from tfcli.decoding.language_model import LanguageModelEngine, windows_of
from tfcli.text.tokenizer import Tokenizer

LINE_END = 9
PIECES = st.integers(4, VOCAB_SIZE - 1)
GREEDY = SearchSettings(beam_size=1, length_penalty=LengthPenalty(1.0))


def engine(seed=0):
    return LanguageModelEngine(language_model(seed), CONTEXT, "fp32", LINE_END)


def next_log_probs(model, ids):
    """Return what follows a text, computed without a cache."""
    with torch.no_grad():
        return torch.log_softmax(model.logits(model(torch.tensor([[Tokenizer.bos_id, *ids]])))[0, -1], dim=-1)


def seen_by_turns(prompt, written):
    """Yield what is seen before each piece: all, and whenever the context is full, its newest half goes on."""
    seen = prompt[-(CONTEXT // 2) :] if len(prompt) >= CONTEXT else prompt
    for piece in written:
        yield seen
        seen = [*seen, piece]
        if len(seen) == CONTEXT:
            seen = seen[-(CONTEXT // 2) :]


def naive_greedy(model, prompt, max_pieces, lines=1):
    ids, total = [], 0.0
    while True:
        *_, seen = seen_by_turns(prompt, [*ids, None])
        scores = next_log_probs(model, seen)
        scores[[Tokenizer.pad_id, Tokenizer.bos_id, Tokenizer.eos_id]] = -torch.inf
        best = LINE_END if len(ids) == max_pieces else int(scores.argmax())
        total += float(scores[best])
        if best == LINE_END and (len(ids) == max_pieces or ids.count(LINE_END) == lines - 1):
            return tuple(ids), total
        ids.append(best)


@settings(max_examples=40)
@given(
    st.lists(st.lists(PIECES, max_size=2 * CONTEXT), min_size=1, max_size=4),
    st.integers(1, 3 * CONTEXT),
    st.integers(1, 3),
    st.integers(0, 3),
)
def test_greedy_continuations_are_those_without_a_cache_whoever_stands_beside_them(
    prompts, most, lines, seed
):
    model = language_model(seed)
    found = LanguageModelEngine(model, CONTEXT, "fp32", LINE_END).search(prompts, most, GREEDY, lines=lines)
    for prompt, (best,) in zip(prompts, found, strict=True):
        ids, log_prob = naive_greedy(model, prompt, most, lines)
        assert best.ids == ids
        assert best.log_prob == pytest.approx(log_prob, abs=1e-4)


def test_more_lines_or_pieces_begin_with_those_that_fewer_give():
    found = [
        [best.ids for (best,) in engine(3).search([[5], [6, 7, 8]], most, GREEDY, lines=lines)]
        for most, lines in ((4, 50), (30, 50), (60, 50), (60, 2))
    ]
    for fewer, more in itertools.pairwise(found[:3]):
        for short, long in zip(fewer, more, strict=True):
            assert len(short) < len(long)
            assert short == long[: len(short)]
    for all_lines, two in zip(found[2], found[3], strict=True):
        ends = [place for place, piece in enumerate(all_lines) if piece == LINE_END]
        assert two == all_lines[: ends[1] if len(ends) > 1 else None]


def test_a_wide_beam_finds_the_best_of_all_short_continuations():
    model, prompt = language_model(1), [5, 7]
    beam = SearchSettings(beam_size=40, length_penalty=LengthPenalty(0.0), n_best=3)
    found = LanguageModelEngine(model, CONTEXT, "fp32", LINE_END).search([prompt], 2, beam)[0]
    first = next_log_probs(model, prompt)
    every = {(): float(first[LINE_END])}
    allowed = [
        i
        for i in range(VOCAB_SIZE)
        if i not in (Tokenizer.pad_id, Tokenizer.bos_id, Tokenizer.eos_id, LINE_END)
    ]
    for one in allowed:
        second = next_log_probs(model, [*prompt, one])
        every[one,] = float(first[one] + second[LINE_END])
        for two in allowed:
            third = next_log_probs(model, [*prompt, one, two])
            every[one, two] = float(first[one] + second[two] + third[LINE_END])
    expected = sorted(every.items(), key=lambda item: -item[1])[:3]
    assert [one.ids for one in found] == [ids for ids, _ in expected]
    assert [one.log_prob for one in found] == pytest.approx([score for _, score in expected], abs=1e-4)


@pytest.mark.parametrize(("most", "lines"), [(5, 1), (3 * CONTEXT, 4)])
@pytest.mark.parametrize("sampling", [None, Sampling(3)])
def test_what_several_rows_of_a_prompt_find_is_as_probable_without_a_cache(sampling, most, lines):
    model, prompts = language_model(2), [[5, 7], [11, 6]]
    several = SearchSettings(beam_size=3, length_penalty=LengthPenalty(1.0), n_best=3, sampling=sampling)
    found = LanguageModelEngine(model, CONTEXT, "fp32", LINE_END).search(prompts, most, several, lines=lines)
    assert max(len(one.ids) for hypotheses in found for one in hypotheses) > min(most, CONTEXT) - 3
    for prompt, hypotheses in zip(prompts, found, strict=True):
        for one in hypotheses:
            assert len(one.ids) == most or one.ids.count(LINE_END) == lines - 1
            ids = [*one.ids, LINE_END]
            seen = seen_by_turns(prompt, ids)
            expected = sum(
                float(next_log_probs(model, before)[piece]) for before, piece in zip(seen, ids, strict=True)
            )
            assert one.log_prob == pytest.approx(expected, abs=1e-4)


def test_samples_follow_from_the_seed_and_the_prompt_alone():
    def drawn(seed, prompts):
        sampling = SearchSettings(
            beam_size=1, length_penalty=LengthPenalty(1.0), n_best=2, sampling=Sampling(seed)
        )
        return [[one.ids for one in found] for found in engine().search(prompts, 4, sampling)]

    assert drawn(1, [[5], [6, 7]])[1] == drawn(1, [[6, 7]])[0]
    assert drawn(1, [[5, 6]]) != drawn(2, [[5, 6]])


@given(st.integers(0, 90), st.integers(1, 12))
def test_windows_count_each_piece_once_behind_half_a_context(length, context):
    counted = []
    for start, stop, first in windows_of(length, context):
        assert 0 <= start <= first < stop <= length
        assert stop - start <= context
        assert start == 0 or first - start >= context - max(1, context // 2)
        counted += range(first, stop)
    assert counted == list(range(length))


@settings(max_examples=20)
@given(st.lists(st.lists(PIECES, max_size=3 * CONTEXT), min_size=1, max_size=3), st.integers(0, 3))
def test_the_probability_of_a_text_is_that_of_piece_after_piece(texts, seed):
    model = language_model(seed)
    texts = [np.array(text, dtype=np.int64) for text in texts]
    found = LanguageModelEngine(model, CONTEXT, "fp32", LINE_END).log_probs(texts)
    for text, log_probs in zip(texts, found, strict=True):
        expected = [
            float(next_log_probs(model, text[start:place])[text[place]])
            for start, stop, first in windows_of(len(text), CONTEXT)
            for place in range(first, stop)
        ]
        assert log_probs.tolist() == pytest.approx(expected, abs=1e-4)


def test_probabilities_of_what_may_follow_sum_to_one():
    model = language_model()
    texts = [np.array([5, 6, piece]) for piece in range(VOCAB_SIZE)]
    last = [
        log_probs[-1] for log_probs in LanguageModelEngine(model, CONTEXT, "fp32", LINE_END).log_probs(texts)
    ]
    assert np.exp(last).sum() == pytest.approx(1, abs=1e-5)
