"""The labels of a classifier: collected from the training text, numbered in their order, kept in `labels.json`.

    labels.json     [{"label": "HUM", "texts": 1223}, ...]

Label i has the id i + 1 in an encoded corpus, where 0 is padding.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tfcli.corpus.shards import IdBlock, id_dtype
from tfcli.corpus.workers import in_order, processes_for
from tfcli.errors import CheckpointError, DataError
from tfcli.recipe.complaints import nearest
from tfcli.text.pairs import lines_of, text_blocks
from tfcli.text.whole_file import write_whole
from tfcli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tfcli.text.files import CorpusFiles
    from tfcli.text.pairs import TextBlock

FILE = "labels.json"
SHOWN_LABELS = 10
FEW_LABELS = 10  # of a handful of texts, a first try, each may have its own


@dataclass(frozen=True)
class Labels:
    """The labels in their order, and how many training texts have each."""

    names: tuple[str, ...]
    texts: tuple[int, ...]

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.names, start=1)}

    def as_json(self) -> list[dict[str, str | int]]:
        """Return what `labels.json` holds."""
        return [{"label": name, "texts": n} for name, n in zip(self.names, self.texts, strict=True)]

    def doubt(self) -> str | None:
        """Say so where there are many, and more than half as many as texts, as when the two are taken for each other."""
        n_texts = sum(self.texts)
        if len(self.names) < FEW_LABELS or 2 * len(self.names) <= n_texts:
            return None
        return (
            f"{counted(len(self.names), 'label')} for {counted(n_texts, 'text')}: are data.text_field and "
            "data.label_field the right way round?"
        )

    def ids(self, labels: Sequence[str], block: TextBlock) -> IdBlock:
        """Return the ids of the labels of a block of text, each a sentence of one piece.

        Raises: DataError for a label that the training text does not have, naming its line.
        """
        known = self._ids
        for number, label in enumerate(labels, start=block.first_line):
            if label not in known:
                raise unknown_label(label, f"{block.paths[-1]}:{number}", self.names)
        ids = np.fromiter((known[label] for label in labels), id_dtype(len(known) + 1), len(labels))
        return IdBlock(ids, np.ones(len(labels), dtype=np.int32))


def unknown_label(label: str, place: str, names: Sequence[str]) -> DataError:
    """Return the error about a label that no training text has."""
    near = nearest(label, names)
    more = f" and {len(names) - SHOWN_LABELS} more" if len(names) > SHOWN_LABELS else ""
    return DataError(
        f"{place}: the label {label!r} is not one of the training text's"
        + (f", did you mean {near!r}?" if near else ""),
        f"correct the line, or add training texts with this label; those that are known: "
        f"{', '.join(names[:SHOWN_LABELS])}{more}",
    )


def labels_for(train: Sequence[CorpusFiles], lines: int, run_dir: Path, *, replace_run: bool) -> Labels:
    """Collect the labels of the training text and write them into the run folder.

    Raises: DataError when there are less than two, or a line cannot be read; CheckpointError when the run has
    checkpoints of a network for others.
    """
    counts: Counter[str] = Counter()
    with closing(in_order(_counted, text_blocks(train), processes_for(lines))) as results:
        for found in results:
            counts += found
    labels = Labels(tuple(sorted(counts)), tuple(counts[name] for name in sorted(counts)))
    if len(labels.names) < 2:
        paths = ", ".join(str(path) for files in train for path in files.paths)
        raise DataError(
            f"data.train: all texts of {paths} have the label {labels.names[0]!r}"
            if labels.names
            else f"data.train: no lines in {paths}",
            "a classifier learns to tell two labels or more apart: check the files and data.label_field",
        )
    before = read_labels(run_dir)
    if before is not None and before.names != labels.names and not replace_run:
        _refuse_to_part_from_checkpoints(run_dir)
    if before != labels:
        write_whole(run_dir / FILE, json.dumps(labels.as_json(), indent=2, ensure_ascii=False) + "\n")
    return labels


def read_labels(run_dir: Path) -> Labels | None:
    """Return the labels of a run; None where it has none yet, or none that can be read."""
    try:
        rows = json.loads((run_dir / FILE).read_text(encoding="utf-8"))
        return Labels(tuple(str(row["label"]) for row in rows), tuple(int(row["texts"]) for row in rows))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _counted(block: TextBlock) -> Counter[str]:
    return Counter(lines_of(block.sides()[1]))


def _refuse_to_part_from_checkpoints(run_dir: Path) -> None:
    if any(run_dir.glob("checkpoints/step-*")):
        raise CheckpointError(
            f"{run_dir} has checkpoints of a classifier for other labels than those of the training text",
            "start over with --fresh, or in another folder with --out; or restore the training files",
        )
