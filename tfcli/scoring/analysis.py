"""Where a system is good and where it is not: by line, by length, by how common a word is.

Everything here is counted from lines alone. Scores come from sacreBLEU through `metrics`, words from `words`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from tfcli.scoring.metrics import score, sentence_chrf
from tfcli.scoring.words import words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tfcli.recipe.schema import ScoringSection

LENGTH_GROUPS = 5
# Decades as in Zipf's law, split where most words of a small corpus are.
FREQUENCIES = {
    "0": 0,
    "1": 1,
    "2 to 4": 2,
    "5 to 9": 5,
    "10 to 99": 10,
    "100 to 999": 100,
    "1,000 to 9,999": 1000,
    "10,000 and more": 10_000,
}
"""Ranges of frequency with the lowest of each."""
RATIO_EDGES = (0.5, 0.7, 0.9, 1.1, 1.3, 1.5)


@dataclass(frozen=True)
class WordCounts:
    """How often words occur in some lines of text."""

    counts: Mapping[str, int]
    n_lines: int
    complete: bool
    """Whether these were all lines that there are."""


@dataclass(frozen=True)
class LengthGroup:
    """The lines whose length in words is from `low` to `high`, and what they score."""

    low: int
    high: int
    n_lines: int
    bleu: float
    chrf: float
    """The mean of the lines' chrF."""


@dataclass(frozen=True)
class WordScore:
    """How many of the reference's words of one kind were found: clipped matches against both counts."""

    label: str
    n_reference: int
    n_hypothesis: int
    n_matched: int

    @property
    def recall(self) -> float | None:
        """Return the share of the reference's words that the hypotheses have, in percent."""
        return _percent(self.n_matched, self.n_reference)

    @property
    def precision(self) -> float | None:
        """Return the share of the hypotheses' words that the reference has, in percent."""
        return _percent(self.n_matched, self.n_hypothesis)

    @property
    def f1(self) -> float | None:
        """Return the harmonic mean of precision and recall, in percent."""
        return _percent(2 * self.n_matched, self.n_reference + self.n_hypothesis)


@dataclass(frozen=True)
class RatioGroup:
    """How many lines are that long against their reference."""

    label: str
    n_lines: int


@dataclass(frozen=True)
class SystemAnalysis:
    """What is known about one system's translations of one set."""

    chrf: list[float | None]
    """Of each line; None where line and reference are both blank."""
    lengths: list[LengthGroup]
    frequencies: list[WordScore]
    copied: WordScore | None
    """Words that stand in the source and in the reference; None without a source."""
    unknown: WordScore | None
    """Words of the reference that the training text does not have; None where it is not at hand."""
    ratios: list[RatioGroup]


def analyse(
    src: Sequence[str] | None,
    references: Sequence[Sequence[str]],
    hypotheses: Sequence[str],
    settings: ScoringSection,
    training: WordCounts | None,
    advance: Callable[[int], None] = lambda _: None,
) -> SystemAnalysis:
    """Analyse the translations of one system; words are compared with those of the first reference.

    `advance` is told how many lines are done.
    """

    def cut(lines: Sequence[str]) -> list[list[str]]:
        return [words_of(line.lower() if settings.lowercase else line) for line in lines]

    hyp_words, ref_words = cut(hypotheses), cut(references[0])
    src_words = cut(src) if src is not None else None
    chrf = sentence_chrf(hypotheses, references, settings, advance)
    lengths = [len(words) for words in src_words or ref_words]
    counts = training.counts if training is not None else count_words(references[0], settings).counts
    frequencies = by_frequency(hyp_words, ref_words, counts)
    return SystemAnalysis(
        chrf=chrf,
        lengths=by_length(lengths, hypotheses, references, chrf, settings),
        frequencies=[found for found in frequencies if training is not None or found.label != "0"],
        copied=copied_words(src_words, hyp_words, ref_words) if src_words is not None else None,
        unknown=None
        if training is None
        else next((found for found in frequencies if found.label == "0"), WordScore("0", 0, 0, 0)),
        ratios=length_ratios(hyp_words, ref_words),
    )


def count_words(lines: Iterable[str], settings: ScoringSection, most: int | None = None) -> WordCounts:
    """Count the words of at most so many lines."""
    counts = Counter[str]()
    n_lines = 0
    for line in lines:
        if n_lines == most:
            return WordCounts(counts, n_lines, complete=False)
        counts.update(words_of(line.lower() if settings.lowercase else line))
        n_lines += 1
    return WordCounts(counts, n_lines, complete=True)


