"""A network as a CTranslate2 model: its specification filled with our weights, and written down.

Every choice that a recipe has for the network can be expressed. What is not left to CTranslate2's own conventions:
positions are written out as tables; queries and keys turn in halves (coordinate i with i + E/2); layer norms have
torch's epsilon; padding and the begin mark, which are never to be output, get a bias that no score makes up for.
The tokens of its vocabularies are our ids as decimal numbers, so that no text can be mistaken for another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from tfcli.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from tfcli.model.config import ModelConfig
    from tfcli.model.transformer import Transformer

    Array = NDArray[np.float32]

CTranslate2Precision = Literal["fp32", "bf16", "int8"]
COMPUTE_TYPES: dict[CTranslate2Precision, str] = {"fp32": "float32", "bf16": "bfloat16", "int8": "int8"}
# To be raised when the same weights are to be written in another way: models converted before are then made again.
CONVERSION = 1
_NEVER = -1e9  # as a logit; a whole hypothesis sums to more


def token_names(vocab_size: int) -> list[str]:
    """Return the tokens that stand for the ids 0, 1, 2, ..."""
    return [str(piece) for piece in range(vocab_size)]


def convert(model: Transformer, folder: Path, precision: CTranslate2Precision) -> None:
    """Write the network into an existing folder.

    Raises: OSError when it cannot be written.
    """
    from ctranslate2.specs import transformer_spec

    weights = _copies(model)
    spec = transformer_spec.TransformerSpec(_encoder(model.config, weights), _decoder(model.config, weights))
    unk, bos, eos = (str(piece) for piece in (Tokenizer.unk_id, Tokenizer.bos_id, Tokenizer.eos_id))
    spec.config.unk_token, spec.config.eos_token = unk, eos
    spec.config.bos_token = spec.config.decoder_start_token = bos
    spec.config.layer_norm_epsilon = 1e-5  # torch's
    spec.register_source_vocabulary(token_names(model.config.src_vocab_size))
    spec.register_target_vocabulary(token_names(model.config.tgt_vocab_size))
    spec.validate()
    spec.optimize(quantization=COMPUTE_TYPES[precision])
    spec.save(str(folder))


def _copies(model: Transformer) -> dict[str, Array]:
    """Return the weights by name, those that are tied under each of their names; quantization works in place."""
    named = model.named_parameters(remove_duplicate=False)
    return {name: parameter.detach().cpu().numpy().copy() for name, parameter in named}


def _options(config: ModelConfig) -> dict[str, Any]:
    """Return what both stacks are built with."""
    from ctranslate2.specs import common_spec

    activations = {
        "relu": common_spec.Activation.RELU,
        "gelu": common_spec.Activation.GELU,
        "swiglu": common_spec.Activation.SWISH,
    }
    options = {
        "num_heads": config.n_heads,
        "pre_norm": config.norm == "pre",
        "activation": activations[config.activation],
        "ffn_glu": config.activation == "swiglu",
        "rms_norm": config.norm_kind == "rms",
        "qk_norm": config.qk_norm,
    }
    if config.kv_heads != config.n_heads:
        options["num_heads_kv"] = config.kv_heads
    if config.positions == "rotary":
        options |= {"rotary_dim": 0, "rotary_interleave": False}  # 0: all of a head's coordinates
    return options


def _encoder(config: ModelConfig, weights: dict[str, Array]) -> Any:
    from ctranslate2.specs import transformer_spec

    spec = transformer_spec.TransformerEncoderSpec(config.n_encoder_layers, **_options(config))
    _set_embedding(spec, spec.embeddings[0], config, weights, "src_embedding")
    for i, layer in enumerate(spec.layer):
        _set_self_attention(layer.self_attention, weights, f"encoder.{i}")
        _set_feed_forward(layer.ffn, weights, f"encoder.{i}")
    if config.norm == "pre":
        _set_norm(spec.layer_norm, weights, "encoder_norm")
    return spec


def _decoder(config: ModelConfig, weights: dict[str, Array]) -> Any:
    import numpy as np
    from ctranslate2.specs import transformer_spec

    spec = transformer_spec.TransformerDecoderSpec(config.n_decoder_layers, **_options(config))
    _set_embedding(spec, spec.embeddings, config, weights, "tgt_embedding")
    for i, layer in enumerate(spec.layer):
        _set_self_attention(layer.self_attention, weights, f"decoder.{i}")
        _set_cross_attention(layer.attention, weights, f"decoder.{i}")
        _set_feed_forward(layer.ffn, weights, f"decoder.{i}")
    if config.norm == "pre":
        _set_norm(spec.layer_norm, weights, "decoder_norm")
    spec.projection.weight = weights["output.weight"]
    spec.projection.bias = np.zeros(config.tgt_vocab_size, dtype=np.float32)
    spec.projection.bias[[Tokenizer.pad_id, Tokenizer.bos_id]] = _NEVER
    return spec


def _set_embedding(stack: Any, spec: Any, config: ModelConfig, weights: dict[str, Array], name: str) -> None:
    """Set piece vectors, scaled by sqrt(D), and the table of positions."""
    from tfcli.model.positions import sinusoids

    spec.weight = weights[f"{name}.pieces.weight"]
    stack.scale_embeddings = True
    if config.positions == "sinusoidal":
        stack.position_encodings.encodings = sinusoids(config.max_positions, config.d_model).numpy()
    elif config.positions == "learned":
        stack.position_encodings.encodings = weights[f"{name}.positions.table"]


def _set_self_attention(spec: Any, weights: dict[str, Array], layer: str) -> None:
    """Set the product that makes queries, keys and values, in this order, and the one that joins the heads."""
    _set_linear(spec.linear[0], weights, f"{layer}.self_attention.qkv")
    _set_linear(spec.linear[1], weights, f"{layer}.self_attention.out")
    for name in ("q_norm", "k_norm"):
        if f"{layer}.self_attention.{name}.weight" in weights:
            getattr(spec, name).gamma = weights[f"{layer}.self_attention.{name}.weight"]
    _set_norm(spec.layer_norm, weights, f"{layer}.self_attention_norm")


def _set_cross_attention(spec: Any, weights: dict[str, Array], layer: str) -> None:
    for name in ("q_norm", "k_norm"):  # made for all attention alike, but ours is in self-attention alone
        if hasattr(spec, name):
            delattr(spec, name)
    for linear, name in zip(spec.linear, ("q", "kv", "out"), strict=True):
        _set_linear(linear, weights, f"{layer}.cross_attention.{name}")
    _set_norm(spec.layer_norm, weights, f"{layer}.cross_attention_norm")


def _set_feed_forward(spec: Any, weights: dict[str, Array], layer: str) -> None:
    gated = f"{layer}.feed_forward.gate.weight" in weights
    _set_linear(spec.linear_0, weights, f"{layer}.feed_forward.{'gate' if gated else 'up'}")
    if gated:
        _set_linear(spec.linear_0_noact, weights, f"{layer}.feed_forward.up")
    _set_linear(spec.linear_1, weights, f"{layer}.feed_forward.down")
    _set_norm(spec.layer_norm, weights, f"{layer}.feed_forward_norm")


def _set_linear(spec: Any, weights: dict[str, Array], name: str) -> None:
    spec.weight = weights[f"{name}.weight"]
    if f"{name}.bias" in weights:
        spec.bias = weights[f"{name}.bias"]


def _set_norm(spec: Any, weights: dict[str, Array], name: str) -> None:
    import numpy as np

    spec.gamma = weights[f"{name}.weight"]
    if hasattr(spec, "beta"):  # but for RMSNorm
        spec.beta = weights.get(f"{name}.bias", np.zeros_like(spec.gamma))
