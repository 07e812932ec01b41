"""Test sets from a recipe or from files, their translations, and what a recipe expects of them.

    recipe -> pairs, all read and checked -> translations, kept as NAME.hyp -> scores -> reproduced or not

What translates is handed in, so this room needs no network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfcli.errors import RecipeError
from tfcli.recipe.complaints import nearest
from tfcli.scoring.history import write_text
from tfcli.scoring.results import LOWER_IS_BETTER
from tfcli.text.files import CorpusFiles, locate_in, require_text
from tfcli.text.pairs import read_pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tfcli.recipe.expectation import Expectation
    from tfcli.recipe.schema import Recipe
    from tfcli.scoring.results import Interval, SetResult


@dataclass(frozen=True)
class HeldOutSet:
    """A named test set, line i of each reference being a translation of line i of `src`."""

    name: str
    src: list[str] | None
    """None where only translations and references are known."""
    references: list[list[str]]
    reference_file: Path | None = None
    """Where the first of them stands, a line for each."""


@dataclass(frozen=True)
class Reproduction:
    """A score of a test set beside the one that the recipe expects."""

    name: str
    metric: str
    expected: float
    tolerance: float
    obtained: float
    interval: Interval | None = None
    """Of what was obtained."""

    @property
    def difference(self) -> float:
        """Return how much more than expected was obtained."""
        return self.obtained - self.expected

    @property
    def reproduced(self) -> bool:
        """Tell whether the score is as near as the recipe asks for."""
        return abs(self.difference) <= self.tolerance

    @property
    def verdict(self) -> str:
        """Return whether the score came out, in words."""
        if self.reproduced:
            return "reproduced"
        is_better = (self.difference > 0) != (self.metric in LOWER_IS_BETTER)
        within = self.interval is not None and self.interval.low <= self.expected <= self.interval.high
        return f"not reproduced: {'better' if is_better else 'worse'}" + (
            ", but within the 95 % interval" if within else ""
        )


def read_sets(
    recipe: Recipe, names: Sequence[str], roots: list[Path], report: Callable[[str], None]
) -> list[HeldOutSet]:
    """Read the test sets of these names, all of them when none is named.

    Raises: RecipeError for a name that the recipe does not have, DataError for files that cannot be used.
    """
    tests = recipe.data.tests
    unknown = next((name for name in names if name not in tests), None)
    if unknown is not None:
        near = nearest(unknown, list(tests))
        raise RecipeError(
            f"--test {unknown}: the recipe has no such test set"
            + (f", did you mean {near!r}?" if near else ""),
            f"its test sets are: {', '.join(tests)}",
        )
    sets = []
    for name in dict.fromkeys(names) or tests:
        files = locate_in(recipe, tests[name], roots, f"data.tests.{name}", report)
        pairs = list(read_pairs(files))
        sets.append(HeldOutSet(name, [src for src, _ in pairs], [[tgt for _, tgt in pairs]], files.paths[-1]))
    return sets


def read_own_set(src: Path, refs: Sequence[Path]) -> HeldOutSet:
    """Read a test set that no recipe names, with one reference or more; it is called by the name of its source.

    Raises: DataError for files that cannot be used.
    """
    require_text(src, "--src", refs)
    lines: list[str] = []
    references = []
    for ref in refs:
        require_text(ref, "--ref", [src])
        pairs = list(read_pairs(CorpusFiles(src=src, tgt=ref, tsv=None)))
        lines = [line for line, _ in pairs]
        references.append([line for _, line in pairs])
    return HeldOutSet(src.stem if src.suffix in (".gz", ".xz") else src.name, lines, references, refs[0])


def compare(results: Sequence[SetResult], expected: Mapping[str, Expectation]) -> list[Reproduction]:
    """Put the score of each set beside the one expected of it, where one is."""
    found = []
    for result in results:
        wanted = expected.get(result.name)
        score = result.judged.scores.get(wanted.metric) if wanted is not None else None
        if wanted is not None and score is not None:
            found.append(
                Reproduction(
                    result.name, wanted.metric, wanted.score, wanted.tolerance, score.score, score.interval
                )
            )
    return found


def write_translations(path: Path, translations: Sequence[str]) -> None:
    """Write one translation a line; the file gets its name when it is whole."""
    if any("\n" in line for line in translations):
        raise ValueError("a translation must be a single line")
    write_text(path, "".join(line + "\n" for line in translations))
