"""`translate` with files: what is there already, what is interrupted, tables and JSON, long lines, a conversation."""

import gzip
import json
import os
import pty
import signal
import sys
import threading
from pathlib import Path

import pytest

from tests.cli.test_bad_folders import model  # noqa: F401  # a fixture
from tests.fake_translation import echo_translator, use_echo
from tests.pseudo_terminal import on_terminal
from tfcli.app import main


@pytest.fixture
def echo(tmp_path, monkeypatch):
    """Return a function that runs `translate` with an engine that gives back what it gets."""
    use_echo(monkeypatch, tmp_path)
    return lambda *arguments: main(["translate", "model", *arguments])


def visible(folder="."):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("[!.]*") if path.is_file())


def test_a_folder_is_translated_once_and_then_only_what_is_new(echo, capsys):
    Path("in/deep").mkdir(parents=True)
    Path("in/a.txt").write_text("a\n")
    Path("in/deep/b.txt.gz").write_bytes(gzip.compress(b"b\n\nc"))
    assert echo("in", "-o", "out") == 0
    assert visible("out") == ["a.txt", "deep/b.txt"]
    assert Path("out/deep/b.txt").read_bytes() == b"b\n\nc"
    capsys.readouterr()
    Path("in/new.txt").write_text("new\n")
    assert echo("in", "-o", "out") == 0
    told = capsys.readouterr().err.split("\n")
    assert told == ["out/a.txt: up to date", "out/deep/b.txt: up to date", "out/new.txt: 1 line", ""]


def test_a_dash_is_standard_input_and_standard_output(echo, stdin, capsysbinary):
    Path("a.txt").write_text("a\n")
    Path("b.txt").write_text("b\n")
    for arguments, expected in (
        (["-"], b"typed"),
        (["-o", "-"], b"typed"),
        (["-", "-o", "-"], b"typed"),
        (["a.txt", "b.txt", "-o", "-"], b"a\nb\n"),
    ):
        stdin(b"typed")
        assert echo(*arguments) == 0
        assert capsysbinary.readouterr().out == expected
    assert echo("a.txt", "-o", "-", "--suffix", ".out") == 2
    assert b"-o - and --suffix contradict each other" in capsysbinary.readouterr().err
    assert echo("a.txt", "-") == 3  # it is read alone
    assert not Path("-").exists()


def test_an_output_that_exists_is_overwritten_by_force_alone(echo, stdin, capsys):
    for name in ("in.txt", "in2.txt"):
        Path(name).write_text(f"{name}\n")
    Path("out").mkdir()
    Path("out/in.txt").write_text("precious\n")
    for arguments in (
        ["in.txt", "in2.txt", "-o", "out"],
        ["in.txt", "-o", "out/in.txt"],
        ["-o", "out/in.txt"],
    ):
        stdin(b"from stdin\n")
        assert echo(*arguments) == 2
        error, hint = capsys.readouterr().err.split("\n")[:2]
        assert error == "error: out/in.txt: exists already, and is not overwritten"
        assert "--force" in hint
        assert visible("out") == ["in.txt"]  # nothing else was begun
        assert Path("out/in.txt").read_text() == "precious\n"
        stdin(b"from stdin\n")
        assert echo(*arguments, "--force", "-q") == 0
        assert Path("out/in.txt").read_text() == ("in.txt\n" if len(arguments) > 2 else "from stdin\n")
        Path("out/in.txt").write_text("precious\n")
        Path("out/in2.txt").unlink(missing_ok=True)


def test_many_outputs_that_exist_are_not_all_listed(echo, capsys):
    for number in range(13):
        for suffix in ("en", "de"):
            Path(f"{number:02}.{suffix}").touch()
    assert echo("*.en", "--suffix", ".de") == 2
    err = capsys.readouterr().err
    assert err.count("exists already") == 10
    assert "error: and 3 more outputs" in err


def test_another_option_or_another_model_makes_another_translation(echo, capsys):
    Path("in.txt").write_text("a\n")
    assert echo("in.txt", "-o", "out.txt", "-q") == 0
    assert echo("in.txt", "-o", "out.txt", "-q", "--on-long", "truncate") == 2
    assert echo("in.txt", "-o", "out.txt", "-v") == 0
    Path("model/config.json").write_text("{ }")
    assert echo("in.txt", "-o", "out.txt", "-q") == 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_keeps_what_is_done_and_says_so(echo, monkeypatch, capsys, number, code):
    lines = b"".join(b"%d\n" % i for i in range(10))
    Path("in.txt").write_bytes(lines)
    translator = echo_translator()
    whole = translator.begin

    def stopped(texts, *rest):
        end = whole(texts, *rest)

        def end_or_stop():
            if texts[0] == "6":
                os.kill(os.getpid(), number)
            return end()

        return end_or_stop

    with monkeypatch.context() as patch:
        translator.begin = stopped
        patch.setattr("tfcli.decoding.loading.load_translator", lambda *_, **__: translator)
        assert echo("in.txt", "-o", "out.txt") == code
    assert (
        "out.txt: 6 lines done and kept beside it; the same command goes on from there"
        in capsys.readouterr().err
    )
    assert not Path("out.txt").exists()
    assert echo("in.txt", "-o", "out.txt") == 0
    assert "out.txt: goes on after 6 lines" in capsys.readouterr().err
    assert Path("out.txt").read_bytes() == lines


