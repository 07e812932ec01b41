"""What is suspected of a corpus whose sides are the same text; other suspicions are tested in test_prepare.py."""

import pytest

from tfcli.corpus.suspicions import identical_sides
from tfcli.text.files import CorpusFiles


def two_files(folder, src, tgt):
    for name, lines in (("src", src), ("tgt", tgt)):
        (folder / name).write_text("".join(line + "\n" for line in lines))
    return CorpusFiles(src=folder / "src", tgt=folder / "tgt", tsv=None)


@pytest.mark.parametrize(("same", "warned"), [(0, False), (5, False), (6, True), (10, True)])
def test_a_corpus_whose_sides_are_mostly_the_same_text_is_suspected(tmp_path, same, warned):
    src = [f"line {n}" for n in range(10)]
    tgt = [f" line {n}" if n < same else f"Zeile {n}" for n in range(10)]
    warning = identical_sides(two_files(tmp_path, [*src, "", " "], [*tgt, "", " "]), "train")
    assert (warning is not None) == warned
    if warning is not None:
        assert warning.startswith(f"train: source and target are the same text in {same * 10}% of the lines")


def test_blank_files_and_one_file_for_both_sides_are_left_to_others(tmp_path):
    assert identical_sides(two_files(tmp_path, ["", " "], ["", " "]), "train") is None
    (tmp_path / "one").write_text("a\n")
    assert identical_sides(CorpusFiles(tmp_path / "one", tmp_path / "one", None), "train") is None
