"""What the user sees: results on stdout, everything else on stderr, progress on anything long.

Nothing is drawn with control characters unless the stream is a terminal; NO_COLOR is respected (by rich).
How much is said is set once, by the options `-q` and `-v` that every verb has.
"""

import functools
import inspect
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, Any, Protocol, get_args

import typer
from typer.models import OptionInfo

from tfcli.wording import counted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Task
    from rich.table import Table

FIRST_LINE_SECONDS = 2.0  # what is over sooner needs no progress
LINE_SECONDS = 10.0
BAR_WIDTH = 30
LEAST_BAR_WIDTH = 8  # what is narrower says nothing
LEAST_TEXT_WIDTH = 4
UNBOUNDED_WIDTH = 10_000  # a table in a file or a pipe is not cut to a screen that is not there


class Verbosity(IntEnum):
    """How much is said on stderr."""

    ERRORS = -1  # of the ranks but the first, which says all else
    QUIET = 0
    NORMAL = 1
    VERBOSE = 2


class _Settings:
    verbosity = Verbosity.NORMAL


def verbosity() -> Verbosity:
    """Return how much the user asked to be told."""
    return _Settings.verbosity


def set_verbosity(level: Verbosity) -> None:
    """Choose how much is said from here on."""
    _Settings.verbosity = level


def level_of(quiet: bool, verbose: bool) -> Verbosity | None:
    """Return what `-q` and `-v` ask for, None when neither is given."""
    if quiet and verbose:
        raise typer.BadParameter("give -q or -v, not both")
    return Verbosity.QUIET if quiet else Verbosity.VERBOSE if verbose else None


def _show_help(context: typer.Context, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        context.get_help()  # Typer prints it with rich, and returns nothing
        raise typer.Exit


COMMON_PANEL = "Common"
QuietOption = Annotated[
    bool,
    typer.Option("-q", "--quiet", help="Say nothing but warnings and errors.", rich_help_panel=COMMON_PANEL),
]
VerboseOption = Annotated[
    bool,
    typer.Option(
        "-v", "--verbose", help="Say more; show where an error came from.", rich_help_panel=COMMON_PANEL
    ),
]
# Typer has one of its own, but shows it in another panel, where it is often alone.
HelpOption = Annotated[
    bool,
    typer.Option(
        "-h",
        "--help",
        help="Show this page and stop.",
        rich_help_panel=COMMON_PANEL,
        is_eager=True,
        callback=_show_help,
    ),
]


def with_verbosity(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return `command` with the options of the panel Common, so that they may stand behind the verb."""

    @functools.wraps(command)
    def verb(*, quiet: bool, verbose: bool, show_help: bool, **options: Any) -> Any:  # noqa: ARG001
        level = level_of(quiet, verbose)
        if level is not None:
            set_verbosity(level)
        return command(**options)

    # Typer reads a command's options from its signature.
    signature = inspect.signature(command, eval_str=True)
    common = {"quiet": QuietOption, "verbose": VerboseOption, "show_help": HelpOption}
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=option)
        for name, option in common.items()
    ]
    parameters = [*signature.parameters.values(), *added]
    for parameter in parameters:
        _show_no_value(parameter)
    verb.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    verb.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return verb


def _show_no_value(parameter: inspect.Parameter) -> None:
    """Have the help show a flag without `<bool>`, which would look like a value to be given."""
    kind, *metadata = get_args(parameter.annotation) or (None,)
    for option in metadata:
        if kind is bool and isinstance(option, OptionInfo) and option.metavar is None:
            option.metavar = ""


def stdout_console() -> "Console":
    """Return the console for results."""
    return _console(to_stderr=False)


def stderr_console() -> "Console":
    """Return the console for everything that is no result."""
    return _console(to_stderr=True)


@functools.cache
def _console(*, to_stderr: bool) -> "Console":
    # One console a stream: rich prints above a running bar only through the console that draws the bar.
    from rich.console import Console

    stream = sys.stderr if to_stderr else sys.stdout
    return Console(stderr=to_stderr, highlight=False, width=None if stream.isatty() else UNBOUNDED_WIDTH)


def draws_bars() -> bool:
    """Tell whether progress is a bar: stderr is a terminal that can move its cursor, and `-q` was not given."""
    # rich takes any stream for a terminal when FORCE_COLOR is set, but a log needs no bar, be it in colour
    moves = sys.stderr.isatty() and not stderr_console().is_dumb_terminal
    return moves and _Settings.verbosity >= Verbosity.NORMAL


def say(message: str) -> None:
    """Tell how things go, unless `-q`."""
    if _Settings.verbosity >= Verbosity.NORMAL:
        _line(message)


def detail(message: str) -> None:
    """Tell what only `-v` asks for."""
    if _Settings.verbosity >= Verbosity.VERBOSE:
        _line(message, style="dim")


def warn(message: str) -> None:
    """Tell what looks wrong but does not stop the work; `-q` does not hide it."""
    if _Settings.verbosity >= Verbosity.QUIET:
        _line(message, label="warning:", style="yellow")


def say_or_warn(message: str) -> None:
    """Pass on what a room below reports: a warning when it begins with `warning: `, else a remark."""
    if message.startswith("warning: "):
        warn(message.removeprefix("warning: "))
    else:
        say(message)


def fail(message: str, hint: str | None = None) -> None:
    """Print an error, each of its lines for itself, and what to do about it."""
    for line in message.split("\n"):
        _line(line, label="error:", style="bold red")
    if hint:
        _line(hint, label="hint:", style="cyan")


def _line(message: str, label: str = "", style: str = "") -> None:
    from rich.text import Text

    text = Text.assemble((label, style), " ", message) if label else Text(message, style)
    # soft_wrap: `file:line` stays in one piece for the editor that jumps to it
    stderr_console().print(text, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print a result as JSON."""
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=encoding != "utf8") + "\n")


