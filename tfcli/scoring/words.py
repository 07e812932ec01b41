"""Words as a reader sees them: how lines are cut into words, and in which words two lines differ.

Letters with their marks, digits and what joins them (don't, T-shirt, 3.5) make a word; Chinese, Japanese and Thai, which
leave no spaces, are cut into characters; any other sign stands alone. sacreBLEU's tokenizers serve its scores, these
words serve the reader.
"""

from __future__ import annotations

import re
import unicodedata
from difflib import SequenceMatcher
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# Thai to Burmese, Khmer, kana, Han with its extensions
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_LAST_MARK = 0x20000  # beyond the planes that have combining marks in use, but for variation selectors


@cache
def _pattern() -> re.Pattern[str]:
    # \w has no combining marks, without which words of Hindi or decomposed accents would fall apart
    marks = "".join(
        chr(code) for code in range(0x300, _LAST_MARK) if unicodedata.category(chr(code)).startswith("M")
    )
    spaced_marks = "".join(mark for mark in marks if not re.match(f"[{_UNSPACED}]", mark))
    letters = rf"(?:[^\W{_UNSPACED}]|[{spaced_marks}])+"
    joint = r"(?:['\u2019-]|(?<=\d)[.,](?=\d))"
    return re.compile(rf"[{_UNSPACED}][{marks}]*|{letters}(?:{joint}{letters})*|\s+|.", re.DOTALL)


def pieces_of(line: str) -> list[str]:
    """Cut a line into words, signs and spaces; joined, they are the line."""
    return _pattern().findall(line)


def words_of(line: str) -> list[str]:
    """Return the words of a line, without signs and spaces."""
    return [piece for piece in pieces_of(line) if piece[0].isalnum() or any(map(str.isalnum, piece))]


def differences(hypothesis: str, reference: str) -> tuple[list[str], list[str]]:
    """Mark the words in which two lines differ.

    Returns each line as segments: the first is common to both, the second is not, the third is again, and so on; some
    may be empty. Joined, they are the line.
    """
    hyp, ref = pieces_of(hypothesis), pieces_of(reference)
    # Spaces are no words: they follow the word before them.
    hyp_at, ref_at = ([n for n, piece in enumerate(pieces) if not piece.isspace()] for pieces in (hyp, ref))
    matcher = SequenceMatcher(None, [hyp[n] for n in hyp_at], [ref[n] for n in ref_at], autojunk=False)
    hyp_common, ref_common = set[int](), set[int]()
    for block in matcher.get_matching_blocks():
        hyp_common.update(hyp_at[block.a : block.a + block.size])
        ref_common.update(ref_at[block.b : block.b + block.size])
    return _segments(hyp, hyp_common), _segments(ref, ref_common)


def _segments(pieces: Sequence[str], common: set[int]) -> list[str]:
    """Join pieces to segments, every other one of words that differ; spaces belong to these only when inside."""
    segments = [""]
    waiting = ""
    for n, piece in enumerate(pieces):
        if piece.isspace():
            waiting += piece
            continue
        differs, inside = n not in common, len(segments) % 2 == 0
        if differs == inside:
            segments[-1] += waiting + piece
        elif differs:
            segments[-1] += waiting
            segments.append(piece)
        else:
            segments.append(waiting + piece)
        waiting = ""
    if waiting and len(segments) % 2 == 0:
        segments.append("")
    segments[-1] += waiting
    return segments
