"""Text to piece ids and back, with SentencePiece: one model for both sides or one for each.

The models are kept as the bytes that SentencePiece writes, so that a tokenizer can be compared, hashed, copied
into a model folder and handed to worker processes; SentencePiece itself is loaded when it is first used.
"""

from __future__ import annotations

import hashlib
import io
import re
import tempfile
from contextlib import contextmanager
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any, ClassVar

from tfcli.errors import CheckpointError, DataError, RecipeError
from tfcli.text.byte_model import byte_model
from tfcli.text.whole_file import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from tfcli.recipe.schema import TokenizerSection

SHARED_FILE = "tokenizer.model"
SRC_FILE = "tokenizer.src.model"
TGT_FILE = "tokenizer.tgt.model"

# SentencePiece's result depends on the number of threads, which therefore is the same on every machine: its default.
_TRAINING_THREADS = 16
# It passes over longer sentences, by default those over 4,192 bytes. Unit: bytes.
_MAX_SENTENCE_LENGTH = 1 << 30
# More pieces than any text has; near 2 ** 31 SentencePiece would run for ever.
_LARGEST_VOCABULARY = 10_000_000


class Tokenizer:
    """Both sides' SentencePiece models; ids without marks, which the corpus and the decoder add.

    Raises: CheckpointError when a model cannot be read.
    """

    pad_id: ClassVar[int] = 0
    unk_id: ClassVar[int] = 1
    bos_id: ClassVar[int] = 2
    eos_id: ClassVar[int] = 3

    def __init__(self, src_model: bytes, tgt_model: bytes | None = None, origin: str = "tokenizer") -> None:
        self.src_model = src_model
        self.tgt_model = src_model if tgt_model is None else tgt_model
        self.shared = tgt_model is None
        self._origin = origin

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Read the tokenizer of a run folder or model folder.

        Raises: CheckpointError when it is missing or damaged.
        """
        try:
            if (folder / SHARED_FILE).exists():
                tokenizer = cls((folder / SHARED_FILE).read_bytes(), None, str(folder / SHARED_FILE))
            else:
                src, tgt = (folder / SRC_FILE).read_bytes(), (folder / TGT_FILE).read_bytes()
                tokenizer = cls(src, tgt, f"{folder / SRC_FILE} or {TGT_FILE}")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise CheckpointError(
                f"{folder}: no tokenizer, expected {SHARED_FILE} (or {SRC_FILE} and {TGT_FILE}) there",
                "name a run folder or a model folder, or copy it there from the run that the model comes from",
            ) from error
        except OSError as error:
            raise CheckpointError(
                f"{error.filename}: the tokenizer cannot be read: {error.strerror}",
                "check that the file may be read",
            ) from error
        tokenizer._src, tokenizer._tgt  # noqa: B018  # a damaged model is to be found here, not in mid-run
        return tokenizer

    def save(self, folder: Path) -> None:
        """Write the models into a folder, each in one stroke.

        Raises: DataError when the folder cannot be written.
        """
        models = (
            {SHARED_FILE: self.src_model}
            if self.shared
            else {SRC_FILE: self.src_model, TGT_FILE: self.tgt_model}
        )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, model in models.items():
                write_whole(folder / name, model)
            for name in {SHARED_FILE, SRC_FILE, TGT_FILE} - models.keys():
                (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise DataError(
                f"cannot write the tokenizer into {folder}: {error.strerror or error}",
                "check that the folder may be written and that the disk has room",
            ) from error

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_src", "_tgt")}

    @cached_property
    def _src(self) -> Any:
        return _processor(self.src_model, self._origin)

    @cached_property
    def _tgt(self) -> Any:
        return self._src if self.shared else _processor(self.tgt_model, self._origin)

    @property
    def digest(self) -> str:
        """SHA-256 of both models: equal for tokenizers that are the same."""
        src, tgt = (hashlib.sha256(model).digest() for model in (self.src_model, self.tgt_model))
        return hashlib.sha256(bytes([self.shared]) + src + tgt).hexdigest()

    @property
    def src_vocab_size(self) -> int:
        """Pieces of the source vocabulary, special ones included."""
        return int(self._src.get_piece_size())

    @property
    def tgt_vocab_size(self) -> int:
        """Pieces of the target vocabulary, special ones included."""
        return int(self._tgt.get_piece_size())

    def encode_src(self, text: str) -> list[int]:
        """Return the ids of a source sentence, without marks."""
        return _encode(self._src, [text])[0]

    def encode_tgt(self, text: str) -> list[int]:
        """Return the ids of a target sentence, without marks."""
        return _encode(self._tgt, [text])[0]

    def encode_src_many(self, texts: Sequence[str], *, end_mark: bool = False) -> list[list[int]]:
        """Return the ids of source sentences, without other marks; much faster than one by one."""
        return _encode(self._src, texts, end_mark=end_mark)

    def encode_tgt_many(self, texts: Sequence[str], *, end_mark: bool = False) -> list[list[int]]:
        """Return the ids of target sentences, without other marks; much faster than one by one."""
        return _encode(self._tgt, texts, end_mark=end_mark)

    def src_pieces(self, text: str) -> list[str]:
        """Return the pieces of a source sentence; one that is not in the vocabulary stands as it is."""
        return list(self._src.encode(text, out_type=str))

    def tgt_pieces(self, text: str) -> list[str]:
        """Return the pieces of a target sentence; one that is not in the vocabulary stands as it is."""
        return list(self._tgt.encode(text, out_type=str))

    def tgt_piece(self, piece: int) -> str:
        """Return a piece of the target vocabulary as it is written in the model."""
        return str(self._tgt.id_to_piece(piece))

    def tgt_id(self, piece: str) -> int:
        """Return the id of a piece of the target vocabulary; `unk_id` for what is none."""
        return int(self._tgt.piece_to_id(piece))

    def is_byte(self, piece: int) -> bool:
        """Tell whether a piece of the target vocabulary is a byte of what has no piece of its own."""
        return bool(self._tgt.is_byte(piece))

    def text_of(self, ids: Sequence[int]) -> str:
        """Return the text of target ids with its line ends; marks and padding are passed over."""
        return str(self._tgt.decode(self._without_marks(ids)))

    def differences(self, other: Tokenizer) -> str | None:
        """Say what makes another tokenizer give text other ids; None when nothing does."""
        if self.digest == other.digest:
            return None
        if self.shared != other.shared:
            one, two = ("one vocabulary for both sides", "one for each side")
            return f"{one} here, {two} there" if self.shared else f"{two} here, {one} there"
        for side, ours, theirs in (("source", self._src, other._src), ("target", self._tgt, other._tgt)):
            sizes = ours.get_piece_size(), theirs.get_piece_size()
            if sizes[0] != sizes[1]:
                return f"{sizes[0]:,} {side} pieces here, {sizes[1]:,} there"
            for i in range(sizes[0]):
                if ours.id_to_piece(i) != theirs.id_to_piece(i):
                    return (
                        f"{side} piece {i} is {ours.id_to_piece(i)!r} here, {theirs.id_to_piece(i)!r} there"
                    )
        return "the pieces are the same, but not their scores or how text is normalized"

    def decode_src(self, ids: Sequence[int]) -> str:
        """Return the text of source ids; marks and padding are passed over."""
        return self._decode(self._src, ids)

    def decode_tgt(self, ids: Sequence[int]) -> str:
        """Return the text of target ids; marks and padding are passed over."""
        return self._decode(self._tgt, ids)

    def join_src(self, pieces: Sequence[str]) -> str:
        """Return the text of source pieces."""
        return _one_line(self._src.decode_pieces(list(pieces)))

    def join_tgt(self, pieces: Sequence[str]) -> str:
        """Return the text of target pieces."""
        return _one_line(self._tgt.decode_pieces(list(pieces)))

    def _decode(self, processor: Any, ids: Sequence[int]) -> str:
        return _one_line(processor.decode(self._without_marks(ids)))

    def _without_marks(self, ids: Sequence[int]) -> list[int]:
        marks = (self.pad_id, self.bos_id, self.eos_id)
        return [int(piece) for piece in ids if piece not in marks]


def train_tokenizer(
    settings: TokenizerSection,
    src_lines: Iterable[str],
    tgt_lines: Iterable[str] | None,
    report: Callable[[str], None],
) -> Tokenizer:
    """Train on lines of both sides: one model on all of them, or one for each side; None: there is one side alone.

    The same lines give the same bytes. A vocabulary larger than the text supports is lowered, with a note.

    Raises: DataError when there is no text, RecipeError when the settings do not suit it.
    """
    _refuse_special_pieces(settings)
    options = _options(settings)
    if tgt_lines is None:
        return Tokenizer(_train(settings, options, src_lines, _RUNNING_TEXT, report))
    if settings.shared:
        both = (lines for side in (src_lines, tgt_lines) for lines in side)
        return Tokenizer(_train(settings, options, both, "both sides", report))
    src_model = _train(settings, options, src_lines, "the source side", report)
    return Tokenizer(src_model, _train(settings, options, tgt_lines, "the target side", report))


def train_text_tokenizer(
    settings: TokenizerSection, lines: Iterable[str], report: Callable[[str], None]
) -> Tokenizer:
    """Train on lines of running text a tokenizer that gives every text back as it was (`running_text.py`).

    Raises: DataError when there is no text, RecipeError when the settings do not suit it.
    """
    _refuse_special_pieces(settings)
    if settings.kind == "byte":
        if settings.symbols:
            raise RecipeError("tokenizer.symbols: bytes are the only pieces with kind: byte", "leave it out")
        return Tokenizer(byte_model())
    return Tokenizer(_train(settings, _options(settings) | _EXACT, lines, _RUNNING_TEXT, report))


_RUNNING_TEXT = "the text"
# What keeps spaces and writes unknown characters as bytes, whatever the recipe says of a translation's tokenizer.
_EXACT = {
    "byte_fallback": True,
    "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False,
    "add_dummy_prefix": False,
}


def _refuse_special_pieces(settings: TokenizerSection) -> None:
    if taken := sorted(set(settings.symbols) & {"<pad>", "<unk>", "<s>", "</s>"}):
        raise RecipeError(
            f"tokenizer.symbols: {taken[0]!r} is a special piece already", "remove it from the list"
        )


def _train(
    settings: TokenizerSection,
    options: dict[str, Any],
    lines: Iterable[str],
    side: str,
    report: Callable[[str], None],
) -> bytes:
    import sentencepiece

    model = io.BytesIO()
    with _temporary_file() as text:
        # Through a file, so that an error in reading is ours and not one inside SentencePiece.
        text.writelines(line.encode() + b"\n" for line in lines if line and not line.isspace())
        if not text.tell():
            raise _blank(side)
        text.seek(0)
        stopped: list[BaseException] = []

        def sentences() -> Iterator[bytes]:
            try:
                for line in text:
                    yield line.removesuffix(b"\n")
            except BaseException as error:  # such as Ctrl-C: SentencePiece would make a RuntimeError of it
                stopped.append(error)
                raise

        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=sentences(), model_writer=model, **options
            )
        except RuntimeError as error:
            if stopped:
                raise stopped[0] from None
            raise _explained(str(error), settings, side) from error
    size = int(_processor(model.getvalue(), "tokenizer").get_piece_size())
    if size < settings.vocab_size:
        report(
            f"tokenizer.vocab_size lowered from {settings.vocab_size} to {size}: {_text_of(side)} has no more "
            f"{'characters' if settings.kind == 'char' else 'pieces'}"
        )
    return model.getvalue()


@contextmanager
def _temporary_file() -> Iterator[IO[bytes]]:
    try:
        with tempfile.TemporaryFile(prefix="tfcli-tokenizer-") as file:
            yield file
    except OSError as error:
        raise DataError(
            f"cannot write the tokenizer's training text into the folder for temporary files: {error.strerror or error}",
            "free some space there, or name another folder with TMPDIR",
        ) from error


def _text_of(side: str) -> str:
    return side if side == _RUNNING_TEXT else f"the text of {side}"


def _blank(side: str) -> DataError:
    verb = "are" if side == "both sides" else "is"
    return DataError(
        f"no text to train a tokenizer on: {side} of the training corpora {verb} blank",
        "check the files under data.train",
    )


def _options(settings: TokenizerSection) -> dict[str, Any]:
    return {
        "model_type": settings.kind,
        "vocab_size": min(settings.vocab_size, _LARGEST_VOCABULARY),
        "hard_vocab_limit": False,
        "character_coverage": settings.character_coverage,
        "byte_fallback": settings.byte_fallback,
        "normalization_rule_name": settings.normalization,
        "remove_extra_whitespaces": settings.normalization != "identity",
        "user_defined_symbols": list(settings.symbols),
        "pad_id": Tokenizer.pad_id,
        "unk_id": Tokenizer.unk_id,
        "bos_id": Tokenizer.bos_id,
        "eos_id": Tokenizer.eos_id,
        "max_sentence_length": _MAX_SENTENCE_LENGTH,
        "num_threads": _TRAINING_THREADS,
        "minloglevel": 3,
    }


def _explained(message: str, settings: TokenizerSection, side: str) -> DataError | RecipeError:
    """Return our error for one of SentencePiece's."""
    if "all_chars_count" in message:
        return _blank(side)
    if too_small := re.search(r"smaller than required_chars. \d+ vs (\d+)", message):
        return RecipeError(
            f"tokenizer.vocab_size: {settings.vocab_size} is too small: the characters and special pieces of {side} "
            f"need {too_small[1]}",
            f"set tokenizer.vocab_size well above {too_small[1]}, or lower tokenizer.character_coverage",
        )
    return RecipeError(
        f"tokenizer: SentencePiece cannot train with these settings on {side}: {message}",
        "change the tokenizer section: vocab_size must leave room for symbols, bytes (256 with byte_fallback) and "
        "characters, and symbols must differ from each other",
    )


def _processor(model: bytes, origin: str) -> Any:
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor()
    hint = "copy the file again from the run it belongs to, or train again"
    try:
        processor.LoadFromSerializedProto(model)
    except RuntimeError as error:
        raise CheckpointError(f"{origin}: not a SentencePiece model, or a damaged one", hint) from error
    ids = (processor.pad_id(), processor.unk_id(), processor.bos_id(), processor.eos_id())
    if ids != (Tokenizer.pad_id, Tokenizer.unk_id, Tokenizer.bos_id, Tokenizer.eos_id):
        raise CheckpointError(
            f"{origin}: a SentencePiece model of another program: pad, unk, bos and eos are {ids}, expected 0, 1, 2, 3",
            hint,
        )
    return processor


def _encode(processor: Any, texts: Sequence[str], *, end_mark: bool = False) -> list[list[int]]:
    # One thread: the processes that encode a corpus share the cores among themselves.
    encoded: list[list[int]] = processor.encode(list(texts), out_type=int, num_threads=1, add_eos=end_mark)
    return encoded


def _one_line(text: str) -> str:
    # Of all pieces only the byte 0x0A, which byte fallback brings along and no line of text holds, breaks a line.
    return text.replace("\n", " ")
