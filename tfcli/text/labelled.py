"""Text with labels: where in a line of a TSV file, or in an object of a JSON lines file, both of them stand.

A second text, as in pairs of sentences, is joined to the first by a separator, which the tokenizer keeps as one piece.
Blank lines are passed over. Of lines that cannot be used the first are told, all at once, and the others counted.
"""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tfcli.errors import DataError
from tfcli.recipe.corpora import SEPARATOR
from tfcli.text.fields import UnfitLineError
from tfcli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tfcli.recipe.corpora import DataSection

HINT = "correct the line; data.text_field and data.label_field say where text and label stand"
SWAPPED = "the label looks like a text: are data.text_field and data.label_field the right way round?"
TOLD_LINES = 10
LABEL_CHARACTERS = 40  # of a label that is looked at by a person; a longer one is likely to be a text


@dataclass(frozen=True)
class UnfitLine:
    """A line that cannot be used: its number, what is wrong with it, what to do."""

    number: int
    message: str
    hint: str = HINT


@dataclass
class UnfitLines:
    """Those of one file or several: the first of them as they are told, and how many there are."""

    told: list[str] = field(default_factory=list)
    count: int = 0
    hint: str = HINT

    def add(self, path: Path | str, lines: Iterable[UnfitLine]) -> None:
        """Add lines of a file."""
        for line in lines:
            if not self.count:
                self.hint = line.hint
            if self.count < TOLD_LINES:
                self.told.append(f"{path}:{line.number}: {line.message}")
            self.count += 1

    def refuse(self) -> None:
        """Raise an error if there are any.

        Raises: DataError.
        """
        if self.count:
            more = self.count - len(self.told)
            rest = [f"{counted(more, 'more line')} cannot be used"] if more else []
            raise DataError("\n".join([*self.told, *rest]), self.hint)


@dataclass(frozen=True)
class LabelledLines:
    """Texts with their labels and the numbers of their lines, and the lines that cannot be used; blank ones are neither."""

    numbers: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    unfit: list[UnfitLine] = field(default_factory=list)

    @classmethod
    def of(cls, lines: Iterable[str], first_line: int, fields: LabelFields) -> LabelledLines:
        """Take texts and labels out of lines."""
        found = cls()
        for number, line in enumerate(lines, start=first_line):
            if not line.strip():
                continue
            try:
                text, label = fields.take(line)
            except UnfitLineError as error:
                found.unfit.append(UnfitLine(number, str(error), error.hint or HINT))
                continue
            found.numbers.append(number)
            found.texts.append(text)
            found.labels.append(label)
        return found


@dataclass(frozen=True)
class LabelFields:
    """The places of text, second text and label in a line: columns counted from 1, or keys of JSON objects.

    `columns` is how many a TSV line has.
    """

    text: int | str
    second: int | str | None
    label: int | str
    columns: int | None = None

    @classmethod
    def of(cls, data: DataSection, *, is_json: bool) -> LabelFields:
        """Take the places from a recipe, with the defaults of the kind of file."""
        places = data.fields("jsonl" if is_json else "tsv")
        text, label = places["text_field"], places["label_field"]
        assert text is not None
        assert label is not None
        return cls(text, places["second_text_field"], label)

    def fitting(self, first_line: str) -> LabelFields:
        """Return the fields of a file that begins with this line: all lines of a TSV file have as many columns."""
        places = [place for place in (self.text, self.second, self.label) if isinstance(place, int)]
        if not places:
            return self
        return replace(self, columns=max(*places, first_line.count("\t") + 1))

    def take(self, line: str) -> tuple[str, str]:
        """Return text and label of a line.

        Raises: UnfitLineError.
        """
        row: Any = self._object(line) if self.columns is None else self._row(line)
        text = self._text(row, self.text)
        if self.second is not None:
            text = joined(text, self._text(row, self.second))
        label = row[self.label]
        if isinstance(label, int) and not isinstance(label, bool):
            label = str(label)
        if not isinstance(label, str):
            raise UnfitLineError(f"the label must be text or a whole number, got {json.dumps(label)[:40]}")
        label = label.strip()
        if not label:
            raise UnfitLineError("the label is empty")
        if not label.isprintable():
            raise _unprintable(label)
        return text, label

    def _row(self, line: str) -> dict[int | str, str]:
        columns = line.removesuffix("\r").split("\t")
        if len(columns) != self.columns:
            came = "1 field" if len(columns) == 1 else f"{len(columns)} fields"
            hint = _other_format(line) if len(columns) == 1 else None
            raise UnfitLineError(f"expected {self.columns} fields, parted by tabs, got {came}", hint)
        return dict(enumerate(columns, start=1))

    def _object(self, line: str) -> dict[int | str, Any]:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            hint = "a file with tabs is named with tsv in place of jsonl" if "\t" in line else None
            raise UnfitLineError(f"expected a JSON object, got what is no JSON ({error})", hint) from error
        if not isinstance(row, dict):
            raise UnfitLineError("expected a JSON object, got another kind of JSON")
        for key in (self.text, self.second, self.label):
            if key is not None and key not in row:
                raise UnfitLineError(f"no key {key!r} in the object; it has {', '.join(row) or 'none'}")
        return row

    def _text(self, row: dict[int | str, Any], key: int | str) -> str:
        text = row[key]
        if not isinstance(text, str):
            raise UnfitLineError(f"the text {key!r} must be text, got {json.dumps(text)[:40]}")
        # a line feed or half of a surrogate pair can stand in JSON, not in a line of text
        return text.replace("\n", " ").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def joined(first: str, second: str) -> str:
    """Return two texts as the network reads them."""
    return f"{first} {SEPARATOR} {second}"


def looks_like_text(label: str) -> bool:
    """Tell whether a label is so long that it is rather a text."""
    return len(label) > LABEL_CHARACTERS


def _unprintable(label: str) -> UnfitLineError:
    """Return the error about the first character of a label that nobody could see in a list of labels."""
    odd = next(character for character in label if not character.isprintable())
    code = f"U+{ord(odd):04X}"
    if odd == "\t":
        what = "a tab"
    elif unicodedata.category(odd) == "Cc":
        what = f"the control character {code}"
    else:
        what = f"{code} ({unicodedata.name(odd, 'a character without a name').lower()})"
    seen = "".join(c if c.isprintable() else f"<U+{ord(c):04X}>" for c in label)
    shown = seen if len(seen) <= LABEL_CHARACTERS else f"{seen[:LABEL_CHARACTERS]}..."
    space = unicodedata.category(odd) == "Zs"
    hint = f"write an ordinary space in place of {code}" if space else f"remove {what} from the label"
    return UnfitLineError(f"the label '{shown}' holds {what}", SWAPPED if looks_like_text(label) else hint)


def _other_format(line: str) -> str | None:
    """Return what to do about a line without a tab that looks like one of another format."""
    if line.lstrip().startswith("{"):
        return "a file of JSON objects is named with jsonl in place of tsv"
    if "," in line or ";" in line:
        return "put a tab between text and label; if commas or semicolons part the fields, save the file with tabs"
    return None
