"""Labels against labels: accuracy, F1 by label and its mean, and which label was taken for which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfcli.scoring.results import Confusion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class LabelFigures:
    """How well one label was found; units: fractions."""

    label: str
    n_reference: int
    precision: float
    recall: float
    f1: float


def labels_of(*texts: Sequence[str]) -> list[str]:
    """Return the labels that stand anywhere in these texts, in order; white space around one is no part of it."""
    return sorted({line.strip() for lines in texts for line in lines})


def codes(hypotheses: Sequence[str], reference: Sequence[str], labels: Sequence[str]) -> NDArray[np.int64]:
    """Return for each line one number that says which label stands in the reference and which was said."""
    number = {label: n for n, label in enumerate(labels)}
    pairs = zip(reference, hypotheses, strict=True)
    found = [number[expected.strip()] * len(labels) + number[said.strip()] for expected, said in pairs]
    return np.array(found, np.int64)


def table(found: NDArray[np.int64], n_labels: int) -> NDArray[np.int64]:
    """Return how often each label of the reference (rows) was taken for which (columns), from the lines' codes."""
    return np.bincount(found, minlength=n_labels * n_labels).reshape(n_labels, n_labels)


def confusion(hypotheses: Sequence[str], reference: Sequence[str], labels: Sequence[str]) -> Confusion:
    """Return how often each label was taken for which."""
    counts = table(codes(hypotheses, reference, labels), len(labels))
    return Confusion(list(labels), [[int(count) for count in row] for row in counts])


def accuracy(counts: NDArray[np.int64]) -> float:
    """Return the share of lines whose label is right, in percent."""
    return 100 * float(np.trace(counts)) / float(counts.sum())


def accuracy_of(hypotheses: Sequence[str], reference: Sequence[str]) -> float:
    """Return the share of lines with the label of the reference, in percent."""
    right = sum(said == expected for said, expected in zip(hypotheses, reference, strict=True))
    return 100 * right / len(reference)


def macro_f1(counts: NDArray[np.int64]) -> float:
    """Return the mean of the labels' F1, in percent; a label that neither side has is left out."""
    right, both_sides = np.diagonal(counts), counts.sum(0) + counts.sum(1)
    seen = both_sides > 0
    return 100 * float(np.mean(2 * right[seen] / both_sides[seen]))


def figures(found: Confusion) -> list[LabelFigures]:
    """Return precision, recall and F1 of each label; 0 where there is nothing to divide by."""
    counts: NDArray[Any] = np.array(found.counts)
    rows = []
    for number, label in enumerate(found.labels):
        right, said, there = counts[number, number], counts[:, number].sum(), counts[number].sum()
        precision, recall = (float(right / total) if total else 0.0 for total in (said, there))
        f1 = float(2 * right / (said + there)) if said + there else 0.0
        rows.append(LabelFigures(label, int(there), precision, recall, f1))
    return rows
