"""Two ranks must learn what one process learns, decide alike, survive alike, and tell who is missing."""

import json
import math
import os
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training_runs import make_run, rows_of
from tests.two_ranks import TwoRanks
from tfcli.corpus.batches import Position, TrainingBatches
from tfcli.errors import RecipeError, TrainingError
from tfcli.training import distributed, memory, step
from tfcli.training import fit as fit_module
from tfcli.training.checkpoint import checkpoint_folders
from tfcli.training.distributed import ALONE, FirstRankError, Ranks, deal
from tfcli.training.fit import fit
from tfcli.training.learner import make_learner
from tfcli.training.out_of_memory import OutOfMemory

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def two():
    ranks = TwoRanks()
    yield ranks
    ranks.close()


def make(tmp_path, name, dropout=0.2, ranks=ALONE, **settings):
    run = make_run(tmp_path, name=name, **settings)
    return replace(run, config=replace(run.config, dropout=dropout), ranks=ranks)


def train(ranks, tmp_path, name, dropout, settings):
    """Train one run on all ranks; return what this one said and the weights that it has in the end."""
    learners, real = [], fit_module.make_learner
    fit_module.make_learner = lambda run: learners.append(real(run)) or learners[-1]
    try:
        run = make(tmp_path, name, dropout, ranks, **settings)
        outcome = fit(run)
    finally:
        fit_module.make_learner = real
    return outcome.reason, outcome.step, run.reporter.notes, run.reporter.warnings, weights(learners[-1])


def weights(learner):
    return torch.cat([p.detach().flatten() for p in learner.model.parameters()]).numpy()


def last_checkpoint(run):
    folder = checkpoint_folders(run.run_dir / "checkpoints")[-1]
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def losses(run):
    return [row["loss"] for row in rows_of(run) if row["kind"] == "train"]


SETTINGS = {"max_steps": 20, "checkpoint_every": 5, "validate_every": 10}


def test_two_ranks_with_four_batches_each_learn_what_one_does_with_eight(two, tmp_path):
    one = make(tmp_path, "one", dropout=0.0, accumulation_steps=8, **SETTINGS)
    fit(one)
    both = two.run(tmp_path, train, tmp_path, "two", 0.0, {"accumulation_steps": 4, **SETTINGS})
    together = make(tmp_path, "two", dropout=0.0, accumulation_steps=4, **SETTINGS)
    assert len(losses(one)) == 20
    assert losses(together) == pytest.approx(losses(one), rel=1e-5)
    assert [row["tokens"] for row in rows_of(together) if row["kind"] == "train"] == [
        row["tokens"] for row in rows_of(one) if row["kind"] == "train"
    ]
    assert np.array_equal(both[0][4], both[1][4])
    assert rows_of(together)[-1]["kind"] == "average"


@pytest.mark.parametrize("settings", [{}, {"optimizer": "muon", "ema_decay": 0.9}], ids=["adamw", "muon-ema"])
def test_a_run_goes_on_at_another_number_of_ranks_with_as_many_batches_an_update(two, tmp_path, settings):
    settings = {**SETTINGS, "accumulation_steps": 3, **settings}  # two and one: dealt unevenly
    whole = make(tmp_path, "whole", dropout=0.0, **settings)
    fit(whole)
    fit(make(tmp_path, "cut", dropout=0.0, **{**settings, "max_steps": 5}))
    _, (_, _, notes, _, _) = both = two.run(
        tmp_path, train, tmp_path, "cut", 0.0, {**settings, "max_steps": 15}
    )
    assert any(note.startswith("2 ranks, 1 before: an update still learns from 3 batches,") for note in notes)
    assert np.array_equal(both[0][4], both[1][4])
    again = make(tmp_path, "cut", dropout=0.0, **settings)
    fit(again)
    assert any(note.startswith("1 rank, 2 before: an update still learns") for note in again.reporter.notes)
    assert losses(again) == pytest.approx(losses(whole), rel=1e-5)


def test_a_rank_without_a_batch_takes_part(two, tmp_path):
    whole = make(tmp_path, "whole", dropout=0.0, max_steps=6)
    fit(whole)
    fit(make(tmp_path, "cut", dropout=0.0, max_steps=2))
    two.run(tmp_path, train, tmp_path, "cut", 0.0, {"max_steps": 6})
    assert losses(make(tmp_path, "cut")) == pytest.approx(losses(whole), rel=1e-5)


def crash_and_train(ranks, tmp_path, name, settings):
    """Lose everything in the middle of step 8, then train again."""
    real, steps = fit_module.train_step, iter(range(100))

    def crashing(*args):
        if next(steps) == 7:
            raise KeyboardInterrupt
        return real(*args)

    fit_module.train_step = crashing
    try:
        train(ranks, tmp_path, name, 0.2, settings)
    except KeyboardInterrupt:
        pass
    finally:
        fit_module.train_step = real
    return train(ranks, tmp_path, name, 0.2, settings)


