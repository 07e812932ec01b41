"""The labels of a classifier: those of the training text, numbered in their order, kept in `labels.json`.

    labels.json     [{"label": "HUM", "texts": 1223}, ...]

`texts` counts the texts that are trained on. Label i has the id i + 1 in an encoded corpus, where 0 is padding.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from heapq import nlargest
from typing import TYPE_CHECKING

import numpy as np

from tfcli.corpus.label_survey import DOUBTS_TOLD, unknown_label
from tfcli.corpus.shards import IdBlock, id_dtype
from tfcli.errors import CheckpointError, DataError
from tfcli.text.labelled import SWAPPED, UnfitLines, looks_like_text
from tfcli.text.whole_file import write_whole
from tfcli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tfcli.corpus.label_survey import LabelSurvey
    from tfcli.corpus.shards import ParallelIds
    from tfcli.text.files import CorpusFiles
    from tfcli.text.pairs import TextBlock

FILE = "labels.json"
SHOWN = 20


@dataclass(frozen=True)
class Labels:
    """The labels in their order, and how many training texts have each; `doubts` are warnings about them."""

    names: tuple[str, ...]
    texts: tuple[int, ...]
    doubts: tuple[str, ...] = ()

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.names, start=1)}

    def as_json(self) -> list[dict[str, str | int]]:
        """Return what `labels.json` holds."""
        return [{"label": name, "texts": n} for name, n in zip(self.names, self.texts, strict=True)]

    def most(self) -> tuple[list[tuple[str, int]], int]:
        """Return those that have the most texts, in their order, with the numbers of these; and how many more there are."""
        rows = sorted(nlargest(SHOWN, zip(self.names, self.texts, strict=True), key=lambda row: row[1]))
        return rows, len(self.names) - len(rows)

    def told(self) -> str:
        """Return them on one line."""
        rows, more = self.most()
        rest = f" and {counted(more, 'more label')}" if more else ""
        return f"training texts by label: {', '.join(f'{name} {n:,}' for name, n in rows)}{rest}"

    def ids(self, labels: Sequence[str], block: TextBlock) -> IdBlock:
        """Return the ids of the labels of a block of text, each a sentence of one piece.

        Raises: DataError for a label that the training text does not have, naming its line.
        """
        known, unfit = self._ids, UnfitLines()
        for pair, label in enumerate(labels):
            if label not in known:
                unfit.add(block.paths[-1], [unknown_label(label, block.line_number(pair), self.names)])
                unfit.refuse()
        ids = np.fromiter((known[label] for label in labels), id_dtype(len(known) + 1), len(labels))
        return IdBlock(ids, np.ones(len(labels), dtype=np.int32))

    def counted_in(self, train: ParallelIds) -> Labels:
        """Return the labels with the numbers of the texts in encoded training text, from which some were dropped."""
        texts = np.bincount(train.tgt_column.ids, minlength=len(self.names) + 1)[1:].tolist()
        lost = [name for name, n in zip(self.names, texts, strict=True) if not n]
        doubts = []
        if lost:
            more = f" and {len(lost) - DOUBTS_TOLD} more" if lost[DOUBTS_TOLD:] else ""
            names = f"label{'s' if lost[1:] else ''} {', '.join(map(repr, lost[:DOUBTS_TOLD]))}{more}"
            doubts.append(
                f"no text is left to be trained on with the {names}: all were dropped, or are held out"
            )
        return replace(self, texts=tuple(texts), doubts=(*self.doubts, *doubts))


def labels_for(
    survey: LabelSurvey, train: Sequence[CorpusFiles], run_dir: Path, *, replace_run: bool
) -> Labels:
    """Return the labels of a run whose training text has been looked through.

    Raises: DataError when there are less than two; CheckpointError when the run has checkpoints of a network for others.
    """
    names = tuple(sorted(survey.counts))
    if len(names) < 2:
        paths = ", ".join(str(path) for files in train for path in files.paths)
        raise DataError(
            f"data.train: all texts of {paths} have the label {names[0]!r}"
            if names
            else f"data.train: no lines in {paths}",
            SWAPPED
            if names and looks_like_text(names[0])
            else "a classifier learns to tell two labels or more apart: check the files and data.label_field",
        )
    before = read_labels(run_dir)
    if before is not None and before.names != names and not replace_run:
        _refuse_to_part_from_checkpoints(run_dir)
    return Labels(names, tuple(survey.counts[name] for name in names), tuple(survey.doubts()))


def keep_labels(labels: Labels, run_dir: Path) -> None:
    """Write the labels into the run folder."""
    before = read_labels(run_dir)
    if before is None or before.as_json() != labels.as_json():
        write_whole(run_dir / FILE, json.dumps(labels.as_json(), indent=2, ensure_ascii=False) + "\n")


def read_labels(run_dir: Path) -> Labels | None:
    """Return the labels of a run; None where it has none yet, or none that can be read."""
    try:
        rows = json.loads((run_dir / FILE).read_text(encoding="utf-8"))
        return Labels(tuple(str(row["label"]) for row in rows), tuple(int(row["texts"]) for row in rows))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _refuse_to_part_from_checkpoints(run_dir: Path) -> None:
    if any(run_dir.glob("checkpoints/step-*")):
        raise CheckpointError(
            f"{run_dir} has checkpoints of a classifier for other labels than those of the training text",
            "start over with --fresh, or in another folder with --out; or restore the training files",
        )
