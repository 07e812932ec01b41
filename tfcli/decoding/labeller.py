"""From texts to labels with probabilities, in batches of texts that are about as long; blank lines have no label.

A text longer than `max_pieces` is cut there, as it was in training.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from tfcli.decoding.translator import LineError
from tfcli.model.folder import load_network
from tfcli.model.networks import Classifier
from tfcli.model.precision import autocast, pick_device, pick_precision
from tfcli.text.labelled import joined
from tfcli.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tfcli.decoding.stream import Format
    from tfcli.decoding.translator import OnLong
    from tfcli.model.description import ModelDescription
    from tfcli.model.precision import Precision

# Padded pieces of a batch: of 512 to 16,384 this was the fastest on two cores (benchmarks/RESULTS.md).
BATCH_TOKENS = 2048


@dataclass(frozen=True)
class LabelledText:
    """The labels of a text with their probabilities, the most probable first; a blank one has none."""

    labels: tuple[tuple[str, float], ...]
    truncated: bool = False

    @property
    def best(self) -> str:
        """The most probable label; empty for a blank text."""
        return self.labels[0][0] if self.labels else ""

    def rendered(self, form: Format, number: int, text: str) -> str:
        """Return what is written for the line of this number: its label; labels and probabilities; or all as JSON."""
        if form == "text":
            return self.best
        if form == "tsv":
            return "\t".join(field for label, p in self.labels for field in (label, f"{p:.6f}"))
        labels = [{"label": label, "probability": round(p, 6)} for label, p in self.labels]
        return json.dumps({"line": number, "text": text, "labels": labels}, ensure_ascii=False)


class Labeller:
    """A classifier with its tokenizer and its labels; it is to be in evaluation mode and to stay as it is.

    With `pairs`, it is for pairs of texts: a line holds two, parted by a tab.
    """

    def __init__(
        self,
        model: Classifier,
        tokenizer: Tokenizer,
        labels: Sequence[str],
        max_pieces: int,
        precision: Precision,
        *,
        pairs: bool = False,
    ) -> None:
        self.labels = tuple(labels)
        self.precision: Precision = precision
        self._model = model
        self._tokenizer = tokenizer
        self._max_pieces = max_pieces
        self._pairs = pairs
        self._device = next(model.parameters()).device
        self.device = str(self._device)

    def begin(
        self,
        lines: Sequence[str],
        advance: Callable[[int], None] | None = None,
        n_best: int = 1,
        on_long: OnLong = "truncate",
    ) -> Callable[[], Sequence[LabelledText]]:
        """Label lines; what is returned has a result for each, with the `n_best` most probable labels.

        Raises: LineError for a line without the tab between two texts, or too long where that is an error.
        """
        if self._pairs:
            texts = [self._joined(index, line) for index, line in enumerate(lines)]
        else:
            texts = [line.replace("\n", " ") for line in lines]  # of JSON, as in training
        results = self.label(texts, n_best, advance)
        for index, result in enumerate(results):
            if result.truncated and on_long == "error":
                raise LineError(
                    index, f"more than {self._max_pieces} pieces", "leave out --on-long error to have it cut"
                )
        return lambda: results

    def label(
        self, texts: Sequence[str], top: int = 1, advance: Callable[[int], None] | None = None
    ) -> list[LabelledText]:
        """Return the `top` most probable labels of each text."""
        found = [LabelledText(())] * len(texts)
        ids = self._tokenizer.encode_src_many(texts, end_mark=True)
        # a text of which the tokenizer leaves nothing is as blank as one of spaces, and has its end mark alone
        places = [place for place, text in enumerate(texts) if not text.isspace() and len(ids[place]) > 1]
        places.sort(key=lambda place: -len(ids[place]))
        if advance is not None and len(places) < len(texts):
            advance(len(texts) - len(places))
        longest = self._max_pieces + 1
        for batch in self._batches(places, ids):
            rows = np.full((len(batch), min(len(ids[batch[0]]), longest)), Tokenizer.pad_id, dtype=np.int64)
            for row, place in zip(rows, batch, strict=True):
                pieces = ids[place]
                kept = pieces if len(pieces) <= longest else [*pieces[: self._max_pieces], pieces[-1]]
                row[: len(kept)] = kept
            probs, labels = self._probabilities(rows).topk(min(top, len(self.labels)), dim=-1)
            for place, ranked in zip(batch, zip(labels.tolist(), probs.tolist(), strict=True), strict=True):
                pairs = tuple((self.labels[label], p) for label, p in zip(*ranked, strict=True))
                found[place] = LabelledText(pairs, truncated=len(ids[place]) > longest)
            if advance is not None:
                advance(len(batch))
        return found

    def _probabilities(self, rows: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> torch.Tensor:
        """Return the probability of each label: (B, S) to (B, labels)."""
        with torch.inference_mode(), autocast(self._device, self.precision):
            logits = self._model(torch.from_numpy(rows).to(self._device))
        return logits.float().softmax(dim=-1)  # type: ignore[no-any-return]

    def _batches(self, places: Sequence[int], ids: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        start = 0
        while start < len(places):
            longest = min(len(ids[places[start]]), self._max_pieces + 1)
            batch = list(places[start : start + max(1, BATCH_TOKENS // longest)])
            yield batch
            start += len(batch)

    def _joined(self, index: int, line: str) -> str:
        columns = line.split("\t")
        if not line or line.isspace():
            return ""
        if len(columns) != 2:
            raise LineError(
                index,
                f"expected two texts, parted by a tab; got {len(columns) - 1} tabs",
                "the model tells the label of a pair of texts; `cut -f 1,2` takes two columns of a table",
            )
        return joined(*columns)


def load_labeller(
    description: ModelDescription, device: str = "auto", precision: str | None = None
) -> Labeller:
    """Read the weights of a classifier whose description was read; without `precision`, it is the recipe's.

    Raises: CheckpointError when they cannot be used, or the folder is no classifier's.
    """
    labels = description.require_labels()
    picked = pick_device(device)
    chosen = pick_precision(precision or description.info.get("precision", "auto"), picked)
    model = load_network(description, picked)
    assert isinstance(model, Classifier)
    pairs = bool(description.info.get("pairs_of_texts"))
    return Labeller(model, description.tokenizer, labels, description.max_source_pieces, chosen, pairs=pairs)
