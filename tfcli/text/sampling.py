"""Subword regularization: other segmentations of the same text into pieces, drawn at random.

    unigram   a segmentation x of a word with probability P(x) ** alpha / sum, over all there are: forward-filtering
              backward-sampling (Kudo, 2018, "Subword Regularization", section 3.4, l = infinity)
    bpe       merges are made in their order, but each is passed over with a probability (Provilkov et al., 2020,
              "BPE-Dropout"); one passed over is tried again only when its neighbours have merged, as in SentencePiece

The distributions are those of SentencePiece's own sampling. That draws from one generator for each thread, which is
seeded for the whole process and by the C++ library's own rules, so what it gives depends on what was drawn before; here
it depends on the numbers that are passed in. No piece of a vocabulary reaches over a word's beginning, so words are
drawn one by one, and what does not change from time to time is kept for each.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from tfcli.text.model_file import pieces_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tfcli.text.model_file import Piece

_Node = tuple[list[int], int, dict[int, "_Node"]]

WORD_MARK = "▁"  # SentencePiece's, which stands for the space before a word


class Segmenter:
    """Draws segmentations of words for one SentencePiece model; `strength` is alpha, or the dropout of merges."""

    def __init__(self, model: bytes, kind: Literal["unigram", "bpe"], strength: float) -> None:
        self._pieces = pieces_of(model)
        self._strength = strength
        self._known = {piece.text: number for number, piece in enumerate(self._pieces) if piece.is_normal}
        self._longest = max(map(len, self._known), default=0)
        self._make = self._lattice if kind == "unigram" else self._merges

    @property
    def pieces(self) -> Sequence[Piece]:
        """The vocabulary by ids."""
        return self._pieces

    def word(self, ids: Sequence[int]) -> Lattice | Merges:
        """Return what draws segmentations of the text of `ids`, which are of one word and no special pieces."""
        return self._make("".join(self._pieces[number].text for number in ids))

    def _lattice(self, text: str) -> Lattice:
        return Lattice(text, self._known, self._longest, self._scaled)

    def _scaled(self, number: int) -> float:
        return self._strength * self._pieces[number].score

    def _merges(self, text: str) -> Merges:
        return Merges(text, self._known, self._pieces, self._strength)


class Lattice:
    """All segmentations of a word, to draw from."""

    def __init__(self, text: str, known: dict[str, int], longest: int, score: Callable[[int], float]) -> None:
        # for each place in the word, the pieces that end there, and how probable they and those before them are
        self._ends: list[tuple[list[float], list[tuple[int, int]]]] = [([], [])]
        log_sums = [0.0]
        for end in range(1, len(text) + 1):
            steps, weights = [], []
            for start in range(max(0, end - longest), end):
                number = known.get(text[start:end])
                if number is not None and log_sums[start] > -math.inf:
                    steps.append((start, number))
                    weights.append(log_sums[start] + score(number))
            most = max(weights, default=-math.inf)
            shares = [math.exp(weight - most) for weight in weights]
            total, so_far, sums = sum(shares), 0.0, []
            for share in shares[:-1]:
                so_far += share / total
                sums.append(so_far)
            self._ends.append((sums, steps))
            log_sums.append(most + math.log(total) if weights else -math.inf)

    def draw(self, uniform: Callable[[], float]) -> list[int]:
        """Return the ids of a segmentation; `uniform` gives numbers from 0 to below 1."""
        ids = []
        end = len(self._ends) - 1
        while end:
            sums, steps = self._ends[end]
            end, number = steps[bisect(sums, uniform())] if sums else steps[0]
            ids.append(number)
        ids.reverse()
        return ids


class Merges:
    """All ways that the merges of a word can go, as a tree that grows as it is walked.

    A node is a word some of whose merges are decided: what it becomes if none is passed over from there on, after how
    many more merges, and, by the number of merges made before the next one is passed over, the nodes behind it.
    """

    def __init__(self, text: str, known: dict[str, int], pieces: Sequence[Piece], dropout: float) -> None:
        self._text, self._known, self._pieces = text, known, pieces
        self._log_kept = math.log1p(-dropout)
        self._root = self._node([])

    def draw(self, uniform: Callable[[], float]) -> list[int]:
        """Return the ids of a segmentation; `uniform` gives numbers from 0 to below 1."""
        ids, merges, nodes = self._root
        decided: list[bool] = []
        while merges:
            # how many are made before one is passed over is distributed geometrically
            in_a_row = math.log(1.0 - uniform()) / self._log_kept
            if in_a_row >= merges:
                break
            made = int(in_a_row)
            decided += [True] * made + [False]
            if made not in nodes:
                nodes[made] = self._node(decided)
            ids, merges, nodes = nodes[made]
        return ids

    def _node(self, decided: Sequence[bool]) -> _Node:
        """Merge a word, at first as decided: True for a merge that is made, False for one that is passed over."""
        parts = list(self._text)
        before = list(range(-1, len(parts) - 1))
        behind = [*range(1, len(parts)), -1]
        waiting: list[tuple[float, int, int, int]] = []

        def consider(left: int, right: int) -> None:
            number = self._known.get(parts[left] + parts[right]) if min(left, right) >= 0 else None
            if number is not None:
                size = len(parts[left]) + len(parts[right])
                heapq.heappush(waiting, (-self._pieces[number].score, left, right, size))

        for left, right in pairwise(range(len(parts))):
            consider(left, right)
        number = -len(decided)
        while waiting:
            _, left, right, size = heapq.heappop(waiting)
            if not parts[left] or not parts[right] or len(parts[left]) + len(parts[right]) != size:
                continue  # one of the two is part of something else by now
            if number >= 0 or decided[number]:
                parts[left] += parts[right]
                parts[right] = ""
                behind[left] = behind[right]
                if behind[left] >= 0:
                    before[behind[left]] = left
                consider(before[left], left)
                consider(left, behind[left])
            number += 1
        return [self._known[part] for part in parts if part], number, {}
