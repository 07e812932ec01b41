"""A locale that knows ASCII alone changes nothing: text is UTF-8 whatever the environment says."""

import codecs
import os
import subprocess
import sys

import pytest

from tests.cli.conftest import write_small_corpus

ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
UTF8 = {"PYTHONUTF8": "1"}
SOURCE = 'The dog sees a bird: "naïve".\n\nÅse läuft.\n'.encode()


def output_of(args, environment, given=b""):
    """Run a command in an environment of its own and return what it prints on standard output."""
    done = subprocess.run(
        [sys.executable, "-m", "tfcli", *map(str, args)],
        input=given, capture_output=True, check=False, timeout=300, env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_locale_of_these_tests_is_really_ascii():
    program = "import locale, sys; print(locale.getpreferredencoding(False), sys.stdout.encoding)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **ASCII},
    )
    assert {codecs.lookup(name).name for name in done.stdout.split()} == {"ascii"}


@pytest.mark.parametrize(
    "args",
    [["translate", "--engine", "torch", "--format", "jsonl"], ["tokenize", "--model"]],
    ids=lambda args: args[0],
)
def test_text_goes_in_and_comes_out_as_utf8(args, small_run):
    verb, *options = args
    command = [verb, *options, small_run] if options[-1] == "--model" else [verb, small_run, *options]
    found = output_of(command, ASCII, SOURCE)
    assert found == output_of(command, UTF8, SOURCE)
    assert "ä".encode() in found


def test_training_reads_utf8(small_run, tmp_path):
    recipe = write_small_corpus(tmp_path)
    recipe.write_text(f"# Übung\n{recipe.read_text(encoding='utf-8')}", encoding="utf-8")
    output_of(["tokenize", recipe, "--out", tmp_path / "run"], ASCII)
    assert (tmp_path / "run" / "tokenizer.model").read_bytes() == (small_run / "tokenizer.model").read_bytes()
    output_of(["train", recipe, "--out", tmp_path / "run", "--set", "training.max_steps=1"], ASCII)
    translated = output_of(["translate", tmp_path / "run", "--engine", "torch"], ASCII, SOURCE)
    assert translated.count(b"\n") == SOURCE.count(b"\n")
