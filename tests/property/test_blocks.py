"""Blocks of running text: each piece once an epoch, the same order from wherever it is taken up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfcli.corpus.batches import Position, random_keys
from tfcli.corpus.blocks import BlockBatches, fixed_blocks, permuted, worst_blocks
from tfcli.corpus.stream import TextIds, write_stream
from tfcli.errors import CheckpointError
from tfcli.text.tokenizer import Tokenizer

SIZES = st.tuples(st.integers(1, 9), st.integers(0, 60)).map(lambda pair: (pair[0], pair[0] + pair[1]))


def text(size, context):
    return TextIds(np.arange(100, 100 + size, dtype=np.uint16), context)


def epoch_of(ds, budget, seed, epoch):
    batches = BlockBatches(ds, budget, seed, Position(epoch))
    found = []
    while batches.position.epoch == epoch:
        found.append(batches.next_batch())
    return found


@given(st.integers(1, 700), st.integers(0, 9))
def test_a_permutation_has_every_number_once(size, seed):
    assert sorted(permuted(np.arange(size), size, random_keys(6, seed)).tolist()) == list(range(size))


def test_a_permutation_is_another_one_with_other_keys_and_leaves_nothing_in_order():
    orders = [permuted(np.arange(1000), 1000, random_keys(6, seed)) for seed in range(20)]
    assert len({tuple(order.tolist()) for order in orders}) == 20
    for order in orders:
        assert abs(np.corrcoef(order, np.arange(1000))[0, 1]) < 0.12
        assert np.mean(np.diff(order) == 1) < 0.01


@given(SIZES, st.integers(1, 40), st.integers(0, 5), st.integers(0, 3))
def test_an_epoch_has_each_piece_once_but_for_less_than_a_block_at_both_ends(sizes, budget, seed, epoch):
    context, size = sizes
    batches = epoch_of(text(size, context), budget, seed, epoch)
    seen = np.sort(np.concatenate([batch.tgt_out.ravel() for batch in batches]))
    assert np.array_equal(seen, np.arange(seen[0], seen[-1] + 1))
    assert seen[0] - 100 < context
    assert 100 + size - 1 - seen[-1] < context
    for batch in batches:
        assert batch.tgt_out.shape[1] == context
        assert batch.tgt_out.size <= max(budget, context)
        assert batch.n_tokens == batch.tgt_out.size
        assert np.array_equal(batch.tgt_out[:, 0], batch.indices + 100)
        assert (batch.tgt_in[:, 0] == Tokenizer.bos_id).all()
        assert np.array_equal(batch.tgt_in[:, 1:], batch.tgt_out[:, :-1])
        assert batch.src.shape == (len(batch.indices), 0)


@given(SIZES, st.integers(1, 40), st.integers(0, 5), st.integers(0, 40))
def test_the_order_goes_on_the_same_wherever_it_is_taken_up(sizes, budget, seed, skip):
    context, size = sizes
    uninterrupted = BlockBatches(text(size, context), budget, seed)
    skipping = BlockBatches(text(size, context), budget, seed)
    for _ in range(skip):
        uninterrupted.next_batch()
        skipping.skip_batch()
    resumed = BlockBatches(text(size, context), budget, seed, uninterrupted.position)
    for _ in range(5):
        expected = uninterrupted.next_batch()
        for other in (resumed.next_batch(), skipping.next_batch()):
            assert other.position == expected.position
            assert np.array_equal(other.tgt_out, expected.tgt_out)


def test_another_epoch_cuts_the_text_at_other_places():
    starts = {int(epoch_of(text(500, 50), 50, 1, epoch)[0].indices[0]) % 50 for epoch in range(30)}
    assert len(starts) > 15


def test_a_text_without_a_block_and_a_position_behind_the_end_are_refused():
    with pytest.raises(ValueError, match="no block"):
        BlockBatches(text(9, 10), 64, 1)
    with pytest.raises(ValueError, match="behind the end"):
        BlockBatches(text(100, 10), 64, 1, Position(0, 2))


@given(SIZES, st.integers(1, 40))
def test_validation_has_each_piece_once_in_its_order(sizes, budget):
    context, size = sizes
    batches = list(fixed_blocks(text(size, context), budget))
    assert np.array_equal(
        np.concatenate([batch.tgt_out.ravel() for batch in batches]), text(size, context).ids
    )
    assert all((batch.tgt_in[:, 0] == Tokenizer.bos_id).all() for batch in batches)


@given(SIZES, st.integers(1, 40))
def test_no_batch_is_larger_than_the_one_that_is_tried_first(sizes, budget):
    context, size = sizes
    largest = max(batch.tgt_out.size for batch in epoch_of(text(size, context), budget, 1, 0))
    assert worst_blocks(text(size, context), budget).tgt_out.size >= largest


@pytest.mark.parametrize(("vocab_size", "dtype"), [(300, "uint16"), (70_000, "uint32")])
def test_a_stream_is_mapped_as_it_was_written(tmp_path, vocab_size, dtype):
    parts = [np.array([5, 299]), np.array([], dtype=np.int64), np.array([7])]
    assert write_stream(tmp_path, parts, vocab_size) == 3
    ids = TextIds.open(tmp_path, 2)
    assert (ids.ids.dtype, ids.ids.tolist(), len(ids)) == (np.dtype(dtype), [5, 299, 7], 3)


def test_a_stream_of_another_size_or_without_meta_is_refused(tmp_path):
    write_stream(tmp_path, [np.array([5, 6])], 300)
    (tmp_path / "text.ids").write_bytes(b"123")
    with pytest.raises(CheckpointError, match="damaged encoded text"):
        TextIds.open(tmp_path, 2)
    (tmp_path / "meta.json").unlink()
    with pytest.raises(CheckpointError, match="no complete encoded text"):
        TextIds.open(tmp_path, 2)
