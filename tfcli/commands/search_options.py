"""The options of `tfcli translate` that say how to search, and which of them do not go together."""

from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tfcli.commands.options import HARDWARE_PANEL, OUTPUT_PANEL
from tfcli.errors import DataError, RecipeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tfcli.decoding.engine import Sampling
    from tfcli.decoding.line_work import LineWork
    from tfcli.decoding.loading import Need
    from tfcli.decoding.translator import Translator

SEARCH_PANEL = "Search"
# Keys of the recipe's `decoding` that scoring does not look at.
_SEARCHING = ("beam_size", "no_repeat_ngram", "min_output_ratio", "max_output_ratio")


class PenaltyKindName(StrEnum):
    """What a length penalty divides by."""

    AVERAGE = "average"
    GNMT = "gnmt"


NBestOption = Annotated[
    int,
    typer.Option(
        min=1, metavar="N", help="Hypotheses a line, in tsv or jsonl.", rich_help_panel=SEARCH_PANEL
    ),
]
BeamSizeOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help=r"1 is greedy search.  \[default: the recipe's]",
        rich_help_panel=SEARCH_PANEL,
    ),
]
LengthPenaltyOption = Annotated[
    float | None,
    typer.Option(
        min=0, metavar="X", help="Score = log-probability / length ** X.", rich_help_panel=SEARCH_PANEL
    ),
]
LengthPenaltyKindOption = Annotated[
    PenaltyKindName | None,
    typer.Option(metavar="KIND", help="average, or gnmt: (5 + length) / 6.", rich_help_panel=SEARCH_PANEL),
]
NoRepeatNgramOption = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Never the same N pieces twice.", rich_help_panel=SEARCH_PANEL),
]
MinOutputRatioOption = Annotated[
    float | None,
    typer.Option(
        min=0, metavar="X", help="Fewest pieces for each source piece.", rich_help_panel=SEARCH_PANEL
    ),
]
MaxOutputRatioOption = Annotated[
    float | None,
    typer.Option(min=0, metavar="X", help="Most pieces for each source piece.", rich_help_panel=SEARCH_PANEL),
]
PrefixColumnOption = Annotated[
    bool,
    typer.Option(
        "--prefix-column", help="Lines are source, tab, output's start.", rich_help_panel=SEARCH_PANEL
    ),
]
EnsembleOption = Annotated[
    list[Path] | None,
    typer.Option(metavar="RUN", help="Average with RUN; again for more.", rich_help_panel=SEARCH_PANEL),
]
SampleOption = Annotated[
    bool, typer.Option("--sample", help="Draw pieces at random.", rich_help_panel=SEARCH_PANEL)
]
TemperatureOption = Annotated[
    float | None,
    typer.Option(metavar="X", help=r"Below 1: less random.  \[default: 1.0]", rich_help_panel=SEARCH_PANEL),
]
TopKOption = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Draw from the N most probable.", rich_help_panel=SEARCH_PANEL),
]
TopPOption = Annotated[
    float | None,
    typer.Option(metavar="X", help="From those that make up this much.", rich_help_panel=SEARCH_PANEL),
]
SeedOption = Annotated[
    int | None,
    typer.Option(min=0, metavar="N", help=r"Of what is drawn.  \[default: 1]", rich_help_panel=SEARCH_PANEL),
]
ScoreOnlyOption = Annotated[
    bool,
    typer.Option("--score-only", help="Score translations that are given.", rich_help_panel=OUTPUT_PANEL),
]
RefOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help=r"The translations.  \[default: column 2]", rich_help_panel=OUTPUT_PANEL
    ),
]
BatchTokensOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Padded pieces times beam size decoded at once.",
        rich_help_panel=HARDWARE_PANEL,
    ),
]
BatchSizeOption = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="Sentences decoded at once, instead.", rich_help_panel=HARDWARE_PANEL
    ),
]


