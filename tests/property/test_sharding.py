"""A network in parts must learn what a whole one does, leave the same files behind, and end as loudly."""

import hashlib
import json
import os
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from tests.training_runs import make_run, recipe_with, rows_of
from tests.two_ranks import TwoRanks
from tfcli.corpus.batches import TrainingBatches
from tfcli.corpus.initial import Initial
from tfcli.errors import RecipeError, TrainingError
from tfcli.training import fit as fit_module
from tfcli.training import memory, step
from tfcli.training.checkpoint import checkpoint_folders
from tfcli.training.distributed import ALONE
from tfcli.training.fit import fit
from tfcli.training.learner import make_learner, refuse_impossible
from tfcli.training.out_of_memory import OutOfMemory

pytestmark = pytest.mark.slow

SETTINGS = {"max_steps": 20, "checkpoint_every": 5, "validate_every": 10}


@pytest.fixture(scope="module")
def two():
    ranks = TwoRanks()
    yield ranks
    ranks.close()


def make(tmp_path, name, dropout=0.0, ranks=ALONE, **settings):
    run = make_run(tmp_path, name=name, **settings)
    return replace(run, config=replace(run.config, dropout=dropout), ranks=ranks)


def train(ranks, tmp_path, name, dropout, settings, initial=None):
    run = replace(make(tmp_path, name, dropout, ranks, **settings), initial=initial)
    outcome = fit(run)
    return outcome.reason, outcome.step, run.reporter.notes, run.reporter.warnings


def losses(run):
    return [row["loss"] for row in rows_of(run) if row["kind"] == "train"]


def last_checkpoint(run):
    folder = checkpoint_folders(run.run_dir / "checkpoints")[-1]
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def tensors(run, path):
    """Read a file of a run, without the keys' biases: softmax takes no notice of them, so their gradient is rounding."""
    found = load_file(run.run_dir / path)
    width = run.config.d_model
    for name in found:
        if name.endswith("kv.bias"):
            found[name][-2 * width : -width] = 0
    return found


def assert_alike(one, other):
    """Compare the courses of two runs, and all tensors that they leave behind."""
    assert len(losses(one)) == len(losses(other)) > 5
    for row, row_there in zip(rows_of(one), rows_of(other), strict=True):
        assert row.pop("kind") == row_there.pop("kind")
        assert row == pytest.approx(row_there, rel=1e-5)
    names = {path.relative_to(one.run_dir) for path in one.run_dir.rglob("*.safetensors")}
    assert names == {path.relative_to(other.run_dir) for path in other.run_dir.rglob("*.safetensors")}
    for name in sorted(names):
        torch.testing.assert_close(tensors(one, name), tensors(other, name), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {"accumulation_steps": 3, "ema_decay": 0.9, "clip_norm": 0.5, "weight_decay": 0.1},
        {"r_drop": 5.0, "gradient_checkpointing": True, "freeze": ["encoder.0", "decoder.0.feed_forward.up"]},
    ],
    ids=["accumulation-ema-clip", "r_drop-checkpointing-freeze"],
)
def test_ranks_with_parts_learn_what_ranks_with_all_weights_do(two, tmp_path, settings):
    settings = {**SETTINGS, **settings}
    make_run(tmp_path)
    two.run(tmp_path, train, tmp_path, "whole", 0.2, settings)
    two.run(tmp_path, train, tmp_path, "parts", 0.2, {**settings, "sharding": True})
    assert_alike(make(tmp_path, "parts"), make(tmp_path, "whole"))


