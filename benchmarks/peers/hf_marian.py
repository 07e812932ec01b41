"""A plain PyTorch loop around transformers' MarianMTModel, with the reference load's sizes, on ids made by tfcli.

    STEPLOG=FILE python hf_marian.py IDS.json fp32|bf16

Marian is post-norm, its only form. Batches are cut as tfcli cuts them: sorted by the longer side, at most 4,096 padded
pieces, in random order.
"""

import json
import os
import random
import sys
import time
from pathlib import Path

import torch
from transformers import MarianConfig, MarianMTModel

PAD, BOS, EOS, VOCABULARY = 0, 2, 3, 8000
BATCH_TOKENS = 4096


def batches_of(pairs):
    """Cut pairs, sorted by length, into batches."""
    pairs = sorted(pairs, key=lambda pair: (max(map(len, pair)), len(pair[0])))
    found, current, longest = [], [], 0
    for pair in pairs:
        longest = max(longest, *map(len, pair))
        if current and longest * (len(current) + 1) > BATCH_TOKENS:
            found.append(current)
            current, longest = [], max(map(len, pair))
        current.append(pair)
    return [*found, current]


def padded(rows):
    """Return rows of ids as a matrix."""
    length = max(map(len, rows))
    return torch.tensor([row + [PAD] * (length - len(row)) for row in rows])


def main():
    """Train until killed."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.manual_seed(1)
    random.seed(1)
    batches = batches_of(json.loads(Path(sys.argv[1]).read_text()))
    half = sys.argv[2] == "bf16"
    model = MarianMTModel(
        MarianConfig(
            vocab_size=VOCABULARY, d_model=256, encoder_layers=3, decoder_layers=3, encoder_ffn_dim=1024,
            decoder_ffn_dim=1024, encoder_attention_heads=4, decoder_attention_heads=4, dropout=0.1,
            attention_dropout=0.0, activation_dropout=0.0, activation_function="relu", pad_token_id=PAD,
            bos_token_id=BOS, eos_token_id=EOS, decoder_start_token_id=BOS, forced_eos_token_id=None,
            scale_embedding=True, share_encoder_decoder_embeddings=True, tie_word_embeddings=True,
            max_position_embeddings=256, use_cache=False,
        )
    )  # fmt: skip
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.0, fused=True
    )
    model.train()
    with Path(os.environ["STEPLOG"]).open("w", buffering=1) as log:
        while True:
            random.shuffle(batches)
            for batch in batches:
                src, tgt = padded([pair[0] for pair in batch]), padded([pair[1] for pair in batch])
                tgt_in = torch.cat([torch.full((len(batch), 1), BOS), tgt[:, :-1]], dim=1)
                with torch.autocast("cpu", torch.bfloat16, enabled=half):
                    mask = (src != PAD).long()
                    logits = model(input_ids=src, attention_mask=mask, decoder_input_ids=tgt_in).logits
                loss = torch.nn.functional.cross_entropy(
                    logits.float().view(-1, VOCABULARY),
                    tgt.reshape(-1),
                    ignore_index=PAD,
                    label_smoothing=0.1,
                )
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                log.write(json.dumps({"time": time.time(), "tokens": int((tgt != PAD).sum())}) + "\n")


if __name__ == "__main__":
    main()
