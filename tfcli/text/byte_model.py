"""A SentencePiece model whose pieces are the 256 bytes, written by hand: there is nothing in it to be trained.

Source: sentencepiece_model.proto in SentencePiece; https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import struct

_VARINT, _LENGTH_DELIMITED, _FOUR_BYTES = 0, 2, 5
# Fields of ModelProto, of its pieces, of TrainerSpec and of NormalizerSpec.
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_PIECE, _SCORE, _TYPE = 1, 2, 3
_UNKNOWN, _CONTROL, _BYTE = 2, 3, 6
_MODEL_TYPE, _VOCAB_SIZE, _BYTE_FALLBACK = 3, 4, 35
_UNK_ID, _BOS_ID, _EOS_ID, _PAD_ID = 40, 41, 42, 43
_RULE_NAME, _ADD_DUMMY_PREFIX, _REMOVE_EXTRA_WHITESPACES, _ESCAPE_WHITESPACES = 1, 3, 4, 5
_CHAR_MODEL = 4


def byte_model() -> bytes:
    """Return the model: four special pieces, then byte b as piece 4 + b, spaces and line feeds among them."""
    pieces = [("<pad>", _CONTROL), ("<unk>", _UNKNOWN), ("<s>", _CONTROL), ("</s>", _CONTROL)]
    pieces += [(f"<0x{byte:02X}>", _BYTE) for byte in range(256)]
    trainer = [(_MODEL_TYPE, _CHAR_MODEL), (_VOCAB_SIZE, len(pieces)), (_BYTE_FALLBACK, 1)]
    trainer += [(_UNK_ID, 1), (_BOS_ID, 2), (_EOS_ID, 3), (_PAD_ID, 0)]
    normalizer = _bytes(_RULE_NAME, b"identity") + b"".join(
        _number(field, 0) for field in (_ADD_DUMMY_PREFIX, _REMOVE_EXTRA_WHITESPACES, _ESCAPE_WHITESPACES)
    )
    return (
        b"".join(_bytes(_PIECES, _piece(*piece)) for piece in pieces)
        + _bytes(_TRAINER, b"".join(_number(*pair) for pair in trainer))
        + _bytes(_NORMALIZER, normalizer)
    )


def _piece(text: str, kind: int) -> bytes:
    score = _varint(_SCORE << 3 | _FOUR_BYTES) + struct.pack("<f", 0.0)
    return _bytes(_PIECE, text.encode()) + score + _number(_TYPE, kind)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3 | _VARINT) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | _LENGTH_DELIMITED) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    """Return a number in groups of seven bits, the lowest first."""
    groups = []
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])
