"""BLEU, chrF, chrF++ and TER: sacreBLEU does the arithmetic, here its input is checked first.

sacreBLEU's Python interface stops at the shorter of two lists without a word (two hypotheses against one
reference: BLEU 100), prints warnings of its own and fetches tokenizers on the way. So whatever is scored comes
through here: counts are compared, the tokenizer is made ready, and nothing is printed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tfcli.errors import DataError, RecipeError
from tfcli.scoring.doubts import first_shifted_line
from tfcli.scoring.plan import METRICS
from tfcli.scoring.results import Score
from tfcli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sacrebleu.metrics.base import Metric
    from sacrebleu.metrics.bleu import BLEU

    from tfcli.recipe.schema import ScoringSection

TOKENIZER_EXTRAS = {"ja-mecab": "ja", "ko-mecab": "ko"}
"""Tokenizers that need packages which are an extra of sacreBLEU."""
FETCHED_TOKENIZERS = ("flores101", "flores200")
"""Tokenizers whose SentencePiece model sacreBLEU fetches when it is first used."""


def score(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    settings: ScoringSection,
    metrics: Sequence[str] = METRICS,
) -> dict[str, Score]:
    """Score translations against one or more references.

    Shapes: `references` holds whole references, each with a line for every hypothesis.
    Raises: DataError when counts differ or there is nothing to score, RecipeError when the tokenizer is missing.
    """
    check_counts(hypotheses, references)
    scores = {}
    for name in metrics:
        metric = make_metric(name, settings)
        found = metric.corpus_score(hypotheses, references)
        scores[name] = Score(bounded(name, found.score), str(metric.get_signature()), str(found))
    return scores


def bounded(metric: str, score: float) -> float:
    """Return a score of sacreBLEU's without the hair that goes beyond 100."""
    # a perfect translation comes to 100.00000000000004: BLEU is a mean of logarithms
    return float(score) if metric == "ter" else min(float(score), 100.0)


def corpus_bleu(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], settings: ScoringSection
) -> float:
    """Return BLEU alone: what validation asks for many times during training.

    Raises: DataError and RecipeError as `score` does.
    """
    return score(hypotheses, references, settings, ("bleu",))["bleu"].score


def sentence_chrf(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    settings: ScoringSection,
    advance: Callable[[int], None] = lambda _: None,
) -> list[float | None]:
    """Score each line by itself with chrF; None where hypothesis and references are all blank.

    `advance` is told how many lines are done.
    Raises: DataError when counts differ or there is nothing to score.
    """
    from sacrebleu.metrics.chrf import CHRF

    check_counts(hypotheses, references)
    metric = CHRF(lowercase=settings.lowercase)
    scores: list[float | None] = []
    for hypothesis, *lines in zip(hypotheses, *references, strict=True):
        blank = not any(line.strip() for line in (hypothesis, *lines))
        scores.append(None if blank else float(metric.sentence_score(hypothesis, lines).score))
        advance(1)
    return scores


def check_counts(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], names: Sequence[str] | None = None
) -> None:
    """Refuse hypotheses and references that cannot face each other line by line.

    `names` says where the hypotheses and each reference came from.

    Raises: DataError with both counts, or when there are no lines at all.
    """
    if not references or any(isinstance(reference, str) for reference in references):
        raise ValueError("references must be a sequence of references, each a sequence of lines")
    if names is None:
        names = ["the hypotheses", *(f"reference {n}" for n in range(1, len(references) + 1))]
    for name, reference in zip(names[1:], references, strict=True):
        if len(reference) != len(hypotheses):
            shifted = first_shifted_line(hypotheses, reference)
            raise DataError(
                f"{_lines(names[0], hypotheses)}, {_lines(name, reference)}"
                + (f"; from line {shifted} on they look shifted" if shifted else ""),
                "line i of the hypotheses must be the translation that line i of the reference stands for",
            )
    if not hypotheses:
        raise DataError(
            f"nothing to score: {', '.join(names)}: no lines", "check that the right files were given"
        )


def _lines(name: str, lines: Sequence[str]) -> str:
    verb = "have" if name.endswith("hypotheses") else "has"
    return f"{name} {verb} {counted(len(lines), 'line')}"


def require_tokenizer(settings: ScoringSection) -> None:
    """Make sure that BLEU can be counted, before hours go into translating what is to be scored.

    Raises: RecipeError with what to install, or where to put the file that cannot be fetched.
    """
    _bleu(settings)


def make_metric(
    name: str, settings: ScoringSection, references: Sequence[Sequence[str]] | None = None
) -> Metric:
    """Return sacreBLEU's metric of this name; with references, which it then reads once for many hypotheses.

    Raises: RecipeError when the tokenizer is missing.
    """
    from sacrebleu.metrics.chrf import CHRF
    from sacrebleu.metrics.ter import TER

    if name == "bleu":
        return _bleu(settings, references)
    if name in ("chrf", "chrf++"):
        return CHRF(
            word_order=2 if name == "chrf++" else 0, lowercase=settings.lowercase, references=references
        )
    if name == "ter":
        return TER(case_sensitive=not settings.lowercase, references=references)
    raise ValueError(f"unknown metric {name!r}")


def _bleu(settings: ScoringSection, references: Sequence[Sequence[str]] | None = None) -> BLEU:
    from sacrebleu.metrics.bleu import BLEU

    try:
        # force: no log messages about text that looks tokenized; `tokenization_warning` says it our way
        return BLEU(
            tokenize=settings.tokenize, lowercase=settings.lowercase, force=True, references=references
        )
    except (Exception, SystemExit) as error:  # what comes depends on packages, network and disk
        if settings.tokenize not in (*TOKENIZER_EXTRAS, *FETCHED_TOKENIZERS):
            raise
        reason = next((line for line in str(error).split("\n") if line.strip()), type(error).__name__)
        raise RecipeError(
            f"tokenizer {settings.tokenize} cannot be used: {reason}", _remedy(settings.tokenize)
        ) from error


def _remedy(tokenizer: str) -> str:
    if tokenizer in TOKENIZER_EXTRAS:
        return f"pip install 'sacrebleu[{TOKENIZER_EXTRAS[tokenizer]}]'"
    from sacrebleu.tokenizers.tokenizer_spm import SPM_MODELS
    from sacrebleu.utils import SACREBLEU_DIR

    url = SPM_MODELS[tokenizer]["url"]
    path = Path(SACREBLEU_DIR) / "models" / url.rpartition("/")[2]
    return f"sacreBLEU fetches its model once; if it cannot, save {url} as {path}, in place of what may lie there"
