"""What must hold when memory runs out: the gradient stays the same, and what was decided is decided for good."""

import json
import os
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.test_bad_folders import full_disk
from tests.training_runs import final_bytes, fit_until_crash, make_run, rows_of
from tfcli.corpus.batches import Batch, TrainingBatches
from tfcli.errors import CheckpointError
from tfcli.training import fit as fit_module
from tfcli.training import memory as memory_module
from tfcli.training.checkpoint import checkpoint_folders
from tfcli.training.fit import fit
from tfcli.training.learner import make_learner
from tfcli.training.memory import Memory, cut, positions
from tfcli.training.state import TrainingState
from tfcli.training.step import train_step


class SmallDevice:
    """A network's forward that fails, as a device without room does, for more padded positions than it has room for."""

    def __init__(self, forward, room, error=None):
        self.forward, self.room = forward, room
        self.error = error or torch.OutOfMemoryError("CUDA out of memory.")
        self.sizes = []

    def __call__(self, src, tgt_in, *packings):
        states = self.forward(src, tgt_in, *packings)  # random numbers are drawn before memory runs out
        size = sum(packing.n_sentences * packing.longest for packing in packings)
        if size > self.room:
            raise self.error
        self.sizes.append(size)
        return states


@pytest.fixture
def room(monkeypatch):
    """Return a function that gives runs room for so many padded positions; None: for any number."""
    real = fit_module.make_learner
    rooms = [10**9]

    def small(run):
        learner = real(run)
        device = SmallDevice(learner.forward, 0)
        type(device).room = property(lambda self: rooms[0], lambda self, value: None)
        return replace(learner, forward=device)

    monkeypatch.setattr(fit_module, "make_learner", small)
    yield lambda n_positions: rooms.__setitem__(0, n_positions or 10**9)
    del SmallDevice.room


def decisions(run):
    path = run.run_dir / "decisions.jsonl"
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []


def without_dropout(run):
    return replace(run, config=replace(run.config, dropout=0.0))


def gradients(learner):
    return {name: parameter.grad.clone() for name, parameter in learner.model.named_parameters()}


@given(st.integers(1, 40), st.integers(1, 20), st.integers(1, 20), st.integers(1, 900))
def test_parts_hold_every_pair_once_and_keep_to_the_limit(n_pairs, s, t, limit):
    rows = np.arange(n_pairs)
    batch = Batch(
        np.repeat(rows[:, None], s, axis=1), np.repeat(rows[:, None], t, axis=1), np.ones((n_pairs, t)), rows
    )
    parts = cut(batch, limit)
    assert np.concatenate([part.indices for part in parts]).tolist() == rows.tolist()
    assert sum(part.n_tokens for part in parts) == batch.n_tokens
    for part in parts:
        assert len(part.indices) == 1 or positions(part) <= limit
        assert (part.src[:, 0] == part.indices).all()
        assert (part.tgt_in[:, 0] == part.indices).all()
    assert cut(batch, None) == [batch]


@pytest.mark.parametrize("n_positions", [60, 30])
def test_the_gradient_of_the_parts_is_that_of_the_whole(tmp_path, n_positions):
    run = without_dropout(make_run(tmp_path))
    whole, parts = make_learner(run), make_learner(run)
    small = SmallDevice(parts.forward, n_positions)
    parts = replace(parts, forward=small)
    memory = Memory(None, run.reporter.warn)
    batches = TrainingBatches(run.prepared.train, 200, seed=1)
    for step in range(4):
        group = [batches.next_batch(), batches.next_batch()]
        one = train_step(whole, group, 1e-2)
        other = train_step(parts, group, 1e-2, memory.adder(TrainingState(step=step)))
        assert other.tokens == one.tokens
        assert other.loss == pytest.approx(one.loss, rel=1e-5)
        assert other.gradient_norm == pytest.approx(one.gradient_norm, rel=1e-4)
    assert max(small.sizes) <= n_positions
    assert run.reporter.warnings


