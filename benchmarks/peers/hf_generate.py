"""A model of tfcli's, its weights copied into the same network of transformers', translated with `generate`.

    python hf_generate.py MODEL_FOLDER PRECISION BEAM_SIZE BATCH_SIZE < SOURCE > TRANSLATIONS

Pre-norm networks become an M2M100, post-norm ones a Marian; `cannot_copy` says which networks neither can be.
Sources are sorted by length and translated BATCH_SIZE at a time. Needs torch, transformers, sentencepiece and safetensors.
"""

import json
import math
import sys
from pathlib import Path

import sentencepiece
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import M2M100Config, M2M100ForConditionalGeneration, MarianConfig, MarianMTModel

Peer = M2M100ForConditionalGeneration | MarianMTModel
PAD, BEGIN, END = 0, 2, 3


def main() -> None:
    """Translate standard input."""
    folder, precision = Path(sys.argv[1]), sys.argv[2]
    beam_size, batch_size = int(sys.argv[3]), int(sys.argv[4])
    settings = json.loads((folder / "config.json").read_text())
    problem = cannot_copy(settings["model"])
    if problem is not None:
        sys.exit(f"this peer takes no network with {problem}")
    model = copied(settings["model"], load_file(folder / "model.safetensors"))
    model = model.to({"fp32": torch.float32, "bf16": torch.bfloat16}[precision]).eval()
    tokenizer = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    sources = [[*ids, END] for ids in tokenizer.encode(sys.stdin.read().split("\n")[:-1])]
    order = sorted(range(len(sources)), key=lambda i: -len(sources[i]))
    found = [""] * len(sources)
    decoding = settings["decoding"]
    for first in range(0, len(order), batch_size):
        places = order[first : first + batch_size]
        batch = [sources[i] for i in places]
        longest = int(decoding["max_output_ratio"] * len(batch[0])) + decoding["max_output_extra"]
        written = generate(model, batch, beam_size, decoding["length_penalty"], (0, longest))
        for place, ids in zip(places, written.tolist(), strict=True):
            found[place] = tokenizer.decode([i for i in ids if i not in (PAD, BEGIN, END)])
    print("\n".join(found))


def generate(
    model: Peer, sources: list[list[int]], beam_size: int, length_penalty: float, lengths: tuple[int, int]
) -> Tensor:
    """Return the best hypothesis of each source, with marks and padding, of at least and at most so many pieces."""
    rows = [torch.tensor(source) for source in sources]
    src = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD).to(model.device)  # (B, S)
    with torch.inference_mode():
        written: Tensor = model.generate(
            input_ids=src,
            attention_mask=src != PAD,
            num_beams=beam_size,
            do_sample=False,
            length_penalty=length_penalty,
            min_new_tokens=lengths[0] or None,
            max_new_tokens=lengths[1],
        )
    return written


def cannot_copy(sizes: dict) -> str | None:
    """Return what a network has that those of transformers do not."""
    wanted = {
        "positions": "sinusoidal",
        "tie_embeddings": "all",
        "norm_kind": "layer",
        "n_kv_heads": None,
        "qk_norm": False,
        "bias": True,
    }
    for key, value in wanted.items():
        if sizes.get(key, value) != value:  # networks of before there was a choice do not tell
            return f"{key} {sizes[key]}"
    return "activation swiglu" if sizes["activation"] == "swiglu" else None


def copied(sizes: dict, weights: dict[str, Tensor]) -> Peer:
    """Return the same network as a model of transformers."""
    config, network = (
        (M2M100Config, M2M100ForConditionalGeneration)
        if sizes["norm"] == "pre"
        else (MarianConfig, MarianMTModel)
    )
    model = network(
        config(
            vocab_size=sizes["src_vocab_size"],
            d_model=sizes["d_model"],
            encoder_layers=sizes["n_encoder_layers"],
            decoder_layers=sizes["n_decoder_layers"],
            encoder_ffn_dim=sizes["d_ff"],
            decoder_ffn_dim=sizes["d_ff"],
            encoder_attention_heads=sizes["n_heads"],
            decoder_attention_heads=sizes["n_heads"],
            activation_function=sizes["activation"],
            scale_embedding=True,
            max_position_embeddings=sizes["max_positions"],
            pad_token_id=PAD,
            bos_token_id=BEGIN,
            eos_token_id=END,
            decoder_start_token_id=BEGIN,
            forced_eos_token_id=None,
        )
    )
    embedding = weights["src_embedding.pieces.weight"]
    state = {"model.shared.weight": embedding}
    state |= dict.fromkeys(
        ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight"), embedding
    )
    state["lm_head.weight"] = embedding
    for name, tensor in weights.items():
        if name != "src_embedding.pieces.weight":
            state |= renamed(name, tensor)
    table = sinusoids(sizes["max_positions"], sizes["d_model"])
    if sizes["norm"] == "post":
        state["final_logits_bias"] = torch.zeros(1, sizes["src_vocab_size"])
        state |= {f"model.{stack}.embed_positions.weight": table for stack in ("encoder", "decoder")}
    model.load_state_dict(state)
    if sizes["norm"] == "pre":
        for stack in (model.model.encoder, model.model.decoder):
            stack.embed_positions.weights[PAD + 1 : PAD + 1 + len(table)] = table
    return model


NAMES = {
    "self_attention.out": "self_attn.out_proj",
    "cross_attention.q": "encoder_attn.q_proj",
    "cross_attention.out": "encoder_attn.out_proj",
    "self_attention_norm": "self_attn_layer_norm",
    "cross_attention_norm": "encoder_attn_layer_norm",
    "feed_forward_norm": "final_layer_norm",
    "feed_forward.up": "fc1",
    "feed_forward.down": "fc2",
}
JOINED = {
    "self_attention.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "cross_attention.kv": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
}


def renamed(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """Return what `name` is called there; maps that share a matrix here are apart there."""
    path, _, kind = name.rpartition(".")
    if path in ("encoder_norm", "decoder_norm"):
        return {f"model.{path.removesuffix('_norm')}.layer_norm.{kind}": tensor}
    stack, layer, part = path.split(".", 2)
    names = JOINED.get(part) or (NAMES[part],)
    parts = tensor.chunk(len(names))
    return {
        f"model.{stack}.layers.{layer}.{to}.{kind}": one.contiguous()
        for to, one in zip(names, parts, strict=True)
    }


def sinusoids(n: int, width: int) -> Tensor:
    """Return the paper's positions, sines and cosines in turn: (n, width). Those of M2M100 stand side by side."""
    rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(10_000.0) / width))
    angle = torch.arange(n, dtype=torch.float64)[:, None] * rate
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1).float()


if __name__ == "__main__":
    main()
