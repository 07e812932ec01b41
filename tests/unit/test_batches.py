"""What a batch holds, the batch that is tried first, and those of validation."""

import numpy as np
import pytest

from tfcli.corpus import batches as module
from tfcli.corpus.batches import Position, TrainingBatches, collate, fixed_batches, worst_batch
from tfcli.corpus.shards import IdBlock, IdColumn, ParallelIds, id_dtype


def corpus(src_lengths, tgt_lengths):
    """Pairs of the given lengths, end marks included; the first id of each tells the pair."""

    def column(lengths):
        sentences = [[*(10 + i + j for j in range(length - 1)), 3] for i, length in enumerate(lengths)]
        block = IdBlock.of(sentences, id_dtype(1 << 17))
        return IdColumn(block.ids, np.cumsum([0, *lengths]), block.lengths)

    return ParallelIds(column(src_lengths), column(tgt_lengths))


def test_a_batch_is_padded_on_the_right_and_its_target_is_shifted():
    batch = collate(corpus([3, 1, 2], [2, 4, 1]), np.array([2, 0, 1]))
    assert batch.src.tolist() == [[12, 3, 0], [10, 11, 3], [3, 0, 0]]
    assert batch.tgt_out.tolist() == [[3, 0, 0, 0], [10, 3, 0, 0], [11, 12, 13, 3]]
    assert batch.tgt_in.tolist() == [[2, 0, 0, 0], [2, 10, 0, 0], [2, 11, 12, 13]]
    assert batch.indices.tolist() == [2, 0, 1]
    assert batch.n_tokens == 1 + 2 + 4
    assert {array.dtype for array in (batch.src, batch.tgt_in, batch.tgt_out)} == {np.dtype(np.int64)}


def test_ids_of_two_bytes_do_not_overflow_in_a_batch():
    block = IdBlock(np.array([65_535, 3], dtype="<u2"), np.array([2], dtype=np.int32))
    ds = ParallelIds(*(IdColumn(block.ids, np.array([0, 2]), block.lengths) for _ in range(2)))
    assert collate(ds, np.array([0])).src.tolist() == [[65_535, 3]]


def test_a_pair_longer_than_the_budget_is_a_batch_of_its_own():
    ds = corpus([2, 90, 2, 2], [2, 2, 80, 2])
    sizes = [len(batch.indices) for batch in fixed_batches(ds, 64)]
    assert sizes == [2, 1, 1]
    training = TrainingBatches(ds, 64, seed=1)
    assert sorted(len(training.next_batch().indices) for _ in range(3)) == [1, 1, 2]
    assert training.position == Position(1, 0)


def test_validation_goes_from_short_to_long_in_one_order():
    ds = corpus([5, 2, 9, 2, 7], [3, 2, 4, 1, 8])
    batches = list(fixed_batches(ds, 18))
    assert [batch.indices.tolist() for batch in batches] == [[1, 3, 0], [4, 2]]
    assert list(fixed_batches(corpus([], []), 64)) == []


def test_the_worst_batch_has_the_most_padded_positions():
    rng = np.random.default_rng(1)
    ds = corpus(rng.integers(1, 60, 500), rng.integers(1, 60, 500))

    def size(batch):
        return batch.src.size + batch.tgt_out.size

    worst = worst_batch(ds, 256)
    assert size(worst) == max(size(batch) for batch in fixed_batches(ds, 256))
    assert worst.indices.tolist() == worst_batch(ds, 256).indices.tolist()
    both_long_or_one = corpus([10, 10, 10, 10], [10, 10, 1, 1])
    assert sorted(worst_batch(both_long_or_one, 20).indices.tolist()) == [0, 1]
    long_pair = worst_batch(corpus([2, 900, 3], [2, 4, 3]), 64)
    assert long_pair.indices.tolist() == [1]


def test_the_worst_batch_is_found_in_any_part_of_a_corpus_larger_than_a_pool(monkeypatch):
    monkeypatch.setattr(module, "POOL_PAIRS", 4)
    ds = corpus([2, 2, 2, 2, 2, 40, 2, 2, 2, 2], [2] * 10)
    assert worst_batch(ds, 32).indices.tolist() == [5]


def test_of_a_large_corpus_a_few_pools_are_cut_and_no_longest_pair_is_missed(monkeypatch):
    monkeypatch.setattr(module, "POOL_PAIRS", 4)
    cut = module._cut_by_length
    sizes = []
    monkeypatch.setattr(
        module,
        "_cut_by_length",
        lambda ds, pairs, *rest: (sizes.append(len(pairs)), cut(ds, pairs, *rest))[1],
    )
    for place in range(80):
        lengths = [2] * 80
        lengths[place] = 40
        assert worst_batch(corpus(lengths, [2] * 80), 10).indices.tolist() == [place]
    assert sizes[:5] == [4, 4, 4, 4, 20]
    assert len(sizes) == 80 * 5


def test_a_position_behind_the_end_of_an_epoch_is_a_mistake():
    with pytest.raises(ValueError, match="behind the end"):
        TrainingBatches(corpus([2, 2], [2, 2]), 64, 1, Position(0, 5))
    with pytest.raises(ValueError, match="no pairs"):
        TrainingBatches(corpus([], []), 64, 1)


def test_batches_hold_sentences_of_like_length():
    rng = np.random.default_rng(2)
    ds = corpus(rng.integers(1, 100, 5000), rng.integers(1, 100, 5000))
    training = TrainingBatches(ds, 1024, seed=3)
    padded = tokens = 0
    while training.position.epoch == 0:
        batch = training.next_batch()
        longer = np.maximum(ds.src_lengths, ds.tgt_lengths)[batch.indices]
        padded += longer.max() * len(longer)
        tokens += longer.sum()
    assert tokens / padded > 0.95
