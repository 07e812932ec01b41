"""Help pages: short enough for a screen, grouped, without gaps, and with examples that can be typed."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from tfcli import app

ROOT = Path(__file__).resolve().parents[2]
SHELL: Any = typer.main.get_command(app.app)
VERBS = list(SHELL.commands)
SAME_EVERYWHERE = ("--set", "--data-root", "--device", "--precision", "--quiet", "--verbose", "--help")
MOST_LINES = {100: 48, 80: 60}
MOST_LINES_OF_LONG_ONES = {100: 56, 80: 71}  # about 30 options and 6 panels need more than a screen


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a function that shows a help page on a screen of some width and returns its lines."""

    def show(*args: str, columns: int) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(columns))
        assert app.main([*args, "-h"]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", out).split("\n")]

    return show


def panels(lines: list[str]) -> dict[str, list[str]]:
    """Return the lines of each panel by its title."""
    found: dict[str, list[str]] = {}
    title = ""
    for line in lines:
        if line.startswith("╭"):
            title = line.strip("╭─╮ ")
            found[title] = []
        elif line.startswith("│"):
            found[title].append(line.strip("│ "))
    return found


def options_of(verb: str) -> list[Any]:
    """Return what the verb takes by name; arguments have no name that begins with a dash."""
    return [parameter for parameter in SHELL.commands[verb].params if parameter.opts[0].startswith("-")]


@pytest.mark.parametrize("columns", MOST_LINES)
@pytest.mark.parametrize("verb", ["", *VERBS])
def test_a_page_fits_a_screen(page: Any, verb: str, columns: int) -> None:
    lines = page(*verb.split(), columns=columns)
    while not lines[-1]:
        lines.pop()
    most = MOST_LINES_OF_LONG_ONES if verb in ("eval", "translate") else MOST_LINES
    assert len(lines) <= most[columns]
    assert max(map(len, lines)) <= columns


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_stands_in_one_panel_and_the_common_ones_come_last(page: Any, verb: str) -> None:
    lines = page(verb, columns=200)
    found = panels(lines)
    titles = list(found)
    assert (titles[0], titles[-1]) == ("Arguments", "Common")
    names = [[line.split()[0] for line in panel if line.startswith("--")] for panel in found.values()]
    assert names[-1] == ["--quiet", "--verbose", "--help"]
    assert all(names[1:])
    expected = [max(option.opts, key=len) for option in options_of(verb)]
    assert sorted(name for panel in names for name in panel) == sorted(expected)


@pytest.mark.parametrize("verb", VERBS)
def test_everything_a_verb_takes_is_explained(verb: str) -> None:
    for parameter in SHELL.commands[verb].params:
        assert not parameter.hidden
        assert parameter.help, parameter.name
        assert parameter.help[0] != " "
        assert parameter.help.endswith((".", "]")), parameter.help


@pytest.mark.parametrize("verb", VERBS)
def test_a_flag_is_not_shown_as_if_it_took_a_value(page: Any, verb: str) -> None:
    assert not any("<bool>" in line for line in page(verb, columns=200))


@pytest.mark.parametrize("name", SAME_EVERYWHERE)
def test_an_option_of_several_verbs_is_explained_with_the_same_words(name: str) -> None:
    helps = {option.help for verb in VERBS for option in options_of(verb) if name in option.opts}
    assert len(helps) == 1


@pytest.mark.parametrize("verb", VERBS)
def test_the_examples_can_be_typed(page: Any, verb: str) -> None:
    lines = [line.strip() for line in page(verb, columns=200)]
    examples = [line.removeprefix("Example: ") for line in lines if line.startswith("Example: ")]
    assert examples
    for example in examples:
        words = shlex.split(re.sub(r" [<>] \S+", "", example))
        assert words[:2] == ["tfcli", verb]
        # parsing alone: a name that the verb does not know, a word too many or a missing one is refused
        SHELL.commands[verb].make_context(verb, words[2:])
        for word in words:
            assert not word.startswith("recipes/") or (ROOT / word).is_file()


def test_an_example_with_an_option_that_is_not_there_would_be_noticed() -> None:
    with pytest.raises(Exception, match="No such option: --jsn"):
        SHELL.commands["info"].make_context("info", ["runs/demo", "--jsn"])


@pytest.mark.parametrize("verb", VERBS)
def test_both_names_of_the_help_show_the_same_page_and_do_nothing_else(
    verb: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pages = []
    for name in ("-h", "--help"):
        assert app.main([verb, "nowhere", name, "-q"]) == 0
        pages.append(capsys.readouterr())
    assert pages[0] == pages[1]
    assert pages[0].err == ""
    assert f"Usage: tfcli {verb} " in re.sub(r"\x1b\[[0-9;]*m", "", pages[0].out)
    assert not list(tmp_path.iterdir())


def test_help_loads_neither_markdown_nor_tracebacks_and_leaves_the_real_ones_for_others():
    program = """
import sys
from tfcli.app import main
assert main(["--help"]) == 0
loaded = [name for name in ("rich.markdown", "rich.traceback", "markdown_it", "pygments") if name in sys.modules]
from rich.markdown import Markdown
print(loaded, Markdown("*real*").parsed[0].type, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == "[] paragraph_open\n"