def test_what_half_a_group_left_behind_is_dropped(tmp_path):
    run = make_run(tmp_path)
    known, found_out = make_learner(run), make_learner(run)
    batches = TrainingBatches(run.prepared.train, 200, seed=1)
    group = sorted((batches.next_batch() for _ in range(4)), key=positions)
    room = positions(group[-1]) - 1
    assert positions(group[0]) < room  # the largest comes last, when others have left their gradients
    small = SmallDevice(found_out.forward, room)
    memory = Memory(tmp_path / "decisions.jsonl", run.reporter.warn)
    torch.manual_seed(5)
    memory.adder(TrainingState())(replace(found_out, forward=small), group, 100)
    after = torch.get_rng_state()
    torch.manual_seed(5)
    Memory(tmp_path / "decisions.jsonl", run.reporter.warn).adder(TrainingState())(known, group, 100)
    assert torch.equal(torch.get_rng_state(), after)
    expected = gradients(known)
    for name, gradient in gradients(found_out).items():
        assert torch.equal(gradient, expected[name]), name


def test_memory_that_the_failed_attempt_held_is_free_before_the_next(tmp_path):
    run = make_run(tmp_path)
    learner = make_learner(run)
    held, alive = [], []

    def forward(*inputs):
        alive.append(any(reference() is not None for reference in held))
        states = learner.model(*inputs)
        activation = states * 2
        held.append(weakref.ref(activation))
        if inputs[2].n_sentences > 2:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to")
        return activation

    batch = TrainingBatches(run.prepared.train, 200, seed=1).next_batch()
    assert len(batch.indices) > 4
    Memory(None, run.reporter.warn).adder(TrainingState())(replace(learner, forward=forward), [batch], 10)
    assert len(alive) >= 4
    assert not any(alive)


def test_a_run_that_runs_out_of_memory_goes_on_says_so_once_and_writes_it_down(tmp_path, room):
    run = make_run(tmp_path)
    room(70)
    assert fit(run).reason == "finished"
    [decision] = decisions(run)
    assert decision.keys() == {"step", "returns", "positions"}
    assert (decision["step"], decision["returns"]) == (
        1,
        0,
    )  # the largest batch was tried before the first step
    [warning] = run.reporter.warnings
    assert warning == (
        "step 1: not enough memory for a whole batch; from here on, batches of more "
        f"than {decision['positions']:,} padded positions are computed in parts, with the same gradient; "
        f"{run.run_dir}/decisions.jsonl keeps this"
    )


def pressure_from(monkeypatch, room, first_step, n_positions):
    """Leave room for so many positions from a step on, all memory before."""
    step = fit_module.train_step

    def squeezed(learner, group, rate, add):
        (state,) = add.args
        room(n_positions if state.step + 1 >= first_step else None)
        return step(learner, group, rate, add)

    monkeypatch.setattr(fit_module, "train_step", squeezed)
    return lambda: monkeypatch.setattr(fit_module, "train_step", step)


def stop_at(*steps):
    """Return a `stop_asked` that wants to stop after so many steps of each start."""
    answers = iter([answer for n in steps for answer in [*[False] * (n - 1), True]] + [False] * 1000)
    return lambda: next(answers)


def test_a_decision_is_replayed_at_its_step_whatever_memory_is_free_when_the_run_resumes(
    tmp_path, room, monkeypatch
):
    settings = {"max_steps": 20, "checkpoint_every": 6}
    through = make_run(tmp_path, name="through", **settings)
    relieve = pressure_from(monkeypatch, room, 10, 70)
    fit(through)
    assert [decision["step"] for decision in decisions(through)] == sorted(
        {decision["step"] for decision in decisions(through)}
    )
    assert decisions(through)[0]["step"] >= 10

    room(None)
    crashed = make_run(tmp_path, name="crashed", **settings)
    fit_until_crash(crashed, monkeypatch, at=18)
    assert [folder.name for folder in checkpoint_folders(crashed.run_dir / "checkpoints")][
        -1
    ] == "step-00000012"
    # back before the decision: the checkpoint of step 12 is lost, and all memory is free again
    for path in (crashed.run_dir / "checkpoints" / "step-00000012").iterdir():
        path.unlink()
    relieve()
    room(None)
    assert decisions(crashed) == decisions(through)
    fit(crashed)
    assert decisions(crashed) == decisions(through)
    assert final_bytes(crashed) == final_bytes(through)
    assert rows_of(crashed) == rows_of(through)
    # and the decision makes a difference: without the journal the bytes are others
    other = make_run(tmp_path, name="other", **settings)
    fit(other)
    assert final_bytes(other) != final_bytes(through)


