"""Fixtures that several tests share: tiny networks and tiny runs."""

import os

import pytest
from hypothesis import settings

# How long an example takes says more of what else the machine does than of the code.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

# Two test processes on two cores: more threads would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def tiny_config():
    """Return a function that makes a small ModelConfig with some fields replaced."""
    from tfcli.model.config import ModelConfig

    def make(**changes):
        values = {
            "src_vocab_size": 29,
            "tgt_vocab_size": 29,
            "n_encoder_layers": 2,
            "n_decoder_layers": 2,
            "d_model": 16,
            "d_ff": 24,
            "n_heads": 4,
            "dropout": 0.0,
            "attention_dropout": 0.0,
            "norm": "pre",
            "positions": "sinusoidal",
            "activation": "relu",
            "tie_embeddings": "all",
            "max_positions": 64,
        }
        return ModelConfig(**{**values, **changes})

    return make


@pytest.fixture
def tiny_model(tiny_config):
    """Return a function that builds a small network in evaluation mode."""
    import torch

    from tfcli.model.transformer import Transformer

    def make(seed=0, **changes):
        torch.manual_seed(seed)
        return Transformer(tiny_config(**changes)).eval()

    return make
