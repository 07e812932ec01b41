"""A language model at work: what may follow a prompt, and how probable every piece of a text is.

A prompt is read in one pass into the key/value cache; from there on each step computes one position. When the context is
full, the newest half of it is read anew, and the rest is forgotten.

    writing        B prompt n e w e s t h a l f|            context: begin mark B, then what is read or written
                              B n e w e s t h a l f ->      full: half of it goes on, behind a begin mark

    long texts     |----- context -----|                    all of the first window's pieces are counted,
                             |----- context -----|          of each other one those that no window before it had:
                                       |----- context -----|    they stand behind half a context at least
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tfcli.decoding.torch_search import Batch, search_with
from tfcli.model.precision import autocast
from tfcli.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from tfcli.decoding.engine import SearchSettings
    from tfcli.decoding.hypothesis import Hypothesis
    from tfcli.model.networks import LanguageModel
    from tfcli.model.precision import Precision

# Pieces computed at once: enough to keep a processor busy, and logits of a large vocabulary take half a gigabyte.
BATCH_PIECES = 4096


def pieces_read(length: int, context: int) -> int:
    """Return how many of the last pieces of a text are read, behind a begin mark: all, or half a context."""
    return length if length < context else context // 2


@dataclass(frozen=True)
class _End:
    """Where continuations end: at so many line ends, whose piece is `line_end`, or behind `max_pieces`."""

    line_end: int
    lines: int
    max_pieces: int


class ContinuingNextPiece:
    """`NextPiece` by a language model that has read prompts of one length, for K rows of each.

    The last line end of a continuation is its end mark: that is what it scores as `eos_id`.
    """

    def __init__(
        self, model: LanguageModel, prompts: Tensor, rows_each: int, context: int, end: _End
    ) -> None:
        """Read `prompts` (B, P), begin marks included, which the context holds."""
        self._model = model
        self._context = context
        self._end = end
        rows = torch.arange(len(prompts), device=prompts.device).repeat_interleave(rows_each)
        self._seen = prompts[rows]  # (R, t) begin mark first
        self._lines = torch.full_like(rows, end.lines)  # (R,) line ends to come
        self._written = 0
        self._cache = model.new_cache()
        states = model.decode(prompts, self._cache)[:, -1]  # (B, D)
        self._cache.select_rows(rows)
        self._read: Tensor | None = states[rows]  # (R, D) what comes first follows from

    def step(self, last: Tensor) -> Tensor:
        """Take the newest piece of each row (R,), return the log-probabilities of the next one (R, V).

        The first time there is none: searches give a begin mark, which stands before the prompts already.
        """
        if self._read is not None:
            states, self._read = self._read, None
        else:
            states = self._next_states(last)
        log_probs = torch.log_softmax(self._model.logits(states).float(), dim=-1)
        log_probs[:, Tokenizer.pad_id] = -torch.inf
        log_probs[:, Tokenizer.bos_id] = -torch.inf
        of_line_end = log_probs[:, self._end.line_end].clone()
        # a search may end where the last line does; behind `max_pieces` it has to, wherever that is
        ends = (self._lines <= 1) | (self._written >= self._end.max_pieces)
        log_probs[:, Tokenizer.eos_id] = torch.where(ends, of_line_end, -torch.inf)
        log_probs[:, self._end.line_end] = torch.where(ends, -torch.inf, of_line_end)
        return log_probs

    def _next_states(self, last: Tensor) -> Tensor:
        """Read the newest piece of each row (R,), return the states (R, D) that the next one follows from."""
        self._written += 1
        self._lines = self._lines - (last == self._end.line_end).long()
        self._seen = torch.cat((self._seen, last[:, None]), dim=1)
        length = self._seen.shape[1] - 1
        kept = pieces_read(length, self._context)
        if kept == length:
            return self._model.decode(last[:, None], self._cache)[:, 0]
        self._seen = torch.cat((self._seen[:, :1], self._seen[:, 1 + length - kept :]), dim=1)
        self._cache = self._model.new_cache()
        return self._model.decode(self._seen, self._cache)[:, -1]

    def select(self, rows: Tensor, sentences: Tensor | None) -> None:  # noqa: ARG002  # they have no memory
        """Go on with `rows` (R',) in that order."""
        self._cache.select_rows(rows)
        self._seen, self._lines = self._seen[rows], self._lines[rows]


class _Window(NamedTuple):
    """A stretch of a text: its pieces from `start` up to `stop`, of which those from `counted` on are counted."""

    text: int
    start: int
    stop: int
    counted: int


def windows_of(length: int, context: int) -> Iterator[tuple[int, int, int]]:
    """Yield start, stop, and the first counted piece of the windows of a text; each piece is counted once."""
    stride = max(1, context // 2)
    counted = 0
    while counted < length:
        start = max(0, min(counted - (context - stride), length - context))
        stop = min(start + context, length)
        yield start, stop, counted
        counted = stop


class LanguageModelEngine:
    """A language model in evaluation mode with its context, for searches and for the probabilities of texts."""

    def __init__(self, model: LanguageModel, context: int, precision: Precision, line_end: int) -> None:
        self._model = model
        self._device = next(model.parameters()).device
        self._line_end = line_end
        self.context = context
        self.precision: Precision = precision
        self.device = str(self._device)

    def search(
        self,
        prompts: Sequence[Sequence[int]],
        max_pieces: int,
        settings: SearchSettings,
        advance: Callable[[int], None] = lambda _: None,
        lines: int = 1,
    ) -> list[list[Hypothesis]]:
        """Return up to `n_best` continuations of each prompt, best first, up to so many line ends, the last left out."""
        end = _End(self._line_end, lines, max_pieces)
        prompts = [prompt[len(prompt) - pieces_read(len(prompt), self.context) :] for prompt in prompts]
        found: list[list[Hypothesis]] = [[] for _ in prompts]
        for places in self._batches([len(prompt) + 1 for prompt in prompts], settings.rows):
            ids = [[Tokenizer.bos_id, *prompts[place]] for place in places]
            batch = Batch([prompts[place] for place in places], [max_pieces + 1] * len(ids), [()] * len(ids))
            with self._computing():
                read = torch.tensor(ids, device=self._device)
                scorer = ContinuingNextPiece(self._model, read, settings.rows, self.context, end)
                results = search_with(scorer, batch, settings, self._device)
            for place, result in zip(places, results, strict=True):
                found[place] = result
            advance(len(places))
        return found

    def log_probs(
        self, texts: Sequence[NDArray[np.integer]], advance: Callable[[int], None] = lambda _: None
    ) -> list[NDArray[np.float32]]:
        """Return the log-probability of each piece of texts, behind as much of them as the context holds, in nats.

        `advance` is told of pieces.
        """
        found = [np.zeros(len(text), dtype=np.float32) for text in texts]
        windows = [
            _Window(number, *window)
            for number, text in enumerate(texts)
            for window in windows_of(len(text), self.context)
        ]
        for places in self._batches([window.stop - window.start for window in windows], 1):
            chosen = [windows[place] for place in places]
            gold = np.stack([texts[each.text][each.start : each.stop] for each in chosen]).astype(np.int64)
            scores = self._gold_log_probs(gold)
            for row, each in zip(scores, chosen, strict=True):
                found[each.text][each.counted : each.stop] = row[each.counted - each.start :]
                advance(each.stop - each.counted)
        return found

    def _gold_log_probs(self, gold: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the log-probability of each piece of windows (B, T), each of them behind a begin mark."""
        targets = torch.from_numpy(gold).to(self._device)
        inputs = torch.cat((torch.full_like(targets[:, :1], Tokenizer.bos_id), targets[:, :-1]), dim=1)
        with self._computing():
            logits = self._model.logits(self._model(inputs)).float()  # (B, T, V)
            scores = logits.gather(2, targets[:, :, None])[:, :, 0] - logits.logsumexp(dim=2)
        return np.asarray(scores.cpu().numpy(), dtype=np.float32)

    def _batches(self, lengths: Sequence[int], rows: int) -> Iterator[list[int]]:
        """Yield the places of sequences of one length each, as many as are computed at once."""
        by_length: dict[int, list[int]] = defaultdict(list)
        for place, length in enumerate(lengths):
            by_length[length].append(place)
        for length, places in sorted(by_length.items(), reverse=True):
            most = max(1, BATCH_PIECES // (max(1, length) * rows))
            yield from (places[first : first + most] for first in range(0, len(places), most))

    @contextmanager
    def _computing(self) -> Iterator[None]:
        with torch.inference_mode(), autocast(self._device, self.precision):
            yield
