"""From running text to a tokenizer and encoded streams in a run folder, reused while nothing has changed.

1. The files' contents are hashed; where the recipe asks for it, the last part of the training text is held out.
2. The tokenizer is trained on the training text, if that or its settings have changed, or taken over.
3. Training and validation text are encoded, if anything has changed.

As with pairs (`prepare.py`), everything is written beside and renamed, and its fingerprint comes last.
"""

from __future__ import annotations

import shutil
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfcli.corpus.fingerprint import FileDigests, read_record, write_record
from tfcli.corpus.prepare import writing
from tfcli.corpus.run_tokenizer import TokenizerPlan, tokenizer_for
from tfcli.corpus.sample import spread
from tfcli.corpus.stream import FORMAT_VERSION, TextIds, write_stream
from tfcli.corpus.turns import turn
from tfcli.corpus.workers import in_order, processes_for
from tfcli.errors import CheckpointError, DataError
from tfcli.text.passage import Counts, Passage
from tfcli.text.running_text import RunningText
from tfcli.text.tokenizer import train_text_tokenizer
from tfcli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tfcli.recipe.schema import Recipe
    from tfcli.text.files import CorpusFiles
    from tfcli.text.tokenizer import Tokenizer

_PROGRESS_SECONDS = 5.0
_TRAIN_ONE = TokenizerPlan()


@dataclass(frozen=True)
class TextStats:
    """An encoded text: what it has of everything, its pieces, and those of them that are bytes."""

    name: str
    counts: Counts
    pieces: int
    byte_pieces: int

    def as_json(self) -> dict[str, Any]:
        """Return what JSON takes, the rates included."""
        rates = {"pieces_per_word": self.pieces_per_word, "bytes_per_piece": self.bytes_per_piece}
        own = {"name": self.name, "pieces": self.pieces, "byte_pieces": self.byte_pieces}
        return own | asdict(self.counts) | {key: round(rate, 4) for key, rate in rates.items()}

    @property
    def pieces_per_word(self) -> float:
        """Pieces for each word; 0 without words."""
        return self.pieces / self.counts.words if self.counts.words else 0.0

    @property
    def bytes_per_piece(self) -> float:
        """Bytes of text for each piece; 0 without pieces."""
        return self.counts.bytes / self.pieces if self.pieces else 0.0


@dataclass(frozen=True)
class PreparedText:
    """What the training of a language model starts from, as `prepare.Prepared` is for pairs."""

    tokenizer: Tokenizer
    train: TextIds
    valid: TextIds
    stats: list[TextStats]
    warnings: list[str]
    digests: dict[str, str]
    reused: bool
    labels: None = None


def passages(
    recipe: Recipe, train: Sequence[CorpusFiles], valid: CorpusFiles | None
) -> tuple[Passage, Passage]:
    """Return the text for training and the text for validation: a file, or the last part of the training text.

    Raises: DataError when a file cannot be read.
    """
    whole = Passage(tuple(path for files in train for path in files.paths))
    if valid is not None:
        return whole, Passage(valid.paths)
    assert recipe.data.valid.fraction is not None
    return whole.split(recipe.data.valid.fraction)


def prepare_text(
    recipe: Recipe,
    train: Sequence[CorpusFiles],
    valid: CorpusFiles | None,
    run_dir: Path,
    report: Callable[[str], None],
    plan: TokenizerPlan = _TRAIN_ONE,
) -> PreparedText:
    """Make the tokenizer and encode the text into the run folder, or take what is there already.

    `valid` None: the last part of the training text, as `data.valid.fraction` says.

    Raises: DataError when the text cannot be used, RecipeError when the tokenizer's settings do not suit it,
    CheckpointError when the run has checkpoints and its tokenizer would become another one.
    """
    folder = run_dir / "corpus"
    digests = FileDigests(folder / "files.json")
    given = [*train, *([] if valid is None else [valid])]
    digests.read(given)
    train_text, valid_text = passages(recipe, train, valid)
    with writing(run_dir), turn(folder, report):
        digests.remember()
        contents = [digests.of(files) for files in given]
        made_from = [*contents, {"fraction": str(recipe.data.valid.fraction)}]

        def trained(notes: Callable[[str], None]) -> Tokenizer:
            report(f"training the tokenizer ({recipe.tokenizer.kind})")
            lines = sum(map(digests.pairs, train))
            sampled = spread(_lines(train_text), lines, recipe.tokenizer.training_sentences)
            return train_text_tokenizer(recipe.tokenizer, sampled, notes)

        tokenizer, same = tokenizer_for(recipe, trained, made_from, run_dir, report, plan)
        fingerprint = {"format": FORMAT_VERSION, "tokenizer": tokenizer.digest, "files": made_from}
        encoded = [
            _encoded(
                folder / name, text, tokenizer, {**fingerprint, "part": name}, recipe.data.context, report
            )
            for name, text in (("train", train_text), ("valid", valid_text))
        ]
    (train_ids, train_stats, same_train), (valid_ids, valid_stats, same_valid) = encoded
    _refuse_too_short(train_ids, valid_ids)
    stats = [train_stats, valid_stats]
    warnings = _warnings(stats)
    if not (same_train and same_valid):
        for warning in warnings:
            report(f"warning: {warning}")
    return PreparedText(
        tokenizer, train_ids, valid_ids, stats, warnings, digests.all(), same and same_train and same_valid
    )


