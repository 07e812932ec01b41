"""What must hold for gradient checkpointing: the same bits in less memory."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training_runs import make_run, recipe_with, rows_of
from tfcli.corpus.batches import TrainingBatches
from tfcli.errors import RecipeError
from tfcli.training.checkpoint import checkpoint_folders
from tfcli.training.fit import fit
from tfcli.training.learner import make_learner
from tfcli.training.settings import refuse_changed_settings, settings_of
from tfcli.training.step import batch_loss, corpus_nll, train_step

# Prints the memory that is held between forward and backward pass, in MiB. Memory that is mapped from files does not
# count, and what is freed goes back to the system at once (MALLOC_MMAP_THRESHOLD_).
MEASURE = """\
import re, sys, torch
from pathlib import Path
from tfcli.model.config import ModelConfig
from tfcli.model.transformer import Transformer
from tfcli.training.recompute import recompute_layers

def held():
    return int(re.search(r"RssAnon:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

torch.manual_seed(1)
model = Transformer(ModelConfig(50, 50, 8, 8, 128, 512, 4, 0.1, 0.0, "pre", "sinusoidal", "relu", "all", 64))
model.train()
if sys.argv[1] == "recompute":
    recompute_layers(model)
few, many = (torch.randint(4, 50, (n, 32)) for n in (2, 32))
model(few, few).sum().backward()
before = held()
states = model(many, many)
print(held() - before)
"""


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_losses_gradients_and_random_numbers_are_the_same_to_the_last_bit(tmp_path, precision):
    found = []
    for checkpointing in (False, True):
        run = make_run(tmp_path, gradient_checkpointing=checkpointing)
        run = replace(
            run, precision=precision, config=replace(run.config, attention_dropout=0.1, n_encoder_layers=2)
        )
        learner = make_learner(run)
        batches = TrainingBatches(run.prepared.train, 64, seed=1)
        for _ in range(2):
            train_step(learner, [batches.next_batch()], 1e-2)
        loss, _ = batch_loss(learner, batches.next_batch(), 0.1)
        loss.backward()
        gradients = {name: parameter.grad for name, parameter in learner.model.named_parameters()}
        found.append((loss, gradients, torch.get_rng_state()))
    (loss, gradients, generator), (loss_again, gradients_again, generator_again) = found
    assert torch.equal(loss, loss_again)
    assert all(torch.equal(gradient, gradients_again[name]) for name, gradient in gradients.items())
    assert torch.equal(generator, generator_again)


def test_each_layer_is_computed_twice_in_training_and_once_in_validation(tmp_path):
    run = make_run(tmp_path, gradient_checkpointing=True)
    learner = make_learner(run)
    calls = []
    for layer in (learner.model.encoder[0], learner.model.decoder[0]):
        layer.feed_forward.up.register_forward_hook(lambda *_: calls.append(1))
    train_step(learner, [TrainingBatches(run.prepared.train, 64, seed=1).next_batch()], 1e-2)
    assert len(calls) == 4
    calls.clear()
    corpus_nll(learner, run.prepared.valid, 10_000)
    assert len(calls) == 2


def test_a_run_may_turn_to_it_on_the_way(tmp_path):
    through = make_run(tmp_path, name="through")
    fit(through)
    asked = iter([False, False, True])
    first = make_run(tmp_path, name="turned", stop_asked=lambda: next(asked))
    assert fit(first).reason == "stopped"
    turned = make_run(tmp_path, name="turned", gradient_checkpointing=True)
    assert fit(turned).reason == "finished"
    assert "training.gradient_checkpointing: False -> True" in " ".join(turned.reporter.notes)
    last = [checkpoint_folders(run.run_dir / "checkpoints")[-1] for run in (through, turned)]
    assert (last[0] / "model.safetensors").read_bytes() == (last[1] / "model.safetensors").read_bytes()
    assert rows_of(through) == rows_of(turned)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells so")
def test_between_forward_and_backward_it_holds_a_small_part_of_the_memory():
    def held(how):
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, how],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"},
        )
        return float(done.stdout)

    plain = held("plain")
    assert plain > 100  # MiB: else there would be nothing to see
    assert held("recompute") < plain / 5


def test_a_compiled_run_may_not_since_it_would_draw_other_numbers(tmp_path):
    before = settings_of(recipe_with(compile=True))
    now = settings_of(recipe_with(compile=True, gradient_checkpointing=True))
    with pytest.raises(RecipeError, match="gradient_checkpointing: False -> True"):
        refuse_changed_settings(before, now, "run")