def test_a_run_goes_on_in_parts_and_as_a_whole_at_any_number_of_ranks(two, tmp_path):
    settings = {**SETTINGS, "accumulation_steps": 3, "ema_decay": 0.9}  # two and one: dealt unevenly
    whole = make(tmp_path, "whole", **settings)
    fit(whole)
    fit(make(tmp_path, "cut", **{**settings, "max_steps": 4}))
    [(_, _, notes, _), _] = two.run(
        tmp_path, train, tmp_path, "cut", 0.0, {**settings, "max_steps": 9, "sharding": True}
    )
    assert "changed since the run was started: training.sharding: False -> True" in notes
    two.run(tmp_path, train, tmp_path, "cut", 0.0, {**settings, "max_steps": 14})
    two.run(tmp_path, train, tmp_path, "cut", 0.0, {**settings, "max_steps": 18, "sharding": True})
    again = make(tmp_path, "cut", **settings, sharding=True)
    fit(again)
    assert any(
        note.startswith("training.sharding does nothing: there is one") for note in again.reporter.notes
    )
    assert losses(again) == pytest.approx(losses(whole), rel=1e-5)
    for name in ("model", "optimizer", "ema"):
        path = f"checkpoints/step-00000020/{name}.safetensors"
        torch.testing.assert_close(tensors(again, path), tensors(whole, path), rtol=1e-4, atol=1e-6)


def test_parts_of_the_weights_of_another_model_are_begun_with(two, tmp_path):
    first = make(tmp_path, "first", max_steps=4)
    fit(first)
    weights = first.run_dir / "best" / "model.safetensors"
    initial = Initial(str(weights.parent), hashlib.sha256(weights.read_bytes()).hexdigest(), {})
    settings = {"max_steps": 6, "ema_decay": 0.9}
    two.run(tmp_path, train, tmp_path, "whole", 0.0, settings, initial)
    two.run(tmp_path, train, tmp_path, "parts", 0.0, {**settings, "sharding": True}, initial)
    assert losses(make(tmp_path, "whole"))[0] < losses(first)[0] - 0.1
    assert_alike(make(tmp_path, "parts"), make(tmp_path, "whole"))


def test_a_rank_without_a_batch_takes_part(two, tmp_path):
    whole = make(tmp_path, "whole", max_steps=6)
    fit(whole)
    fit(make(tmp_path, "cut", max_steps=2))
    two.run(tmp_path, train, tmp_path, "cut", 0.0, {"max_steps": 6, "sharding": True})
    assert losses(make(tmp_path, "cut")) == pytest.approx(losses(whole), rel=1e-5)


def test_batches_in_different_numbers_of_parts_are_met_by_as_many_passes(two, tmp_path):
    make_run(tmp_path)
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
        decision = {"step": 3, "returns": 0, "positions": 80}
        (tmp_path / name / "decisions.jsonl").write_text(json.dumps(decision) + "\n")
    two.run(tmp_path, train, tmp_path, "whole", 0.2, SETTINGS)
    two.run(tmp_path, train, tmp_path, "parts", 0.2, {**SETTINGS, "sharding": True})
    assert_alike(make(tmp_path, "parts"), make(tmp_path, "whole"))


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


def test_ranks_with_parts_that_were_lost_and_resume_end_with_the_same_bits(two, tmp_path):
    make_run(tmp_path)
    settings = {**SETTINGS, "sharding": True, "ema_decay": 0.9}
    two.run(tmp_path, train, tmp_path, "through", 0.2, settings)
    [(_, _, notes, _), _] = two.run(tmp_path, crash_and_train, tmp_path, "crashed", settings)
    through, crashed = make(tmp_path, "through"), make(tmp_path, "crashed")
    assert f"resuming from {crashed.run_dir}/checkpoints/step-00000005" in notes
    assert last_checkpoint(crashed) == last_checkpoint(through)
    assert rows_of(crashed) == rows_of(through)


def poisoned(ranks, tmp_path, name, bad, settings):
    real = step.batch_loss

    def poison(learner, batch, *args):
        loss, nll = real(learner, batch, *args)
        return (loss * float("nan") if batch.position in bad else loss), nll

    step.batch_loss = poison
    try:
        return train(ranks, tmp_path, name, 0.2, settings)
    finally:
        step.batch_loss = real