def test_two_ranks_that_were_lost_and_resume_end_with_the_same_bits(two, tmp_path):
    make_run(tmp_path)
    two.run(tmp_path, train, tmp_path, "through", 0.2, SETTINGS)
    [(_, _, notes, _, _), _] = two.run(tmp_path, crash_and_train, tmp_path, "crashed", SETTINGS)
    through, crashed = make(tmp_path, "through"), make(tmp_path, "crashed")
    assert notes[0] == f"resuming from {crashed.run_dir}/checkpoints/step-00000005"
    assert last_checkpoint(crashed) == last_checkpoint(
        through
    )  # the random states of both ranks are among it
    assert rows_of(crashed) == rows_of(through)


def begin(ranks, tmp_path):
    learner = make_learner(make(tmp_path, "run", ranks=ranks))
    return weights(learner), torch.rand(4).tolist()


def test_ranks_begin_with_the_same_weights_and_draw_dropout_of_their_own(two, tmp_path):
    make_run(tmp_path)
    (one, drawn), (other, drawn_there) = two.run(tmp_path, begin, tmp_path)
    assert np.array_equal(one, other)
    assert not set(drawn) & set(drawn_there)
    learner = make_learner(make(tmp_path, "run"))
    assert np.array_equal(weights(learner), one)
    assert torch.rand(4).tolist() == drawn  # the first rank draws as a single process does


def stop_at_third(ranks, tmp_path, stopping_rank):
    asked = iter([False, False, True])
    run = make(tmp_path, "run", ranks=ranks)
    run = replace(run, stop_asked=lambda: next(asked) and ranks.rank == stopping_rank)
    outcome = fit(run)
    return outcome.reason, outcome.step


def test_one_rank_that_is_asked_to_stop_stops_all_at_the_same_step(two, tmp_path):
    make_run(tmp_path)
    assert two.run(tmp_path, stop_at_third, tmp_path, 1) == [("stopped", 3), ("stopped", 3)]
    assert checkpoint_folders(tmp_path / "run" / "checkpoints")[-1].name == "step-00000003"


def train_poisoned(ranks, tmp_path, positions, settings):
    real = step.batch_loss

    def poisoned(learner, batch, *args):
        loss, nll = real(learner, batch, *args)
        return (loss * math.nan if batch.position in positions else loss), nll

    step.batch_loss = poisoned
    try:
        return train(ranks, tmp_path, "run", 0.2, settings)
    finally:
        step.batch_loss = real


def test_a_batch_that_is_not_finite_on_one_rank_is_named_once_and_skipped_by_all(two, tmp_path):
    run = make_run(tmp_path)
    batches = TrainingBatches(run.prepared.train, 64, run.recipe.seed)
    bad = [batches.next_batch() for _ in range(6)][5]  # the second of step 3, so rank 1 has it
    first, second = two.run(tmp_path, train_poisoned, tmp_path, {bad.position}, {"max_steps": 6})
    [warning] = first[3]
    assert warning.startswith(
        "step 3: loss or gradient is not finite; the update was skipped (epoch 1, batch 6: "
    )
    assert ";" not in warning.partition("(")[2].partition("pairs of")[0].removesuffix("; ")
    assert np.array_equal(first[4], second[4])
    assert np.isfinite(first[4]).all()


def test_all_ranks_go_back_together(two, tmp_path):
    run = make_run(tmp_path)
    batches = TrainingBatches(run.prepared.train, 64, run.recipe.seed)
    places = [batches.next_batch().position for _ in range(32)]
    bad = set(places[11::2][:10])  # those of rank 1, in steps 6 to 15
    settings = {"max_steps": 16, "checkpoint_every": 4, "validate_every": 16}
    first, second = two.run(tmp_path, train_poisoned, tmp_path, bad, settings)
    assert "going back to" in first[3][-1]
    assert first[:2] == second[:2] == ("finished", 16)
    assert np.array_equal(first[4], second[4])


def train_in_little_memory(ranks, tmp_path, poor_rank, settings):
    real = memory.add_gradients

    def poor(learner, batches, tokens):
        for batch in batches:
            if ranks.rank == poor_rank and memory.positions(batch) > 80:
                raise OutOfMemory(batch)
        return real(learner, batches, tokens)

    memory.add_gradients = poor
    try:
        return train(ranks, tmp_path, "run", 0.0, settings)
    finally:
        memory.add_gradients = real


