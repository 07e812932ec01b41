"""Where in a line the text stands that a network is to read: a column of a table, or a field of a JSON object.

All else of the line stays as it is, byte for byte; the result, a translation for one, is put in as something new.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Protocol

from tfcli.text.lines import decode_line


class UnfitLineError(ValueError):
    """A line that has no such text: what was expected and what came, and what to do where that can be told."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class Field(Protocol):
    """Takes text out of a line, which has no line feed, and puts in what it became."""

    def take(self, raw: bytes) -> tuple[str, bool]:
        """Return the text, and whether bytes in it that are no UTF-8 were replaced.

        Raises: UnfitLineError.
        """

    def put(self, raw: bytes, result: str) -> bytes:
        """Return the line with the result."""


@dataclass(frozen=True)
class Column:
    """A column of tab-separated text, counted from 1; the result becomes a further column at the end."""

    number: int

    def take(self, raw: bytes) -> tuple[str, bool]:
        """Return the column's text."""
        columns = _before_return(raw).split(b"\t")
        if len(columns) < self.number:
            came = "1 column" if len(columns) == 1 else f"{len(columns)} columns"
            raise UnfitLineError(f"expected {self.number} columns or more, parted by tabs, got {came}")
        return decode_line(columns[self.number - 1])

    def put(self, raw: bytes, result: str) -> bytes:
        """Return the line with the result behind its last column; tabs in it become spaces."""
        kept = _before_return(raw)
        return kept + b"\t" + result.replace("\t", " ").encode() + raw[len(kept) :]


class _Number:
    """Stands for an integer, which may be too long to be converted."""

    def __init__(self, digits: str) -> None:
        pass


@dataclass(frozen=True)
class JsonField:
    """A field of a JSON object; the result becomes a further field, the last one, called `key`."""

    name: str
    key: str

    def take(self, raw: bytes) -> tuple[str, bool]:
        """Return the field's text."""
        line, replaced = decode_line(raw)
        try:
            value = json.loads(line.removeprefix("\ufeff"), parse_int=_Number)
        except (ValueError, RecursionError) as error:
            raise UnfitLineError(f"expected a JSON object, got what is no JSON ({error})") from error
        if not isinstance(value, dict):
            raise UnfitLineError(f"expected a JSON object, got {_kind(value)}")
        if self.name not in value:
            raise UnfitLineError(f"no field {self.name!r} in the object; it has {', '.join(value) or 'none'}")
        if self.key in value:
            raise UnfitLineError(f"the object has a field {self.key!r} already")
        text = value[self.name]
        if not isinstance(text, str):
            raise UnfitLineError(f"field {self.name!r}: expected text, got {_kind(text)}")
        whole = _without_surrogates(text)
        return whole, replaced or whole != text

    def put(self, raw: bytes, result: str) -> bytes:
        """Return the object with the result behind its last field."""
        kept, brace, rest = raw.rpartition(b"}")
        added = json.dumps({self.key: result}, ensure_ascii=False)
        return kept + b", " + added[1:-1].encode() + brace + rest


def _before_return(raw: bytes) -> bytes:
    """Leave out the carriage return with which lines of files from Windows end."""
    return raw.removesuffix(b"\r")


def _without_surrogates(text: str) -> str:
    """Write U+FFFD for halves of surrogate pairs, which JSON can name but UTF-8 cannot hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _kind(value: object) -> str:
    """Return what JSON calls a value."""
    if isinstance(value, bool):
        return "true or false"
    names = {dict: "an object", list: "a list", str: "text", type(None): "null"}
    return names.get(type(value), "a number")
