"""What must hold for packed batches on their way into the network: neither kernel nor filling changes what is learnt."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.training_runs import make_run
from tfcli.corpus.batches import TrainingBatches
from tfcli.model.varlen import VarlenPacking
from tfcli.training.learner import make_learner
from tfcli.training.packer import Fill
from tfcli.training.step import batch_loss, train_step

BATCH_TOKENS = 200


@pytest.fixture
def learner_with(tmp_path):
    """Return a function that makes a learner which packs in one of three ways, with the same weights."""
    run = make_run(tmp_path, batch_tokens=BATCH_TOKENS)
    lengths = run.prepared.train.src_lengths, run.prepared.train.tgt_lengths
    longest = int(max(each.max() for each in lengths))

    def make(how, **changes):
        learner = make_learner(replace(run, config=replace(run.config, dropout=0.0, **changes)))
        fill = Fill(BATCH_TOKENS, longest) if how == "filled" else None
        packer = replace(learner.packer, varlen=how != "spread", fill=fill)
        return replace(learner, packer=packer), TrainingBatches(run.prepared.train, BATCH_TOKENS, seed=1)

    return make


def loss_and_gradients(learner, batch, r_drop=None):
    loss, nll = batch_loss(learner, batch, 0.1, r_drop)
    loss.backward()
    gradients = [parameter.grad for parameter in learner.model.parameters()]
    learner.optimizer.zero_grad()
    return loss.detach(), nll, gradients


MODERN = {"norm_kind": "rms", "activation": "swiglu", "qk_norm": True, "bias": False, "n_kv_heads": 1}
KINDS = [*({"positions": kind} for kind in ("sinusoidal", "learned", "rotary")), MODERN]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["varlen", "filled"])
def test_neither_the_kernel_nor_filling_changes_losses_or_gradients(learner_with, how, kind):
    plain, batches = learner_with("spread", **kind)
    other, _ = learner_with(how, **kind)
    filled = 0
    for _ in range(6):
        batch = batches.next_batch()
        torch.testing.assert_close(loss_and_gradients(other, batch), loss_and_gradients(plain, batch))
        src, tgt_in, *_, gold = other.packer.pack(batch)
        assert len(gold) == batch.n_tokens
        filled += len(tgt_in) > len(gold)
        if how == "filled" and len(tgt_in) > len(gold):
            assert len(src) == len(tgt_in) == other.packer.fill.size
    assert (filled > 0) == (how == "filled")


def test_neither_does_filling_behind_two_passes(learner_with):
    plain, batches = learner_with("spread")
    other, _ = learner_with("filled")
    other = replace(other, packer=replace(other.packer, fill=Fill(2 * BATCH_TOKENS, 9)))
    batch = batches.next_batch()
    torch.testing.assert_close(loss_and_gradients(other, batch, 5.0), loss_and_gradients(plain, batch, 5.0))


def test_a_step_counts_and_learns_the_same_with_filled_batches(learner_with):
    (plain, batches), (other, _) = learner_with("spread"), learner_with("filled")
    for _ in range(3):
        batch = batches.next_batch()
        expected, found = train_step(plain, [batch], 1e-3), train_step(other, [batch], 1e-3)
        assert found.tokens == expected.tokens == batch.n_tokens
        assert found.updated
        assert found.loss == pytest.approx(expected.loss, rel=1e-5)
        assert found.gradient_norm == pytest.approx(expected.gradient_norm, rel=1e-4)


@given(
    pieces=st.integers(2, 5000),
    longest=st.integers(2, 300),
    shares=st.tuples(st.floats(0.0, 1.0), st.floats(0.67, 1.0)),
)
def test_the_filling_makes_every_batch_as_long_with_no_query_that_lacks_a_key(pieces, longest, shares):
    fill = Fill(pieces, longest)
    src_pieces, tgt_pieces = (max(1, round(share * pieces)) for share in shares)
    lengths = fill.lengths(src_pieces, tgt_pieces)
    if lengths is None:
        assert 3 * max(src_pieces, tgt_pieces) < 2 * pieces
        return
    for filling, real in zip(lengths, (src_pieces, tgt_pieces), strict=True):
        assert real + filling.sum() == fill.size
        assert filling.min() >= 1
        assert filling.max() <= longest
    assert len(lengths[0]) == len(lengths[1])


def test_what_is_larger_than_a_batch_or_a_small_part_of_one_is_not_filled():
    fill = Fill(1000, 50)
    assert fill.lengths(1001, 900) is None
    assert fill.lengths(600, 600) is None
    assert fill.lengths(100, 700) is not None


def test_offsets_and_positions_say_where_sentences_begin():
    packing = VarlenPacking.of(np.array([2, 0, 3]), 4, torch.device("cpu"))
    assert packing.offsets.tolist() == [0, 2, 2, 5]
    assert packing.offsets.dtype == torch.int32
    assert packing.positions.tolist() == [0, 1, 0, 1, 2]
