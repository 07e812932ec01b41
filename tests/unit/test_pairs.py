"""Line i faces line i, and files of unequal length are refused with a hint where they part."""

import gzip
import random

import pytest

from tfcli.errors import DataError
from tfcli.text import pairs as module
from tfcli.text.files import CorpusFiles
from tfcli.text.pairs import count_pairs, read_pairs


def two_files(folder, src, tgt):
    files = CorpusFiles(src=folder / "text.src", tgt=folder / "text.tgt", tsv=None)
    for path, lines in ((files.src, src), (files.tgt, tgt)):
        path.write_bytes("".join(line + "\n" for line in lines).encode())
    return files


def tsv_file(folder, content):
    (folder / "text.tsv").write_bytes(content.encode())
    return CorpusFiles(src=None, tgt=None, tsv=folder / "text.tsv")


def aligned(count, seed=1):
    """Source and target lines of varied but like lengths."""
    rng = random.Random(seed)
    lengths = [rng.randint(2, 30) for _ in range(count)]
    src = [" ".join(["word"] * n) for n in lengths]
    tgt = [" ".join(["wort"] * max(1, n + rng.randint(-1, 1))) for n in lengths]
    return src, tgt


def test_lines_face_each_other_blank_ones_too(tmp_path):
    files = two_files(tmp_path, ["a", "", "c\u2028d", "\r"], ["A", "B", "", "\ufeff"])
    assert list(read_pairs(files)) == [("a", "A"), ("", "B"), ("c\u2028d", ""), ("\r", "\ufeff")]
    assert count_pairs(files) == 4


def test_a_tsv_file_holds_both_sides(tmp_path):
    files = tsv_file(tmp_path, "a\tA\n\tB\nc\u2028\t\n\t\nlast\tline")
    assert list(read_pairs(files)) == [("a", "A"), ("", "B"), ("c\u2028", ""), ("", ""), ("last", "line")]
    assert count_pairs(files) == 5


def test_sides_may_be_compressed_each_in_its_way(tmp_path):
    (tmp_path / "src.gz").write_bytes(gzip.compress(b"a\nb\n"))
    (tmp_path / "tgt").write_bytes(b"A\nB")
    files = CorpusFiles(tmp_path / "src.gz", tmp_path / "tgt", None)
    assert list(read_pairs(files)) == [("a", "A"), ("b", "B")]
    assert count_pairs(files) == 2


@pytest.mark.parametrize(("line", "tabs"), [("no tab", 0), ("a\tb\tc", 2), ("", 0)])
def test_a_tsv_line_without_exactly_one_tab_is_refused_with_its_number(tmp_path, line, tabs):
    files = tsv_file(tmp_path, f"a\tA\n{line}\nb\tB\n")
    with pytest.raises(DataError, match=f"expected source, one tab, target; got {tabs} tabs") as caught:
        list(read_pairs(files))
    assert f"{files.tsv}:2:" in caught.value.message


def test_text_that_is_no_utf8_is_refused_with_its_line(tmp_path):
    files = tsv_file(tmp_path, "a\tA\n")
    files.tsv.write_bytes(b"a\tA\nb\t\xff\n")
    with pytest.raises(DataError, match=r"text\.tsv:2: not UTF-8"):
        list(read_pairs(files))
    files = two_files(tmp_path, ["a", "b"], ["A", "B"])
    files.tgt.write_bytes(b"A\n\xff\n")
    with pytest.raises(DataError, match=r"text\.tgt:2: not UTF-8"):
        list(read_pairs(files))


def refusal(files):
    """What both ways of reading say, which must be the same."""
    with pytest.raises(DataError) as counted:
        count_pairs(files)
    with pytest.raises(DataError) as read:
        list(read_pairs(files))
    assert (read.value.message, read.value.hint) == (counted.value.message, counted.value.hint)
    return counted.value


def test_unequal_counts_are_refused_with_both_counts(tmp_path):
    error = refusal(two_files(tmp_path, ["a", "b", "c"], ["A"]))
    assert "text.src has 3 lines" in error.message
    assert "text.tgt has 1" in error.message
    assert "line i of one file must be the translation" in error.hint
    assert "near line" not in error.hint


@pytest.mark.parametrize("removed", [1, 3])
@pytest.mark.parametrize("place", [300, 1000, 1700])
@pytest.mark.parametrize("side", ["src", "tgt"])
def test_the_hint_names_the_line_where_one_side_lost_some(tmp_path, side, place, removed):
    src, tgt = aligned(2000)
    del (src if side == "src" else tgt)[place : place + removed]
    hint = refusal(two_files(tmp_path, src, tgt)).hint
    assert "lengths stop matching near line" in hint
    assert abs(int(hint.split()[-1]) - place) < 10


def test_lines_lost_at_the_very_start_are_found_as_well(tmp_path):
    src, tgt = aligned(2000)
    assert "near line 1" in refusal(two_files(tmp_path, src, tgt[2:])).hint


def test_a_file_cut_short_is_called_so(tmp_path):
    src, tgt = aligned(1000)
    hint = refusal(two_files(tmp_path, src, tgt[:800])).hint
    assert "text.tgt, so it may be cut short" in hint
    assert "near line" not in hint


def test_no_line_is_named_where_lengths_do_not_show_it(tmp_path):
    src, _ = aligned(1000, seed=1)
    _, unrelated = aligned(999, seed=2)
    same_length = ["word"] * 1000
    for ours, theirs in ((src, unrelated), (same_length, same_length[1:]), (src[:50], src[1:50])):
        hint = refusal(two_files(tmp_path, ours, theirs)).hint
        assert hint == "line i of one file must be the translation of line i of the other"


def test_nothing_is_claimed_about_lines_that_were_not_examined(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_LINES_EXAMINED", 500)
    src, tgt = aligned(1000)
    assert "near line" not in refusal(two_files(tmp_path, src, tgt[:700] + tgt[701:])).hint
    assert "near line" in refusal(two_files(tmp_path, src, tgt[:250] + tgt[251:])).hint
