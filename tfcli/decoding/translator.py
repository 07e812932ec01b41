"""From lines of text to their translations: the one path that `translate`, `eval` and validation share.

1. Blank lines are set aside; lines too long for the model are cut into parts.
2. Parts are turned into piece ids, and an engine searches for their translations.
3. Translations go back to where their lines stood; parts are joined as they were.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tfcli.decoding.engine import SearchSettings
from tfcli.decoding.hypothesis import Hypothesis, normalized
from tfcli.errors import RecipeError
from tfcli.text.segments import split_long
from tfcli.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tfcli.decoding.engine import Engine
    from tfcli.recipe.schema import DecodingSection

OnLong = Literal["split", "truncate", "error"]  # what to do with a line that is too long for the model


class TooLongError(ValueError):
    """A line is too long for the model: the one at `place`, counted from 0."""

    def __init__(self, place: int, pieces: int, limit: int) -> None:
        super().__init__(f"{pieces:,} pieces, but the model takes {limit:,}")
        self.place = place


@dataclass(frozen=True)
class ScoredText:
    """A translation with the score it was ranked by and its log-probability in nats."""

    text: str
    score: float
    log_prob: float


@dataclass(frozen=True)
class Translation:
    """What became of one line: hypotheses, best first; `n_parts` is 0 for a blank line, above 1 for a split one."""

    hypotheses: tuple[ScoredText, ...]
    n_parts: int = 1
    truncated: bool = False

    @property
    def text(self) -> str:
        """The best translation; empty for a blank line."""
        return self.hypotheses[0].text

    @property
    def score(self) -> float:
        """The score of the best translation."""
        return self.hypotheses[0].score


BLANK = Translation((ScoredText("", 0.0, 0.0),), n_parts=0)


@dataclass(frozen=True)
class _Part:
    """A piece of a line that the model takes at once."""

    line: int
    ids: list[int]  # end mark included
    separator: str  # what stood behind it in the line
    truncated: bool = False


class Translator:
    """An engine with its tokenizer and its search settings: lines in, translations out."""

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        decoding: DecodingSection,
        max_source_pieces: int,
        info: dict[str, Any] | None = None,
    ) -> None:
        self.engine = engine
        self.tokenizer = tokenizer
        self.decoding = decoding
        self.max_source_pieces = max_source_pieces
        self.info = info or {}

    def translate(
        self,
        lines: Sequence[str],
        advance: Callable[[int], None] | None = None,
        n_best: int = 1,
        on_long: OnLong = "split",
    ) -> list[Translation]:
        """Translate lines; the result has their number and order, whatever the batches were.

        `advance` is told how many lines are done each time some are.

        Raises: RecipeError when more hypotheses are wanted than the beam holds; TooLongError when a line is too long
        and that is an error.
        """
        if n_best > self.decoding.beam_size:
            raise RecipeError(
                f"{n_best} hypotheses wanted, but the beam size is {self.decoding.beam_size}",
                "raise --beam-size or lower --n-best",
            )
        parts = self._parts(lines, on_long)
        parts_left = [0] * len(lines)
        for part in parts:
            parts_left[part.line] += 1
        if advance is not None and 0 in parts_left:
            advance(parts_left.count(0))
        found: list[list[Hypothesis]] = [[] for _ in parts]
        sources = [part.ids for part in parts]
        limits = [self._max_length(len(ids)) for ids in sources]
        for index, hypotheses in self.engine.search(sources, limits, self._settings(n_best)):
            found[index] = hypotheses
            line = parts[index].line
            parts_left[line] -= 1
            if advance is not None and parts_left[line] == 0:
                advance(1)
        return self._joined(len(lines), parts, found)

    def _parts(self, lines: Sequence[str], on_long: OnLong) -> list[_Part]:
        """Return the lines as the model takes them: whole, in parts, or not at all when the tokenizer leaves nothing."""
        numbers = [number for number, line in enumerate(lines) if line.strip()]
        encoded = self.tokenizer.encode_src_many([lines[number] for number in numbers])
        limit = self.max_source_pieces
        parts = []
        for number, ids in zip(numbers, encoded, strict=True):
            if len(ids) <= limit:
                parts += [_Part(number, [*ids, Tokenizer.eos_id], "")] if ids else []
            elif on_long == "error":
                raise TooLongError(number, len(ids), limit)
            elif on_long == "truncate":
                parts.append(_Part(number, [*ids[:limit], Tokenizer.eos_id], "", truncated=True))
            else:
                parts += self._cut(number, lines[number])
        return parts

    def _cut(self, number: int, line: str) -> list[_Part]:
        """Return a line that is too long in parts that are not."""

        def fits(text: str) -> bool:
            return len(self.tokenizer.encode_src(text)) <= self.max_source_pieces

        pieces = [(self.tokenizer.encode_src(text), separator) for text, separator in split_long(line, fits)]
        return [_Part(number, [*ids, Tokenizer.eos_id], separator) for ids, separator in pieces if ids]

    def _settings(self, n_best: int) -> SearchSettings:
        decoding = self.decoding
        return SearchSettings(decoding.beam_size, decoding.length_penalty, n_best, decoding.batch_tokens)

    def _max_length(self, src_length: int) -> int:
        wanted = int(src_length * self.decoding.max_output_ratio) + self.decoding.max_output_extra
        return min(wanted, self.engine.max_positions)

    def _joined(self, n_lines: int, parts: list[_Part], found: list[list[Hypothesis]]) -> list[Translation]:
        of_line: list[list[int]] = [[] for _ in range(n_lines)]
        for i, part in enumerate(parts):
            of_line[part.line].append(i)
        translations = []
        for indices in of_line:
            if not indices:
                translations.append(BLANK)
                continue
            depth = min(len(found[i]) for i in indices)
            separators = [parts[i].separator for i in indices]
            joined = [self._join([found[i][rank] for i in indices], separators) for rank in range(depth)]
            truncated = parts[indices[0]].truncated
            translations.append(Translation(tuple(joined), len(indices), truncated))
        return translations

    def _join(self, hypotheses: list[Hypothesis], separators: list[str]) -> ScoredText:
        text = ""
        for hypothesis, separator in zip(hypotheses, separators, strict=True):
            text += self.tokenizer.decode_tgt(hypothesis.ids) + separator
        if len(hypotheses) == 1:
            return ScoredText(text, hypotheses[0].score, hypotheses[0].log_prob)
        log_prob = sum(hypothesis.log_prob for hypothesis in hypotheses)
        length = sum(len(hypothesis.ids) + 1 for hypothesis in hypotheses)
        return ScoredText(text, normalized(log_prob, length, self.decoding.length_penalty), log_prob)