def test_memory_that_runs_out_on_one_rank_cuts_the_batches_of_all(two, tmp_path):
    one = make(tmp_path, "one", dropout=0.0, accumulation_steps=2, **SETTINGS)
    fit(one)
    first, second = two.run(tmp_path, train_in_little_memory, tmp_path, 1, SETTINGS)
    assert np.array_equal(first[4], second[4])
    run = make(tmp_path, "run")
    assert losses(run) == pytest.approx(losses(one), rel=1e-5)
    lines = (run.run_dir / "decisions.jsonl").read_text().split("\n")[:-1]
    assert len(lines) == len(first[3]) == 1
    assert json.loads(lines[0])["positions"] <= 80
    # the other rank knows as well: with all the memory in the world, the first one alone computes the same
    again = two.run(tmp_path, train, tmp_path, "run", 0.0, {**SETTINGS, "max_steps": 25})
    assert np.array_equal(again[0][4], again[1][4])


def rank_with_other_settings(ranks, tmp_path):
    return train(ranks, tmp_path, "run", 0.2, {"learning_rate": 1e-2 if ranks.is_first else 2e-2})


def test_ranks_with_different_settings_are_refused(two, tmp_path):
    make_run(tmp_path)
    for error in two.run(tmp_path, rank_with_other_settings, tmp_path):
        assert isinstance(error, RecipeError)
        assert "the ranks were started with different settings" in error.message


def validate_with(ranks, tmp_path, validate):
    run = replace(
        make(tmp_path, "run", ranks=ranks, max_steps=4, average_checkpoints=False), validate=validate
    )
    return fit(run).best_score


def slow_validation(model):
    time.sleep(2.5)
    return 12.5


def failing_validation(model):
    raise TrainingError("out of luck")


def test_a_validation_may_take_longer_than_ranks_wait_for_each_other(two, tmp_path):
    make_run(tmp_path)
    assert two.run(tmp_path, validate_with, tmp_path, slow_validation, patience=1.5) == [12.5, 12.5]


def test_where_the_first_rank_fails_the_others_end_with_its_exit_code_and_say_nothing(two, tmp_path):
    make_run(tmp_path)
    first, second = two.run(tmp_path, validate_with, tmp_path, failing_validation)
    assert first.message == "out of luck"
    assert isinstance(second, FirstRankError)
    assert (second.message, second.exit_code) == ("", 5)


def sleep_in_third_step(ranks, tmp_path, seconds):
    real, steps = fit_module.train_step, iter(range(100))

    def slow(*args):
        if ranks.rank == 1 and next(steps) == 2:
            if seconds is None:
                os._exit(9)
            time.sleep(seconds)
        return real(*args)

    fit_module.train_step = slow
    try:
        return train(ranks, tmp_path, "run", 0.2, {})
    finally:
        fit_module.train_step = real


def test_a_rank_that_lags_is_named_and_ends_all(two, tmp_path):
    make_run(tmp_path)
    first, second = two.run(tmp_path, sleep_in_third_step, tmp_path, 7, patience=2.0)
    assert isinstance(first, TrainingError)
    assert first.message == "rank 1 of 2 has not answered for 2 s"
    assert "goes on from the last checkpoint" in first.hint
    assert isinstance(second, TrainingError)


def test_a_rank_that_dies_is_named_and_ends_all(tmp_path):
    make_run(tmp_path)
    ranks = TwoRanks()
    try:
        start_time = time.monotonic()
        ranks.start(tmp_path, sleep_in_third_step, tmp_path, None, patience=100.0)
        error = ranks.result(0)
        assert time.monotonic() - start_time < 60
        assert isinstance(error, TrainingError)
        assert error.message == "rank 1 of 2 has ended"
    finally:
        ranks.close()


def test_a_rank_that_does_not_come_is_named(tmp_path):
    store = torch.distributed.FileStore(str(tmp_path / "store"), 3)
    store.set("came/1", "of a rank that has been gone for long")
    for rank, absent in ((0, "ranks 1, 2 of 3"), (2, "rank 0 of 3")):
        with pytest.raises(TrainingError, match=f"{absent} did not come within 0 s"):
            distributed.join(rank, 3, torch.device("cpu"), store, 0.2)


def test_batches_are_dealt_in_turn_and_every_rank_ends_at_the_same_place(tmp_path):
    run = make_run(tmp_path)

    def new():
        return TrainingBatches(run.prepared.train, 64, 1)

    whole = new()
    order = [whole.next_batch().position for _ in range(40)]
    for size in (1, 2, 3, 7):
        for rank in range(size):
            batches = new()
            dealt = [[b.position for b in deal(batches, 5, Ranks(rank, size))] for _ in range(8)]
            assert dealt == [order[start : start + 5][rank::size] for start in range(0, 40, 5)]
            assert batches.position == whole.position
    assert max(order, key=lambda place: place.epoch) != Position()


def test_buckets_hold_every_gradient_once_in_order(monkeypatch):
    monkeypatch.setattr(distributed, "BUCKET_ELEMENTS", 10)
    gradients = [torch.zeros(n) for n in (4, 6, 1, 25, 3, 3)]
    buckets = list(distributed._buckets(gradients))
    assert [[g.numel() for g in bucket] for bucket in buckets] == [[4, 6], [1], [25], [3, 3]]
    assert list(distributed._buckets([])) == []
