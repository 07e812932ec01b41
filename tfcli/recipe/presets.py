"""Named sizes of network; a recipe overrides any of them, key by key.

`vaswani-base` and `vaswani-big` carry the numbers of "Attention Is All You Need", Table 3 (rows "base" and
"big"). `tiny` and `small` are for corpora of ten thousand to a few hundred thousand pairs, where the paper's
sizes overfit; they normalise before each sub-layer, which trains without a long warm-up.

`modern-tiny`, `modern-small` and `modern-base` are networks of nearly as many parameters as `tiny`, `small` and
`vaswani-base`, with what small Transformers are given today (`model/transformer.py` names the papers). A gated
feed-forward has three matrices in place of two, so its width is two thirds, to the nearest multiple of 64. Keys are not
grouped: that saves memory and time where long outputs are decoded, which translations of sentences are not.
"""

from __future__ import annotations

MODERN: dict[str, int | float | str] = {
    "norm": "pre",
    "norm_kind": "rms",
    "bias": False,
    "positions": "rotary",
    "qk_norm": True,
    "activation": "swiglu",
}
PRESETS: dict[str, dict[str, int | float | str]] = {
    "tiny": {
        "n_encoder_layers": 4,
        "n_decoder_layers": 4,
        "d_model": 128,
        "d_ff": 256,
        "n_heads": 4,
        "dropout": 0.3,
        "norm": "pre",
    },
    "small": {
        "n_encoder_layers": 3,
        "n_decoder_layers": 3,
        "d_model": 256,
        "d_ff": 1024,
        "n_heads": 4,
        "dropout": 0.1,
        "norm": "pre",
    },
    "vaswani-base": {
        "n_encoder_layers": 6,
        "n_decoder_layers": 6,
        "d_model": 512,
        "d_ff": 2048,
        "n_heads": 8,
        "dropout": 0.1,
        "norm": "post",
    },
    "vaswani-big": {
        "n_encoder_layers": 6,
        "n_decoder_layers": 6,
        "d_model": 1024,
        "d_ff": 4096,
        "n_heads": 16,
        "dropout": 0.3,
        "norm": "post",
    },
}
PRESETS |= {
    "modern-tiny": {**PRESETS["tiny"], "d_ff": 192, **MODERN},
    "modern-small": {**PRESETS["small"], "d_ff": 704, **MODERN},
    "modern-base": {**PRESETS["vaswani-base"], "d_ff": 1344, **MODERN},
}