def test_stopping_between_decisions_changes_nothing(tmp_path, room, monkeypatch):
    settings = {"max_steps": 20, "checkpoint_every": 6}
    through = make_run(tmp_path, name="through", **settings)
    pressure_from(monkeypatch, room, 10, 70)
    fit(through)
    room(None)
    stopped = make_run(tmp_path, name="stopped", stop_asked=stop_at(9, 1, 3), **settings)
    for _ in range(3):
        assert fit(stopped).reason == "stopped"
        room(None)  # or the largest batch would be found not to fit before the step that finds it out here
    fit(stopped)
    assert decisions(stopped) == decisions(through)
    assert final_bytes(stopped) == final_bytes(through)


def test_steps_that_come_anew_after_going_back_keep_what_was_decided(tmp_path):
    journal = tmp_path / "decisions.jsonl"
    journal.write_text(
        '{"step": 812, "returns": 0, "positions": 900}\n{"step": 600, "returns": 1, "positions": 500}\n'
    )
    memory = Memory(journal, print)
    limits = {
        (step, returns): memory.limit(TrainingState(step=step - 1, returns=returns))
        for step in (599, 600, 811, 812)
        for returns in (0, 1, 2)
    }
    assert limits == {
        (599, 0): None, (600, 0): None, (811, 0): None, (812, 0): 900,
        (599, 1): 900, (600, 1): 500, (811, 1): 500, (812, 1): 500,
        (599, 2): 500, (600, 2): 500, (811, 2): 500, (812, 2): 500,
    }  # fmt: skip


def test_a_decision_reaches_the_disk_before_the_update_it_concerns(tmp_path, room, monkeypatch):
    run = make_run(tmp_path, max_steps=3)
    journal = run.run_dir / "decisions.jsonl"
    events = []
    real = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda fd: (events.append(str(Path(f"/proc/self/fd/{fd}").readlink())), real(fd))
    )
    make = fit_module.make_learner

    def listening(run):
        learner = make(run)
        update = learner.optimizer.step
        learner.optimizer.step = lambda: (events.append(f"update {len(decisions(run))}"), update())
        return learner

    monkeypatch.setattr(fit_module, "make_learner", listening)
    monkeypatch.setattr(fit_module, "_try_worst_batch", lambda *args: None)
    room(70)
    fit(run)
    first = events.index(str(journal))
    updates = [(place, event) for place, event in enumerate(events) if event.startswith("update")]
    before = [event for place, event in updates if place < first]
    behind = [event for place, event in updates if place > first]
    assert set(before) <= {"update 0"}
    assert behind
    assert behind[0] == "update 1"


def test_a_journal_that_cannot_be_written_ends_the_run_before_the_update(tmp_path):
    run = make_run(tmp_path)
    learner = make_learner(run)
    before = [parameter.detach().clone() for parameter in learner.model.parameters()]
    memory = Memory(tmp_path / "decisions.jsonl", run.reporter.warn)
    batch = TrainingBatches(run.prepared.train, 200, seed=1).next_batch()
    small = replace(learner, forward=SmallDevice(learner.forward, 70))
    with (
        full_disk(0),
        pytest.raises(CheckpointError, match=r"decisions.jsonl: cannot be written: File too large") as caught,
    ):
        train_step(small, [batch], 1e-2, memory.adder(TrainingState()))
    assert "free some space" in caught.value.hint
    assert all(torch.equal(*pair) for pair in zip(learner.model.parameters(), before, strict=True))


def test_a_line_that_a_crash_cut_short_decided_nothing_and_is_written_over(tmp_path):
    journal = tmp_path / "decisions.jsonl"
    journal.write_text('{"step": 812, "returns": 0, "positions": 900}\n{"step": 8')
    memory = Memory(journal, lambda message: None)
    assert memory.limit(TrainingState(step=900)) == 900
    memory._decide(memory_module.Decision(830, 0, 450))
    assert [json.loads(line)["positions"] for line in journal.read_text().split("\n")[:-1]] == [900, 450]
    assert Memory(journal, print).limit(TrainingState(step=900)) == 450


@pytest.mark.parametrize("line", ["{", "[]", '{"step": 8}', '{"step": 8, "returns": 0, "positions": null}'])
def test_a_damaged_journal_is_named_with_its_line(tmp_path, line):
    journal = tmp_path / "decisions.jsonl"
    journal.write_text(f'{{"step": 812, "returns": 0, "positions": 900}}\n{line}\n')
    with pytest.raises(
        CheckpointError, match=r"decisions.jsonl:2: damaged, expected step, returns"
    ) as caught:
        Memory(journal, print)
    assert "delete it" in caught.value.hint
