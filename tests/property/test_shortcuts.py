"""What makes decoding fast changes nothing that is found: groups of pieces, rows that stay, cast weights, threads."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.property.test_search import LookupNextPiece
from tfcli.decoding import search
from tfcli.decoding.beam import beam_search
from tfcli.decoding.engine import SearchSettings
from tfcli.decoding.greedy import greedy_search
from tfcli.decoding.hypothesis import LengthPenalty
from tfcli.decoding.search import TransformerNextPiece, best_continuations
from tfcli.decoding.torch_engine import TorchEngine, _batches
from tfcli.decoding.torch_search import Batch, search_with
from tfcli.model.precision import autocast, with_cast_products

MODERN = {
    "norm_kind": "rms", "activation": "swiglu", "positions": "rotary", "qk_norm": True, "bias": False, "n_kv_heads": 2
}  # fmt: skip


@settings(max_examples=40)
@given(
    b=st.integers(1, 3),
    k=st.integers(1, 5),
    vocab_size=st.integers(1024, 1100),
    n=st.integers(1, 12),
    seed=st.integers(0, 10**6),
)
def test_a_large_vocabulary_looked_through_in_groups_gives_the_best_of_all(b, k, vocab_size, n, seed):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(b, k, generator=generator)
    scores[:, k // 2 + 1 :] = -torch.inf  # empty places
    log_probs = torch.randn(b, k, vocab_size, generator=generator)
    log_probs[:, :, seed % vocab_size :: 7] = -torch.inf  # forbidden pieces
    best, prefix, piece = best_continuations(scores, log_probs, n)
    total = (scores[:, :, None] + log_probs).flatten(1)
    assert torch.equal(best, total.topk(n, dim=1).values)
    assert torch.equal(total.gather(1, prefix * vocab_size + piece), best)
    assert all(len(set(row)) == n for row in (prefix * vocab_size + piece).tolist())


@settings(max_examples=30)
@given(
    seeds=st.lists(st.integers(0, 10**6), min_size=2, max_size=6),
    width=st.integers(1, 4),
    n_best=st.integers(1, 3),
)
def test_when_finished_sentences_leave_changes_nothing(seeds, width, n_best):
    limits = torch.tensor([2 + 2 * i for i in range(len(seeds))])
    wanted = SearchSettings(width, LengthPenalty(1.0), n_best)
    found = []
    for step in (1, 4, 1000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(search, "ROWS_STEP", step)
            beam = beam_search(LookupNextPiece(seeds, width), limits, wanted)
            found.append((beam, greedy_search(LookupNextPiece(seeds), limits, LengthPenalty(1.0))))
    assert found[0] == found[1] == found[2]


@settings(max_examples=40)
@given(
    seeds=st.lists(st.integers(0, 10**6), min_size=2, max_size=6),
    width=st.integers(1, 4),
    ngram=st.sampled_from([None, 1, 2]),
    ratio=st.sampled_from([0.0, 0.7]),
    penalty=st.sampled_from([LengthPenalty(1.0), LengthPenalty(0.8, "gnmt")]),
)
def test_each_row_obeys_its_own_rules_whenever_finished_sentences_leave(seeds, width, ngram, ratio, penalty):
    """A sentence that stays although it is done must not shift the rules of the others."""
    wanted = SearchSettings(width, penalty, no_repeat_ngram=ngram, min_output_ratio=ratio)
    limits = [3 + 2 * i for i in range(len(seeds))]
    sources = [[9] * (i % 5) + [3] for i in range(len(seeds))]
    prefixes = [[4, 5][: i % 3] for i in range(len(seeds))]
    alone = []
    for i, seed in enumerate(seeds):
        batch = Batch([sources[i]], [limits[i]], [prefixes[i]])
        alone += search_with(LookupNextPiece([seed], width), batch, wanted, torch.device("cpu"))
    for step in (1, 4, 1000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(search, "ROWS_STEP", step)
            batch = Batch(sources, limits, prefixes)
            found = search_with(LookupNextPiece(seeds, width), batch, wanted, torch.device("cpu"))
        assert found == alone


@pytest.mark.parametrize("kind", [{"tie_embeddings": "all"}, {"tie_embeddings": "none"}, MODERN])
def test_weights_cast_once_compute_what_autocast_does_and_leave_the_network_alone(tiny_model, kind):
    model = tiny_model(**kind)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    src, tgt = torch.tensor([[5, 9, 7, 3], [8, 3, 0, 0]]), torch.tensor([[2, 4, 9], [2, 7, 0]])
    with torch.no_grad(), autocast(torch.device("cpu"), "bf16"):
        expected = model.logits(model(src, tgt))
    cast = with_cast_products(model, "bf16")
    with torch.no_grad():
        assert torch.equal(cast.logits(cast(src, tgt)), expected)
    assert expected.dtype == cast.output.weight.dtype == torch.bfloat16
    assert cast.src_embedding.pieces.weight.data_ptr() == model.src_embedding.pieces.weight.data_ptr()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


@pytest.mark.parametrize("beam_size", [1, 3])
@pytest.mark.parametrize("batch_tokens", [30, 4096])
def test_batches_searched_in_threads_give_what_one_thread_gives(tiny_model, beam_size, batch_tokens):
    engine = TorchEngine(tiny_model(seed=4))
    generator = torch.Generator().manual_seed(1)
    sources = [[*torch.randint(4, 29, (n % 9 + 1,), generator=generator).tolist(), 3] for n in range(45)]
    limits = [2 * len(source) for source in sources]
    wanted = SearchSettings(beam_size, LengthPenalty(1.0), batch_tokens=batch_tokens)
    before = torch.get_num_threads()
    found = []
    try:
        for n_threads in (1, 3):
            torch.set_num_threads(n_threads)
            found.append(dict(engine.search(sources, limits, wanted)))
            with ThreadPoolExecutor(1) as another:  # a worker's setting must not outlive it as a default
                assert another.submit(torch.get_num_threads).result() == n_threads
    finally:
        torch.set_num_threads(before)
    assert sorted(found[0]) == list(range(45))
    for i in range(45):
        assert [h.ids for h in found[1][i]] == [h.ids for h in found[0][i]]
        assert found[1][i][0].score == pytest.approx(found[0][i][0].score, abs=1e-5)


@given(
    n_items=st.integers(1, 300),
    rows=st.integers(1, 7),
    budget=st.integers(1, 5000),
    n_cores=st.integers(1, 3),
    draw=st.randoms(use_true_random=False),
)
def test_batches_hold_all_items_within_the_budget_and_have_few_numbers_of_rows(
    n_items, rows, budget, n_cores, draw
):
    sizes = [draw.randint(1, 60) for _ in range(n_items)]
    wanted = SearchSettings(rows, LengthPenalty(1.0), batch_tokens=budget)
    batches = _batches(sizes, rows, wanted, n_cores)
    assert sorted(i for batch in batches for i in batch) == list(range(len(sizes)))
    lengths = [sizes[i] for batch in batches for i in batch]
    assert lengths == sorted(lengths, reverse=True)
    step = -(-search.ROWS_STEP // rows)
    rounds = [batches[first : first + n_cores] for first in range(0, len(batches), n_cores)]
    for number, round_ in enumerate(rounds, start=1):
        full = []
        for batch in round_:
            longest = sizes[batch[0]] * rows
            assert len(batch) == 1 or len(batch) * longest <= budget
            fits = (len(batch) + step) * longest > budget  # so many, and not a step more
            full.append(fits and (len(batch) % step == 0 or len(batch) < step))
        shared = [len(batch) for batch, is_full in zip(round_, full, strict=True) if not is_full]
        if number < len(rounds) - 1:
            assert not shared  # only what is left in the end is shared out
        elif shared and len(round_) == n_cores:
            assert max(shared) - min(shared) <= max(1, step)


def test_the_last_round_of_batches_is_shared_out_among_the_cores():
    wanted = SearchSettings(5, LengthPenalty(1.0), batch_tokens=8192)
    assert [len(batch) for batch in _batches([16] * 250, 5, wanted, 2)] == [96, 96, 29, 29]


@pytest.mark.parametrize("kind", [{}, {"positions": "rotary"}, MODERN])
def test_empty_places_left_out_of_the_network_change_nothing(tiny_model, monkeypatch, kind):
    model = tiny_model(seed=7, **kind)
    generator = torch.Generator().manual_seed(2)
    src = torch.randint(4, 29, (6, 5), generator=generator)
    limits = torch.tensor([3, 20, 5, 9, 30, 14])  # past the room of the cache, and ending one by one
    found, n_rows = [], []
    decode = model.decode
    monkeypatch.setattr(model, "decode", lambda tgt, *rest: (n_rows.append(len(tgt)), decode(tgt, *rest))[1])
    for step in (1, 1000):
        monkeypatch.setattr(search, "ROWS_STEP", step)
        with torch.no_grad():
            found.append(
                beam_search(
                    TransformerNextPiece(model, src), limits, SearchSettings(4, LengthPenalty(1.0), 4)
                )
            )
    assert n_rows[0] == 6  # one prefix a sentence to begin with
    assert max(n_rows) == 24
    for few, all_ in zip(*found, strict=True):
        assert [hypothesis.ids for hypothesis in few] == [hypothesis.ids for hypothesis in all_]
        assert [h.log_prob for h in few] == pytest.approx([h.log_prob for h in all_], abs=1e-4)
