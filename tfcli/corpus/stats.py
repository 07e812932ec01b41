"""What an encoded corpus is like: pairs kept and dropped, pieces per word, unknown pieces, lengths."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class SideStats:
    """One side of the kept pairs. Units: lengths in pieces, end mark not counted; words stand between spaces."""

    words: int
    pieces: int
    unknown: int
    length_p50: int
    length_p95: int
    length_max: int

    @property
    def pieces_per_word(self) -> float:
        """Pieces for each word; 0 without words."""
        return self.pieces / self.words if self.words else 0.0

    @property
    def unknown_rate(self) -> float:
        """Share of the pieces that are unknown; 0 without pieces."""
        return self.unknown / self.pieces if self.pieces else 0.0


@dataclass(frozen=True)
class CorpusStats:
    """One corpus: `lines` is `kept` and all of `dropped`, which counts by reason."""

    name: str
    lines: int
    kept: int
    dropped: dict[str, int]
    src: SideStats
    tgt: SideStats

    def as_json(self) -> dict[str, Any]:
        """Return what JSON takes, the rates included."""
        sides = {
            name: asdict(side)
            | {"pieces_per_word": round(side.pieces_per_word, 4), "unknown_rate": round(side.unknown_rate, 6)}
            for name, side in (("src", self.src), ("tgt", self.tgt))
        }
        return asdict(self) | sides

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Self:
        """Read what `as_json` returned."""
        fields = SideStats.__dataclass_fields__
        sides = {name: SideStats(**{key: record[name][key] for key in fields}) for name in ("src", "tgt")}
        return cls(**(record | sides))


@dataclass
class SideTally:
    """Counts of one side, added up as blocks come."""

    words: int = 0
    unknown: int = 0
    histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, dtype=np.int64))

    def add(self, words: int, unknown: int, lengths: NDArray[np.int32]) -> None:
        """Add a block. Units: lengths in pieces, end mark included."""
        self.words += words
        self.unknown += unknown
        counts = np.bincount(lengths - 1, minlength=len(self.histogram))
        counts[: len(self.histogram)] += self.histogram
        self.histogram = counts

    def stats(self) -> SideStats:
        """Return the sums."""
        cumulated = np.cumsum(self.histogram)
        p50, p95, longest = (
            int(np.searchsorted(cumulated, np.ceil(share * cumulated[-1]))) for share in (0.5, 0.95, 1.0)
        )
        pieces = int(np.arange(len(self.histogram)) @ self.histogram)
        return SideStats(self.words, pieces, self.unknown, p50, p95, longest)


@dataclass
class CorpusTally:
    """Counts of one corpus, added up as blocks come."""

    lines: int = 0
    kept: int = 0
    cut: int = 0  # texts of a classifier that were too long
    dropped: Counter[str] = field(default_factory=Counter)
    src: SideTally = field(default_factory=SideTally)
    tgt: SideTally = field(default_factory=SideTally)

    def stats(self, name: str) -> CorpusStats:
        """Return the sums."""
        dropped = {reason: self.dropped[reason] for reason in sorted(self.dropped) if self.dropped[reason]}
        return CorpusStats(name, self.lines, self.kept, dropped, self.src.stats(), self.tgt.stats())
