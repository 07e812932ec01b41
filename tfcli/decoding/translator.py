"""From lines of text to their translations: the one path that `translate`, `eval` and validation share.

1. Blank lines are set aside; lines too long for the model are cut into parts.
2. Parts are turned into piece ids, sorted by length, and searched in batches of about equal padded size.
3. Translations go back to where their lines stood; parts are joined as they were.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from pydantic import ValidationError

from tfcli.decoding.beam import BeamSettings, beam_search
from tfcli.decoding.greedy import greedy_search
from tfcli.decoding.search import Hypothesis, TransformerNextPiece, normalized
from tfcli.errors import RecipeError
from tfcli.model.folder import load_model_folder, section_problems
from tfcli.model.precision import Precision, autocast, pick_device, pick_precision
from tfcli.recipe.schema import DecodingSection
from tfcli.text.segments import split_long
from tfcli.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tfcli.model.transformer import Transformer


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


class Translator:
    """A network, its tokenizer and its search settings: lines in, translations out."""

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        decoding: DecodingSection,
        max_source_pieces: int,
        precision: Precision = "fp32",
        info: dict[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.decoding = decoding
        self.max_source_pieces = max_source_pieces
        self.precision: Precision = precision
        self.info = info or {}
        self.device = next(model.parameters()).device

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        device: str = "auto",
        precision: str | None = None,
        beam_size: int | None = None,
        length_penalty: float | None = None,
        batch_tokens: int | None = None,
    ) -> Translator:
        """Read a run folder or model folder; options that are given take the place of its own.

        Without `precision`, it is what the recipe of the run asked for.

        Raises: CheckpointError when the folder cannot be used, RecipeError when an option cannot.
        """
        target = pick_device(device)
        wanted = None if precision is None else pick_precision(precision, target)
        folder = load_model_folder(path, target)
        given = {"beam_size": beam_size, "length_penalty": length_penalty, "batch_tokens": batch_tokens}
        changed = {key: value for key, value in given.items() if value is not None}
        try:
            decoding = DecodingSection.model_validate({**folder.decoding.model_dump(), **changed})
        except ValidationError as error:
            problems = [
                "--" + problem.removeprefix("decoding.").replace("_", "-", 1)
                for problem in section_problems("decoding", error)
            ]
            raise RecipeError("\n".join(problems), "correct the option") from error
        chosen = wanted or pick_precision(folder.info.get("precision", "auto"), target)
        return cls(folder.model, folder.tokenizer, decoding, folder.max_source_pieces, chosen, folder.info)

    def translate(
        self, lines: Sequence[str], advance: Callable[[int], None] | None = None, n_best: int = 1
    ) -> list[Translation]:
        """Translate lines; the result has their number and order, whatever the batches were.

        `advance` is told how many lines are done each time some are.

        Raises: RecipeError when more hypotheses are wanted than the beam holds.
        """
        if n_best > self.decoding.beam_size:
            raise RecipeError(
                f"{n_best} hypotheses wanted, but the beam size is {self.decoding.beam_size}",
                "raise --beam-size or lower --n-best",
            )
        parts = [part for number, line in enumerate(lines) for part in self._parts(number, line)]
        parts_left = [0] * len(lines)
        for part in parts:
            parts_left[part.line] += 1
        if advance is not None and 0 in parts_left:
            advance(parts_left.count(0))
        found: list[list[Hypothesis]] = [[] for _ in parts]
        for batch in self._batches(parts):
            for index, hypotheses in zip(batch, self._search([parts[i] for i in batch], n_best), strict=True):
                found[index] = hypotheses
                parts_left[parts[index].line] -= 1
            if advance is not None:
                advance(sum(parts_left[line] == 0 for line in {parts[i].line for i in batch}))
        return self._joined(len(lines), parts, found)

    def _parts(self, number: int, line: str) -> list[_Part]:
        """Return the line as the model takes it: whole, in parts, or not at all when the tokenizer leaves nothing."""
        if not line.strip():
            return []
        ids = self.tokenizer.encode_src(line)
        if len(ids) <= self.max_source_pieces:
            return [_Part(number, [*ids, Tokenizer.eos_id], "")] if ids else []

        def fits(text: str) -> bool:
            return len(self.tokenizer.encode_src(text)) <= self.max_source_pieces

        pieces = [(self.tokenizer.encode_src(text), separator) for text, separator in split_long(line, fits)]
        return [_Part(number, [*ids, Tokenizer.eos_id], separator) for ids, separator in pieces if ids]

    def _batches(self, parts: list[_Part]) -> list[list[int]]:
        """Cut the parts into batches: longest first, padded pieces times beam size within the budget."""
        order = sorted(range(len(parts)), key=lambda i: (-len(parts[i].ids), i))
        batches: list[list[int]] = []
        for i in order:
            rows = (len(batches[-1]) + 1) * self.decoding.beam_size if batches else 0
            if not batches or len(parts[batches[-1][0]].ids) * rows > self.decoding.batch_tokens:
                batches.append([])
            batches[-1].append(i)
        return batches

    def _search(self, parts: list[_Part], n_best: int) -> list[list[Hypothesis]]:
        longest = max(len(part.ids) for part in parts)
        rows = [part.ids + [Tokenizer.pad_id] * (longest - len(part.ids)) for part in parts]
        src = torch.tensor(rows, device=self.device)  # (B, S)
        max_lengths = torch.tensor([self._max_length(len(part.ids)) for part in parts], device=self.device)
        beam_size, length_penalty = self.decoding.beam_size, self.decoding.length_penalty
        # not inference_mode: there autocast would cast the weights again at every step instead of once
        with torch.no_grad(), autocast(self.device, self.precision):
            next_piece = TransformerNextPiece(self.model, src)  # rows: one a sentence, or K
            if beam_size == 1:
                return [[best] for best in greedy_search(next_piece, max_lengths, length_penalty)]
            return beam_search(next_piece, max_lengths, BeamSettings(beam_size, length_penalty, n_best))

    def _max_length(self, src_length: int) -> int:
        wanted = int(src_length * self.decoding.max_output_ratio) + self.decoding.max_output_extra
        return min(wanted, self.model.config.max_positions)

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
            translations.append(Translation(tuple(joined), n_parts=len(indices)))
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
