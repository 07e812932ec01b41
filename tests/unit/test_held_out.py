"""Pairs held out of the training text for validation."""

import json

import pytest

from tfcli.corpus.prepare import prepare
from tfcli.errors import DataError, RecipeError
from tfcli.recipe.loader import build_recipe, dump_recipe, load_recipe
from tfcli.text.files import CorpusFiles
from tfcli.text.lines import read_lines

PAIRS = [(f"the house number {i} is old", f"das haus nummer {i} ist alt") for i in range(400)]


def write(folder, pairs, name="train"):
    files = CorpusFiles(src=folder / f"{name}.en", tgt=folder / f"{name}.de", tsv=None)
    for path, side in ((files.src, 0), (files.tgt, 1)):
        path.write_text("".join(f"{pair[side]}\n" for pair in pairs))
    return files


def recipe(valid, **data):
    return build_recipe(
        {
            "name": "x",
            "data": {"train": [{"src": "train.en", "tgt": "train.de"}], "valid": valid, **data},
            "tokenizer": {"vocab_size": 100},
        }
    )


def prepared(tmp_path, pairs, valid, said=None, name="run", **data):
    files = write(tmp_path, pairs)
    report = said.append if said is not None else lambda _: None
    return prepare(recipe(valid, **data), [files], None, tmp_path / name, report)


def texts(files):
    return list(zip(read_lines(files.src), read_lines(files.tgt), strict=True))


def test_no_held_out_pair_is_trained_on_and_none_is_lost(tmp_path):
    found = prepared(tmp_path, PAIRS, {"pairs": 50})
    held = texts(found.valid_files)
    assert len(held) == len(set(held)) == len(found.valid) == 50
    assert set(held) <= set(PAIRS)
    assert len(found.train) == 350
    kept = {tuple(found.tokenizer.encode_src(src)) for src, _ in set(PAIRS) - set(held)}
    assert {tuple(found.train.src(i)[:-1].tolist()) for i in range(350)} == kept
    assert found.stats[0].dropped["held_out"] == 50


def test_the_choice_hangs_on_the_text_alone_not_on_its_order(tmp_path):
    first = texts(prepared(tmp_path, PAIRS, {"pairs": 50}).valid_files)
    again = texts(prepared(tmp_path, PAIRS[::-1], {"pairs": 50}, name="other").valid_files)
    assert first == again


def test_all_pairs_with_a_held_out_source_leave_training_with_it(tmp_path):
    others = [(f" {src}  ", f"ja, {tgt}") for src, tgt in PAIRS]
    found = prepared(tmp_path, PAIRS + others, {"pairs": 50})
    assert len(found.valid) == 50
    assert len(found.train) == 700


def test_a_fraction_holds_out_about_that_share(tmp_path):
    found = prepared(tmp_path, PAIRS, {"fraction": 0.2})
    assert 50 < len(found.valid) < 110
    assert len(found.train) + len(found.valid) == 400


def test_blank_and_endless_pairs_are_never_held_out(tmp_path):
    junk = [("", ""), (" ", "x"), ("a " * 900, "b")] * 30
    found = prepared(tmp_path, [*junk, *PAIRS], {"pairs": 200}, max_pieces=200)
    assert set(texts(found.valid_files)) <= set(PAIRS)


def test_how_many_are_held_out_is_said_once(tmp_path):
    said = []
    for _ in range(2):
        prepared(tmp_path, PAIRS, {"pairs": 50}, said)
    assert said.count("held out for validation: 50 pairs of the training text") == 1


def test_another_number_or_other_text_makes_another_split(tmp_path):
    assert len(prepared(tmp_path, PAIRS, {"pairs": 50}).valid) == 50
    assert len(prepared(tmp_path, PAIRS, {"pairs": 60}).valid) == 60
    assert len(prepared(tmp_path, PAIRS[:300], {"pairs": 60}).train) == 240


def test_a_split_that_was_not_finished_is_made_anew(tmp_path):
    first = prepared(tmp_path, PAIRS, {"pairs": 50})
    first.valid_files.tgt.unlink()
    assert texts(prepared(tmp_path, PAIRS, {"pairs": 50}).valid_files)
    first.valid_files.src.write_text("another\n")
    with pytest.raises(DataError, match="holds out nothing"):
        prepared(tmp_path, PAIRS, {"fraction": 1e-12})
    assert len(texts(prepared(tmp_path, PAIRS, {"pairs": 50}).valid_files)) == 50
    record = json.loads((tmp_path / "run" / "corpus" / "held-out.json").read_text())
    assert record["count"] == 50


def test_more_than_half_of_the_text_is_refused_with_both_numbers(tmp_path):
    with pytest.raises(DataError, match="201 pairs to be held out, but the training text has 400 in all"):
        prepared(tmp_path, PAIRS, {"pairs": 201})


def test_a_fraction_of_next_to_nothing_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds out nothing"):
        prepared(tmp_path, PAIRS[:5], {"fraction": 0.000001})


def test_a_folder_of_another_owner_is_not_written_over(tmp_path):
    theirs = tmp_path / "run" / "corpus" / "train" / "mine.txt"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("precious")
    with pytest.raises(DataError, match="holds files that tfcli did not write"):
        prepared(tmp_path, PAIRS, {"pairs": 50})
    assert theirs.read_text() == "precious"


@pytest.mark.parametrize(
    ("valid", "complaint"),
    [
        ({"pairs": 3, "fraction": 0.1}, "give files, or 'pairs', or 'fraction', got 'fraction', 'pairs'"),
        ({"pairs": 3, "src": "a", "tgt": "b"}, "give files, or 'pairs', or 'fraction'"),
        ({}, "give both 'src' and 'tgt', or one 'tsv'"),
        ({"fraction": 0.6}, "must be at most 0.5"),
        ({"pairs": 0}, "must be at least 1"),
    ],
)
def test_contradictions_are_refused(valid, complaint):
    with pytest.raises(RecipeError, match=complaint):
        recipe(valid)


def test_a_recipe_that_holds_out_loads_back_equal(tmp_path):
    made = recipe({"pairs": 50})
    (tmp_path / "r.yaml").write_text(dump_recipe(made))
    assert load_recipe(tmp_path / "r.yaml") == made
