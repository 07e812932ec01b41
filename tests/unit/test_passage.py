"""Passages of running text: files one after the other, in chunks, cut at a character."""

import gzip

import pytest

from tfcli.errors import DataError
from tfcli.text import passage as module
from tfcli.text.passage import Counts, Passage

ONE, TWO = "first line\r\nzweite, ä\n\n no line end", "\u2028 of another file\nlast\n"


@pytest.fixture(params=[1, 12, 1 << 20])
def paths(tmp_path, monkeypatch, request):
    monkeypatch.setattr(module, "CHUNK_BYTES", request.param)
    (tmp_path / "one.txt").write_bytes(ONE.encode())
    (tmp_path / "two.txt.gz").write_bytes(gzip.compress(TWO.encode()))
    return (tmp_path / "one.txt", tmp_path / "two.txt.gz")


def text_of(passage):
    return "".join(passage.chunks())


def test_files_follow_each_other_as_they_stand(paths):
    assert text_of(Passage(paths)) == ONE + TWO


def test_a_passage_is_cut_at_any_character(paths):
    whole = ONE + TWO
    for start in range(0, len(whole), 5):
        for stop in (start, start + 7, len(whole), None):
            assert text_of(Passage(paths, start, stop)) == whole[start:stop]


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
def test_the_last_part_of_the_characters_is_split_off(paths, fraction):
    first, last = Passage(paths).split(fraction)
    assert text_of(first) == (ONE + TWO)[: int(len(ONE + TWO) * (1 - fraction))]
    assert text_of(first) + text_of(last) == ONE + TWO


def test_counts_are_those_of_the_whole_text(paths):
    whole = ONE + TWO
    counts = Passage(paths).counts()
    assert (counts.characters, counts.bytes) == (len(whole), len(whole.encode()))
    assert (counts.words, counts.line_ends) == (len(ONE.split()) + len(TWO.split()), whole.count("\n"))


def test_counts_of_a_line_that_a_chunk_ends_in_are_no_words_twice():
    assert Counts.of("two words\n") + Counts.of("x") == Counts(11, 11, 3, 1)


def test_what_is_no_utf8_is_named_with_its_line(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_BYTES", 4)
    (tmp_path / "bad.txt").write_bytes(b"good\nalso good\nbad \xff\nmore\n")
    with pytest.raises(DataError, match=r"bad\.txt:3: not UTF-8: byte 0xff"):
        text_of(Passage((tmp_path / "bad.txt",)))
