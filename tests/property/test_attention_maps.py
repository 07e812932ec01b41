"""The attention maps must be what the network computes with, and computing them must leave it alone."""

import numpy as np
import pytest
import torch

from tfcli.model import attention
from tfcli.model.attention_maps import attention_maps
from tfcli.model.layout import Layout
from tfcli.text.tokenizer import Tokenizer

EOS = Tokenizer.eos_id
SRC, TGT = [5, 9, 4, 21, 9, EOS], [7, 8, 8, 20, EOS]
KINDS = [
    {"norm": norm, "positions": positions}
    for norm in ("pre", "post")
    for positions in ("sinusoidal", "learned", "rotary")
] + [{"n_kv_heads": 2, "qk_norm": True, "norm_kind": "rms"}]


def parts(maps):
    return [maps.encoder, maps.decoder, maps.cross]


@pytest.fixture
def attended(monkeypatch):
    """Return a list that fills with the values and the result of every attention, in the network's order."""
    seen = []
    attend = attention.attend

    def watched(q, k, v, *more):
        result = attend(q, k, v, *more)
        seen.append((v[0].numpy(), result[0].numpy()))
        return result

    monkeypatch.setattr(attention, "attend", watched)
    return seen


@pytest.mark.parametrize("kernel", ["explicit", "fused"])
@pytest.mark.parametrize("kind", KINDS)
def test_weights_times_values_are_what_attention_returns(tiny_model, kind, kernel, attended, monkeypatch):
    if kernel == "fused":
        monkeypatch.setattr(attention, "EXPLICIT_BELOW", 0)
    model = tiny_model(n_encoder_layers=3, **kind)
    maps = attention_maps(model, SRC, TGT)
    assert [part.shape for part in parts(maps)] == [(3, 4, 6, 6), (2, 4, 5, 5), (2, 4, 5, 6)]
    in_order = [*maps.encoder, maps.decoder[0], maps.cross[0], maps.decoder[1], maps.cross[1]]
    assert len(attended) == len(in_order)
    for weights, (values, result) in zip(in_order, attended, strict=True):
        each = values.repeat(len(weights) // len(values), axis=0)  # of grouped heads
        np.testing.assert_allclose(weights @ each, result, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kernel", ["explicit", "fused"])
def test_rows_sum_to_one_and_what_follows_weighs_nothing(tiny_model, kernel, monkeypatch):
    if kernel == "fused":
        monkeypatch.setattr(attention, "EXPLICIT_BELOW", 0)
    maps = attention_maps(tiny_model(), SRC, TGT)
    for part in parts(maps):
        np.testing.assert_allclose(part.sum(axis=-1), 1.0, rtol=1e-5)
    later = np.triu(np.ones((5, 5), dtype=bool), k=1)
    assert (maps.decoder[..., later] == 0).all()
    assert (maps.decoder[..., ~later] > 0).all()


def test_the_target_is_read_from_its_begin_mark_on_and_without_its_end(tiny_model):
    model = tiny_model()
    maps = attention_maps(model, SRC, TGT)
    with torch.inference_mode():  # the first decoder layer sees nothing but the pieces it has read
        heads = model.decoder[0].self_attention
        x = model.tgt_embedding(torch.tensor([[Tokenizer.bos_id, *TGT[:-1]]]), Layout(None))
        q, k, _ = (
            heads.qkv(model.decoder[0].self_attention_norm(x))[0].view(5, 3, 4, 4).unbind(1)
        )  # (T, H, E)
    scores = torch.einsum("the,she->hts", q, k) / 2
    scores = scores.masked_fill(torch.ones(5, 5).triu(1).bool(), -torch.inf)
    np.testing.assert_allclose(maps.decoder[0], scores.softmax(-1).numpy(), rtol=1e-4, atol=1e-6)


def test_the_network_computes_the_same_before_while_and_after_it_is_watched(tiny_model):
    model = tiny_model()
    src, tgt_in = torch.tensor([SRC]), torch.tensor([[Tokenizer.bos_id, *TGT[:-1]]])
    with torch.inference_mode():
        before = model(src, tgt_in)
        first, second = attention_maps(model, SRC, TGT), attention_maps(model, SRC, TGT)
        assert torch.equal(model(src, tgt_in), before)
    for one, other in zip(parts(first), parts(second), strict=True):
        np.testing.assert_array_equal(one, other)


def test_heads_that_share_a_key_have_maps_of_their_own():
    from tfcli.model.attention_maps import _Listener

    generator = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(1, heads, n, 4, generator=generator) for heads, n in ((4, 3), (2, 5), (2, 5)))
    with _Listener() as listener:
        result = torch.nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    (weights,) = listener.heard
    torch.testing.assert_close(weights @ v.repeat_interleave(2, dim=1), result)