def test_ranks_with_parts_go_back_together(two, tmp_path):
    run = make_run(tmp_path)
    batches = TrainingBatches(run.prepared.train, 64, run.recipe.seed)
    places = [batches.next_batch().position for _ in range(32)]
    bad = set(places[11::2][:10])  # those of rank 1, in steps 6 to 15
    settings = {"max_steps": 16, "checkpoint_every": 4, "validate_every": 16}
    two.run(tmp_path, poisoned, tmp_path, "whole", bad, settings)
    first, second = two.run(tmp_path, poisoned, tmp_path, "parts", bad, {**settings, "sharding": True})
    assert "going back to" in first[3][-1]
    assert first[:2] == second[:2] == ("finished", 16)
    assert_alike(make(tmp_path, "parts"), make(tmp_path, "whole"))


def parts_of_learner(ranks, tmp_path):
    learner = make_learner(make(tmp_path, "run", ranks=ranks, sharding=True, ema_decay=0.9))
    here = [p.to_local().numel() for m in (learner.model, learner.ema.model) for p in m.parameters()]
    return sum(here), 2 * sum(p.numel() for p in learner.model.parameters())


def test_each_rank_holds_about_half_of_the_weights_and_of_their_average(two, tmp_path):
    make_run(tmp_path)
    (here, of), (there, _) = two.run(tmp_path, parts_of_learner, tmp_path)
    assert here + there == of
    assert here == pytest.approx(there, rel=0.05)


def train_in_little_memory(ranks, tmp_path, settings):
    real, calls = memory.add_gradients, iter(range(100))

    def poor(learner, batches, tokens):
        if ranks.rank == 1 and next(calls) == 4:
            raise OutOfMemory(batches[0])
        return real(learner, batches, tokens)

    memory.add_gradients = poor
    try:
        return train(ranks, tmp_path, "run", 0.0, settings)
    finally:
        memory.add_gradients = real


def test_memory_that_runs_out_ends_all_and_tells_what_to_do(two, tmp_path):
    make_run(tmp_path)
    first, second = two.run(tmp_path, train_in_little_memory, tmp_path, {"sharding": True}, patience=4.0)
    assert isinstance(first, TrainingError)
    assert (
        first.message == "rank 1 of 2 has not answered for 4 s"
    )  # as a process of its own, it would have ended
    assert isinstance(second, TrainingError)
    assert second.message.startswith("out of memory with a batch of ")
    assert "training.gradient_checkpointing" in second.hint


def die_in_the_backward_pass(ranks, tmp_path):
    real, calls = step.batch_loss, iter(range(100))

    def dying(*args):
        if ranks.rank == 1 and next(calls) == 3:
            os._exit(9)
        return real(*args)

    step.batch_loss = dying
    return train(ranks, tmp_path, "run", 0.0, {"sharding": True})


def test_a_rank_that_dies_in_the_middle_of_a_pass_is_named(tmp_path):
    make_run(tmp_path)
    ranks = TwoRanks()
    try:
        ranks.start(tmp_path, die_in_the_backward_pass, tmp_path, patience=100.0)
        error = ranks.result(0)
        assert isinstance(error, TrainingError)
        assert error.message == "rank 1 of 2 has ended"
    finally:
        ranks.close()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "muon"}, "training.sharding: muon needs whole matrices"),
        ({"compile": True}, "training.sharding: a sharded network is not compiled"),
    ],
)
def test_what_cannot_be_sharded_is_refused_with_the_recipe(settings, message):
    with pytest.raises(RecipeError, match=message):
        recipe_with(sharding=True, **settings)


def test_an_output_matrix_that_is_all_there_is_to_train_is_refused():
    names = ["src_embedding", "tgt_embedding", "encoder", "decoder", "encoder_norm", "decoder_norm"]
    recipe = recipe_with(sharding=True, freeze=names)
    untied = replace_model(recipe, tie_embeddings="none")
    with pytest.raises(RecipeError, match="nothing but the output matrix is trained"):
        refuse_impossible(untied)
    refuse_impossible(replace_model(untied, training={"freeze": names[:-1]}))


def replace_model(recipe, training=None, **model):
    values = {"model": recipe.model.model_copy(update=model)}
    if training is not None:
        values["training"] = recipe.training.model_copy(update=training)
    return recipe.model_copy(update=values)
