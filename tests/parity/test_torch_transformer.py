"""The network against torch.nn.Transformer with the same weights."""

import pytest
import torch
from torch import nn

from tfcli.model.layout import Layout

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def copy_attention(theirs, q, kv_or_none, out):
    if kv_or_none is None:
        theirs.in_proj_weight.copy_(q.weight)
        theirs.in_proj_bias.copy_(q.bias)
    else:
        theirs.in_proj_weight.copy_(torch.cat((q.weight, kv_or_none.weight)))
        theirs.in_proj_bias.copy_(torch.cat((q.bias, kv_or_none.bias)))
    theirs.out_proj.load_state_dict(out.state_dict())


def copy_layer(theirs, ours, *, decoder):
    copy_attention(theirs.self_attn, ours.self_attention.qkv, None, ours.self_attention.out)
    norms = [ours.self_attention_norm, ours.feed_forward_norm]
    if decoder:
        cross = ours.cross_attention
        copy_attention(theirs.multihead_attn, cross.q, cross.kv, cross.out)
        norms.insert(1, ours.cross_attention_norm)
    for i, norm in enumerate(norms, start=1):
        getattr(theirs, f"norm{i}").load_state_dict(norm.state_dict())
    theirs.linear1.load_state_dict(ours.feed_forward.up.state_dict())
    theirs.linear2.load_state_dict(ours.feed_forward.down.state_dict())


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_outputs_equal_torchs_transformer_with_copied_weights(tiny_model, norm, activation):
    model = tiny_model(norm=norm, activation=activation)
    config = model.config
    with torch.no_grad():
        for parameter in model.parameters():  # biases and norms start at 0 and 1, where an error could hide
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(7)) * 0.1)
    sizes = {
        "d_model": config.d_model,
        "nhead": config.n_heads,
        "dim_feedforward": config.d_ff,
        "dropout": 0.0,
    }
    options = {"activation": activation, "batch_first": True, "norm_first": norm == "pre"}
    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(**sizes, **options), 2, norm=nn.LayerNorm(16), enable_nested_tensor=False
    )
    theirs = nn.Transformer(
        d_model=16,
        nhead=4,
        num_decoder_layers=2,
        dim_feedforward=24,
        dropout=0.0,
        custom_encoder=encoder,
        **options,
    ).eval()
    with torch.no_grad():
        for layer, ours in zip(theirs.encoder.layers, model.encoder, strict=True):
            copy_layer(layer, ours, decoder=False)
        for layer, ours in zip(theirs.decoder.layers, model.decoder, strict=True):
            copy_layer(layer, ours, decoder=True)
        if norm == "pre":
            theirs.encoder.norm.load_state_dict(model.encoder_norm.state_dict())
            theirs.decoder.norm.load_state_dict(model.decoder_norm.state_dict())
        else:  # torch adds a last norm that the paper's post-norm network does not have
            theirs.encoder.norm, theirs.decoder.norm = None, None
    generator = torch.Generator().manual_seed(3)
    src = torch.randint(4, 29, (3, 8), generator=generator)
    tgt = torch.randint(4, 29, (3, 6), generator=generator)
    src[1, 5:] = 0
    with torch.no_grad():
        expected = theirs(
            model.src_embedding(src, Layout(None)), model.tgt_embedding(tgt, Layout(None)), src_key_padding_mask=src == 0,
            memory_key_padding_mask=src == 0, tgt_mask=nn.Transformer.generate_square_subsequent_mask(6).isinf(),
            tgt_is_causal=False,
        )  # fmt: skip
        torch.testing.assert_close(model(src, tgt), expected, **TOLERANCE)
