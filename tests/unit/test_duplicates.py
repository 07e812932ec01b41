"""A pair is a duplicate from its second time on, however many there are and wherever their keys fall."""

import numpy as np
import pytest

from tfcli.corpus.duplicates import PairMemory


def first_times(keys):
    """What a set would say."""
    seen, news = set(), []
    for key in map(tuple, keys.tolist()):
        news.append(key not in seen)
        seen.add(key)
    return news


@pytest.mark.parametrize("low_bits", [64, 4, 0])
def test_a_table_knows_what_a_set_would_know(low_bits):
    # few low bits: all keys start at the same few slots
    rng = np.random.default_rng(low_bits)
    keys = rng.integers(0, 2**63, size=(900, 2), dtype=np.uint64) >> np.uint64(
        64 - low_bits if low_bits else 0
    )
    if low_bits == 0:
        keys[:, 0] = 7
    else:
        keys[:, 1] %= np.uint64(50)
    keys = np.concatenate((keys, keys[::-1], keys[::3]))
    keys[5::100] = 0
    memory = PairMemory(len(keys))
    found = [memory.first_time(block) for block in np.array_split(keys, 13)]
    assert np.concatenate(found).tolist() == first_times(keys)


def test_a_table_may_be_filled_to_what_it_was_made_for():
    keys = np.arange(2000, dtype=np.uint64).reshape(1000, 2)
    memory = PairMemory(1000)
    assert memory.first_time(keys).all()
    assert not memory.first_time(keys).any()
    assert PairMemory(0).first_time(keys[:0]).tolist() == []
