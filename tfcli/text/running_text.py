"""Text as a language model reads it: to ids and back without losing a space, a line end or any other character.

The tokenizer normalizes nothing, adds no space in front, and writes what it has no piece for as UTF-8 bytes. Two
characters are always bytes: the line feed, so that no piece reaches over the end of a line, and U+2581, which
SentencePiece itself writes for a space and would give back as one.

    text -> parts between line feeds and U+2581 -> pieces of each part, bytes between them -> ids
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tfcli.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tfcli.text.tokenizer import Tokenizer

LINE_END = "\n"
_SPACE_MARK = "\u2581"
_CUTS = re.compile(f"([{LINE_END}{_SPACE_MARK}])")


class RunningText:
    """Encodes and decodes text exactly, with a tokenizer from `train_text_tokenizer`.

    Raises: CheckpointError for a tokenizer that has no bytes.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._bytes = {
            cut: [tokenizer.tgt_id(f"<0x{byte:02X}>") for byte in cut.encode()]
            for cut in (LINE_END, _SPACE_MARK)
        }
        if any(tokenizer.unk_id in ids for ids in self._bytes.values()):
            raise CheckpointError(
                "the tokenizer has no pieces for bytes, so it cannot write every text",
                "take the tokenizer of a language model, or have one trained",
            )

    @property
    def line_end(self) -> int:
        """The one piece that ends a line."""
        return self._bytes[LINE_END][0]

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without marks; `decode` gives it back as it was."""
        parts = _CUTS.split(text)  # text, cut, text, cut, ..., text
        ids, *others = self.tokenizer.encode_tgt_many(parts[::2])
        for cut, other in zip(parts[1::2], others, strict=True):
            ids += self._bytes[cut]
            ids += other
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids; bytes that make no character, as where a text breaks off, become U+FFFD."""
        return self.tokenizer.text_of(ids)
