"""What a recipe says that its test sets score."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tfcli.recipe.section import PositiveFloat, Section, contradiction
from tfcli.recipe.tasks import OWNERS, TaskName

Percent = Annotated[float, Field(ge=0, le=100)]
Perplexity = Annotated[float, Field(ge=1, allow_inf_nan=False)]
_PLACE = "expected.*."
_IN_PERCENT = ("bleu", "accuracy", "macro_f1")  # what the default of `tolerance` is for


class Expectation(Section):
    """What a test set should score when the recipe is run as it stands: one score of those that its task has."""

    bleu: Percent | None = None
    """BLEU with the settings of `scoring`."""
    accuracy: Percent | None = None
    """Texts with the right label; unit: percent."""
    macro_f1: Percent | None = None
    """Mean of the labels' F1; unit: percent."""
    token_perplexity: Perplexity | None = None
    """Perplexity a piece; the lower, the better, as the two below."""
    word_perplexity: Perplexity | None = None
    """Perplexity a word, line ends counted as words."""
    bits_per_byte: PositiveFloat | None = None
    """Bits that a byte of the text takes."""
    tolerance: PositiveFloat = 0.5
    """How far from it still counts as reproduced; unit: that of the score. Language models have to give it."""

    @property
    def metric(self) -> str:
        """The metric of the score, by the name that `tfcli eval --json` calls it by."""
        return self._given[0].replace("_", "-")

    @property
    def score(self) -> float:
        """The score itself."""
        score: float = getattr(self, self._given[0])
        return score

    @property
    def _given(self) -> list[str]:
        return [
            key for key in type(self).model_fields if key != "tolerance" and getattr(self, key) is not None
        ]

    def require_one_score(self, name: str, task: TaskName) -> None:
        """See that the test set of this name has one score, and a tolerance in its unit.

        Raises: PydanticCustomError.
        """
        own = [
            place.removeprefix(_PLACE)
            for place, owners in OWNERS.items()
            if place.startswith(_PLACE) and task in owners
        ]
        if len(self._given) != 1:
            choices = own[0] if len(own) == 1 else f"one of {', '.join(own)}"
            raise contradiction(f"expected.{name}", f"give the score: {choices}")
        if self._given[0] not in _IN_PERCENT and "tolerance" not in self.model_fields_set:
            raise contradiction(
                f"expected.{name}", f"give a tolerance, too: the default is none for {self._given[0]}"
            )
