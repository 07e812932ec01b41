"""A small running text, which a small language model learns a little of in a second."""

import gzip
from pathlib import Path

DEMO = Path(__file__).resolve().parents[1] / "data" / "demo"
RECIPE = """\
name: small-text
task: language_model
data:
  train: [{text: train.txt}, {text: more.txt.gz}]
  valid: {fraction: 0.1}
  tests: {held-out: {text: test.txt}}
  context: 24
tokenizer: {kind: char}
model: {preset: tiny, n_decoder_layers: 1, d_model: 32, d_ff: 64, dropout: 0.0}
training:
  {batch_tokens: 480, max_steps: 60, learning_rate: 1e-2, warmup_steps: 10, log_every: 30, validate_every: 30,
   checkpoint_every: 30, keep_checkpoints: 2, precision: fp32}
expected: {held-out: {bits_per_byte: 1.0, tolerance: 0.01}}
"""
TEST = "The dog sees a small bird.\n\n  Today the old\u00a0woman buys two books: \u2581 ö.\n"


def write_text(folder):
    lines = gzip.decompress((DEMO / "train.en.gz").read_bytes()).decode().split("\n")
    (folder / "train.txt").write_text("".join(f"{line}\n" for line in lines[:300]))
    (folder / "more.txt.gz").write_bytes(
        gzip.compress("".join(f"{line}\n" for line in lines[300:400]).encode())
    )
    (folder / "test.txt").write_text(TEST)
    (folder / "text.yaml").write_text(RECIPE)
