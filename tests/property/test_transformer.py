"""What must hold for any network, whatever its weights."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tfcli.model.attention import attend_explicitly
from tfcli.model.layout import Packing, causal_mask
from tfcli.model.positions import Rotary, sinusoids
from tfcli.model.transformer import Transformer
from tfcli.model.varlen import VarlenPacking

KINDS = [
    {"norm": norm, "positions": positions}
    for norm in ("pre", "post")
    for positions in ("sinusoidal", "learned", "rotary")
]
MODERN = {"norm_kind": "rms", "activation": "swiglu", "positions": "rotary", "qk_norm": True, "bias": False}
KINDS += [
    {"norm_kind": "rms"},
    {"activation": "swiglu"},
    {"qk_norm": True, "norm": "post"},
    {"bias": False},
    {"n_kv_heads": 2, "norm": "post"},
    {**MODERN, "n_kv_heads": 1},
]


def ids(*shape, seed=1, vocab_size=29):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(4, vocab_size, shape, generator=generator)


@pytest.mark.parametrize("kind", KINDS)
def test_later_target_pieces_never_change_earlier_states(tiny_model, kind):
    model = tiny_model(**kind)
    src, tgt = ids(2, 7), ids(2, 9, seed=2)
    changed = tgt.clone()
    changed[:, 5:] = ids(2, 4, seed=3)
    before, after = model(src, tgt), model(src, changed)
    torch.testing.assert_close(before[:, :5], after[:, :5])
    assert not torch.allclose(before[:, 5:], after[:, 5:])


@pytest.mark.parametrize("kind", KINDS)
def test_padding_and_company_never_change_a_sentence(tiny_model, kind):
    model = tiny_model(**kind)
    src, tgt = ids(1, 5), ids(1, 6, seed=2)
    alone = model(src, tgt)
    padded_src, padded_tgt = torch.zeros(3, 9, dtype=torch.long), torch.zeros(3, 8, dtype=torch.long)
    padded_src[0, :5], padded_tgt[0, :6] = src, tgt
    padded_src[1:], padded_tgt[1:] = ids(2, 9, seed=3), ids(2, 8, seed=4)
    torch.testing.assert_close(model(padded_src, padded_tgt)[:1, :6], alone)


@pytest.mark.parametrize("kind", KINDS)
def test_decoding_with_the_cache_equals_recomputing(tiny_model, kind):
    model = tiny_model(**kind)
    src, tgt = ids(3, 6), ids(3, 7, seed=2)
    src[1, 4:] = 0
    whole = model(src, tgt)
    memory, layout = model.encode(src)
    cache = model.new_cache()
    steps = [model.decode(tgt[:, i : i + 1], memory, layout, cache) for i in range(3)]
    steps.append(model.decode(tgt[:, 3:], memory, layout, cache))  # several positions at once work as well
    torch.testing.assert_close(torch.cat(steps, dim=1), whole)
    assert cache.length == 7


@pytest.mark.parametrize("kind", [{}, {**MODERN, "n_kv_heads": 2}])
def test_several_rows_of_a_sentence_share_its_memory(tiny_model, kind):
    model = tiny_model(**kind)
    src, tgt = ids(2, 6), ids(6, 4, seed=2)
    memory, layout = model.encode(src)
    together = model.decode(tgt, memory, layout)
    rows = torch.arange(2).repeat_interleave(3)
    apart = model.decode(tgt, memory[rows], layout.select(rows))
    torch.testing.assert_close(together, apart)


@pytest.mark.parametrize("kind", [{}, {**MODERN, "n_kv_heads": 2}])
def test_selecting_rows_and_sentences_of_the_cache_moves_whole_hypotheses(tiny_model, kind):
    model = tiny_model(**kind)
    src, tgt = ids(3, 6), ids(6, 3, seed=2)
    memory, layout = model.encode(src)
    cache = model.new_cache()
    for i in range(2):
        model.decode(tgt[:, i : i + 1], memory, layout, cache)
    rows, sentences = torch.tensor([5, 4, 1, 1]), torch.tensor([2, 0])
    cache.select_rows(rows)
    cache.select_sentences(sentences)
    memory, layout = memory[sentences], layout.select(sentences)
    stepped = model.decode(tgt[rows, 2:3], memory, layout, cache)
    torch.testing.assert_close(stepped, model.decode(tgt[rows], memory, layout)[:, 2:])


def spread(lengths, config):
    return Packing.of(np.array(lengths), config.n_heads, torch.device("cpu"), config.n_kv_heads)


def varlen(lengths, config):
    return VarlenPacking.of(np.array(lengths), max(lengths) + 2, torch.device("cpu"))


@pytest.mark.parametrize("packing_of", [spread, varlen])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("src_lengths", "tgt_lengths"), [((5, 1, 7), (2, 6, 1)), ((1,), (1,)), ((3, 3), (4, 4))]
)
def test_packed_and_padded_sentences_have_the_same_states_and_gradients(
    tiny_model, kind, src_lengths, tgt_lengths, packing_of
):
    model = tiny_model(**kind).double()  # so that no tolerance is needed for rounding
    sides = []
    for seed, lengths in enumerate((src_lengths, tgt_lengths)):
        padded = torch.zeros(len(lengths), max(lengths), dtype=torch.long)
        for row, length in enumerate(lengths):
            padded[row, :length] = ids(length, seed=10 * seed + row)
        sides.append((padded, padded != 0, packing_of(lengths, model.config)))
    (src, src_real, src_packing), (tgt, tgt_real, tgt_packing) = sides
    packed = model(src[src_real], tgt[tgt_real], src_packing, tgt_packing)
    wish = torch.randn(packed.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    padded = model(src, tgt)[tgt_real]
    torch.testing.assert_close(packed, padded)
    parameters = [each for each in model.parameters() if each.requires_grad]
    expected = torch.autograd.grad((padded * wish).sum(), parameters, allow_unused=True)
    found = torch.autograd.grad((packed * wish).sum(), parameters, allow_unused=True)
    torch.testing.assert_close(found, expected)


@settings(max_examples=40)
@given(
    b=st.integers(1, 3),
    g=st.integers(1, 3),
    group=st.integers(1, 3),
    t=st.integers(1, 6),
    s=st.integers(1, 6),
    e=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_attention_equals_a_naive_loop_and_the_fused_kernel(b, g, group, t, s, e, seed):
    generator = torch.Generator().manual_seed(seed)
    h = g * group
    q = torch.randn(b, h, t, e, generator=generator)
    k, v = torch.randn(2, b, g, s, e, generator=generator)
    mask = torch.rand(b, 1, t, s, generator=generator) < 0.6
    mask[..., 0] = True
    expected = torch.zeros(b, h, t, e)
    for i in range(b):
        for j in range(h):
            for m in range(t):
                seen = [n for n in range(s) if mask[i, 0, m, n]]
                weights = [math.exp(float(q[i, j, m] @ k[i, j // group, n]) / math.sqrt(e)) for n in seen]
                for weight, n in zip(weights, seen, strict=True):
                    expected[i, j, m] += weight / sum(weights) * v[i, j // group, n]
    explicit = attend_explicitly(q, k, v, mask)
    torch.testing.assert_close(explicit, expected, rtol=1e-4, atol=1e-5)
    fused = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
    torch.testing.assert_close(explicit, fused, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n_kv_heads", [None, 2])
def test_long_and_short_attention_give_the_same_network(tiny_model, monkeypatch, n_kv_heads):
    model = tiny_model(n_kv_heads=n_kv_heads)
    src, tgt = ids(2, 12), ids(2, 9, seed=2)
    explicit = model(src, tgt)
    monkeypatch.setattr("tfcli.model.attention.EXPLICIT_BELOW", 0)
    torch.testing.assert_close(model(src, tgt), explicit)


def test_grouped_keys_make_the_cache_smaller_in_their_measure(tiny_model):
    kept = []
    for n_kv_heads in (4, 1):
        model = tiny_model(n_kv_heads=n_kv_heads)
        memory, layout = model.encode(ids(2, 6))
        cache = model.new_cache()
        model.decode(ids(6, 3), memory, layout, cache)
        kept.append(
            sum(held.numel() for layer in cache.layers for held in vars(layer).values() if held is not None)
        )
    assert kept[0] == 4 * kept[1]


def test_the_causal_mask_shows_what_came_before():
    mask = causal_mask(2, start=2, device=torch.device("cpu"))
    assert mask.tolist() == [[True, True, True, False], [True, True, True, True]]


def test_sinusoids_follow_the_papers_formula():
    table = sinusoids(50, 8)
    assert table[17, 4].item() == pytest.approx(math.sin(17 / 10_000 ** (4 / 8)), abs=1e-6)
    assert table[17, 5].item() == pytest.approx(math.cos(17 / 10_000 ** (4 / 8)), abs=1e-6)


def test_rotated_products_depend_on_the_distance_alone():
    rotary = Rotary(max_positions=40, head_width=8)
    q, k = torch.randn(2, 1, 1, 1, 8, generator=torch.Generator().manual_seed(0))
    near = rotary(q, slice(3, 4)) @ rotary(k, slice(5, 6)).transpose(-1, -2)
    far = rotary(q, slice(23, 24)) @ rotary(k, slice(25, 26)).transpose(-1, -2)
    other = rotary(q, slice(3, 4)) @ rotary(k, slice(6, 7)).transpose(-1, -2)
    torch.testing.assert_close(near, far, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(near, other)


@pytest.mark.parametrize(("tied", "n_matrices"), [("all", 1), ("decoder", 2), ("none", 3)])
def test_tying_shares_the_matrices_it_names(tiny_config, tied, n_matrices):
    model = Transformer(tiny_config(tie_embeddings=tied))
    matrices = {
        id(m)
        for m in (model.src_embedding.pieces.weight, model.tgt_embedding.pieces.weight, model.output.weight)
    }
    assert len(matrices) == n_matrices


def test_the_same_seed_builds_the_same_network(tiny_model):
    first, second, other = (list(tiny_model(seed=s).parameters()) for s in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))
