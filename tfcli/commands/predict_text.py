"""`tfcli predict` with a language model: prompts continued, or the probability of lines told."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tfcli.commands.console import detail
from tfcli.commands.machine import share_the_cores
from tfcli.errors import RecipeError
from tfcli.model.torch_import import import_torch

if TYPE_CHECKING:
    from tfcli.decoding.engine import Sampling
    from tfcli.decoding.language_model import LanguageModelEngine
    from tfcli.decoding.line_work import LineWork
    from tfcli.model.description import ModelDescription
    from tfcli.text.running_text import RunningText


@dataclass(frozen=True)
class TextWishes:
    """How lines are to be continued, or scored; None: not given."""

    sampling: "Sampling | None"
    beam_size: int | None
    n_best: int
    max_pieces: int | None
    score_only: bool
    lines: int | None = None

    @property
    def given(self) -> dict[str, object]:
        """Return what was asked for, by option; None: not."""
        return {
            "--beam-size": self.beam_size, "--max-pieces": self.max_pieces, "--sample": self.sampling,
            "--lines": self.lines, "--n-best": self.n_best if self.n_best > 1 else None,
            "--score-only": self.score_only or None,
        }  # fmt: skip

    def refuse_contradictions(self, *, alone: bool, in_rows: bool) -> None:
        """Refuse options that do not go together; `alone`: text is written without scores; `in_rows`: of a table.

        Raises: RecipeError.
        """
        named = [name for name, value in self.given.items() if value is not None and name != "--score-only"]
        if self.score_only and named:
            raise RecipeError(f"--score-only and {named[0]} contradict each other", "leave one of them out")
        if self.lines is not None and in_rows:
            raise RecipeError(
                f"--lines {self.lines}: a row of a table holds one line",
                "use --json or --field, or plain text",
            )
        if self.sampling is not None and self.beam_size is not None:
            raise RecipeError("--sample and --beam-size contradict each other", "leave one of them out")
        if self.n_best > 1 and alone:
            raise RecipeError(
                f"--n-best {self.n_best} needs a format that tells them apart", "add --format tsv or jsonl"
            )
        if self.sampling is None and self.n_best > (self.beam_size or 1):
            raise RecipeError(
                f"--n-best {self.n_best}: a beam of {self.beam_size or 1} finds no more than that many",
                "give a --beam-size that is as large, or --sample",
            )


def text_work(
    description: "ModelDescription", wishes: TextWishes, device: str, precision: str | None
) -> "tuple[LineWork, dict[str, Any]]":
    """Return what works on lines as it was wished, and all but the model that shapes its results, for a journal.

    Raises: CheckpointError when the model cannot be read, RecipeError for a wish that it cannot fulfil.
    """
    engine, text = load_language_model(description, device, precision)
    terms = {**asdict(wishes), "device": engine.device, "precision": engine.precision}
    return line_work_of(engine, text, wishes), terms


def load_language_model(
    description: "ModelDescription", device: str | None, precision: str | None
) -> "tuple[LanguageModelEngine, RunningText]":
    """Read a language model and its tokenizer.

    Raises: CheckpointError when it cannot be read, RecipeError for a device or precision that is not there.
    """
    share_the_cores()
    import_torch()
    from tfcli.decoding.language_model import LanguageModelEngine
    from tfcli.errors import CheckpointError
    from tfcli.model.folder import load_network
    from tfcli.model.networks import LanguageModel
    from tfcli.model.precision import pick_device, pick_precision
    from tfcli.text.running_text import RunningText

    context = description.info.get("context")
    longest = description.config.max_positions
    if not isinstance(context, int) or not 1 <= context <= longest:
        raise CheckpointError(
            f"{description.folder / 'config.json'}: damaged: expected a context from 1 to {longest}, got {context!r}",
            description.hint,
        )
    where = pick_device(device or "auto")
    arithmetic = pick_precision(precision or description.info.get("precision", "auto"), where)
    model = load_network(description, where)
    assert isinstance(model, LanguageModel)
    text = RunningText(description.tokenizer)
    engine = LanguageModelEngine(model, context, arithmetic, text.line_end)
    detail(f"{description.folder}: {engine.device}, {engine.precision}, context {context}")
    return engine, text


def line_work_of(engine: "LanguageModelEngine", text: "RunningText", wishes: TextWishes) -> "LineWork":
    """Return what works on lines as it was wished."""
    from tfcli.decoding.continuation import Continuing, ScoringLines
    from tfcli.decoding.engine import SearchSettings
    from tfcli.decoding.hypothesis import LengthPenalty

    if wishes.score_only:
        return ScoringLines(engine, text)
    lines = wishes.lines or 1
    settings = SearchSettings(
        beam_size=wishes.beam_size or 1,
        length_penalty=LengthPenalty(1.0),
        n_best=wishes.n_best,
        sampling=wishes.sampling,
    )
    max_pieces = wishes.max_pieces or lines * max(1, engine.context // 2 - 1)
    return Continuing(engine, text, settings, max_pieces, lines)
