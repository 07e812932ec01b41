"""What the labels of training text are, where each stands first, and which of them look like mistakes.

blocks of text -> labels of each, counted, with their places -> all of them, or what keeps a line from being used
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tfcli.corpus.workers import in_order, processes_for
from tfcli.recipe.complaints import nearest
from tfcli.text.labelled import SWAPPED, UnfitLine, UnfitLines, looks_like_text
from tfcli.text.pairs import text_blocks
from tfcli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tfcli.text.files import CorpusFiles
    from tfcli.text.labelled import LabelFields
    from tfcli.text.pairs import TextBlock

KNOWN_TOLD = 10
DOUBTS_TOLD = 5
MANY_LABELS = 10  # of a handful of texts, a first try, each may have its own label
MANY_TEXTS = 100  # of so many, a label that only one has is rather a mistake


@dataclass
class LabelSurvey:
    """The labels of training text: how many texts have each, and the file and line of the first of these.

    `headings` are the labels of the first lines of TSV files, with how many files have each there. `unread` names a
    file with columns that are not read, and these.
    """

    counts: Counter[str] = field(default_factory=Counter)
    places: dict[str, str] = field(default_factory=dict)
    headings: Counter[str] = field(default_factory=Counter)
    unread: tuple[str, list[int]] | None = None

    @property
    def texts(self) -> int:
        """How many texts there are."""
        return self.counts.total()

    def doubts(self) -> list[str]:
        """Return what looks like a mistake: nearly as many labels as texts, or labels that are there by accident."""
        if len(self.counts) >= MANY_LABELS and 2 * len(self.counts) > self.texts:
            return [self._too_many()]
        return [*self._headings(), *self._differing_in_case(), *self._only_ones()]

    def _too_many(self) -> str:
        doubt = (
            f"{counted(len(self.counts), 'label')} for {counted(self.texts, 'text')}: are data.text_field and "
            "data.label_field the right way round?"
        )
        if self.unread is None:
            return doubt
        path, columns = self.unread
        numbers = f"column {columns[0]} is" if len(columns) == 1 else f"columns {_listed(columns)} are"
        return f"{doubt} {numbers} not read in {path}; data.second_text_field names a second text"

    def _is_heading(self, label: str) -> bool:
        return self.texts >= MANY_TEXTS and self.counts[label] == self.headings[label]

    def _headings(self) -> Iterator[str]:
        for label in sorted(filter(self._is_heading, self.headings)):
            yield (
                f"{self.places[label]}: no line but the first has the label {label!r}: if it is a line of headings, "
                "remove it"
            )

    def _differing_in_case(self) -> Iterator[str]:
        groups = [group for group in self._by_folded().values() if len(group) > 1]
        for group in groups[:DOUBTS_TOLD]:
            said = [
                f"{label!r} ({counted(self.counts[label], 'text')}, {self.places[label]})" for label in group
            ]
            yield f"labels that differ in case alone: {', '.join(said)}"
        if len(groups) > DOUBTS_TOLD:
            yield f"{counted(len(groups) - DOUBTS_TOLD, 'more label')} stand there in more than one case"

    def _only_ones(self) -> Iterator[str]:
        if self.texts < MANY_TEXTS:
            return
        folded = self._by_folded()
        only = [
            label
            for label in self.places
            if self.counts[label] == 1 and len(folded[label.casefold()]) == 1 and not self._is_heading(label)
        ]
        for label in only[:DOUBTS_TOLD]:
            near = nearest(label, [other for other in self.counts if self.counts[other] > 1])
            meant = f", did you mean {near!r}?" if near else ""
            yield f"{self.places[label]}: no other text has the label {label!r}{meant}"
        if len(only) > DOUBTS_TOLD:
            yield f"{counted(len(only) - DOUBTS_TOLD, 'more label')} with one text only"

    def _by_folded(self) -> dict[str, list[str]]:
        groups: dict[str, list[str]] = {}
        for label in sorted(self.counts):
            groups.setdefault(label.casefold(), []).append(label)
        return groups


def survey_labels(train: Sequence[CorpusFiles], lines: int) -> LabelSurvey:
    """Read training text of so many lines and return its labels.

    Raises: DataError with the lines that cannot be used.
    """
    survey, unfit = LabelSurvey(), UnfitLines()
    with closing(in_order(_look, text_blocks(train), processes_for(lines))) as results:
        for seen in results:
            unfit.add(seen.path, seen.unfit)
            survey.counts += seen.counts
            for label, number in seen.first.items():
                survey.places.setdefault(label, f"{seen.path}:{number}")
            if seen.heading is not None:
                survey.headings[seen.heading] += 1
            if seen.unread and survey.unread is None:
                survey.unread = (str(seen.path), seen.unread)
    unfit.refuse()
    return survey


def refuse_unfit_lines(files: CorpusFiles, known: Sequence[str] | None = None) -> None:
    """Read validation or test text, and refuse lines that cannot be used, or whose label is not among those `known`.

    Raises: DataError with these lines.
    """
    unfit = UnfitLines()
    for block in text_blocks([files]):
        found = block.labelled()
        wrong = list(found.unfit)
        if known is not None:
            names = set(known)
            wrong += [
                unknown_label(label, number, known)
                for number, label in zip(found.numbers, found.labels, strict=True)
                if label not in names
            ]
        unfit.add(block.paths[0], sorted(wrong, key=lambda line: line.number))
    unfit.refuse()


def unknown_label(label: str, number: int, names: Sequence[str]) -> UnfitLine:
    """Return what is wrong with a line whose label no training text has."""
    near = nearest(label, names)
    more = f" and {len(names) - KNOWN_TOLD} more" if len(names) > KNOWN_TOLD else ""
    hint = (
        "correct the line, or add training texts with this label; those that are known: "
        f"{', '.join(names[:KNOWN_TOLD])}{more}"
    )
    return UnfitLine(
        number,
        f"the label {label!r} is not one of the training text's"
        + (f", did you mean {near!r}?" if near else ""),
        SWAPPED if looks_like_text(label) else hint,
    )


@dataclass(frozen=True)
class _Seen:
    """What a block holds; `heading` is the label of the file's first line, `unread` are columns that are not read."""

    path: Path
    counts: Counter[str]
    first: dict[str, int]
    heading: str | None
    unread: list[int]
    unfit: list[UnfitLine]


def _look(block: TextBlock) -> _Seen:
    found = block.labelled()
    first: dict[str, int] = {}
    for number, label in zip(found.numbers, found.labels, strict=True):
        first.setdefault(label, number)
    is_first = block.is_tsv and block.first_line == 1 and found.numbers[:1] == [1]
    return _Seen(
        path=block.paths[0],
        counts=Counter(found.labels),
        first=first,
        heading=found.labels[0] if is_first else None,
        unread=_unread(block.fields),
        unfit=found.unfit,
    )


def _unread(fields: LabelFields | None) -> list[int]:
    if fields is None or fields.columns is None:
        return []
    read = (fields.text, fields.second, fields.label)
    return [column for column in range(1, fields.columns + 1) if column not in read]


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
