"""What differs between the tasks: how a training is judged and told, which keys of a recipe are whose, which defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

TaskName = Literal["translation", "language_model", "classification"]


@dataclass(frozen=True)
class Task:
    """How the best weights of a task are found, and what its losses and rates count.

    `goal` is the key that validation chooses by in `metrics.jsonl`, `goal_name` what people call it; `entry` is one of
    what a corpus holds.
    """

    goal: str
    goal_name: str
    digits: int
    unit: str
    entry: str
    lower_is_better: bool = False
    has_perplexity: bool = True
    """Whether a loss is that of a piece among all others, so that its exponential says something."""

    def improves(self, score: float, best: float | None) -> bool:
        """Tell whether a validation score is better than the best so far; None: there is none yet."""
        if best is None:
            return True
        return score < best if self.lower_is_better else score > best

    def told(self, score: float) -> str:
        """Return a validation score as it is told: `BLEU 38.12`."""
        return f"{self.goal_name} {score:.{self.digits}f}"


TASKS: dict[TaskName, Task] = {
    "translation": Task("bleu", "BLEU", 2, "target token", "pair"),
    "language_model": Task("loss", "loss", 3, "token", "piece", lower_is_better=True),
    "classification": Task("accuracy", "accuracy", 2, "text", "text", has_perplexity=False),
}

_TRANSLATION: tuple[TaskName, ...] = ("translation",)
_PAIRS: tuple[TaskName, ...] = ("translation", "classification")
_DECODERS: tuple[TaskName, ...] = ("translation", "language_model")
_CLASSIFICATION: tuple[TaskName, ...] = ("classification",)
_RUNNING_TEXT: tuple[TaskName, ...] = ("language_model",)
_OF_CORPORA = {
    "text": _RUNNING_TEXT,
    "text_url": _RUNNING_TEXT,
    "text_sha256": _RUNNING_TEXT,
    "jsonl": _CLASSIFICATION,
    "jsonl_url": _CLASSIFICATION,
    "jsonl_sha256": _CLASSIFICATION,
    "src": _TRANSLATION,
    "tgt": _TRANSLATION,
    "src_url": _TRANSLATION,
    "tgt_url": _TRANSLATION,
    "src_sha256": _TRANSLATION,
    "tgt_sha256": _TRANSLATION,
    "tsv": _PAIRS,
    "tsv_url": _PAIRS,
    "tsv_sha256": _PAIRS,
}
OWNERS: dict[str, tuple[TaskName, ...]] = {
    "data.src_lang": _TRANSLATION,
    "data.tgt_lang": _TRANSLATION,
    **{
        f"data.{place}.{key}": owners
        for place in ("train.*", "valid", "tests.*")
        for key, owners in _OF_CORPORA.items()
    },
    "data.valid.pairs": _PAIRS,
    "data.max_pieces": _PAIRS,
    "data.max_length_ratio": _TRANSLATION,
    "data.drop_duplicates": _PAIRS,
    "data.drop_identical": _TRANSLATION,
    "data.text_field": _CLASSIFICATION,
    "data.label_field": _CLASSIFICATION,
    "data.second_text_field": _CLASSIFICATION,
    "data.context": _RUNNING_TEXT,
    "tokenizer.shared": _TRANSLATION,
    "tokenizer.byte_fallback": _PAIRS,
    "tokenizer.normalization": _PAIRS,
    "model.n_encoder_layers": _PAIRS,
    "model.n_decoder_layers": _DECODERS,
    "model.tie_embeddings": _DECODERS,
    "model.pooling": _CLASSIFICATION,
    "training.class_weights": _CLASSIFICATION,
    "training.subword_regularization": _PAIRS,
    "training.subword_sides": _TRANSLATION,
    "training.compile": _DECODERS,
    "training.sharding": _DECODERS,
    "decoding": _TRANSLATION,
    "scoring": _TRANSLATION,
    "expected.*.bleu": _TRANSLATION,
    "expected.*.accuracy": _CLASSIFICATION,
    "expected.*.macro_f1": _CLASSIFICATION,
    "expected.*.token_perplexity": _RUNNING_TEXT,
    "expected.*.word_perplexity": _RUNNING_TEXT,
    "expected.*.bits_per_byte": _RUNNING_TEXT,
}
"""The keys and sections of a recipe that only some tasks have; `*` stands for any entry. All others are everybody's."""

DEFAULTS: dict[TaskName, dict[str, Any]] = {
    "translation": {},
    "language_model": {"training.label_smoothing": 0.0},
    "classification": {"training.label_smoothing": 0.0},
}
"""Defaults that are other ones than those of the schema, which are translation's."""


def with_task_defaults(given: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe's values with the defaults of its task where it is silent."""
    filled = dict(given)
    for place, value in DEFAULTS.get(given.get("task", "translation"), {}).items():
        section, key = place.split(".")
        keys = filled.get(section, {})
        if isinstance(keys, dict):
            filled[section] = {key: value, **keys}
    return filled
