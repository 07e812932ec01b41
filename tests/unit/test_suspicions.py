"""What is suspected of a corpus: sides that do not match, are swapped or the same text, and text of which little is kept."""

import random

import numpy as np
import pytest

from tests.toy_corpus import files_of, recipe, sentences
from tfcli.corpus.prepare import prepare
from tfcli.corpus.suspicions import evenness as evenness_of
from tfcli.corpus.suspicions import identical_sides, labels_as_targets, misalignment
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


@pytest.mark.parametrize(
    ("n_pairs", "n_sources", "n_targets", "warned"),
    [
        (200, 200, 2, True),
        (199, 199, 2, False),
        (400, 100, 50, True),
        (400, 400, 51, False),
        (400, 5, 3, False),
    ],
)
def test_targets_that_are_the_same_few_lines_are_suspected_to_be_labels(
    tmp_path, n_pairs, n_sources, n_targets, warned
):
    src = [f"source {i % n_sources}" for i in range(n_pairs)]
    tgt = [f"label {i % n_targets}" for i in range(n_pairs)]
    warning = labels_as_targets(two_files(tmp_path, [*src, "blank"], [*tgt, ""]), "train")
    assert (warning is not None) == warned
    if warning is not None:
        assert warning.startswith(
            f"train: the targets of {n_pairs} pairs are no more than {n_targets} different"
        )


def test_blank_files_and_one_file_for_both_sides_are_left_to_others(tmp_path):
    assert identical_sides(two_files(tmp_path, ["", " "], ["", " "]), "train") is None
    (tmp_path / "one").write_text("a\n")
    assert identical_sides(CorpusFiles(tmp_path / "one", tmp_path / "one", None), "train") is None


def warnings_of(train, valid, run_dir, **changed):
    said = []
    prepared = prepare(recipe(**changed), [train], valid, run_dir, said.append)
    assert [
        line.removeprefix("warning: ") for line in said if line.startswith("warning: ")
    ] == prepared.warnings
    again = []
    prepare(recipe(**changed), [train], valid, run_dir, again.append)
    assert again == [line for line in said if not line.startswith(("warning: ", "training the tokenizer"))]
    return prepared.warnings


def test_a_sound_corpus_raises_no_suspicion(tmp_path, run_dir):
    pairs = sentences(3000)
    valid = files_of(tmp_path, "valid", pairs[2500:])
    assert warnings_of(files_of(tmp_path, "train", pairs[:2500]), valid, run_dir) == []
    by_length = sorted(pairs[:2500], key=lambda pair: len(pair[0]))
    assert warnings_of(files_of(tmp_path, "sorted", by_length), valid, run_dir) == []


def evenness(pairs, first_line):
    return evenness_of(*(np.array([len(pair[side]) for pair in pairs]) for side in (0, 1)), first_line)


def test_a_corpus_sorted_by_length_is_not_suspected():
    rng = random.Random(1)
    lengths = sorted(rng.randint(20, 200) for _ in range(5000))
    pairs = [("a" * n, "A" * round(n * rng.uniform(0.7, 1.3))) for n in lengths]
    blocks = [evenness(pairs[i : i + 500], i + 1) for i in range(0, 5000, 500)]
    assert misalignment("train", blocks) is None
    shuffled = [
        ("a" * n, "A" * m) for n, m in zip(rng.sample(lengths, 5000), rng.sample(lengths, 5000), strict=True)
    ]
    blocks = [evenness(shuffled[i : i + 500], i + 1) for i in range(0, 5000, 500)]
    assert "in 100% of the lines, from about line 1 on" in misalignment("train", blocks)


def test_too_few_pairs_or_too_even_ones_tell_nothing():
    assert evenness([("a", "A" * i) for i in range(300)], 1) is None
    assert misalignment("train", [evenness([("ab cd", "AB CD")] * 600, 1)]) is None
    assert misalignment("train", []) is None


def test_sides_that_do_not_match_are_suspected_from_the_line_on(tmp_path, corpora, run_dir, monkeypatch):
    monkeypatch.setattr("tfcli.text.pairs.BLOCK_LINES", 1000)
    src, tgt = zip(*sentences(5000), strict=True)
    shifted = [*tgt[:2000], *tgt[2001:], tgt[2000]]
    files = files_of(tmp_path, "odd", list(zip(src, shifted, strict=True)))
    (warning,) = warnings_of(files, corpora[1], run_dir)
    assert "train: in 60% of the lines, from about line 2001 on" in warning


def test_swapped_sides_are_suspected(tmp_path, corpora, run_dir):
    train, valid = corpora
    swapped = CorpusFiles(valid.tgt, valid.src, None)
    (warning,) = warnings_of(train, swapped, run_dir)
    assert warning.startswith("valid: its source looks like the target of the first training corpus")


def test_a_corpus_of_which_most_is_dropped_is_warned_of(tmp_path, corpora, run_dir):
    files = files_of(tmp_path, "blank", [*sentences(100), *[("", "A")] * 101])
    warnings = warnings_of(files, corpora[1], run_dir)
    assert "train: 101 of 201 pairs were dropped (blank 101)" in warnings
