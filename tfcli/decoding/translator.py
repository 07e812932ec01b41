"""From lines of text to their translations: the one path that `translate`, `eval` and validation share.

1. Blank lines are set aside; lines too long for the model are cut into parts.
2. Parts are turned into piece ids, and an engine searches for their translations.
3. Translations go back to where their lines stood; parts are joined as they were.

`Translator.score` sends given translations the same way, whole.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from tfcli.decoding.engine import Scorer, SearchSettings
from tfcli.decoding.hypothesis import Hypothesis, normalized
from tfcli.errors import RecipeError
from tfcli.text.segments import split_long
from tfcli.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tfcli.decoding.engine import Engine, Sampling
    from tfcli.recipe.schema import DecodingSection

OnLong = Literal["split", "truncate", "error"]  # what to do with a line that is too long for the model


@dataclass(frozen=True)
class ScoredText:
    """A translation with the score it was ranked by and its log-probability in nats.

    `at_limit` tells that it, or a part of it, is as long as was allowed: it may have been going on, or round in circles.
    """

    text: str
    score: float
    log_prob: float
    at_limit: bool = False


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
class ScoredTarget:
    """How probable a given translation is, as a whole and piece by piece, the end mark last."""

    score: float
    log_prob: float
    pieces: tuple[str, ...]
    piece_log_probs: tuple[float, ...]


class LineError(Exception):
    """What is wrong with one of the lines given: `index` counts from 0, `hint` says what to do."""

    def __init__(self, index: int, message: str, hint: str) -> None:
        super().__init__(message)
        self.index = index
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class _Part:
    """A piece of a line that the model takes at once."""

    line: int
    ids: list[int]  # end mark included
    separator: str  # what stood behind it in the line
    truncated: bool = False
    prefix: tuple[int, ...] = ()  # what its translation begins with


class Translator:
    """An engine with its tokenizer and its search settings: lines in, translations out."""

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        decoding: DecodingSection,
        max_source_pieces: int,
        info: dict[str, Any] | None = None,
        sampling: Sampling | None = None,
    ) -> None:
        self.engine = engine
        self.tokenizer = tokenizer
        self.decoding = decoding
        self.max_source_pieces = max_source_pieces
        self.info = info or {}
        self.sampling = sampling
        self.penalty = SearchSettings.of(decoding).length_penalty

    def translate(
        self,
        lines: Sequence[str],
        advance: Callable[[int], None] | None = None,
        n_best: int = 1,
        on_long: OnLong = "split",
        prefixes: Sequence[str] | None = None,
    ) -> list[Translation]:
        """Translate lines, as `begin` says."""
        return self.begin(lines, advance, n_best, on_long, prefixes)()

    def begin(
        self,
        lines: Sequence[str],
        advance: Callable[[int], None] | None = None,
        n_best: int = 1,
        on_long: OnLong = "split",
        prefixes: Sequence[str] | None = None,
    ) -> Callable[[], list[Translation]]:
        """Begin to translate lines; what is returned, called once, brings that to its end.

        The result has their number and order, whatever the batches were. `advance` is told how many lines are done
        each time some are. Translations begin with their `prefixes`.

        Raises: RecipeError when more hypotheses are wanted than the beam holds; LineError when a line is too long and
        that is an error, or a prefix is too long.
        """
        if self.sampling is None and n_best > self.decoding.beam_size:
            raise RecipeError(
                f"{n_best} hypotheses wanted, but the beam size is {self.decoding.beam_size}",
                "raise --beam-size or lower --n-best",
            )
        parts = self._begun(self._parts(lines, on_long), prefixes)
        sources = [part.ids for part in parts]
        limits = [self._max_length(len(ids)) for ids in sources]
        wanted = [part.prefix for part in parts]
        running = self.engine.search(sources, limits, self._settings(n_best), wanted)

        def finish() -> list[Translation]:
            return self._joined(len(lines), parts, _found(running, parts, len(lines), advance))

        return finish

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
                raise LineError(
                    number,
                    f"{len(ids):,} pieces, but the model takes {limit:,}",
                    "cut the line, or have --on-long split or truncate it",
                )
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

    def score(
        self, pairs: Sequence[tuple[str, str]], advance: Callable[[int], None] | None = None
    ) -> list[ScoredTarget]:
        """Say how probable the target of each pair is; nothing is split, and blank lines are scored like any other.

        Raises: LineError when a side is longer than the model takes, RecipeError when the engine cannot score.
        """
        if not isinstance(self.engine, Scorer):
            raise RecipeError(
                f"the engine {self.engine.name} cannot score given translations", "use the engine torch"
            )
        sides = [
            (
                [*self.tokenizer.encode_src(src), Tokenizer.eos_id],
                [*self.tokenizer.encode_tgt(tgt), Tokenizer.eos_id],
            )
            for src, tgt in pairs
        ]
        for index, both in enumerate(sides):
            longest = max(map(len, both))
            if longest > self.engine.max_positions:
                raise LineError(
                    index,
                    f"{longest:,} pieces, but the model takes {self.engine.max_positions:,}",
                    "a pair is scored whole: leave it out, or cut it into sentences",
                )
        found: list[ScoredTarget | None] = [None] * len(sides)
        sources, targets = [src for src, _ in sides], [tgt for _, tgt in sides]
        for index, forced in self.engine.score(sources, targets, self._settings(1)):
            log_prob = sum(forced.log_probs)
            score = normalized(log_prob, len(forced.ids), self.penalty)
            pieces = tuple(self.tokenizer.tgt_piece(piece) for piece in forced.ids)
            found[index] = ScoredTarget(score, log_prob, pieces, forced.log_probs)
            if advance is not None:
                advance(1)
        return [scored for scored in found if scored is not None]

    def _begun(self, parts: list[_Part], prefixes: Sequence[str] | None) -> list[_Part]:
        """Return the parts of all lines; the first of each line is to begin with its prefix."""
        if prefixes is None:
            return parts
        seen: set[int] = set()
        begun = []
        for part in parts:
            wanted = "" if part.line in seen else prefixes[part.line].strip()
            begun.append(replace(part, prefix=self._prefix(part, prefixes[part.line])) if wanted else part)
            seen.add(part.line)
        return begun

    def _prefix(self, part: _Part, prefix: str) -> tuple[int, ...]:
        ids = tuple(self.tokenizer.encode_tgt(prefix))
        limit = self._max_length(len(part.ids)) - 1
        if len(ids) > limit:
            raise LineError(
                part.line,
                f"the target prefix has {len(ids):,} pieces, but the longest output allowed has {limit:,}",
                "shorten the prefix, or raise --max-output-ratio",
            )
        return ids

    def _settings(self, n_best: int) -> SearchSettings:
        return SearchSettings.of(self.decoding, n_best, self.sampling)

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
            of_these = [parts[i] for i in indices]
            joined = [self._join(of_these, [found[i][rank] for i in indices]) for rank in range(depth)]
            joined.sort(key=lambda found: -found.score)
            if self.sampling is None:  # other pieces may spell the same text: its best spelling stands for it
                best: dict[str, ScoredText] = {}
                for one in joined:
                    best.setdefault(one.text, one)
                joined = list(best.values())
            truncated = parts[indices[0]].truncated
            translations.append(Translation(tuple(joined), len(indices), truncated))
        return translations

    def _join(self, parts: list[_Part], hypotheses: list[Hypothesis]) -> ScoredText:
        text, at_limit = "", False
        for part, hypothesis in zip(parts, hypotheses, strict=True):
            text += self.tokenizer.decode_tgt(hypothesis.ids) + part.separator
            at_limit |= len(hypothesis.ids) + 1 >= self._max_length(len(part.ids))
        if len(hypotheses) == 1:
            return ScoredText(text, hypotheses[0].score, hypotheses[0].log_prob, at_limit)
        log_prob = sum(hypothesis.log_prob for hypothesis in hypotheses)
        length = sum(len(hypothesis.ids) + 1 for hypothesis in hypotheses)
        return ScoredText(text, normalized(log_prob, length, self.penalty), log_prob, at_limit)


def _found(
    running: Iterator[tuple[int, list[Hypothesis]]],
    parts: list[_Part],
    n_lines: int,
    advance: Callable[[int], None] | None,
) -> list[list[Hypothesis]]:
    """Collect what a search finds for each part; `advance` is told of every line whose parts are all found."""
    parts_left = [0] * n_lines
    for part in parts:
        parts_left[part.line] += 1
    if advance is not None and 0 in parts_left:
        advance(parts_left.count(0))
    found: list[list[Hypothesis]] = [[] for _ in parts]
    for index, hypotheses in running:
        found[index] = hypotheses
        line = parts[index].line
        parts_left[line] -= 1
        if advance is not None and parts_left[line] == 0:
            advance(1)
    return found
