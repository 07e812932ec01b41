"""What a SentencePiece model file says of itself: its pieces, and the settings that it was trained with.

The file is a protocol buffer. SentencePiece reads it, but tells Python neither the settings nor which pieces are of
which kind, and its own reader for Python wants another package; the few fields that are needed here are read by hand.

Source: sentencepiece_model.proto in SentencePiece; https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

# Fields of ModelProto, of its pieces, of TrainerSpec and of NormalizerSpec.
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_PIECE, _SCORE, _TYPE = 1, 2, 3
_MODEL_TYPE, _COVERAGE, _SYMBOLS, _BYTE_FALLBACK = 3, 10, 31, 35
_RULE_NAME = 1
_KINDS = {1: "unigram", 2: "bpe", 4: "char"}
_NORMAL, _USER_DEFINED = 1, 4
_VARINT, _EIGHT_BYTES, _LENGTH_DELIMITED = 0, 1, 2


@dataclass(frozen=True)
class Piece:
    """An entry of a vocabulary; `is_normal` says that text is segmented into it, `is_symbol` that it always stays one."""

    text: str
    score: float
    is_normal: bool
    is_symbol: bool


def pieces_of(model: bytes) -> list[Piece]:
    """Return the pieces of a model by their ids."""
    pieces = []
    for number, value in _fields(model):
        if number == _PIECES:
            fields = dict(_fields(value))
            kind = fields.get(_TYPE, _NORMAL)
            score = _float(fields[_SCORE]) if _SCORE in fields else 0.0
            pieces.append(Piece(fields[_PIECE].decode(), score, kind == _NORMAL, kind == _USER_DEFINED))
    return pieces


def settings_of_model(model: bytes) -> dict[str, Any]:
    """Return what a model tells of a recipe's `tokenizer` section; its size is what came out, not what was asked for."""
    parts = dict(_fields(model))  # of what is repeated, the pieces, only the last one
    trainer = list(_fields(parts.get(_TRAINER, b"")))
    single = dict(trainer)
    pieces = pieces_of(model)
    kind = _KINDS.get(single.get(_MODEL_TYPE, 1), "of a kind that tfcli does not train")
    return {
        "kind": kind if any(piece.is_normal for piece in pieces) else "byte",
        "vocab_size": len(pieces),
        "byte_fallback": bool(single.get(_BYTE_FALLBACK, 0)),
        # seven digits are all that its four bytes hold
        "character_coverage": float(f"{_float(single[_COVERAGE]):.7g}") if _COVERAGE in single else 0.9995,
        "normalization": dict(_fields(parts.get(_NORMALIZER, b""))).get(_RULE_NAME, b"").decode(),
        "symbols": [value.decode() for number, value in trainer if number == _SYMBOLS],
    }


def _float(value: bytes) -> float:
    return float(struct.unpack("<f", value)[0])


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Yield the number and the value of each field: a whole number, or bytes."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        if key & 7 == _VARINT:
            value, position = _varint(message, position)
            yield key >> 3, value
            continue
        length = 8 if key & 7 == _EIGHT_BYTES else 4
        if key & 7 == _LENGTH_DELIMITED:
            length, position = _varint(message, position)
        yield key >> 3, message[position : position + length]
        position += length


def _varint(message: bytes, position: int) -> tuple[int, int]:
    """Return the number that starts at `position`, seven bits a byte, and where it ends."""
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, position
