"""`tfcli eval` on the validation text of any run, and on files that hold texts with their labels."""

import gzip
import json
import shutil
from pathlib import Path

import pytest

from tests.labelled_text import labelled, tsv
from tests.small_text import TEST
from tfcli.app import main
from tfcli.recipe.loader import dump_recipe, load_recipe


def scored(capsys, *args):
    assert main(["eval", *map(str, args), "--json"]) == 0
    return json.loads(capsys.readouterr().out)["sets"]


def refused(capsys, code, *args):
    assert main(["eval", *map(str, args)]) == code
    out, err = capsys.readouterr()
    assert out == ""
    return " ".join(err.split())


def change(run, *settings):
    (run / "recipe.yaml").write_text(dump_recipe(load_recipe(run / "recipe.yaml", list(settings))))


def best_of(run):
    return json.loads((run / "finished.json").read_text())["best_score"]


def test_the_validation_text_of_a_classifier_scores_as_it_did_in_training(labelled_run, tmp_path, capsys):
    run = shutil.copytree(labelled_run, tmp_path / "run")
    found = scored(capsys, run, "--test", "valid", "--data-root", labelled_run.parent)
    assert list(found) == ["valid"]
    assert found["valid"]["accuracy"]["score"] == pytest.approx(best_of(run))
    assert (run / "eval" / "valid.hyp").read_text().count("\n") == 40
    # the same texts, as if held out of the training text
    change(run, "data.valid={fraction: 0.1}")
    said = refused(capsys, 3, run, "--test", "valid")
    assert "held-out.src: what was held out of the training text is no longer there" in said
    rows = [line.split("\t") for line in (labelled_run.parent / "valid.tsv").read_text().split("\n")[:-1]]
    for side, place in (("src", 0), ("tgt", 1)):
        (run / "corpus" / f"held-out.{side}").write_text("".join(f"{row[place]}\n" for row in rows))
    assert scored(capsys, run, "--test", "valid")["valid"] == found["valid"]


def test_the_validation_text_of_a_translator_scores_as_a_test_set_of_the_same_text(small_run, capsys):
    both = scored(capsys, small_run, "--test", "valid", "--test", "held-out", "--resamples", "0")
    assert list(both) == ["valid", "held-out"]  # which are the same files
    assert both["valid"] == both["held-out"]
    said = refused(capsys, 2, small_run, "--test", "other")
    assert "its test sets are: held-out; valid is the validation text" in said


@pytest.mark.parametrize("name", ["own.tsv", "own.jsonl", "own.jsonl.gz"])
def test_a_file_of_texts_with_labels_scores_as_two_files_do(labelled_run, tmp_path, capsys, name):
    rows = labelled(20, 9)
    objects = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows)
    content = (tsv(rows) if name.endswith("tsv") else objects).encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    (tmp_path / "texts").write_text("".join(f"{text}\n" for text, _ in rows))
    (tmp_path / "labels").write_text("".join(f"{label}\n" for _, label in rows))
    two = scored(capsys, labelled_run, "--src", tmp_path / "texts", "--ref", tmp_path / "labels")["texts"]
    for run in (labelled_run, labelled_run / "best"):
        one = scored(capsys, run, "--src", tmp_path / name)
        assert one == {name.removesuffix(".gz"): two}


def test_the_fields_are_those_of_the_recipe(labelled_run, tmp_path, capsys):
    run = shutil.copytree(labelled_run, tmp_path / "run")
    change(run, "data.text_field=3", "data.label_field=1")
    own = tmp_path / "own.tsv"
    own.write_text("".join(f"{label}\tx\t{text}\n" for text, label in labelled(20, 9)))
    assert scored(capsys, run, "--src", own)["own.tsv"]["accuracy"]["score"] > 90
    (tmp_path / "own.jsonl").write_text("{}\n")
    said = refused(capsys, 2, run, "--src", tmp_path / "own.jsonl")
    assert "own.jsonl: JSON lines have keys, but the recipe says otherwise" in said
    own.write_text("pet\tx\tthe dog\nfish\tx\tthe trout\n")
    assert f"{own}:2: the label 'fish' is not one of the training text's" in refused(
        capsys, 3, run, "--src", own
    )
    own.write_text("the dog\n")
    assert f"{own}:1: expected 3 fields, parted by tabs, got 1 field" in refused(capsys, 3, run, "--src", own)


def test_pairs_of_texts_need_the_recipe_and_a_translator_the_reference(
    labelled_run, small_run, tmp_path, capsys
):
    model = shutil.copytree(labelled_run / "best", tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "pairs_of_texts": True}))
    own = tmp_path / "own.tsv"
    own.write_text("a\tb\tpet\n")
    said = refused(capsys, 2, model, "--src", own)
    assert "where two texts and a label stand in a line, only the recipe says" in said
    assert "--src alone: --src and --ref belong together" in refused(capsys, 2, small_run, "--src", own)
    said = refused(capsys, 2, labelled_run, "--ref", own)
    assert "--ref alone: --src and --ref belong together" in said
    assert "--src FILE --ref FILE` labels and scores text of your own" in said


def test_a_language_model_writes_no_report_and_says_what_it_counts(text_run, tmp_path, capsys):
    said = refused(capsys, 2, text_run, "--report", tmp_path / "r.html")
    assert "--report: for translations, but" in said
    (tmp_path / "own.txt").write_text(TEST)
    assert main(["eval", str(text_run), "--src", str(tmp_path / "own.txt")]) == 0
    out, err = capsys.readouterr()
    assert "words and line ends" in " ".join(out.split())
    assert "perplexity/word counts each line end as a word" in err


def test_the_formats_page_has_every_key_that_these_tasks_write(labelled_run, text_run, tmp_path, capsys):
    page = (Path(__file__).resolve().parents[2] / "docs" / "file-formats.md").read_text(encoding="utf-8")
    for number, run in enumerate((labelled_run, text_run)):
        scored(capsys, run, "--out", tmp_path / str(number))
        scores = json.loads((tmp_path / str(number) / "scores.json").read_text())
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().split("\n")[:-1]]
        of_sets = scores["sets"].values()
        for written in (*rows, scores, scores["model"], scores["history"][0], *of_sets):
            for key in written:
                assert f"`{key}`" in page, key


def test_the_log_tells_perplexity_but_of_labels_it_is_none(labelled_run, text_run):
    told = [(run / "log.txt").read_text() for run in (labelled_run, text_run)]
    assert all("validation loss " in one and "step 30/60: loss " in one for one in told[1:])
    assert "step 20/60: loss " in told[0]
    assert "validation loss " in told[0]
    assert ["perplexity" in one for one in told] == [False, True]
