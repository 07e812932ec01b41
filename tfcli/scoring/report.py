"""What a report is made of: sets as they were scored, and what stands around them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tfcli.recipe.schema import ScoringSection
    from tfcli.scoring.analysis import WordCounts
    from tfcli.scoring.picture import Picture
    from tfcli.scoring.results import SetResult


@dataclass(frozen=True)
class Report:
    """All that a report shows, before any analysis."""

    title: str
    sets: Sequence[SetResult]
    settings: ScoringSection
    training_words: WordCounts | None = None
    """How often words occur in the target side of the training text; None where it is not at hand."""
    pictures: Sequence[Picture] = ()
    provenance: Sequence[tuple[str, str]] = ()
