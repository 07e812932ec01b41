"""A model folder whose network has learnt nothing and says little: for measuring all that is around a network."""

import random
from collections.abc import Iterator
from pathlib import Path

import torch

from tfcli.model.config import ModelConfig
from tfcli.model.folder import save_model_folder
from tfcli.model.transformer import Transformer
from tfcli.recipe.schema import DecodingSection, TokenizerSection
from tfcli.text.tokenizer import train_tokenizer

SYLLABLES = [a + b for a in "bdfgklmnprst" for b in ("a", "e", "i", "o", "u", "an", "er")]


def short_lines(seed: int) -> Iterator[str]:
    """Yield lines of one to six made-up words, without an end; one in fifty is blank."""
    rng = random.Random(seed)
    while True:
        words = ["".join(rng.choices(SYLLABLES, k=rng.randint(1, 3))) for _ in range(rng.randint(1, 6))]
        yield " ".join(words) + " ." if rng.randrange(50) else ""


def write_model(folder: Path) -> None:
    """Write the folder; the same every time."""
    lines = short_lines(0)
    text = [next(lines) for _ in range(5000)]
    tokenizer = train_tokenizer(TokenizerSection(vocab_size=300), text, text, lambda _: None)
    torch.manual_seed(1)
    size = tokenizer.src_vocab_size
    model = Transformer(
        ModelConfig(
            src_vocab_size=size, tgt_vocab_size=size, n_encoder_layers=1, n_decoder_layers=1, d_model=8, d_ff=8,
            n_heads=2, dropout=0.0, attention_dropout=0.0, norm="pre", positions="sinusoidal", activation="relu",
            tie_embeddings="none", max_positions=256,
        )
    ).eval()  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)  # else it says the same whatever it is asked
    decoding = DecodingSection(beam_size=1, max_output_ratio=0.01, max_output_extra=3, batch_tokens=65_536)
    info = {"decoding": decoding.model_dump(), "max_source_pieces": 200, "precision": "fp32"}
    save_model_folder(folder, model, tokenizer, info, "A network that has learnt nothing.\n")
