"""The command `tfcli`: its verbs, its common options, and the one place where errors become exit codes."""

import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Annotated, Any

import typer

from tfcli import __version__
from tfcli.commands.console import (
    QuietOption,
    VerboseOption,
    Verbosity,
    fail,
    level_of,
    print_text,
    set_verbosity,
    verbosity,
    with_verbosity,
)
from tfcli.commands.eval import evaluate
from tfcli.commands.info import info
from tfcli.commands.predict import predict
from tfcli.commands.tokenize import tokenize
from tfcli.commands.train import train
from tfcli.commands.translate import translate
from tfcli.errors import TfcliError, is_out_of_memory

EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE

EXIT_CODES = """[bold]Exit codes[/bold]
  0  done
  1  a defect in tfcli
  2  a recipe or an option that cannot be used
  3  a file that cannot be read or written
  4  a run or model folder that is missing or damaged
  5  training that cannot go on
130  interrupted with Ctrl-C
141  the reader of its output went away
143  stopped by SIGTERM"""

app = typer.Typer(
    name="tfcli",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXIT_CODES,
)

app.command("tokenize")(with_verbosity(tokenize))
app.command("train")(with_verbosity(train))
app.command("translate")(with_verbosity(translate))
app.command("predict")(with_verbosity(predict))
app.command("eval")(with_verbosity(evaluate))
app.command("info")(with_verbosity(info))


def _print_version(wanted: bool) -> None:
    if wanted:
        print_text(f"tfcli {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[  # noqa: ARG001  # its callback answers
        bool,
        typer.Option(
            "--version",
            metavar="",
            help="Print the version and stop.",
            callback=_print_version,
            is_eager=True,
        ),
    ] = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Train, score and run Transformers on text from the command line."""
    level = level_of(quiet, verbose)
    set_verbosity(Verbosity.NORMAL if level is None else level)


class _SignalledError(BaseException):
    """Ctrl-C or SIGTERM; no KeyboardInterrupt, which Typer would swallow before anything could be said."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def _signals_raise() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM unwind what runs, so that every temporary file is removed on the way."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may listen
        return

    def stop(number: int, _: object) -> None:
        for listened in before:
            signal.signal(listened, signal.SIG_IGN)  # a second one must not cut the tidying up short
        raise _SignalledError(number)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _load_help() -> None:
    """Import Typer's help without the Markdown and tracebacks of rich, a third of the time that `--help` takes.

    Typer imports both and uses neither with our markup and settings; whoever else imports them gets the real ones.
    """
    unused = {"rich.markdown": "Markdown", "rich.traceback": "Traceback"}
    absent = [name for name in unused if name not in sys.modules]
    for name in absent:
        stand_in = ModuleType(name)
        setattr(stand_in, unused[name], type(unused[name], (), {}))
        sys.modules[name] = stand_in
    try:
        importlib.import_module("typer.rich_utils")
    except ImportError:
        pass  # a Typer that imports more of them: it gets the real ones when it prints help
    finally:
        for name in absent:
            del sys.modules[name]


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    given = sys.argv[1:] if args is None else args
    if not given or not {"-h", "--help"}.isdisjoint(given):
        _load_help()
    try:
        with _signals_raise():
            code = typer.main.get_command(app).main(args, prog_name="tfcli", standalone_mode=False)
            sys.stdout.flush()  # a reader that has gone away is noticed here rather than at exit
    except _SignalledError as stop:
        name = "interrupted" if stop.number == signal.SIGINT else "stopped by SIGTERM"
        fail(
            name,
            "run the same command again: what was finished is kept, and no file is left half-written under its name",
        )
        return 128 + stop.number
    except SystemExit as stop:
        if not isinstance(stop.__context__, BrokenPipeError):
            raise
        return _drop_stdout()
    except BrokenPipeError:
        return _drop_stdout()
    except Exception as error:
        if verbosity() >= Verbosity.VERBOSE:
            traceback.print_exc()
        exit_code = _report(error, given)
        _settle_stdout()
        return exit_code
    return code if isinstance(code, int) else 0


def _report(error: Any, given: Sequence[str]) -> int:
    """Print an error for the user and return the exit code it stands for."""
    if isinstance(error, TfcliError):
        if error.message:  # of a rank that ends because another has failed, that one says all
            fail(error.message, error.hint)
        return error.exit_code
    if hasattr(error, "format_message"):  # of the option parser
        if type(error).__name__ != "NoArgsIsHelpError":  # there, the help has been printed
            from tfcli.commands.usage import usage_problem  # the words of recipes' errors take time to load

            fail(*usage_problem(error, typer.main.get_command(app), given))
        return int(error.exit_code)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename is not None else ""
        fail(f"{where}{error.strerror or error}", "check the path, its permissions and the space on the disk")
        return 3
    if is_out_of_memory(error):
        fail(
            "out of memory",
            "take another --device, or a machine with more; `translate` needs less with lower --batch-tokens",
        )
        return 2
    summary = f"{type(error).__name__}: {error}".strip(": ")
    fail(
        f"a defect in tfcli: {summary}",
        "run it again with -v and report what it prints together with the output of `tfcli info`",
    )
    return 1


def _settle_stdout() -> None:
    """Write what is buffered, or drop it where that fails, as on a full disk: at exit it would fail once more."""
    try:
        sys.stdout.flush()
    except OSError:
        _drop_stdout()


def _drop_stdout() -> int:
    """Let what is still buffered for a reader that has gone away fall to the ground."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
    return EXIT_BROKEN_PIPE
