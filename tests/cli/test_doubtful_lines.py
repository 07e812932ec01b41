"""Translations that nobody should trust are named by line: empty ones, and those that ran into the length limit."""

from pathlib import Path

import pytest

from tests.fake_translation import Characters, Echo, use_echo
from tfcli.app import main
from tfcli.decoding.hypothesis import Hypothesis
from tfcli.decoding.translator import Translator
from tfcli.recipe.schema import DecodingSection


class Doubtful(Echo):
    """Echoes, but goes round in circles for what begins with `l`, and finds nothing to say to what begins with `e`."""

    def search(self, sources, max_lengths, settings, prefixes=None):
        begins = {Characters().encode_src(letter)[0]: letter for letter in "le"}
        for place, ids in enumerate(sources):
            lengths = {"l": max_lengths[place] - 1, "e": 0}
            length = lengths.get(begins.get(ids[0]), len(ids) - 1)
            yield place, [Hypothesis((*ids[:-1], *ids[:1] * length)[:length], -1.0, -1.0)]


@pytest.fixture
def doubtful(monkeypatch, tmp_path):
    use_echo(monkeypatch, tmp_path)
    decoding = DecodingSection(beam_size=1, max_output_ratio=1.0, max_output_extra=5)
    translator = Translator(Doubtful(), Characters(), decoding, max_source_pieces=8)
    monkeypatch.setattr("tfcli.decoding.loading.load_translator", lambda *_, **__: translator)
    return tmp_path


def said(capsys, text, *more):
    """Translate a file of this text and return the warnings."""
    Path("in.txt").write_text(text, encoding="utf-8")
    assert main(["translate", "model", "in.txt", *more]) == 0
    return [line for line in capsys.readouterr().err.split("\n") if line.startswith("warning: ")]


@pytest.mark.parametrize("more", [[], ["-o", "out.txt"]], ids=["standard output", "a file"])
def test_doubtful_translations_are_named_by_line(doubtful, capsys, more):
    assert said(capsys, "fine\nloop\n\nempty\nfine, but long. ly.\nloop\n", *more) == [
        "warning: in.txt: the translation is empty in 1 line: 4",
        "warning: in.txt: 3 lines came out as long as is allowed, cut off or going round in circles: 2, 5, 6",
    ]


def test_the_first_ten_lines_are_shown(doubtful, capsys):
    [empty] = said(capsys, "empty\n" * 12)
    assert empty.endswith(" is empty in 12 lines: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ...")


def test_a_line_of_which_the_tokenizer_leaves_nothing_is_named_too(doubtful, capsys, monkeypatch):
    monkeypatch.setattr(Characters, "encode_src_many", lambda self, texts: [[] for _ in texts])
    assert said(capsys, "\u200b\n\n") == ["warning: in.txt: the translation is empty in 1 line: 1"]


def test_nothing_is_said_of_what_is_short_and_blank(doubtful, capsys):
    assert said(capsys, "fine\n\n   \nf\n") == []