def test_files_on_standard_output_do_not_run_into_each_other(echo, capfdbinary):
    for name, content in (("a", b"1\n2"), ("b", b""), ("c", b"3\n"), ("d", b"4")):
        Path(name).write_bytes(content)
    assert echo("a", "b", "c", "d", "-q") == 0
    assert capfdbinary.readouterr().out == b"1\n2\n3\n4"


@pytest.mark.parametrize("name", ["out.gz", "out.xz"])
def test_standard_input_goes_to_archives_as_well(echo, stdin, name):
    import lzma

    stdin(b"a\n" * 8)
    assert echo("-o", name) == 0
    unpack = gzip.decompress if name == "out.gz" else lzma.decompress
    assert unpack(Path(name).read_bytes()) == b"a\n" * 8


def test_a_line_without_the_text_stops_a_file_before_any_of_it_is_kept(echo, capsys):
    Path("good.jsonl").write_text('{"text": "a", "n": 1}\n\n')
    Path("bad.jsonl").write_text('{"text": "a"}\n' * 9 + '{"txt": "b"}\n')
    assert echo("good.jsonl", "bad.jsonl", "-o", "out", "--field", "text") == 3
    err = capsys.readouterr().err
    assert "error: bad.jsonl:10: no field 'text' in the object; it has txt\nhint: " in err
    assert Path("out/good.jsonl").read_text() == '{"text": "a", "n": 1, "translation": "a"}\n\n'
    assert not list(Path("out").glob("*bad*")) + list(Path("out").glob(".*bad*"))
    assert echo("bad.jsonl", "--field", "text") == 3
    assert capsys.readouterr().out == ""
    Path("table.tsv").write_text("1\ta\n\n2\n")
    assert echo("table.tsv", "-o", "out/", "--column", "2") == 3
    assert "table.tsv:3: expected 2 columns or more, parted by tabs, got 1 column" in capsys.readouterr().err


def test_a_field_of_standard_input_is_translated_up_to_a_line_without_it(echo, stdin, capsys):
    stdin(b'{"text": "a"}\n' * 3 + b"[]\n")
    assert echo("--field", "text", "-q") == 3
    out, err = capsys.readouterr()
    assert [json.loads(line)["translation"] for line in out.split("\n")[:-1]] == ["a"] * 3
    assert "error: standard input:4: expected a JSON object, got a list" in err


LONG = b"short\n" * 4 + b"One sentence, " * 30 + b"\n" + b"x" * 201 + b"\nshort"


def test_lines_too_long_are_split_truncated_or_refused(echo, capsysbinary):
    Path("in.txt").write_bytes(LONG)
    assert echo("in.txt") == 0
    out, err = capsysbinary.readouterr()
    assert out == LONG
    assert err.count(b"in.txt: 2 lines were too long for the model and were translated in parts\n") == 1
    assert echo("in.txt", "--on-long", "truncate", "-q") == 0
    out, err = capsysbinary.readouterr()
    assert out.split(b"\n") == [line[:200] for line in LONG.split(b"\n")]
    assert err == b"warning: in.txt: 2 lines were too long for the model and were cut off there\n"
    assert echo("in.txt", "--on-long", "error", "-o", "out.txt", "-q") == 3
    out, err = capsysbinary.readouterr()
    assert err.startswith(b"error: in.txt:5: 420 pieces, but the model takes 200\nhint: ")
    assert not Path("out.txt").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["in.txt", "--interactive"], "--interactive answers standard input alone"),
        (["--interactive", "-o", "out.txt"], "--interactive answers standard input alone"),
        (["--column", "1", "--field", "text"], "--column 1 and --field text contradict each other"),
        (["--column", "1", "--json"], "--column 1 and --format jsonl contradict each other"),
        (["--field", "text", "--format", "tsv"], "--field text and --format tsv contradict each other"),
        (["--on-long", "skip"], "--on-long skip: expected one of split, truncate, error"),
        (["--column", "0"], "--column 0: must be at least 1"),
        (["in.txt", "--suffix", "de"], "--suffix de: expected a dot and what follows it"),
    ],
)
def test_options_that_do_not_go_together_are_refused(echo, capsys, arguments, said):
    Path("in.txt").write_text("a\n")
    assert echo(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err


def test_lines_are_answered_one_by_one_on_a_terminal(model):  # noqa: F811
    leader, follower = pty.openpty()

    def type_lines():
        os.write(leader, b"the dog .\n\na cat .\n\x04")

    typist = threading.Timer(1, type_lines)
    typist.start()
    sent, _ = on_terminal(
        [sys.executable, "-m", "tfcli", "translate", "model", "--interactive"], stdin=follower
    )
    typist.join()
    os.close(follower)
    os.close(leader)
    first, blank, second, end = sent.replace("\r", "").split("> ")[1:]
    assert first.strip()
    assert blank == "\n"
    assert second.strip()
    assert end == "\n"


def test_without_a_terminal_a_conversation_has_no_prompt(echo, stdin, capsys):
    stdin(b"a\n\nb")
    assert echo("--interactive") == 0
    assert capsys.readouterr() == ("a\n\nb", "")
