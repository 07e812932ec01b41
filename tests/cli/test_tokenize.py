"""`tfcli tokenize`: a run's tokenizer and corpora, and the filter from text to pieces and back."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tfcli.text.tokenizer import Tokenizer

ODD = "ab cd\r\n\n \nb\u2028c\n\ufeffa\0b\nend"


def tfcli(*args, stdin=b"", cwd=None):
    command = [sys.executable, "-m", "tfcli", *map(str, args)]
    done = subprocess.run(command, input=stdin, capture_output=True, cwd=cwd, timeout=60, check=False)
    assert b"Traceback" not in done.stderr
    return done


def refused(code, *args, stdin=b""):
    """Run a command that fails before it writes anything; return what it says."""
    done = tfcli(*args, stdin=stdin)
    assert (done.returncode, done.stdout) == (code, b"")
    return done.stderr.decode()


def write_corpus(folder: Path) -> Path:
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefgh", k=rng.randint(1, 6))) for _ in range(60)]
    for name, count in (("train", 300), ("valid", 20)):
        src = [" ".join(rng.choices(words, k=rng.randint(1, 9))) for _ in range(count)]
        (folder / f"{name}.src").write_text("".join(line + "\n" for line in src))
        (folder / f"{name}.tgt").write_text("".join(line.upper() + "\n" for line in src))
    (folder / "toy.yaml").write_text(
        "name: toy\n"
        "data:\n"
        "  train: [{src: train.src, tgt: train.tgt}]\n"
        "  valid: {src: valid.src, tgt: valid.tgt}\n"
        "tokenizer: {vocab_size: 60, normalization: identity}\n"
        "model: {preset: tiny, tie_embeddings: decoder}\n"
    )
    return folder / "toy.yaml"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def run_dir(recipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert tfcli("tokenize", recipe, "--out", folder).returncode == 0
    return folder


def test_a_recipe_is_prepared_and_its_counts_are_shown(recipe, tmp_path):
    done = tfcli("tokenize", recipe, "--set", "data.drop_duplicates=true", cwd=tmp_path)
    assert done.returncode == 0
    table = done.stdout.decode()
    for heading in (
        "corpus",
        "lines",
        "kept",
        "dropped: duplicate",
        "pieces/word",
        "unknown %",
        "length p50",
    ):
        assert heading in table
    assert next(line.split()[:2] for line in table.splitlines() if line.startswith("train")) == [
        "train",
        "300",
    ]
    assert "runs/toy: tokenizer and corpora are ready" in done.stderr.decode()
    assert (tmp_path / "runs" / "toy" / "tokenizer.model").exists()
    assert (tmp_path / "runs" / "toy" / "corpus" / "train" / "meta.json").exists()


def test_json_carries_what_the_tables_show_and_says_what_was_reused(recipe, run_dir):
    done = tfcli("tokenize", recipe, "--out", run_dir, "--json")
    result = json.loads(done.stdout)
    assert result["reused"] is True
    assert "reused" in done.stderr.decode()
    assert result["run"] == str(run_dir)
    assert result["tokenizer"] == {"shared": True, "src_vocab_size": 60, "tgt_vocab_size": 60}
    assert [(row["name"], row["lines"], row["kept"]) for row in result["corpora"]] == [
        ("train", 300, 300),
        ("valid", 20, 20),
    ]
    assert result["corpora"][0]["src"]["pieces_per_word"] > 1
    assert result["warnings"] == []


def test_warnings_go_to_stderr_even_when_quiet(recipe, tmp_path):
    swapped = ("--set", "data.valid={src: valid.tgt, tgt: valid.src}")
    done = tfcli("tokenize", recipe, "-q", "--out", tmp_path / "run", *swapped)
    assert done.returncode == 0
    assert done.stderr.decode().startswith("warning: valid: its source looks like the target")


def test_data_are_found_under_the_root_that_is_given(recipe, tmp_path):
    moved = tmp_path / "moved.yaml"
    moved.write_text(recipe.read_text())
    assert "data.train[0].src" in refused(3, "tokenize", moved, "--out", tmp_path / "run")
    assert tfcli("tokenize", moved, "--out", tmp_path / "run", "--data-root", recipe.parent).returncode == 0


def test_a_file_that_cannot_be_decoded_is_refused_with_its_line(tmp_path):
    recipe = write_corpus(tmp_path)
    (tmp_path / "train.tgt").write_bytes(b"caf\xe9\n" * 300)
    message = refused(3, "tokenize", recipe, "--out", tmp_path / "run")
    assert "train.tgt:1: not UTF-8" in message
    assert "hint:" in message


def test_lines_come_out_as_they_went_in(run_dir):
    pieces = tfcli("tokenize", "--model", run_dir, stdin=ODD.encode())
    assert pieces.returncode == 0
    assert pieces.stdout.count(b"\n") == ODD.count("\n")
    assert pieces.stdout.split(b"\n")[1] == b""
    text = tfcli("tokenize", "--model", run_dir, "--decode", stdin=pieces.stdout)
    assert text.stdout == ODD.encode()
    assert (pieces.stderr, text.stderr) == (b"", b"")


def test_pieces_and_ids_are_those_of_the_tokenizer(run_dir):
    tokenizer = Tokenizer.load(run_dir)
    line = "ab cd"
    pieces = tfcli("tokenize", "--model", run_dir, stdin=line.encode())
    assert pieces.stdout.decode() == " ".join(tokenizer.src_pieces(line))
    ids = tfcli("tokenize", "--model", run_dir, "--ids", stdin=f"{line}\n\n".encode())
    assert ids.stdout.decode() == " ".join(map(str, tokenizer.encode_src(line))) + "\n\n"
    assert tfcli("tokenize", "--model", run_dir, "--ids", "--decode", stdin=ids.stdout).stdout == b"ab cd\n\n"


def test_each_side_may_have_a_vocabulary_of_its_own(recipe, tmp_path):
    folder = tmp_path / "run"
    assert tfcli("tokenize", recipe, "--out", folder, "--set", "tokenizer.shared=false").returncode == 0
    tokenizer = Tokenizer.load(folder)
    for side, encode in (("src", tokenizer.encode_src), ("tgt", tokenizer.encode_tgt)):
        done = tfcli("tokenize", "--model", folder, "--ids", "--side", side, stdin=b"AB CD")
        assert done.stdout.decode() == " ".join(map(str, encode("AB CD")))
    source = tfcli("tokenize", "--model", folder, "--ids", stdin=b"AB CD").stdout
    assert source.decode() == " ".join(map(str, tokenizer.encode_src("AB CD")))


def test_a_model_folder_serves_as_well_and_so_does_the_best_of_a_run(run_dir, tmp_path):
    best = tmp_path / "run" / "best"
    Tokenizer.load(run_dir).save(best)
    expected = tfcli("tokenize", "--model", run_dir, stdin=b"ab").stdout
    for folder in (best, best.parent):
        assert tfcli("tokenize", "--model", folder, stdin=b"ab").stdout == expected


def test_an_answer_comes_before_the_input_ends(run_dir):
    command = [sys.executable, "-m", "tfcli", "tokenize", "--model", str(run_dir)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write(b"ab\n")
        process.stdin.flush()
        assert process.stdout.readline().endswith(b"\n")
        process.stdin.close()
        assert process.wait(timeout=30) == 0


def test_undecodable_input_is_refused_with_its_line(run_dir):
    done = tfcli("tokenize", "--model", run_dir, stdin=b"ab\ncaf\xe9\n")
    assert done.returncode == 3
    assert done.stdout.count(b"\n") == 1
    assert "standard input:2: not UTF-8" in done.stderr.decode()


@pytest.mark.parametrize("word", ["60", "-1", "x", "1_0", "\u0661", "9" * 5000])
def test_what_is_no_id_is_refused_with_its_line(run_dir, word):
    message = refused(3, "tokenize", "--model", run_dir, "--ids", "--decode", stdin=f"{word} 5\n".encode())
    assert "standard input:1: expected piece ids from 0 to 59, got" in message


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        assert f"{folder}: no tokenizer" in refused(4, "tokenize", "--model", folder)


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        ([], "expected a RECIPE to prepare a run, or --model RUN"),
        (["toy.yaml", "--decode"], "--decode, --ids and --side need --model RUN"),
        (["toy.yaml", "--side", "tgt"], "--decode, --ids and --side need --model RUN"),
        (["toy.yaml", "--ids"], "--decode, --ids and --side need --model RUN"),
        (["toy.yaml", "--model", "run"], "--model makes a filter"),
        (["--model", "run", "--json"], "--model makes a filter"),
        (["--model", "run", "--out", "x"], "--model makes a filter"),
        (["--model", "run", "--set", "a=b"], "--model makes a filter"),
        (["--model", "run", "--data-root", "x"], "--model makes a filter"),
        (["--model", "run", "--side", "both"], "--side"),
    ],
)
def test_options_that_do_not_go_together_are_refused(args, complaint):
    assert complaint in refused(2, "tokenize", *args)


def test_a_path_with_a_dot_in_front_is_no_name(recipe, tmp_path):
    done = tfcli("tokenize", f"./{recipe.name}", "--out", tmp_path / "run", cwd=recipe.parent)
    assert done.returncode == 0, done.stderr
