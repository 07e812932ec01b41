"""Bad text: one clear line and a hint, the right exit code, and nothing left behind.

Bad recipes are in test_bad_recipes.py. Bad run and model folders, full disks and closed pipes are in test_bad_folders.py.
"""

import gzip
import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.cli.conftest import write_small_corpus
from tfcli.app import main

UNREADABLE = Path("/proc/self/mem")  # a file of which not even root can read the first byte


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """Return a small recipe; runs/ would appear beside the folder that holds it and its text."""
    monkeypatch.delenv("TFCLI_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    return write_small_corpus(tmp_path / "data")


def refused(capsys, code, *args):
    """Run a command that fails; return what it says, which is errors and a hint and nothing else."""
    assert main([*map(str, args), "-q"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    *errors, hint = err.removesuffix("\n").split("\n")
    assert errors
    assert all(line.startswith("error: ") for line in errors), err
    assert re.match("hint: .", hint), err
    return [line.removeprefix("error: ") for line in errors], hint


def tree(folder):
    """Return all that is in a folder, with the content of its files."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() and not path.is_symlink() else None
        for path in sorted(folder.rglob("*"))
    }


def cut_lines(path, keep):
    lines = path.read_bytes().split(b"\n")[:-1]
    path.write_bytes(b"".join(line + b"\n" for i, line in enumerate(lines) if keep(i)))


def change_line(path, number, content):
    lines = path.read_bytes().split(b"\n")
    lines[number - 1] = content
    path.write_bytes(b"\n".join(lines))


def link_to_unreadable(data):
    if not UNREADABLE.is_file():
        pytest.skip("no file here that root cannot read")
    (data / "train.en").unlink()
    (data / "train.en").symlink_to(UNREADABLE)


def write_tsv(data, third_line):
    pairs = ["a\tA", "b\tB", third_line, "d\tD"]
    (data / "pairs.tsv").write_text("".join(pair + "\n" for pair in pairs))


def make_folder(data):
    (data / "train.en").unlink()
    (data / "train.en").mkdir()


FOUND_AT_ONCE = {
    "a missing file": (
        lambda data: (data / "train.en").unlink(),
        [],
        "data.train[0].src: no file train.en; looked for data/train.en",
        "put it there, name its folder with --data-root or TFCLI_DATA, or say where to fetch it from with "
        "data.train[0].src_url",
    ),
    "a missing file beside one of nearly that name": (
        lambda data: (data / "train.en").rename(data / "Train.en.gz"),
        [],
        "data.train[0].src: no file train.en; looked for data/train.en",
        "did you mean data/Train.en.gz? else put it there",
    ),
    "a missing validation file": (
        lambda data: (data / "valid.de").unlink(),
        [],
        "data.valid.tgt: no file valid.de; looked for data/valid.de",
        "put it there",
    ),
    "a missing test file": (
        lambda data: None,
        ["data.tests.news={src: valid.en, tgt: vlaid.de}"],
        "data.tests.news.tgt: no file vlaid.de; looked for data/vlaid.de",
        "did you mean data/valid.de?",
    ),
    "an empty file": (
        lambda data: (data / "train.de").write_bytes(b""),
        [],
        "data.train[0].tgt: data/train.de is empty",
        "replace it",
    ),
    "an empty compressed file": (
        lambda data: (data / "none.gz").write_bytes(gzip.compress(b"")),
        ["data.valid.src=none.gz"],
        "data.valid.src: data/none.gz is empty",
        "replace it",
    ),
    "UTF-16": (
        lambda data: (data / "train.en").write_bytes("a\n".encode("utf-16") * 400),
        [],
        "data.train[0].src: data/train.en is UTF-16, expected UTF-8",
        "convert it: `iconv -f UTF-16 -t UTF-8 data/train.en > data/utf8-train.en`",
    ),
    "a folder": (
        make_folder,
        [],
        "data.train[0].src: data/train.en is a folder; expected a file",
        "give the name of a file",
    ),
    "a file that cannot be read": (
        link_to_unreadable,
        [],
        "cannot read data/train.en: Input/output error",
        "check the path",
    ),
    "a plain file called .gz": (
        lambda data: (data / "train.en").rename(data / "train.gz"),
        ["data.train[0].src=train.gz"],
        "data/train.gz: damaged or incomplete compressed file",
        "a name ending in .gz or .xz must be such a file",
    ),
    "a file that is not the one with the checksum": (
        lambda data: None,
        ["data.train[0].tgt_sha256=" + "f" * 64],
        "data.train[0].tgt: data/train.de is not the file that the recipe means: the SHA-256",
        "replace it, or correct data.train[0].tgt_sha256",
    ),
}


@pytest.mark.parametrize("verb", ["train", "tokenize"])
@pytest.mark.parametrize("case", FOUND_AT_ONCE)
def test_a_data_file_that_cannot_be_used_is_told_before_anything_is_written(recipe, capsys, case, verb):
    damage, overrides, message, cure = FOUND_AT_ONCE[case]
    damage(recipe.parent)
    before = tree(recipe.parent.parent)
    changes = [word for change in overrides for word in ("--set", change)]
    [error], hint = refused(capsys, 3, verb, "data/small.yaml", *changes)
    assert error.startswith(message)
    assert cure in hint
    assert tree(recipe.parent.parent) == before


def test_the_file_of_the_other_side_is_never_proposed(recipe, capsys):
    (recipe.parent / "train.de").unlink()
    _, hint = refused(capsys, 3, "train", "data/small.yaml")
    assert "did you mean" not in hint


FOUND_IN_READING = {
    "a source that lacks a line": (
        lambda data: cut_lines(data / "train.en", lambda i: i != 200),
        [],
        "data/train.en has 399 lines, data/train.de has 400",
        "line i of one file must be the translation of line i of the other; lengths stop matching near line 20",
    ),
    "a target cut short": (
        lambda data: cut_lines(data / "train.de", lambda i: i < 300),
        [],
        "data/train.en has 400 lines, data/train.de has 300",
        "all lines seem to match up to the end of data/train.de, so it may be cut short",
    ),
    "validation files of other lengths": (
        lambda data: cut_lines(data / "valid.en", lambda i: i < 1),
        [],
        "data/valid.en has 1 line, data/valid.de has 20",
        "line i of one file must be the translation of line i of the other",
    ),
    "bytes that are no UTF-8": (
        lambda data: change_line(data / "train.de", 7, b"caf\xe9"),
        [],
        "data/train.de:7: not UTF-8: byte 0xe9 at position 4 of the line",
        "iconv -f LATIN1 -t UTF-8",
    ),
    "a TSV line without a tab": (
        lambda data: write_tsv(data, "no tab"),
        ["data.train=[{tsv: pairs.tsv}]"],
        "data/pairs.tsv:3: expected source, one tab, target; got 0 tabs",
        "keep two columns, as in `cut -f 1,2`",
    ),
    "a TSV line with three fields": (
        lambda data: write_tsv(data, "c\tC\tx"),
        ["data.train=[{tsv: pairs.tsv}]"],
        "data/pairs.tsv:3: expected source, one tab, target; got 2 tabs",
        "keep two columns, as in `cut -f 1,2`",
    ),
    "a compressed file cut short": (
        lambda data: (data / "cut.gz").write_bytes(gzip.compress((data / "train.en").read_bytes())[:-20]),
        ["data.train[0].src=cut.gz"],
        "data/cut.gz: damaged or incomplete compressed file",
        "fetch or compress the file again",
    ),
    "nothing but blank lines": (
        lambda data: [(data / f"train.{language}").write_bytes(b" \n" * 400) for language in ("en", "de")],
        [],
        "no text to train a tokenizer on: both sides of the training corpora are blank",
        "check the files under data.train",
    ),
    "no pair short enough": (
        lambda data: None,
        ["data.max_pieces=1"],
        "data.train: all 400 pairs were dropped (train too_long 400)",
        "check the files, or change data.max_pieces",
    ),
    "no pair whose sides differ": (
        lambda data: (data / "train.de").write_bytes((data / "train.en").read_bytes()),
        ["data.drop_identical=true"],
        "data.train: all 400 pairs were dropped (train identical 400)",
        "check the files, or change data.drop_identical",
    ),
}


@pytest.mark.parametrize("case", FOUND_IN_READING)
def test_text_that_cannot_be_used_is_told_with_its_place_and_no_corpus_is_kept(recipe, capsys, case):
    damage, overrides, message, cure = FOUND_IN_READING[case]
    damage(recipe.parent)
    changes = [word for change in overrides for word in ("--set", change)]
    [error], hint = refused(capsys, 3, "tokenize", "data/small.yaml", *changes)
    assert error.startswith(message)
    assert cure in hint
    left = {path.name for path in Path("runs/small/corpus").glob("*")}
    # they save work when the text is mended; the lock has two commands take turns, and is empty
    assert left <= {"files.json", "tokenizer.json", ".lock"}
    if "lines, data/" in message or "line, data/" in message:
        assert not Path("runs").exists()


class Server(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/gone":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", "99")
        self.end_headers()
        self.wfile.write(b"not so long\n" if self.path == "/cut" else b"x" * 98 + b"\n")

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("page", "message", "cure"),
    [
        (
            "gone",
            "data.train[0].src: cannot fetch {url}: the server answers 404 Not Found",
            "fetch it by hand",
        ),
        (
            "cut",
            "data.train[0].src: cannot fetch {url}: the connection closed after 12 of 99 bytes",
            "by hand",
        ),
        ("other", "data.train[0].src: what came from {url} is not the file that the recipe means", "correct"),
    ],
)
def test_a_download_that_fails_is_told_and_leaves_no_file(recipe, capsys, server, page, message, cure):
    (recipe.parent / "train.en").unlink()
    before = tree(recipe.parent.parent)
    url = f"{server}/{page}"
    overrides = [
        f"data.train[0].src_url={url}",
        f"data.train[0].src_sha256={hashlib.sha256(b'').hexdigest()}",
    ]
    changes = [word for change in overrides for word in ("--set", change)]
    [error], hint = refused(capsys, 3, "train", "data/small.yaml", *changes)
    assert error.startswith(message.format(url=url))
    assert cure in hint
    assert tree(recipe.parent.parent) == before


def test_a_test_set_that_cannot_be_scored_is_told_before_training(recipe, capsys):
    (recipe.parent / "test.de").write_bytes(b"ein Haus\n" * 18 + b"\xff\nein Haus\n")
    tests = "data.tests.x={src: valid.en, tgt: test.de}"
    [error], _ = refused(capsys, 3, "train", "data/small.yaml", "--set", tests)
    assert error.startswith("data/test.de:19: not UTF-8")
    assert not Path("runs").exists()


@pytest.mark.parametrize("verb", ["train", "tokenize"])
def test_validation_text_is_read_to_its_end_before_a_tokenizer_is_trained(recipe, capsys, verb):
    change_line(recipe.parent / "valid.de", 3, b"\xff")
    [error], _ = refused(capsys, 3, verb, "data/small.yaml")
    assert error.startswith("data/valid.de:3: not UTF-8")
    assert not Path("runs/small/tokenizer.model").exists()
    assert not Path("runs/small/checkpoints").exists()


def test_the_same_text_on_both_sides_is_warned_of(recipe, capsys):
    args = ["tokenize", "data/small.yaml"]
    assert main([*args, "-q", "--set", "data.train[0].tgt=train.en"]) == 0
    same = "warning: data.train[0]: src and tgt are the same file, data/train.en; is one of the two names wrong?\n"
    assert same in capsys.readouterr().err
    (recipe.parent / "train.de").write_bytes((recipe.parent / "train.en").read_bytes())
    assert main([*args, "-q", "--out", "runs/other"]) == 0
    assert (
        "warning: train: source and target are the same text in 100% of the lines" in capsys.readouterr().err
    )


@pytest.mark.parametrize("pieces", [50_000, 5_000_000_000])
def test_a_vocabulary_that_the_text_does_not_support_is_lowered_and_said(recipe, capsys, pieces):
    assert main(["tokenize", "data/small.yaml", "--set", f"tokenizer.vocab_size={pieces}"]) == 0
    lowered = rf"tokenizer.vocab_size lowered from {pieces} to \d+: the text of both sides has no more pieces"
    assert re.search(lowered, capsys.readouterr().err)


def test_a_vocabulary_too_small_for_the_alphabet_is_refused_with_what_it_needs(recipe, capsys):
    [error], hint = refused(capsys, 2, "tokenize", "data/small.yaml", "--set", "tokenizer.vocab_size=16")
    needed = re.search(r"tokenizer.vocab_size: 16 is too small: .* of both sides need (\d+)$", error)
    assert needed is not None
    assert f"well above {needed[1]}" in hint
    assert not Path("runs/small/tokenizer.model").exists()
