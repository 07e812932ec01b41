"""Lines for a language model: prompts that it continues, or text whose probability it tells."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tfcli.decoding.language_model import pieces_read
from tfcli.text.running_text import LINE_END

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tfcli.decoding.engine import SearchSettings
    from tfcli.decoding.language_model import LanguageModelEngine
    from tfcli.decoding.stream import Format
    from tfcli.decoding.translator import OnLong
    from tfcli.text.running_text import RunningText


@dataclass(frozen=True)
class Continuation:
    """What the model writes behind a prompt; `score` is what continuations are ranked by."""

    text: str
    score: float
    log_prob: float


@dataclass(frozen=True)
class Continued:
    """A prompt with its continuations, best first; `truncated` says that the model saw only the prompt's end."""

    prompt: str
    continuations: tuple[Continuation, ...]
    truncated: bool = False

    def rendered(self, form: Format, number: int, text: str) -> str:  # noqa: ARG002  # text is the prompt
        """Return the line, continued; or a row for each continuation, or all as JSON."""
        if form == "text":
            return self.prompt + self.continuations[0].text
        if form == "tsv":
            rows = [
                [(self.prompt + each.text).replace("\t", " "), f"{each.log_prob:.4f}"]
                + ([str(number), str(rank)] if len(self.continuations) > 1 else [])
                for rank, each in enumerate(self.continuations, start=1)
            ]
            return "\n".join(map("\t".join, rows))
        found = [
            {
                "rank": rank,
                "text": each.text,
                "score": round(each.score, 6),
                "log_prob": round(each.log_prob, 6),
            }
            for rank, each in enumerate(self.continuations, start=1)
        ]
        whole = {"line": number, "prompt": self.prompt, "truncated": self.truncated, "continuations": found}
        return json.dumps(whole, ensure_ascii=False)


@dataclass(frozen=True)
class ScoredLine:
    """How probable a line is, its end counted, as a whole and piece by piece; in nats."""

    log_prob: float
    pieces: tuple[str, ...]
    piece_log_probs: tuple[float, ...]
    truncated: bool = False

    def rendered(self, form: Format, number: int, text: str) -> str:
        """Return the log-probability; that, a tab and the number of pieces; or all as JSON."""
        if form == "text":
            return f"{self.log_prob:.6f}"
        if form == "tsv":
            return f"{self.log_prob:.6f}\t{len(self.pieces)}"
        whole: dict[str, Any] = {"line": number, "text": text, "log_prob": round(self.log_prob, 6)}
        whole["pieces"] = list(self.pieces)
        whole["piece_log_probs"] = [round(each, 6) for each in self.piece_log_probs]
        return json.dumps(whole, ensure_ascii=False)


class Continuing:
    """Continues prompts, each up to so many line ends, or `max_pieces` of all its lines together.

    A prompt may have line ends itself. Of one that the context does not hold, only the end is read.
    """

    def __init__(
        self,
        engine: LanguageModelEngine,
        text: RunningText,
        settings: SearchSettings,
        max_pieces: int,
        lines: int = 1,
    ) -> None:
        self._engine = engine
        self._text = text
        self._settings = settings
        self._max_pieces = max_pieces
        self._lines = lines

    def begin(
        self,
        lines: Sequence[str],
        advance: Callable[[int], None] | None = None,
        n_best: int = 1,  # noqa: ARG002  # it is in the settings
        on_long: OnLong = "split",  # noqa: ARG002  # a prompt is never split
    ) -> Callable[[], Sequence[Continued]]:
        """Continue each prompt."""
        prompts = [self._text.encode(line) for line in lines]
        found = self._engine.search(
            prompts, self._max_pieces, self._settings, advance or (lambda _: None), self._lines
        )
        results = [
            Continued(
                line,
                tuple(
                    Continuation(self._text.decode(one.ids), one.score, one.log_prob) for one in hypotheses
                ),
                truncated=pieces_read(len(prompt), self._engine.context) < len(prompt),
            )
            for line, prompt, hypotheses in zip(lines, prompts, found, strict=True)
        ]
        return lambda: results


class ScoringLines:
    """Tells how probable lines are, each by itself, its end counted; long ones are read in overlapping windows."""

    def __init__(self, engine: LanguageModelEngine, text: RunningText) -> None:
        self._engine = engine
        self._text = text

    def begin(
        self,
        lines: Sequence[str],
        advance: Callable[[int], None] | None = None,
        n_best: int = 1,  # noqa: ARG002  # a line has one probability
        on_long: OnLong = "split",  # noqa: ARG002
    ) -> Callable[[], Sequence[ScoredLine]]:
        """Score each line."""
        encoded = [np.array(self._text.encode(line + LINE_END)) for line in lines]
        found = self._engine.log_probs(encoded)
        if advance is not None:
            advance(len(lines))
        piece = self._text.tokenizer.tgt_piece
        results = [
            ScoredLine(
                float(log_probs.sum(dtype=np.float64)),
                tuple(piece(int(each)) for each in ids),
                tuple(log_probs.tolist()),
            )
            for ids, log_probs in zip(encoded, found, strict=True)
        ]
        return lambda: results
