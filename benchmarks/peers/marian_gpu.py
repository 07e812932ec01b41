"""A plain PyTorch loop around transformers' MarianMTModel for a GPU: padded rows, autocast to bf16, fused AdamW."""

from collections.abc import Callable

import torch
from transformers import MarianConfig, MarianMTModel

from tfcli.corpus.batches import Batch
from tfcli.model.config import ModelConfig


def marian_update(config: ModelConfig, device: torch.device, rate: float) -> Callable[[Batch], float]:
    """Return a function that makes one update of a new network from a batch, and returns its loss a token."""
    torch.manual_seed(1)
    model = MarianMTModel(
        MarianConfig(
            vocab_size=config.tgt_vocab_size, d_model=config.d_model, encoder_layers=config.n_encoder_layers,
            decoder_layers=config.n_decoder_layers, encoder_ffn_dim=config.d_ff, decoder_ffn_dim=config.d_ff,
            encoder_attention_heads=config.n_heads, decoder_attention_heads=config.n_heads, dropout=config.dropout,
            attention_dropout=0.0, activation_dropout=0.0, activation_function="relu", pad_token_id=0, bos_token_id=2,
            eos_token_id=3, decoder_start_token_id=2, forced_eos_token_id=None, scale_embedding=True,
            share_encoder_decoder_embeddings=True, tie_word_embeddings=True,
            max_position_embeddings=config.max_positions, use_cache=False,
        )
    ).to(device)  # fmt: skip
    model.train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True
    )

    def update(batch: Batch) -> float:
        sides = (batch.src, batch.tgt_in, batch.tgt_out)
        src, tgt_in, tgt_out = (torch.from_numpy(each).to(device) for each in sides)
        with torch.autocast(device.type, torch.bfloat16):
            logits = model(input_ids=src, attention_mask=(src != 0).long(), decoder_input_ids=tgt_in).logits
        loss = torch.nn.functional.cross_entropy(
            logits.float().flatten(0, 1), tgt_out.flatten(), ignore_index=0, label_smoothing=0.1
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    return update