def sampling_of(
    *,
    sample: bool,
    temperature: float | None,
    top_k: int | None,
    top_p: float | None,
    seed: int | None,
) -> "Sampling | None":
    """Return how to sample; None where no sampling is asked for.

    Raises: RecipeError for an option that would do nothing, or out of its range.
    """
    given: dict[str, float | int | None] = {
        "temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed
    }  # fmt: skip
    if not sample:
        refuse_with("is an option of sampling", "add --sample, or leave it out", given)
        return None
    if temperature is not None and not 0 < temperature < float("inf"):
        raise RecipeError(
            f"--temperature {temperature}: must be above 0 and finite", "use --beam-size 1 for 0"
        )
    if top_p is not None and not 0 < top_p <= 1:
        raise RecipeError(f"--top-p {top_p}: must be above 0 and at most 1", "1 keeps all pieces")
    from tfcli.decoding.engine import Sampling

    return Sampling(
        seed=Sampling.seed if seed is None else seed,
        temperature=Sampling.temperature if temperature is None else temperature,
        top_k=top_k,
        top_p=top_p,
    )


@dataclass(frozen=True)
class Wanted:
    """What the options ask for; `changes` are those that replace keys of the recipe's `decoding`, None where not given."""

    changes: dict[str, object]
    sampling: "Sampling | None" = None
    n_best: int = 1
    prefix_column: bool = False
    score_only: bool = False
    ref: Path | None = None
    on_long: str = "split"

    @property
    def needs(self) -> "list[Need]":
        """What the engine has to have besides the search."""
        given: dict[Need, bool] = {
            "target prefixes": self.prefix_column, "scores of given translations": self.score_only
        }  # fmt: skip
        return [need for need, is_given in given.items() if is_given]

    def refuse_contradictions(self, *, alone: bool) -> None:
        """Refuse options of which one makes the other do nothing; `alone`: the output has one text a line.

        Raises: RecipeError.
        """
        if self.n_best > 1 and alone:
            raise RecipeError(
                f"--n-best {self.n_best} needs --format tsv or jsonl", "plain text has one translation a line"
            )
        if self.score_only:
            searching = {key: value for key, value in self.changes.items() if key in _SEARCHING}
            several = self.n_best if self.n_best > 1 else None
            idle = {
                **searching,
                "n_best": several,
                "prefix_column": self.prefix_column,
                "sample": self.sampling,
                "on_long": self.on_long != "split",
            }
            refuse_with("does nothing with --score-only", "leave one of them out", idle)
        else:
            refuse_with("needs --score-only", "add it, or leave --ref out", {"ref": self.ref})
        if self.sampling is not None:
            beam = {"beam_size": self.changes["beam_size"]}
            refuse_with("does nothing with --sample", "leave one of them out", beam)
        if self.changes["batch_tokens"] is not None:
            size = {"batch_size": self.changes["batch_size"]}
            refuse_with("takes the place of --batch-tokens", "leave one of them out", size)

    @contextmanager
    def work(self, translator: "Translator", n_done: int = 0) -> "Iterator[LineWork]":
        """Yield what is to be done with the lines of one input, of which so many are done already.

        Raises: DataError when the file of references has not as many lines.
        """
        from tfcli.decoding.line_work import Scoring, WithPrefixes
        from tfcli.text.lines import open_binary, reading

        if self.ref is not None:
            with reading(self.ref), open_binary(self.ref) as lines:
                for _ in range(n_done):
                    lines.readline()
                yield Scoring(translator, lines)
                if lines.readline():
                    raise DataError(
                        f"--ref {self.ref} goes on after the last source line",
                        "line i of one file must be the translation of line i of the other",
                    )
        elif self.score_only:
            yield Scoring(translator)
        else:
            yield WithPrefixes(translator) if self.prefix_column else translator


def refuse_with(reason: str, hint: str, options: "Mapping[str, object]") -> None:
    """Refuse the first of the options, by the names of their parameters, that is given.

    Raises: RecipeError with the option's name and the reason.
    """
    for name, value in options.items():
        if value is not None and value is not False:
            raise RecipeError(f"--{name.replace('_', '-')} {reason}", hint)
