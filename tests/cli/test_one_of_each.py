"""Messages about a single pair, line or step: it is not called `1 pairs`."""

import re

import pytest

from tfcli.app import main

PLURAL = re.compile(
    r"(?<![\d,.])1 (?:pairs|lines|steps|pieces|bytes|cores|entries|CPU cores|target pieces)\b"
)
SMALL = [
    "model={preset: tiny, n_encoder_layers: 1, n_decoder_layers: 1, d_model: 32, d_ff: 64}",
    "training={max_steps: 1, validate_every: 1, checkpoint_every: 1}",
    "decoding={beam_size: 1, max_output_ratio: 0.5}",
]


@pytest.fixture
def said(tmp_path, monkeypatch, capsys):
    """Return a function that runs a command on one pair and returns what it says on both streams."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0}, raising=False)
    (tmp_path / "one.en").write_text("the dog sees a small house\n")
    (tmp_path / "one.de").write_text("der hund sieht ein kleines haus\n")

    def run(code, *args, changes=()):
        assert main([*args, *(word for change in changes for word in ("--set", change))]) == code
        streams = capsys.readouterr()
        assert not PLURAL.search(streams.out + streams.err)
        return streams.out + streams.err

    return run


ONE = ("--src", "one.en", "--tgt", "one.de", "--out", "run")
VALID = ("--valid-src", "one.en", "--valid-tgt", "one.de")


def test_training_on_one_pair_speaks_of_one_pair(said):
    text = said(0, "train", *ONE, *VALID, "--dry-run", changes=SMALL)
    assert "chosen for 1 pair on" in text
    assert "warning: only 1 pair: a network" in text
    assert "run: 1 pair, training on" in text
    assert "worst batch: 1 pair, " in text
    assert " for 1 step, validations not counted" in text


def test_what_cannot_be_held_out_of_one_pair_is_one_pair(said):
    text = said(3, "train", *ONE)
    assert "error: data.valid: 1 pair to be held out, but the training text has 1 in all" in text


def test_the_only_pair_that_is_dropped_is_called_so(said):
    text = said(3, "train", *ONE, *VALID, changes=["data.max_pieces=1"])
    assert "error: data.train: the only pair was dropped (train too_long 1)" in text


def test_a_list_with_one_entry_has_one_entry(said):
    assert "the list has 1 entry, counted" in said(2, "train", *ONE, changes=["data.train[7].src=x"])
