"""Tiny training runs in memory, for tests that need one: a corpus to copy, a network of a few thousand weights."""

import gzip
import json
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch

from tfcli.corpus.prepare import Prepared
from tfcli.corpus.shards import IdBlock, ParallelIds, ShardWriter, id_dtype
from tfcli.model.config import ModelConfig
from tfcli.recipe.loader import build_recipe
from tfcli.training import fit as fit_module
from tfcli.training.checkpoint import checkpoint_folders
from tfcli.training.run import Run

VOCAB_SIZE = 23


def demo_lines(language, n_lines):
    """Return the first lines of the embedded corpus."""
    path = Path(__file__).resolve().parents[1] / "data" / "demo" / f"train.{language}.gz"
    return gzip.decompress(path.read_bytes()).decode().split("\n")[:n_lines]


class FakeTokenizer:
    """Saves what a model folder needs and nothing more."""

    def save(self, folder):
        (folder / "tokenizer.model").write_bytes(b"fake")


class Listener:
    """Keeps what a run says."""

    def __init__(self):
        self.notes, self.warnings, self.rows, self.results = [], [], [], []

    def begin(self):
        pass

    def note(self, message):
        self.notes.append(message)

    def warn(self, message):
        self.warnings.append(message)

    def progress(self, state, result):
        self.results.append(result)

    def row(self, kind, step, values):
        self.rows.append((kind, step, values))


def corpus(folder, n_pairs=60, seed=0):
    """Write pairs whose target is the source reversed."""
    generator = np.random.default_rng(seed)
    src = [[*generator.integers(4, VOCAB_SIZE, generator.integers(2, 9)).tolist(), 3] for _ in range(n_pairs)]
    tgt = [[*reversed(ids[:-1]), 3] for ids in src]
    dtype = id_dtype(VOCAB_SIZE)
    with ShardWriter(folder, VOCAB_SIZE, VOCAB_SIZE) as writer:
        writer.append(IdBlock.of(src, dtype), IdBlock.of(tgt, dtype))
    return ParallelIds.open(folder)


def recipe_with(**training):
    values = {"batch_tokens": 64, "max_steps": 8, "learning_rate": 1e-2, "warmup_steps": 2, "log_every": 1}
    values |= {"validate_every": 4, "checkpoint_every": 2, "keep_checkpoints": 3, **training}
    return build_recipe(
        {
            "name": "tiny-run",
            "data": {"train": [{"src": "a", "tgt": "b"}], "valid": {"src": "c", "tgt": "d"}},
            "model": {
                "d_model": 16,
                "d_ff": 32,
                "n_heads": 2,
                "n_encoder_layers": 1,
                "n_decoder_layers": 1,
                "dropout": 0.2,
            },
            "training": {"precision": "fp32", **values},
        }
    )


def make_run(tmp_path, *, validate=None, stop_asked=lambda: False, name="run", **training):
    recipe = recipe_with(**training)
    train = tmp_path / "train"
    ids = ParallelIds.open(train) if train.exists() else corpus(train)
    valid = (
        ParallelIds.open(tmp_path / "valid")
        if (tmp_path / "valid").exists()
        else corpus(tmp_path / "valid", 10, 1)
    )
    prepared = Prepared(FakeTokenizer(), ids, valid, None, [], [], {}, reused=False)
    config = ModelConfig.from_recipe(recipe.model, VOCAB_SIZE, VOCAB_SIZE)
    run_dir = tmp_path / name
    run_dir.mkdir(exist_ok=True)
    return Run(
        recipe=recipe, run_dir=run_dir, config=config, prepared=prepared, device=torch.device("cpu"), precision="fp32",
        compiled=bool(recipe.training.compile), environment={}, validate=validate or (lambda model: 10.0), reporter=Listener(), stop_asked=stop_asked,
    )  # fmt: skip


def fit_until_crash(run, monkeypatch, at):
    """Train a run up to its update number `at`, which crashes."""
    step, numbers = fit_module.train_step, count(1)

    def crashing(*args):
        if next(numbers) == at:
            raise KeyboardInterrupt
        return step(*args)

    with monkeypatch.context() as patch:
        patch.setattr(fit_module, "train_step", crashing)
        with pytest.raises(KeyboardInterrupt):
            fit_module.fit(run)


def final_bytes(run):
    """Return the weights of the newest checkpoint."""
    return (checkpoint_folders(run.run_dir / "checkpoints")[-1] / "model.safetensors").read_bytes()


def rows_of(run, *, without_times=True):
    lines = (run.run_dir / "metrics.jsonl").read_text().split("\n")[:-1]
    rows = [json.loads(line) for line in lines]
    return [{k: v for k, v in row.items() if k != "elapsed_seconds" or not without_times} for row in rows]
