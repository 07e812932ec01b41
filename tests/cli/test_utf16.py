"""Text in UTF-16: every verb calls it so, and the command in the hint converts it."""

import gzip
import lzma
import re
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import write_small_corpus
from tests.cli.test_bad_input import refused
from tfcli.app import main

MARKED = {"little": "utf-16-le", "big": "utf-16-be"}


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Return the current folder, with small.yaml and the text that it names."""
    monkeypatch.delenv("TFCLI_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    write_small_corpus(tmp_path)
    return tmp_path


def as_utf16(name, encoding="utf-16-le", extra_lines=0):
    """Save a file as some programs do; with more lines than it had, if asked."""
    path = Path(name)
    text = path.read_text(encoding="utf-8") + "one more\n" * extra_lines
    path.write_bytes(("\ufeff" + text).encode(encoding))


TEXT = ["--src", "train.en", "--tgt", "train.de", "--out", "run"]
OWN_VALID = ["--valid-src", "valid.en", "--valid-tgt", "valid.de"]
READERS = {
    "train": (["train", "small.yaml"], ["train.en", "train.de", "valid.en", "valid.de"]),
    "train on a TSV file": (["train", "small.yaml", "--set", "data.train=[{tsv: train.en}]"], ["train.en"]),
    "train, a test set": (
        ["train", "small.yaml", "--set", "data.tests={x: {src: train.en, tgt: train.de}}", "--set",
         "expected={}", "--set", "data.train=[{src: valid.en, tgt: valid.de}]"],
        ["train.en", "train.de"],
    ),
    "train without a recipe": (["train", *TEXT, *OWN_VALID], ["train.en", "train.de", "valid.en", "valid.de"]),
    "tokenize": (["tokenize", "small.yaml"], ["train.en", "train.de", "valid.en", "valid.de"]),
    "eval of files": (["eval", "--hyp", "train.en", "--ref", "train.de"], ["train.en", "train.de"]),
    "eval of a run on own text": (["eval", "nowhere", "--src", "train.en", "--ref", "train.de"], ["train.en", "train.de"]),
}  # fmt: skip
CASES = [(reader, name) for reader, (_, names) in READERS.items() for name in names]


@pytest.mark.parametrize("extra_lines", [0, 3], ids=["counts agree", "counts differ"])
@pytest.mark.parametrize(("reader", "name"), CASES)
def test_every_reader_calls_utf16_by_its_name(data, capsys, reader, name, extra_lines):
    as_utf16(name, extra_lines=extra_lines)
    command, _ = READERS[reader]
    [error], hint = refused(capsys, 3, *command)
    assert error.endswith(f"{name} is UTF-16, expected UTF-8")
    assert f"`iconv -f UTF-16 -t UTF-8 {name} > utf8-{name}`" in hint
    assert not (data / "run").exists()
    assert not (data / "runs").exists()


def test_a_test_set_of_a_run_is_called_so_too(small_run, tmp_path, capsys):
    for name in ("valid.en", "valid.de"):
        (tmp_path / name).write_bytes((small_run.parent / name).read_bytes())
    as_utf16(tmp_path / "valid.de")
    [error], _ = refused(capsys, 3, "eval", small_run, "--data-root", tmp_path)
    assert error == f"data.tests.held-out.tgt: {tmp_path / 'valid.de'} is UTF-16, expected UTF-8"


@pytest.mark.parametrize("encoding", MARKED.values(), ids=MARKED)
@pytest.mark.parametrize(
    ("suffix", "pack", "unpack"),
    [("", bytes, bytes), (".gz", gzip.compress, gzip.decompress), (".xz", lzma.compress, lzma.decompress)],
)
def test_the_command_in_the_hint_converts_the_file(data, capsys, encoding, suffix, pack, unpack):
    before = (data / "train.de").read_bytes()
    as_utf16("train.de", encoding)
    name = f"it's train.de{suffix}"
    (data / name).write_bytes(pack((data / "train.de").read_bytes()))
    _, hint = refused(capsys, 3, "eval", "--hyp", "train.en", "--ref", name)
    command = re.search("`(.*)`", hint)[1]
    subprocess.run(["bash", "-c", command], check=True)
    assert unpack((data / f"utf8-{name}").read_bytes()) == before


def test_standard_input_of_a_filter_is_called_so(small_run, stdin, capsys):
    stdin("\ufeffthe dog\n".encode("utf-16-le"))
    [error], hint = refused(capsys, 3, "tokenize", "--model", small_run)
    assert error == "standard input is UTF-16, expected UTF-8"
    assert hint == "hint: convert it: `iconv -f UTF-16 -t UTF-8`"


def test_translate_goes_on_and_warns(small_run, data, capsys):
    as_utf16("valid.en")
    assert main(["translate", str(small_run), "valid.en", "-o", "out.de", "--beam-size", "1", "-q"]) == 0
    assert (
        "warning: valid.en is UTF-16, but was read as UTF-8; convert it: "
        "`iconv -f UTF-16 -t UTF-8 valid.en > utf8-valid.en`\n" in capsys.readouterr().err
    )
