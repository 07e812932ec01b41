"""Where in a line its text stands, as `--column` and `--field` say it."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tfcli.commands.console import warn
from tfcli.commands.options import INPUT_PANEL
from tfcli.commands.translate_jobs import OutputFormat
from tfcli.errors import RecipeError

if TYPE_CHECKING:
    from tfcli.text.fields import Field

HEAD_BYTES = 1 << 16

ColumnOption = Annotated[
    int | None,
    typer.Option(
        "--column",
        min=1,
        metavar="N",
        help="Read this column of tab-separated text; adds one.",
        rich_help_panel=INPUT_PANEL,
    ),
]
FieldOption = Annotated[
    str | None,
    typer.Option(
        "--field",
        metavar="NAME",
        help="Read this field of JSON lines; adds the result.",
        rich_help_panel=INPUT_PANEL,
    ),
]


def field_of(
    column: int | None, name: str | None, form: OutputFormat, others: Mapping[str, object], key: str
) -> "Field | None":
    """Return where in a line its text stands, None when all of it is text; in JSON, `key` names what is added.

    Raises: RecipeError when both are given, or one of the `others`, which do not go with it, or another form than text.
    """
    from tfcli.text.fields import Column, JsonField

    if column is None and name is None:
        return None
    if column is not None and name is not None:
        raise RecipeError(
            f"--column {column} and --field {name} contradict each other", "leave one of them out"
        )
    option = f"--column {column}" if column is not None else f"--field {name}"
    for other, given in others.items():
        if given:
            raise RecipeError(f"{option} and {other} contradict each other", "leave one of them out")
    if form is not OutputFormat.TEXT:
        raise RecipeError(
            f"{option} and --format {form} contradict each other", f"lines keep their own form with {option}"
        )
    return Column(column) if column is not None else JsonField(name or "", key)


def warn_of_fields(paths: Iterable[Path]) -> None:
    """Warn of the first of files that are to be read as plain text whose first line is a row of a table or an object.

    Raises: DataError when one cannot be read.
    """
    from tfcli.text.lines import open_binary, reading

    for path in paths:
        with reading(path), open_binary(path) as stream:
            first = stream.readline(HEAD_BYTES)
        if b"\t" in first:
            warn(f"{path}: its lines have tabs, and are read whole; --column N takes the text of one column")
            return
        if _is_object(first):
            warn(
                f"{path}: its lines are JSON objects, and are read as plain text; --field NAME takes the text of one field"
            )
            return


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
