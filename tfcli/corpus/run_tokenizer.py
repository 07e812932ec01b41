"""The tokenizer of a run: trained on its text, taken over from another model, or there already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tfcli.corpus.fingerprint import read_record, write_record
from tfcli.corpus.sample import spread_lines
from tfcli.corpus.shards import FORMAT_VERSION
from tfcli.errors import CheckpointError
from tfcli.text.pairs import read_pairs
from tfcli.text.tokenizer import Tokenizer, train_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tfcli.recipe.schema import Recipe
    from tfcli.text.files import CorpusFiles


@dataclass(frozen=True)
class TokenizerPlan:
    """How a run comes to its tokenizer: it takes over the one `given`, or trains one.

    With `replace`, the run's checkpoints are about to go: its tokenizer may become another one.
    """

    given: Tokenizer | None = None
    replace: bool = False


def tokenizer_for(
    recipe: Recipe,
    train_one: Callable[[Callable[[str], None]], Tokenizer],
    digests: list[dict[str, str]],
    run_dir: Path,
    report: Callable[[str], None],
    plan: TokenizerPlan,
) -> tuple[Tokenizer, bool]:
    """Return the run's tokenizer, and whether it is the one that was there.

    `train_one` trains a new one, and tells what is to be said of it if it is kept; `digests` are of its text.

    Raises: DataError or RecipeError when none can be trained, CheckpointError when the run has checkpoints and its
    tokenizer would become another one.
    """
    record_path = run_dir / "corpus" / "tokenizer.json"
    made_from = _made_from(recipe, digests, plan.given)
    record = read_record(record_path) or {}
    present = _tokenizer_present(run_dir)
    if present and record.get("made_from") == made_from and record.get("digest") == present.digest:
        return present, True
    notes: list[str] = []
    tokenizer = plan.given or train_one(notes.append)
    belongs_to_run = None if plan.replace else record.get("digest") or (present.digest if present else None)
    _refuse_to_part_from_checkpoints(run_dir, belongs_to_run, tokenizer)
    for note in notes:
        report(note)
    tokenizer.save(run_dir)
    write_record(record_path, {"made_from": made_from, "digest": tokenizer.digest})
    return tokenizer, False


def _made_from(recipe: Recipe, digests: list[dict[str, str]], given: Tokenizer | None) -> dict[str, Any]:
    import sentencepiece

    if given is not None:
        return {"format": FORMAT_VERSION, "taken_over": given.digest}
    return {
        "format": FORMAT_VERSION,
        "sentencepiece": sentencepiece.__version__,
        "files": digests,
        "settings": recipe.tokenizer.model_dump(mode="json"),
    }


def tokenizer_of_pairs(
    recipe: Recipe,
    corpora: tuple[Sequence[CorpusFiles], int, CorpusFiles],
    report: Callable[[str], None],
    notes: Callable[[str], None],
) -> Tokenizer:
    """Return a new tokenizer for corpora for training, with their lines, and for validation.

    What is to be said of it, if it is kept, goes to `notes`.

    Raises: DataError or RecipeError when none can be trained.
    """
    train, lines, valid = corpora
    for _ in read_pairs(valid):  # all of it can be read, which is to be known before minutes are spent
        pass
    report(f"training the tokenizer ({recipe.tokenizer.kind}, {recipe.tokenizer.vocab_size:,} pieces)")
    limit = recipe.tokenizer.training_sentences
    return train_tokenizer(
        recipe.tokenizer,
        spread_lines(train, 0, lines, limit),
        spread_lines(train, 1, lines, limit) if recipe.task == "translation" else None,
        notes,
    )


def _tokenizer_present(run_dir: Path) -> Tokenizer | None:
    try:
        return Tokenizer.load(run_dir)
    except CheckpointError:
        return None


def _refuse_to_part_from_checkpoints(run_dir: Path, digest: str | None, tokenizer: Tokenizer) -> None:
    """Raise an error if the run's checkpoints were trained with another tokenizer: their ids mean other pieces."""
    if digest not in (None, tokenizer.digest) and any(run_dir.glob("checkpoints/step-*")):
        raise CheckpointError(
            f"{run_dir} has checkpoints that belong to its tokenizer, and the training files, the tokenizer "
            "section or SentencePiece's version have changed since",
            "start over with --fresh, or in another folder with --out; or restore the files and the recipe",
        )
