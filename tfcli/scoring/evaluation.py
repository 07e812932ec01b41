"""Test sets from a recipe or from files, their translations, and what a recipe expects of them.

    recipe -> pairs, all read and checked -> translations, kept as NAME.hyp -> scores -> reproduced or not

What translates is handed in, so this room needs no network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfcli.errors import DataError, RecipeError
from tfcli.recipe.complaints import nearest
from tfcli.scoring.history import write_text
from tfcli.scoring.results import LOWER_IS_BETTER
from tfcli.text.files import CorpusFiles, locate_in, require_text
from tfcli.text.labelled import LabelFields
from tfcli.text.pairs import line_numbers, read_pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tfcli.recipe.corpora import DataSection
    from tfcli.recipe.expectation import Expectation
    from tfcli.recipe.schema import Recipe
    from tfcli.scoring.results import Interval, SetResult

VALIDATION = "valid"
"""What `--test` calls the validation text, unless a test set has that name."""


@dataclass(frozen=True)
class HeldOutSet:
    """A named test set, line i of each reference being a translation of line i of `src`."""

    name: str
    src: list[str] | None
    """None where only translations and references are known."""
    references: list[list[str]]
    reference_file: Path | None = None
    """Where the first of them stands."""
    line_numbers: list[int] | None = None
    """The line of each there; None: one line after the other."""


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
    recipe: Recipe, names: Sequence[str], roots: list[Path], run: Path, report: Callable[[str], None]
) -> list[HeldOutSet]:
    """Read the test sets of these names, all of them when none is named; `VALIDATION` is the run's validation text.

    Raises: RecipeError for a name that the recipe does not have, DataError for files that cannot be used.
    """
    tests = {VALIDATION: recipe.data.valid, **recipe.data.tests}
    unknown = next((name for name in names if name not in tests), None)
    if unknown is not None:
        near = nearest(unknown, list(tests))
        raise RecipeError(
            f"--test {unknown}: the recipe has no such test set"
            + (f", did you mean {near!r}?" if near else ""),
            f"its test sets are: {', '.join(recipe.data.tests)}; {VALIDATION} is the validation text",
        )
    sets = []
    for name in dict.fromkeys(names) or recipe.data.tests:
        if name in recipe.data.tests:
            files = locate_in(recipe, tests[name], roots, f"data.tests.{name}", report)
        elif recipe.data.valid.held_out:
            files = _held_out(run)
        else:
            files = locate_in(recipe, tests[name], roots, "data.valid", report)
        pairs = list(read_pairs(files))
        src, tgt = [src for src, _ in pairs], [tgt for _, tgt in pairs]
        sets.append(HeldOutSet(name, src, [tgt], files.paths[-1], line_numbers(files)))
    return sets


def _held_out(run: Path) -> CorpusFiles:
    """Return where a run keeps what was held out of its training text.

    Raises: DataError when it is not there.
    """
    src, tgt = (run / "corpus" / f"held-out.{side}" for side in ("src", "tgt"))
    if not src.is_file() or not tgt.is_file():
        raise DataError(
            f"{src}: what was held out of the training text is no longer there",
            f"`tfcli tokenize {run / 'recipe.yaml'} --out {run}` takes it out of the text again",
        )
    return CorpusFiles(src=src, tgt=tgt, tsv=None)


def read_labelled_set(path: Path, data: DataSection | None) -> HeldOutSet:
    """Read a file of texts with labels that no recipe names; `data` says in which fields they stand.

    It holds JSON lines if it is called .jsonl, else it is a TSV file.

    Raises: DataError when it cannot be used, RecipeError when the fields are those of another kind of file.
    """
    require_text(path, "--src")
    name = path.stem if path.suffix in (".gz", ".xz") else path.name
    is_json = name.endswith(".jsonl")
    places = [data.text_field, data.second_text_field, data.label_field] if data is not None else []
    if any(isinstance(place, str) != is_json for place in places if place is not None):
        kind, fields = ("TSV", "columns") if not is_json else ("JSON lines", "keys")
        raise RecipeError(
            f"--src {path}: {kind} have {fields}, but the recipe says otherwise where text and label stand",
            "give a file of the kind that the training text is, or --ref with a file of labels",
        )
    fields_of = LabelFields(*(("text", None, "label") if is_json else (1, None, 2)))
    if data is not None:
        fields_of = LabelFields.of(data, is_json=is_json)
    files = CorpusFiles(None, None, None if is_json else path, path if is_json else None, fields_of)
    pairs = list(read_pairs(files))
    texts, labels = [text for text, _ in pairs], [label for _, label in pairs]
    return HeldOutSet(name, texts, [labels], path, line_numbers(files))


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
