"""A command line that cannot be parsed: what was expected and what came, in the form of all other errors."""

from typing import Any

import pytest
import typer

from tfcli import app

VERBS = ("tokenize", "train", "translate", "predict", "eval", "info")


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a function that runs a command line and returns its error and its hint."""

    def run(*words: str) -> list[str]:
        assert app.main(words) == 2
        out, err = capsys.readouterr()
        assert out == ""
        error, hint, end = err.split("\n")
        assert (error[:7], hint[:6], end) == ("error: ", "hint: ", "")
        return [error[7:], hint[6:]]

    return run


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--quiett"], "--quiett: unknown option, did you mean --quiet?"),
        (["--zzzz"], "--zzzz: unknown option of {verb}"),
        (["-quiet"], "-quiet: unknown option, did you mean --quiet?"),
        (["-qZ"], "-Z: unknown option of {verb}"),
        (["--quiet=yes"], "Option '--quiet' does not take a value"),
        (["--version"], "--version: unknown option of {verb}; it stands before the verb: `tfcli --version`"),
        (["--versoin"], "--versoin: unknown option, did you mean --version?"),
        (["-version"], "-version: unknown option of {verb}; it stands before the verb: `tfcli --version`"),
        (["--z\x1b[31m=1"], "'--z\\x1b[31m': unknown option of {verb}"),
        (["-\x1b"], "'-\\x1b': unknown option of {verb}"),
    ],
)
def test_a_wrong_option_of_any_verb_is_told_with_the_nearest_one(
    refused: Any, verb: str, words: list[str], error: str
) -> None:
    assert refused(verb, *words) == [error.format(verb=verb), f"`tfcli {verb} -h` lists what it takes"]


@pytest.mark.parametrize(
    ("verb", "words", "error"),
    [
        ("translate", ["x", "--beam-size", "two"], "--beam-size two: expected a whole number"),
        ("translate", ["x", "--beam-size=1.5"], "--beam-size 1.5: expected a whole number"),
        ("translate", ["x", "--beam-size", "0"], "--beam-size 0: must be at least 1"),
        ("translate", ["x", "--beam-size", "a\nb"], "--beam-size 'a\\nb': expected a whole number"),
        ("translate", ["x", "--beam-size", ""], "--beam-size '': expected a whole number"),
        ("predict", ["x", "--temperature", "hot"], "--temperature hot: expected a number"),
        ("eval", ["--resamples", "x" * 99], f"--resamples {'x' * 57}...: expected a whole number"),
        (
            "translate",
            ["x", "--on-long", "splt"],
            "--on-long splt: expected one of split, truncate, error, did you mean split?",
        ),
        ("tokenize", ["--side", "middle"], "--side middle: expected one of src, tgt"),
        ("train", ["--set"], "--set: expected KEY=VALUE behind it, got nothing"),
        ("translate", ["x", "-o"], "-o: expected FILE|DIR behind it, got nothing"),
        ("train", ["x", "--engine", "torch"], "--engine: unknown option of train; translate, eval have it"),
        ("info", ["x", "--decode"], "--decode: unknown option of info; tokenize has it"),
        ("info", ["x", "-decode=1"], "-decode: unknown option of info; tokenize has --decode"),
        (
            "train",
            ["-beam-size", "3"],
            "-beam-size: unknown option of train; translate, predict, eval have --beam-size",
        ),
        ("predict", ["x", "-beam-sise", "3"], "-beam-sise: unknown option, did you mean --beam-size?"),
        ("eval", ["x", "-o", "y"], "-o: unknown option of eval; translate, predict have it"),
        ("tokenize", ["a", "b"], "expected RECIPE alone, got b as well"),
        ("tokenize", ["a", "b" * 99], f"expected RECIPE alone, got {'b' * 57}... as well"),
        ("eval", ["a", "b", "c"], "expected RUN alone, got b c as well"),
    ],
)
def test_a_value_an_argument_or_what_is_missing_is_told_by_its_name(
    refused: Any, verb: str, words: list[str], error: str
) -> None:
    assert refused(verb, *words) == [error, f"`tfcli {verb} -h` lists what it takes"]


@pytest.mark.parametrize("verb", ["translate", "predict"])
def test_a_missing_argument_is_told_with_its_meaning(refused: Any, verb: str) -> None:
    hint = f"a run folder or a model folder; `tfcli {verb} -h` lists what it takes"
    assert refused(verb) == ["expected a RUN, got nothing", hint]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["trn"], "trn: unknown verb, did you mean train?"),
        (["zzz"], f"zzz: unknown verb, expected one of {', '.join(VERBS)}"),
        (["-q"], f"expected one of {', '.join(VERBS)}, got nothing"),
        (["-x"], "-x: unknown option of tfcli"),
        (
            ["--top-k", "4", "translate", "x"],
            "--top-k: unknown option before the verb; behind it, translate, predict have it",
        ),
    ],
)
def test_what_is_wrong_before_a_verb_points_to_the_help_of_all(
    refused: Any, words: list[str], error: str
) -> None:
    assert refused(*words) == [error, "`tfcli -h` lists what it takes"]


def test_a_typer_that_checks_values_by_itself_is_quoted(
    refused: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before 0.16, or wherever pydantic is not what refuses a value."""

    def parsed(text: str) -> int:
        raise typer.BadParameter(f"{text!r} is not a valid integer")

    shell = typer.Typer()
    shell.callback()(app._common)

    @shell.command("verb")
    def verb(size: int = typer.Option(1, parser=parsed)) -> None:
        pass

    monkeypatch.setattr(app, "app", shell)
    assert refused("verb", "--size", "x") == [
        "--size: 'x' is not a valid integer",
        "`tfcli verb -h` lists what it takes",
    ]


def test_the_plainest_error_of_the_parser_is_told_as_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain: Any = typer.BadParameter.__mro__[2]  # ClickException, which has no context and is private to Typer
    shell = typer.Typer()
    shell.callback()(app._common)

    @shell.command("verb")
    def verb() -> None:
        raise plain("No room.")

    monkeypatch.setattr(app, "app", shell)
    assert app.main(["verb"]) == 1
    assert capsys.readouterr().err == "error: No room\nhint: `tfcli verb -h` lists what it takes\n"


def test_a_switch_with_two_names_is_known_by_both(refused: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = typer.Typer()
    shell.callback()(app._common)

    @shell.command("verb")
    def verb(dots: bool = typer.Option(True, "--dots/--no-dots")) -> None:
        pass

    @shell.command("other")
    def other() -> None:
        pass

    monkeypatch.setattr(app, "app", shell)
    assert refused("verb", "--no-dots=1")[0] == "Option '--no-dots' does not take a value"
    assert refused("verb", "--no-dotz")[0] == "--no-dotz: unknown option, did you mean --no-dots?"
    assert refused("other", "--no-dots")[0] == "--no-dots: unknown option of other; verb has it"
