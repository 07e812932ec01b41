"""Encoded corpora come back from disk as they were written, or are refused."""

import json

import numpy as np
import pytest

from tfcli.corpus.shards import IdBlock, ParallelIds, ShardWriter, id_dtype
from tfcli.errors import CheckpointError

SRC = [[5, 6, 3], [3], [7, 8, 9, 3], [4, 3]]
TGT = [[9, 3], [3], [5, 3], [70_000, 6, 7, 3]]


def write(folder, src=SRC, tgt=TGT, src_vocab_size=100, tgt_vocab_size=80_000, block=2):
    with ShardWriter(folder, src_vocab_size, tgt_vocab_size) as writer:
        for start in range(0, len(src), block):
            writer.append(
                IdBlock.of(src[start : start + block], id_dtype(src_vocab_size)),
                IdBlock.of(tgt[start : start + block], id_dtype(tgt_vocab_size)),
            )
    return folder


def test_sentences_come_back_as_they_were_written(tmp_path):
    ds = ParallelIds.open(write(tmp_path / "shard"))
    assert len(ds) == 4
    assert [ds.src(i).tolist() for i in range(4)] == SRC
    assert [ds.tgt(i).tolist() for i in range(4)] == TGT
    assert ds.src_lengths.tolist() == [3, 1, 4, 2]
    assert ds.tgt_lengths.tolist() == [2, 1, 2, 4]
    assert ds.src_lengths.dtype == ds.tgt_lengths.dtype == np.int32


def test_the_size_of_the_blocks_does_not_show_on_disk(tmp_path):
    one, other = write(tmp_path / "one", block=1), write(tmp_path / "other", block=4)
    assert {file.name: file.read_bytes() for file in one.iterdir()} == {
        file.name: file.read_bytes() for file in other.iterdir()
    }


def test_ids_take_two_bytes_where_the_vocabulary_allows(tmp_path):
    folder = write(tmp_path / "shard")
    assert (folder / "src.ids").stat().st_size == 10 * 2
    assert (folder / "tgt.ids").stat().st_size == 9 * 4
    assert id_dtype(65_536).itemsize == 2
    assert id_dtype(65_537).itemsize == 4


def test_ids_are_little_endian_on_every_machine(tmp_path):
    assert (write(tmp_path / "shard") / "src.ids").read_bytes()[:6] == b"\x05\x00\x06\x00\x03\x00"


def test_reading_maps_the_files_instead_of_loading_them(tmp_path):
    ds = ParallelIds.open(write(tmp_path / "shard"))
    for array in (ds.src_column.ids, ds.src_column.offsets, ds.src_lengths, ds.tgt_column.ids):
        assert isinstance(array.base, np.memmap)
        assert not array.flags.writeable


def test_an_empty_corpus_is_a_corpus(tmp_path):
    ds = ParallelIds.open(write(tmp_path / "shard", src=[], tgt=[]))
    assert len(ds) == 0


def test_blocks_give_the_sentences_that_are_chosen():
    block = IdBlock.of(SRC, id_dtype(100)).select(np.array([True, False, False, True]))
    assert block.ids.tolist() == [5, 6, 3, 4, 3]
    assert block.lengths.tolist() == [3, 2]


def test_sides_of_unequal_length_cannot_be_written(tmp_path):
    with pytest.raises(ValueError, match="4 source sentences against 3"):
        write(tmp_path / "shard", tgt=TGT[:3], block=4)


def test_a_corpus_left_half_written_is_refused(tmp_path):
    def write_and_break():
        with ShardWriter(tmp_path, 100, 100) as writer:
            writer.append(IdBlock.of(SRC, id_dtype(100)), IdBlock.of(SRC, id_dtype(100)))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_break()
    with pytest.raises(CheckpointError, match="no complete encoded corpus"):
        ParallelIds.open(tmp_path)


@pytest.mark.parametrize(
    "name", ["src.ids", "src.offsets", "src.lengths", "tgt.ids", "tgt.offsets", "tgt.lengths"]
)
def test_a_file_of_another_size_is_refused_by_name(tmp_path, name):
    folder = write(tmp_path / "shard")
    content = (folder / name).read_bytes()
    for damaged in (content[:-1], content + b"\0\0", b""):
        (folder / name).write_bytes(damaged)
        with pytest.raises(
            CheckpointError, match=rf"damaged encoded corpus \({name} has {len(damaged)} bytes"
        ):
            ParallelIds.open(folder)
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name} is missing"):
        ParallelIds.open(folder)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"format": 99}, "format 99, expected"),
        ({"pairs": "4"}, "damaged encoded corpus"),
        ({"src": {"dtype": "|O", "tokens": 10}}, "unknown type"),
        ({"src": {}}, "damaged encoded corpus"),
    ],
)
def test_a_description_that_does_not_hold_is_refused(tmp_path, change, complaint):
    folder = write(tmp_path / "shard")
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | change))
    with pytest.raises(CheckpointError, match=complaint) as caught:
        ParallelIds.open(folder)
    assert str(folder) in caught.value.message
    assert caught.value.hint


def test_offsets_that_do_not_span_the_ids_are_refused(tmp_path):
    folder = write(tmp_path / "shard")
    (folder / "src.offsets").write_bytes(np.zeros(5, dtype="<i8").tobytes())
    with pytest.raises(CheckpointError, match="does not span"):
        ParallelIds.open(folder)
