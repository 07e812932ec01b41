"""What a language model does not take: recipes and text that are told as errors."""

import gzip

import pytest

from tests.small_text import write_text
from tfcli.app import main


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("data.train=[{src: a, tgt: b, text: train.txt}]", "belongs to task translation"),
        ("data.tests={news: {}}", "data.tests.news"),
        ("decoding.beam_size=2", "decoding: belongs to task translation"),
        ("data.valid={pairs: 3}", "data.valid.pairs: belongs to task"),
        ("tokenizer.normalization=nfkc", "tokenizer.normalization: belongs to task"),
        ("model.max_positions=23", "data.context: must not be above model.max_positions (23)"),
        ("data.context=481", "training.batch_tokens: must not be below data.context (481)"),
        ("task=translation", "data.context: belongs to task language_model"),
    ],
)
def test_recipes_that_cannot_be_are_refused(tmp_path, capsys, change, message):
    write_text(tmp_path)
    assert main(["tokenize", str(tmp_path / "text.yaml"), "--set", change]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_bytes_are_for_language_models(tmp_path, capsys):
    (tmp_path / "pairs.yaml").write_text(
        "name: x\ndata: {train: [{src: a, tgt: b}], valid: {src: a, tgt: b}}\ntokenizer: {kind: byte}\n"
    )
    assert main(["tokenize", str(tmp_path / "pairs.yaml")]) == 2
    assert "byte is for task language_model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"train.txt": b"few\n", "more.txt.gz": gzip.compress(b"x")},
            "less than one block of data.context (24)",
        ),
        ({"train.txt": b"good\nbad \xff\n"}, "train.txt:2: not UTF-8"),
        ({"test.txt": b"bad \xff\n"}, "test.txt:1: not UTF-8"),
    ],
)
def test_text_that_cannot_be_used_is_refused(tmp_path, capsys, files, message):
    write_text(tmp_path)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    assert main(["tokenize", str(tmp_path / "text.yaml"), "--out", str(tmp_path / "run")]) == 3
    assert message in " ".join(capsys.readouterr().err.split())
