"""The pictures of a report come from a run folder and sentences, and say what is in them."""

import json
import math
import re
import shutil

import pytest

from tests.cli.conftest import DEMO
from tfcli.commands.report_pictures import course_pictures, network_pictures
from tfcli.scoring.heat_map import MAX_PIECES
from tfcli.text.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def pairs():
    sides = [(DEMO / f"sample.{language}").read_text().split("\n")[:2] for language in ("en", "de")]
    return list(zip(*sides, strict=True))


def texts(drawn):
    return re.findall(r"<text[^>]*>(.*?)</text>", drawn.svg)


def without_tags(said):
    return [re.sub("<[^>]*>", "", text) for text in said]


def test_a_run_shows_its_curves_and_the_rate_of_its_recipe(small_run):
    training, rate = course_pictures(small_run)
    rows = [json.loads(line) for line in (small_run / "metrics.jsonl").read_text().splitlines()]
    best = max((row["bleu"], -row["step"]) for row in rows if row["kind"] == "valid")
    assert f"The best BLEU, {best[0]:.2f} (circle), was that of step {-best[1]}." in training.caption
    assert "(schedule: inverse_sqrt)" in rate.caption
    assert "0.010" in texts(rate)  # its peak


def test_both_losses_are_without_label_smoothing(small_run, monkeypatch):
    seen = []
    monkeypatch.setattr("tfcli.scoring.charts.training_picture", seen.append)
    course_pictures(small_run)
    rows = [json.loads(line) for line in (small_run / "metrics.jsonl").read_text().splitlines()]
    (course,) = seen
    assert course.train_cross_entropy == [
        (row["step"], pytest.approx(math.log(row["perplexity"]))) for row in rows if row["kind"] == "train"
    ]
    validations = [(row["step"], row["loss"]) for row in rows if row["kind"] == "valid"]
    assert course.valid_cross_entropy == [(step, pytest.approx(loss)) for step, loss in validations]


def test_a_run_that_has_not_begun_shows_its_plan_alone(small_run, tmp_path):
    shutil.copy(small_run / "recipe.yaml", tmp_path)
    assert [drawn.title for drawn in course_pictures(tmp_path)] == ["Learning rate"]


def test_a_model_folder_has_no_course(small_run):
    assert course_pictures(small_run / "best") == []


def test_sentences_show_where_the_network_looks(small_run, pairs):
    drawn = network_pictures(small_run, [("", ""), *pairs])
    assert [each.title for each in drawn] == [
        "Attention to the source, sentence 2",
        "Attention of the encoder, sentence 2",
        "Attention of the decoder to its own text, sentence 2",
        "Attention to the source, sentence 3",
        "Positions (sinusoidal)",
    ]
    tokenizer = Tokenizer.load(small_run)
    read = [*tokenizer.src_pieces(pairs[1][0]), "&lt;/s&gt;"]
    written = [*tokenizer.tgt_pieces(pairs[1][1]), "&lt;/s&gt;"]
    names = without_tags(texts(drawn[3]))
    assert names[: len(written) + len(read)] == [*written, *read]
    rows = tokenizer.tgt_pieces(pairs[0][1])[:MAX_PIECES]
    names = without_tags(texts(drawn[2]))
    assert names[: len(rows) + 2] == [*rows, "&lt;s&gt;", rows[0]]


def test_a_model_folder_looks_as_its_run_does_and_the_same_each_time(small_run, pairs):
    assert network_pictures(small_run / "best", pairs[:1]) == network_pictures(small_run, pairs[:1])


def test_what_is_longer_than_the_network_knows_positions_for_is_left_out(tiny_model_folder):
    longest = "a" * 254  # with its word's beginning and the end mark, 256
    titles = [
        [each.title for each in network_pictures(tiny_model_folder, [(src, tgt)])]
        for src, tgt in ((longest, "a"), (longest + "a", "a"), ("a", longest + "a"))
    ]
    assert [len(found) for found in titles] == [4, 1, 1]
    drawn = network_pictures(tiny_model_folder, [(longest, "a")])
    assert "Only the first 40 of 256 pieces are shown." in drawn[1].caption


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_positions_are_shown_as_the_network_has_them(tiny_model, positions):
    from tfcli.commands.report_pictures import _positions

    drawn = _positions(tiny_model(positions=positions))
    assert drawn.title == f"Positions ({positions})"
    assert ("learnt" in drawn.caption) == (positions == "learned")
    assert "1" in texts(drawn) if positions == "rotary" else "1" not in texts(drawn)


def test_curves_and_rates_need_no_torch(small_run):
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from tfcli.commands.report_pictures import course_pictures; "
        f"assert len(course_pictures(Path({str(small_run)!r}))) == 2; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