def print_text(text: str) -> None:
    """Print a result as it is, with a line end."""
    sys.stdout.write(text.removesuffix("\n") + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> None:
    """Print a result as a table; columns of numbers are set to the right, None is left empty."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False, show_edge=False)
    for number, name in enumerate(columns):
        cells = [row[number] for row in rows if row[number] is not None]
        numeric = bool(cells) and all(isinstance(cell, int | float) for cell in cells)
        table.add_column(Text(name), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    stdout_console().print(table)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


class Progress(Protocol):
    """How far something long has come."""

    def advance(self, n: int = 1) -> None:
        """Count `n` more as done."""

    def update(self, *, description: str | None = None, total: int | None = None) -> None:
        """Say what is done now, or how much there is to do once that is known."""


@contextmanager
def progress(
    description: str, total: int | None = None, unit: str = "", *, streams: bool = False
) -> Iterator[Progress]:
    """Show how far something has come while the block runs: a bar where one can be drawn, else a line now and then.

    `total` None: not known. `unit` is one of what is counted, as in "line"; the rate is in units a second.
    `streams`: results go to stdout meanwhile; on a terminal they show by themselves how far it is.
    """
    if _Settings.verbosity < Verbosity.NORMAL or (streams and sys.stdout.isatty()):
        yield _Silent()
    elif draws_bars():
        with _bar(description, total, unit) as bar:
            yield bar
    else:
        yield _Lines(description, total, unit)


class _Silent:
    def advance(self, n: int = 1) -> None:
        pass

    def update(self, *, description: str | None = None, total: int | None = None) -> None:
        pass


class _Lines:
    """Progress for a log: a line after two seconds and then one every ten."""

    def __init__(self, description: str, total: int | None, unit: str) -> None:
        self.description, self.total, self.unit = description, total, unit
        self.done = 0
        self.start_time = time.monotonic()
        self.next_line_time = self.start_time + FIRST_LINE_SECONDS

    def advance(self, n: int = 1) -> None:
        self.done += n
        now = time.monotonic()
        if now >= self.next_line_time:
            self.next_line_time = now + LINE_SECONDS
            _line(self._state(now - self.start_time))

    def update(self, *, description: str | None = None, total: int | None = None) -> None:
        self.description = description if description is not None else self.description
        self.total = total if total is not None else self.total

    def _state(self, elapsed_seconds: float) -> str:
        rate = self.done / elapsed_seconds if elapsed_seconds > 0 else 0.0
        count = _count(self.done, self.unit)
        left = ""
        if self.total:
            count = f"{self.done:,} of {_count(self.total, self.unit)} ({100 * self.done // self.total}%)"
            left = f", {_clock((self.total - self.done) / rate)} left" if rate > 0 else ""
        return f"{self.description}: {count}, {_rate(rate, self.unit)}{left}"


@contextmanager
def _bar(description: str, total: int | None, unit: str) -> Iterator[Progress]:
    from rich import progress as rich_progress

    class Line(rich_progress.Progress):
        def get_renderables(self) -> "Iterator[Table]":
            for task in self.tasks:
                yield _bar_line(task, unit, self.console.width)

    with Line(
        console=stderr_console(),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # results that go elsewhere must not come out above the bar
    ) as display:
        task = display.add_task(description, total=total)

        class Bar:
            def advance(self, n: int = 1) -> None:
                display.advance(task, n)

            def update(self, *, description: str | None = None, total: int | None = None) -> None:
                # rich takes None as "leave it as it is"
                display.update(task, description=description, total=total)

        yield Bar()


def _bar_line(task: "Task", unit: str, width: int) -> "Table":
    """Return a line that fits: on a narrow terminal the bar gives way first, then what is done, last the count."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    count = f"{task.completed:,.0f}" + (f"/{task.total:,.0f}" if task.total is not None else "")
    speed, left = task.finished_speed or task.speed, task.time_remaining
    numbers = Text.assemble(
        (count, "progress.download"),
        (f" {_rate(speed, unit)}" if speed is not None else "", "progress.data.speed"),
        (f" {_clock(left)}" if left is not None else "", "progress.remaining"),
    )
    numbers.truncate(width, overflow="ellipsis")
    parts: list[Text | ProgressBar] = [numbers]
    room = width - numbers.cell_len - 1
    if room >= LEAST_TEXT_WIDTH:
        description = Text(task.description)
        description.truncate(room, overflow="ellipsis")
        parts.insert(0, description)
        room -= description.cell_len + 1
    if room >= LEAST_BAR_WIDTH:
        bar_width = min(BAR_WIDTH, room)
        parts.insert(-1, ProgressBar(task.total, task.completed, bar_width, animation_time=task.get_time()))
    line = Table.grid(padding=(0, 1))
    line.add_row(*parts)
    return line


def _count(number: int, unit: str) -> str:
    return counted(number, unit) if unit else f"{number:,}"


def _rate(per_second: float, unit: str) -> str:
    number = f"{per_second:,.0f}" if per_second >= 10 else f"{per_second:.2g}"
    return f"{number} {unit}s/s" if unit else f"{number}/s"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