def length_bounds(lengths: Sequence[int], groups: int = LENGTH_GROUPS) -> list[tuple[int, int]]:
    """Return the shortest and the longest length of each group, groups of about as many lines each.

    Lines of one length stay together, so there may be fewer groups.
    """
    counts = sorted(Counter(lengths).items())
    bounds: list[tuple[int, int]] = []
    low: int | None = None
    seen = 0
    for length, count in counts:
        low = length if low is None else low
        seen += count
        if seen * groups >= len(lengths) * (len(bounds) + 1):
            bounds.append((low, length))
            low = None
    return bounds


def by_length(
    lengths: Sequence[int],
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    chrf: Sequence[float | None],
    settings: ScoringSection,
) -> list[LengthGroup]:
    """Score short lines and long ones apart; the groups are the same for every system.

    Lines whose references are all blank make up no group of their own.
    """
    found = []
    for low, high in length_bounds(lengths):
        members = [n for n, length in enumerate(lengths) if low <= length <= high]
        chosen = [[reference[n] for n in members] for reference in references]
        if not any(line.strip() for lines in chosen for line in lines):
            continue
        bleu = score([hypotheses[n] for n in members], chosen, settings, ("bleu",))["bleu"].score
        known = [value for n in members if (value := chrf[n]) is not None]
        found.append(LengthGroup(low, high, len(members), bleu, sum(known) / len(known)))
    return found


def by_frequency(
    hypotheses: Sequence[Sequence[str]], reference: Sequence[Sequence[str]], counts: Mapping[str, int]
) -> list[WordScore]:
    """Score words by how often `counts` has them, each group by its range; those that do not occur are left out."""
    totals = [[0, 0, 0] for _ in FREQUENCIES]
    for hyp, ref in zip(hypotheses, reference, strict=True):
        hyp_counts, ref_counts = Counter(hyp), Counter(ref)
        for column, words in enumerate((ref_counts, hyp_counts, hyp_counts & ref_counts)):
            for word, n in words.items():
                totals[_frequency_group(counts.get(word, 0))][column] += n
    return [WordScore(label, *total) for label, total in zip(FREQUENCIES, totals, strict=True) if any(total)]


def copied_words(
    src: Sequence[Sequence[str]], hypotheses: Sequence[Sequence[str]], reference: Sequence[Sequence[str]]
) -> WordScore:
    """Score the words that a line's source and reference share: names, numbers, and what both languages spell alike."""
    totals = [0, 0, 0]
    for source, hyp, ref in zip(src, hypotheses, reference, strict=True):
        shared = set(source)
        hyp_counts = Counter(word for word in hyp if word in shared)
        ref_counts = Counter(word for word in ref if word in shared)
        for column, words in enumerate((ref_counts, hyp_counts, hyp_counts & ref_counts)):
            totals[column] += words.total()
    return WordScore("copied", *totals)


def length_ratios(
    hypotheses: Sequence[Sequence[str]], reference: Sequence[Sequence[str]]
) -> list[RatioGroup]:
    """Count lines by the number of their words over that of the reference's; blank on both sides is as long."""
    counts = [0] * (len(RATIO_EDGES) + 1)
    for hyp, ref in zip(hypotheses, reference, strict=True):
        ratio = len(hyp) / len(ref) if ref else float("inf") if hyp else 1.0
        counts[sum(ratio >= edge for edge in RATIO_EDGES)] += 1
    labels = [
        f"below {RATIO_EDGES[0]:g}",
        *(f"{low:g} to {high:g}" for low, high in pairwise(RATIO_EDGES)),
        f"{RATIO_EDGES[-1]:g} and above",
    ]
    return [RatioGroup(label, count) for label, count in zip(labels, counts, strict=True)]


def largest_changes(
    chrf: Sequence[float | None], baseline: Sequence[float | None], most: int
) -> tuple[list[int], list[int]]:
    """Return the lines that gained most over the baseline and those that lost most, the largest change first."""
    changes = [
        (mine - theirs, n)
        for n, (mine, theirs) in enumerate(zip(chrf, baseline, strict=True))
        if mine is not None and theirs is not None
    ]
    gains = sorted((-change, n) for change, n in changes if change > 0)[:most]
    losses = sorted((change, n) for change, n in changes if change < 0)[:most]
    return [n for _, n in gains], [n for _, n in losses]


def worst_lines(chrf: Sequence[float | None], most: int) -> list[int]:
    """Return the lines of the lowest chrF, the lowest first."""
    return [n for _, n in sorted((value, n) for n, value in enumerate(chrf) if value is not None)[:most]]


def _frequency_group(count: int) -> int:
    return sum(count >= start for start in FREQUENCIES.values()) - 1


def _percent(part: int, whole: int) -> float | None:
    return 100 * part / whole if whole else None