def _lines(text: Passage) -> Iterator[str]:
    """Yield the lines of a text, without their ends."""
    for chunk in text.chunks():
        yield from chunk.removesuffix("\n").split("\n")


@dataclass(frozen=True)
class _Encode:
    """Encodes chunks of text, in this process or another."""

    tokenizer: Tokenizer

    def __call__(self, chunk: str) -> tuple[NDArray[np.uint32], Counts]:
        return np.array(RunningText(self.tokenizer).encode(chunk), dtype=np.uint32), Counts.of(chunk)


def _encoded(
    folder: Path,
    text: Passage,
    tokenizer: Tokenizer,
    fingerprint: dict[str, Any],
    context: int,
    report: Callable[[str], None],
) -> tuple[TextIds, TextStats, bool]:
    """Return an encoded text with what it has of everything, and whether it was there."""
    record = read_record(folder / "record.json")
    if record is not None and record.get("made_from") == fingerprint:
        try:
            return TextIds.open(folder, context), _stats_of(record["stats"]), True
        except CheckpointError as error:
            report(f"{error.message}; encoding it again")
    ours = any((folder / name).is_file() for name in ("record.json", "meta.json"))
    if folder.exists() and not ours and any(folder.iterdir()):
        raise DataError(f"{folder}: holds files that tfcli did not write", "give another --out")
    beside = folder.with_name(folder.name + ".part")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        stats = _write(beside, folder.name, text, tokenizer, report)
        write_record(beside / "record.json", {"made_from": fingerprint, "stats": stats.as_json()})
        shutil.rmtree(folder, ignore_errors=True)
        beside.rename(folder)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return TextIds.open(folder, context), stats, False


def _stats_of(values: dict[str, Any]) -> TextStats:
    counts = Counts(**{key: values[key] for key in Counts.__dataclass_fields__})
    return TextStats(values["name"], counts, values["pieces"], values["byte_pieces"])


def _write(
    folder: Path, name: str, text: Passage, tokenizer: Tokenizer, report: Callable[[str], None]
) -> TextStats:
    counts, byte_pieces, last_said = Counts(), 0, time.monotonic()
    is_byte = np.array([tokenizer.is_byte(piece) for piece in range(tokenizer.tgt_vocab_size)])
    is_byte[RunningText(tokenizer).line_end] = False  # which is no character without a piece
    n_bytes = sum(path.stat().st_size for path in text.paths)
    processes = processes_for(n_bytes // _BYTES_A_LINE)

    def parts(encoded: Iterator[tuple[NDArray[np.uint32], Counts]]) -> Iterator[NDArray[np.uint32]]:
        nonlocal counts, byte_pieces, last_said
        for ids, more in encoded:
            counts = counts + more
            byte_pieces += int(np.count_nonzero(is_byte[ids]))
            if time.monotonic() - last_said > _PROGRESS_SECONDS:
                report(f"encoding {name}: {counted(counts.characters, 'character')}")
                last_said = time.monotonic()
            yield ids

    with closing(in_order(_Encode(tokenizer), text.chunks(), processes)) as encoded:
        pieces = write_stream(folder, parts(encoded), tokenizer.tgt_vocab_size)
    return TextStats(name, counts, pieces, byte_pieces)


_BYTES_A_LINE = 80  # that it is worth to have other processes encode is known by lines of usual length


def _refuse_too_short(train: TextIds, valid: TextIds) -> None:
    if len(train) < train.context:
        raise DataError(
            f"data.train: {counted(len(train), 'piece')}, less than one block of data.context ({train.context})",
            "give more text, or lower data.context",
        )
    if not len(valid):
        raise DataError("data.valid: no text in it", "check the file, or raise data.valid.fraction")


def _warnings(stats: Sequence[TextStats]) -> list[str]:
    return [
        f"{row.name}: {row.byte_pieces / row.pieces:.1%} of the pieces are bytes of characters that the tokenizer has "
        "no piece for; another tokenizer.vocab_size or character_coverage would keep them together"
        for row in stats
        if row.byte_pieces > 0.05 * row.pieces and row.byte_pieces < row.pieces - row.counts.line_ends
    ]
