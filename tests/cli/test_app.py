"""The shell around the verbs: start-up cost, help, exit codes, and what goes to which stream."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import typer

from tests.pseudo_terminal import on_terminal
from tfcli import __version__, app
from tfcli.commands import console
from tfcli.errors import CheckpointError, DataError, RecipeError, TfcliError, TrainingError

HEAVY = (
    "torch",
    "sacrebleu",
    "sentencepiece",
    "pydantic",
    "numpy",
    "yaml",
    "safetensors",
    "tensorboard",
    "jinja2",
    "matplotlib",
)
TYPERS_OWN = {"pydantic"}  # Typer 0.29 loads it itself when it parses the options of a verb


def test_the_shell_itself_loads_nothing_heavy() -> None:
    program = f"import sys, tfcli.app; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def run(*args: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "tfcli", *args],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "120", **environment},
        check=False,
    )


def loaded_by(*args: str) -> set[str]:
    """Return the heavy modules that a command line has loaded when it ends."""
    program = (
        "import sys; from tfcli.app import main; main(sys.argv[1:]);"
        f"sys.stderr.write('LOADED ' + ' '.join(m for m in {HEAVY!r} if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program, *args], capture_output=True, text=True, check=True)
    return set(done.stderr.rpartition("LOADED ")[2].split())


@pytest.mark.parametrize(
    "args", [["--help"], ["--version"], ["info", "--help"], ["--show-completion", "bash"], []]
)
def test_help_version_and_completion_load_nothing_heavy(args: list[str]) -> None:
    assert loaded_by(*args) <= TYPERS_OWN


def test_every_verb_shows_its_help_without_loading_anything_heavy() -> None:
    for verb in re.findall(r"^│ (\w+) ", run("--help").stdout.partition("Commands")[2], re.MULTILINE):
        assert loaded_by(verb, "-h") <= TYPERS_OWN
        page = run(verb, "-h")
        assert page.returncode == 0
        assert "Example: tfcli " in page.stdout
        assert "--verbose" in page.stdout


def test_a_recipe_error_does_not_load_torch(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("name: x\n")
    assert "torch" not in loaded_by("info", str(path))


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_goes_to_stdout_and_lists_the_exit_codes(flag: str) -> None:
    done = run(flag)
    assert (done.returncode, done.stderr) == (0, "")
    for code in (0, 1, 2, 3, 4, 5, 130):
        assert re.search(rf"^ +{code}  \w", done.stdout, re.MULTILINE)


def test_no_arguments_show_the_help_and_exit_as_a_usage_error() -> None:
    done = run()
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.rstrip() == run("-h").stdout.rstrip()


def test_the_version_is_printed() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"tfcli {__version__}\n", "")


@pytest.mark.parametrize(
    ("args", "message", "command"),
    [
        (["inf"], "inf: unknown verb, did you mean info?", "tfcli"),
        (["info", "--jsn"], "--jsn: unknown option, did you mean --json?", "tfcli info"),
        (["info", "a", "b"], "expected RECIPE|RUN alone, got b as well", "tfcli info"),
        (["-q", "-v", "info"], "give -q or -v, not both", "tfcli"),
        (["info", "-qv"], "give -q or -v, not both", "tfcli info"),
    ],
)
def test_a_usage_error_exits_2_and_points_to_the_help(args: list[str], message: str, command: str) -> None:
    done = run(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert done.stderr.endswith(f"hint: `{command} -h` lists what it takes\n")


def test_every_problem_of_a_recipe_is_one_unwrapped_line_on_stderr(tmp_path: Path) -> None:
    path = tmp_path / ("long-name-" * 15 + ".yaml")
    path.write_text("name: x\nsead: [1]\ndata:\n  train: []\n")
    done = run("info", str(path), COLUMNS="40")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.split("\n") == [
        f"error: {path}:2: sead: unknown key, did you mean 'seed'?",
        f"error: {path}:3: data.valid: this key is missing",
        f"error: {path}:4: data.train: needs at least 1 entry, got an empty list",
        "hint: `tfcli info --schema` lists every key with its meaning and its limits",
        "",
    ]


def run_raising(monkeypatch: pytest.MonkeyPatch, error: BaseException, *flags: str) -> int:
    """Run a verb that raises `error` and return the exit code."""

    def verb() -> None:
        raise error

    return run_verb(monkeypatch, verb, *flags)


def run_verb(monkeypatch: pytest.MonkeyPatch, verb: Callable[[], None], *flags: str) -> int:
    """Run `verb` as the only one of the shell and return the exit code."""
    shell = typer.Typer(context_settings=app.app.info.context_settings, pretty_exceptions_enable=False)
    shell.callback()(app._common)
    shell.command("verb")(console.with_verbosity(verb))
    monkeypatch.setattr(app, "app", shell)
    return app.main(["verb", *flags])


@pytest.fixture(autouse=True)
def _fresh_console() -> Iterator[None]:
    console._console.cache_clear()
    yield
    console._console.cache_clear()
    console.set_verbosity(console.Verbosity.NORMAL)


@pytest.mark.parametrize(
    ("kind", "code"),
    [(TfcliError, 1), (RecipeError, 2), (DataError, 3), (CheckpointError, 4), (TrainingError, 5)],
)
def test_an_error_prints_its_message_and_hint_and_exits_with_its_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: type[TfcliError], code: int
) -> None:
    # [red] and {x} are text, not markup; a path of 200 characters is not broken
    message = f"/{'x' * 200}:3: [red]bad[/red] {{x}} :smile:"
    assert run_raising(monkeypatch, kind(message, "mend it")) == code
    assert capsys.readouterr() == ("", f"error: {message}\nhint: mend it\n")


def test_an_error_without_a_hint_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_raising(monkeypatch, DataError("bad")) == 3
    assert capsys.readouterr().err == "error: bad\n"


def test_a_file_error_that_nobody_foresaw_names_the_file_and_exits_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_raising(monkeypatch, OSError(28, "No space left on device", "/x/y")) == 3
    assert capsys.readouterr().err.startswith("error: /x/y: No space left on device\nhint: ")
    assert run_raising(monkeypatch, OSError("odd")) == 3
    assert capsys.readouterr().err.startswith("error: odd\n")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA failed with error out of memory"),
        torch.OutOfMemoryError("CUDA out of memory."),
    ],
)
def test_too_little_memory_is_no_defect(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_raising(monkeypatch, error) == 2
    first, second, end = capsys.readouterr().err.split("\n")
    assert (first, end) == ("error: out of memory", "")
    assert second.startswith("hint: take another --device")


def test_a_defect_exits_1_with_one_line_and_shows_where_with_v(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_raising(monkeypatch, KeyError("x")) == 1
    first, second, end = capsys.readouterr().err.split("\n")
    assert first == "error: a defect in tfcli: KeyError: 'x'"
    assert second.startswith("hint: run it again with -v")
    assert "tfcli info" in second
    assert end == ""
    assert run_raising(monkeypatch, KeyError("x"), "-v") == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "line"), [(signal.SIGINT, "error: interrupted"), (signal.SIGTERM, "error: stopped by SIGTERM")]
)
def test_a_signal_unwinds_the_verb_and_ends_with_a_line_and_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: signal.Signals, line: str
) -> None:
    unwound = []

    def verb() -> None:
        try:
            os.kill(os.getpid(), number)
            time.sleep(30)
        finally:
            unwound.append(number)

    before = signal.getsignal(number)
    assert run_verb(monkeypatch, verb) == 128 + number
    assert unwound == [number]
    assert signal.getsignal(number) is before
    out, err = capsys.readouterr()
    assert out == ""
    assert err.split("\n")[0] == line
    assert err.split("\n")[1].startswith("hint: ")


def test_a_verb_may_end_with_an_exit_code_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_raising(monkeypatch, typer.Exit(7)) == 7
    with pytest.raises(SystemExit) as stop:  # as train does on SIGTERM
        run_raising(monkeypatch, SystemExit(143))
    assert stop.value.code == 143


@pytest.mark.parametrize("args", ["info --schema", "--help", "--version"])
def test_a_reader_that_goes_away_ends_the_command_quietly(args: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "tfcli", *args.split()], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize(
    ("flag", "said"),
    [([], "note\nwarning: odd\n"), (["-q"], "warning: odd\n"), (["-v"], "note\nmore\nwarning: odd\n")],
)
def test_quiet_and_verbose_count_before_and_after_the_verb(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    place: str,
    flag: list[str],
    said: str,
) -> None:
    def verb() -> None:
        console.say("note")
        console.detail("more")
        console.warn("odd")

    shell = typer.Typer()
    shell.callback()(app._common)
    shell.command("verb")(console.with_verbosity(verb))
    monkeypatch.setattr(app, "app", shell)
    assert app.main([*flag, "verb"] if place == "before" else ["verb", *flag]) == 0
    assert capsys.readouterr() == ("", said)


def test_progress_in_a_log_is_plain_lines_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(console.time, "monotonic", lambda: now)
    with console.progress("translating", unit="line") as bar:
        for _ in range(15):
            now += 1.0
            bar.advance(100)
        bar.update(description="scoring", total=5000)
        now = 22.0
        bar.advance(500)
    assert capsys.readouterr() == (
        "",
        "translating: 200 lines, 100 lines/s\n"
        "translating: 1,200 lines, 100 lines/s\n"
        "scoring: 2,000 of 5,000 lines (40%), 91 lines/s, 0:00:33 left\n",
    )


def test_progress_says_nothing_when_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "FIRST_LINE_SECONDS", 0.0)
    console.set_verbosity(console.Verbosity.QUIET)
    with console.progress("x", total=2) as bar:
        bar.advance()
        bar.update(description="y")
    assert capsys.readouterr() == ("", "")


def test_progress_on_a_terminal_is_a_bar_that_goes_away() -> None:
    program = (
        "from tfcli.commands import console\n"
        "import time\n"
        "with console.progress('work', 100, 'line') as bar:\n"
        "    for _ in range(10):\n"
        "        bar.advance(5); time.sleep(0.05)\n"
        "    bar.update(description='rest')\n"
        "    console.say('between')\n"
        "    time.sleep(0.2)\n"
    )
    drawn, _ = on_terminal([sys.executable, "-c", program], columns=120)
    assert "\x1b[" in drawn
    assert re.search(r"rest.*50/100.*lines/s.*0:0", drawn)
    assert "between\r\n" in drawn


def test_errors_have_colour_on_a_terminal_unless_no_color_is_set() -> None:
    command = [sys.executable, "-m", "tfcli", "info", "no/where"]
    assert "\x1b[1;31merror:" in on_terminal(command, code=4)[0]
    assert "31m" not in on_terminal(command, code=4, NO_COLOR="1")[0]


def test_a_place_in_a_file_is_not_broken_on_a_narrow_terminal(tmp_path: Path) -> None:
    path = tmp_path / "nowhere"
    sent, _ = on_terminal([sys.executable, "-m", "tfcli", "info", path], columns=20, code=4, TERM="dumb")
    assert f"error: {path}: no such folder\r\n" in sent


def test_a_table_is_for_readers_and_for_pipes(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_table(
        ["name", "lines", "[x]"], [["a" * 150, 12345, None], ["b", 7, "[red]"]], title="Corpora"
    )
    out, err = capsys.readouterr()
    assert err == ""
    assert "\x1b" not in out
    lines = [line.rstrip() for line in out.split("\n")]
    assert lines[0] == "Corpora"
    assert lines[1].split() == ["name", "lines", "[x]"]
    assert lines[3].split() == ["a" * 150, "12,345"]
    assert lines[4].split() == ["b", "7", "[red]"]
    assert lines[3].endswith("12,345")


@pytest.mark.parametrize(("encoding", "shown"), [("utf-8", "ü"), ("ascii", "\\u00fc")])
def test_json_can_be_printed_in_any_locale(encoding: str, shown: str) -> None:
    program = "from tfcli.commands.console import print_json; print_json({'a': 'ü'})"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        check=True,
    )
    assert done.stdout.decode() == f'{{\n  "a": "{shown}"\n}}\n'
