"""Text with labels: where in a line of a TSV file, or in an object of a JSON lines file, both of them stand.

A second text, as in pairs of sentences, is joined to the first by a separator, which the tokenizer keeps as one piece.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tfcli.recipe.corpora import SEPARATOR
from tfcli.text.fields import UnfitLineError

if TYPE_CHECKING:
    from tfcli.recipe.corpora import DataSection

HINT = "correct the line; data.text_field and data.label_field say where text and label stand"


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
            raise UnfitLineError(f"the label {label!r} holds a tab or another control character")
        return text, label

    def _row(self, line: str) -> dict[int | str, str]:
        columns = line.removesuffix("\r").split("\t")
        if len(columns) != self.columns:
            came = "1 field" if len(columns) == 1 else f"{len(columns)} fields"
            raise UnfitLineError(f"expected {self.columns} fields, parted by tabs, got {came}")
        return dict(enumerate(columns, start=1))

    def _object(self, line: str) -> dict[int | str, Any]:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UnfitLineError(f"expected a JSON object, got what is no JSON ({error})") from error
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
