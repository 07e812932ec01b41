"""Small language models for tests: a network of a few thousand weights, and runs on text in memory."""

import numpy as np
import torch

from tests.training_runs import FakeTokenizer, Listener
from tfcli.corpus.prepare_text import PreparedText
from tfcli.corpus.stream import TextIds
from tfcli.model.config import ModelConfig
from tfcli.model.networks import LanguageModel
from tfcli.recipe.loader import build_recipe
from tfcli.training.run import Run

VOCAB_SIZE = 23
CONTEXT = 8


def language_model(seed=0, context=CONTEXT):
    """Return a network in evaluation mode whose predictions are far from even."""
    torch.manual_seed(seed)
    config = ModelConfig(
        src_vocab_size=VOCAB_SIZE, tgt_vocab_size=VOCAB_SIZE, n_encoder_layers=0, n_decoder_layers=2, d_model=16, d_ff=24,
        n_heads=2, dropout=0.0, attention_dropout=0.0, norm="pre", positions="rotary", activation="relu",
        tie_embeddings="none", max_positions=context,
    )  # fmt: skip
    model = LanguageModel(config).eval()
    with torch.no_grad():
        model.output.weight.mul_(6)
    return model


def running_ids(size, seed=0):
    """Return pieces of which each is often the one after the last."""
    generator = np.random.default_rng(seed)
    steps = generator.choice([1, 1, 1, 5], size)
    return TextIds((4 + np.cumsum(steps) % (VOCAB_SIZE - 4)).astype(np.uint16), CONTEXT)


def make_run(tmp_path, *, name="run", stop_asked=lambda: False, **training):
    """Return a run of a small recipe on text in memory."""
    values = {"batch_tokens": 64, "max_steps": 8, "learning_rate": 1e-2, "warmup_steps": 2, "log_every": 1}
    values |= {"validate_every": 4, "checkpoint_every": 2, "keep_checkpoints": 3, "precision": "fp32"}
    recipe = build_recipe(
        {
            "name": "tiny-text",
            "task": "language_model",
            "data": {"train": [{"text": "a"}], "valid": {"fraction": 0.1}, "context": CONTEXT},
            "model": {"d_model": 16, "d_ff": 32, "n_heads": 2, "n_decoder_layers": 1, "dropout": 0.2},
            "training": values | training,
        }
    )
    prepared = PreparedText(
        FakeTokenizer(), running_ids(700), running_ids(100, seed=1), [], [], {}, reused=False
    )
    run_dir = tmp_path / name
    run_dir.mkdir(exist_ok=True)
    return Run(
        recipe=recipe, run_dir=run_dir, config=ModelConfig.of(recipe, VOCAB_SIZE, VOCAB_SIZE), prepared=prepared,
        device=torch.device("cpu"), precision="fp32", compiled=False, environment={}, validate=None, reporter=Listener(),
        stop_asked=stop_asked,
    )  # fmt: skip
