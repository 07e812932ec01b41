"""A run that starts from given weights begins with them whenever it begins, its moving average included."""

import hashlib
from dataclasses import replace

import pytest
import torch

from tests.training_runs import make_run
from tfcli.corpus.initial import Initial
from tfcli.training.fit import fit
from tfcli.training.guards import go_back
from tfcli.training.initial import begin
from tfcli.training.learner import make_learner
from tfcli.training.state import TrainingState


@pytest.fixture
def given(tmp_path):
    """Return a run that starts from the weights of another, and these weights."""
    first = make_run(tmp_path, name="first", max_steps=4)
    fit(first)
    folder = first.run_dir / "best"
    sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    run = replace(make_run(tmp_path, ema_decay=0.9), initial=Initial(str(folder), sha256, {}))
    from tfcli.model.folder import read_tensors

    return run, read_tensors(folder / "model.safetensors")


def same(model, tensors):
    return all(torch.equal(parameter, tensors[name]) for name, parameter in model.named_parameters())


def test_network_and_average_begin_with_the_given_weights(given):
    run, tensors = given
    learner = make_learner(run)
    assert not same(learner.model, tensors)
    begin(run, learner)
    assert same(learner.model, tensors)
    assert same(learner.ema.model, tensors)
    learner.ema.update(make_learner(run).model)
    assert not same(learner.ema.model, tensors)


def test_a_run_that_goes_back_to_its_beginning_goes_back_to_the_given_weights(given):
    run, tensors = given
    learner, state = go_back(run, make_learner(run), TrainingState(step=12, updates=2, skipped_in_a_row=10))
    assert state.step == 0
    assert same(learner.model, tensors)


def test_the_random_numbers_are_those_of_a_run_without(given):
    run, _ = given
    make_learner(replace(run, initial=None))
    expected = torch.rand(3)
    begin(run, make_learner(run))
    assert torch.equal(torch.rand(3), expected)
