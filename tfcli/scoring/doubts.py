"""What makes translations look wrong before a score of them is believed: tokenized, empty, shifted lines, or labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfcli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tfcli.recipe.schema import ScoringSection

# Text that a person or a detokenizer wrote next to never has a space before its full stop, so a tenth of the lines
# is far above chance, and ten lines keep a handful of odd ones in a small set from raising the alarm.
TOKENIZED_SHARE = 0.1
TOKENIZED_LINES = 10
# Of a translation and its reference three quarters of the pairs of letters are the same, of neighbours one third
# (WMT22 en-de: 0.76, 0.34); a shift is believed when this many lines say so, by this much on average.
SHIFT_LINES = 5
SHIFT_GAIN = 0.2
MOST_LINES_MISSING = 20
# Sentences are seldom the same twice; of the labels of a set, a few words at most, each stands there many times.
LABEL_LINES = 10
LINES_A_LABEL = 5
LABEL_WORDS = 3


def tokenization_warning(hypotheses: Sequence[str], settings: ScoringSection) -> str | None:
    """Say so when the hypotheses look tokenized although BLEU is to tokenize them, which changes the score."""
    if settings.tokenize == "none":
        return None
    spaced = sum(line.endswith(" .") for line in hypotheses)
    if spaced < max(TOKENIZED_LINES, TOKENIZED_SHARE * len(hypotheses)):
        return None
    return (
        f"{spaced} of {len(hypotheses)} hypotheses end in ' .', as tokenized text does, but BLEU with tokenizer "
        f"{settings.tokenize} is for detokenized text; tokenizer none takes text as it is"
    )


def labels_warning(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> str | None:
    """Say so when hypotheses and reference look like labels, which are not scored as translations are."""
    different = {*hypotheses, *references[0]}
    if len(different) < 2 or len(hypotheses) < max(LABEL_LINES, LINES_A_LABEL * len(different)):
        return None
    if any(len(line.split()) > LABEL_WORDS for line in different):
        return None
    return (
        f"{counted(len(hypotheses), 'line')}, and no more than {len(different)} different ones: if they are labels, "
        "--metric accuracy --metric macro-f1 scores them"
    )


def emptiness_warning(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> str | None:
    """Say how many hypotheses are empty although a reference of theirs is not."""
    empty = [
        number
        for number, (said, *expected) in enumerate(zip(hypotheses, *references, strict=True), start=1)
        if not said.strip() and any(line.strip() for line in expected)
    ]
    if not empty:
        return None
    are = "is" if len(empty) == 1 else "are"
    return f"{len(empty)} of {counted(len(hypotheses), 'hypothesis', 'hypotheses')} {are} empty, the first in line {empty[0]}"


def first_shifted_line(hypotheses: Sequence[str], reference: Sequence[str]) -> int | None:
    """Return the line from which on the shorter of two texts has slipped against the other; None if that is not clear.

    Where lines are missing in one place, all before it resemble their counterparts, and all after it the later ones.
    """
    short, long = sorted((hypotheses, reference), key=len)
    missing = len(long) - len(short)
    if not 0 < missing <= MOST_LINES_MISSING or len(short) < SHIFT_LINES:
        return None
    pairs = [_pairs(line) for line in long]
    gains = []
    for number, line in enumerate(short):
        here = _pairs(line)
        gains.append(_resemblance(here, pairs[number + missing]) - _resemblance(here, pairs[number]))
    # the sum of the gains from a line on is highest where the shift begins
    best, start, total = 0.0, None, 0.0
    for number in reversed(range(len(gains))):
        total += gains[number]
        if total > best:
            best, start = total, number
    if start is None or len(gains) - start < SHIFT_LINES or best < SHIFT_GAIN * (len(gains) - start):
        return None
    return start + 1


def _pairs(line: str) -> set[str]:
    """Return the pairs of letters in a line, which two texts share in any script."""
    letters = "".join(line.lower().split())
    return {letters[n : n + 2] for n in range(len(letters) - 1)}


def _resemblance(one: set[str], other: set[str]) -> float:
    return 2 * len(one & other) / (len(one) + len(other)) if one or other else 0.0
