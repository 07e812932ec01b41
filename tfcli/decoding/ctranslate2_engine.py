"""The engine that is fast: CTranslate2 with the same weights, on CPUs and CUDA. It is used without torch.

Greedy search is the same as the reference's. Beam search differs in its details: CTranslate2 fills the place of a
hypothesis that has ended and stops when K have. What both call a score is the same, log-probability / length **
penalty, the end mark counted in both, but for one detail: here the probability that padding and the begin mark have
is shared out among the other pieces, while the reference leaves it where the network puts it. A trained network gives
the two next to nothing.
"""

from __future__ import annotations

import os
from collections import defaultdict, deque
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any

from tfcli.decoding.hypothesis import Hypothesis, normalized
from tfcli.interop.ctranslate2 import COMPUTE_TYPES, token_names
from tfcli.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tfcli.decoding.engine import SearchSettings
    from tfcli.interop.ctranslate2 import CTranslate2Precision
    from tfcli.model.config import ModelConfig

# What it can do of what can be asked of a search; a setting that is not named here has to be at its default.
ABLE = {"beam_size", "length_penalty", "n_best", "batch_tokens", "batch_size"}

BEGUN_EACH = (
    4  # batches for each worker, the one it works on among them: so none waits while results are collected
)


def cannot(settings: SearchSettings) -> str | None:
    """Return the name of a setting that this engine does not have, if one is used."""
    for field in fields(settings):
        if field.name not in ABLE and getattr(settings, field.name) != field.default:
            return field.name
    kind = settings.length_penalty.kind
    return None if kind == "average" else f"length_penalty_kind {kind}"


def is_installed() -> bool:
    """Tell whether CTranslate2 can be imported."""
    try:
        import ctranslate2  # noqa: F401
    except ImportError:
        return False
    return True


def pick_ctranslate2_device(name: str) -> str | None:
    """Return `cpu`, `cuda` or `cuda:1` for the name of a device; `auto` takes a CUDA device. None if it has none such."""
    from ctranslate2 import get_cuda_device_count

    if name == "auto":
        return "cuda" if get_cuda_device_count() else "cpu"
    kind, _, index = name.partition(":")
    if name == "cpu":
        return name
    there = kind == "cuda" and (index or "0").isdecimal() and int(index or 0) < get_cuda_device_count()
    return name if there else None


def supports(precision: CTranslate2Precision, device: str) -> bool:
    """Tell whether CTranslate2 computes so on that device."""
    from ctranslate2 import get_supported_compute_types

    return COMPUTE_TYPES[precision] in get_supported_compute_types(device.partition(":")[0])


class CTranslate2Engine:
    """An `Engine` around a converted model. What is asked of it is begun at once, in threads of its own.

    Raises: RuntimeError when the model or a library that it needs cannot be used.
    """

    name = "ctranslate2"

    def __init__(
        self, folder: Path, config: ModelConfig, precision: CTranslate2Precision, device: str
    ) -> None:
        from ctranslate2 import Translator

        kind, _, index = device.partition(":")
        workers, threads = _workers(_cores()) if kind == "cpu" else (1, 0)
        self._translator = Translator(
            str(folder),
            device=kind,
            device_index=int(index or 0),
            compute_type=COMPUTE_TYPES[precision],
            inter_threads=workers,
            intra_threads=threads,
            max_queued_batches=-1,  # callers bound what they ask for
        )
        self._line = _Line(BEGUN_EACH * workers)
        self._tokens = token_names(max(config.src_vocab_size, config.tgt_vocab_size))
        if kind == "cuda":  # libraries of CUDA are first looked for when something is computed
            self._translator.translate_batch([[self._tokens[Tokenizer.eos_id]]], max_decoding_length=1)
        self.device = device
        self.precision: CTranslate2Precision = precision
        self.max_positions = config.max_positions

    def search(
        self,
        sources: Sequence[Sequence[int]],
        max_lengths: Sequence[int],
        settings: SearchSettings,
        prefixes: Sequence[Sequence[int]] | None = None,
    ) -> Iterator[tuple[int, list[Hypothesis]]]:
        """Begin to search; yield each source's place and its hypotheses, long sources first."""
        unable = cannot(settings)
        assert unable is None, unable  # whoever chose this engine has asked
        assert not any(prefixes or ()), "no prefixes"
        batches = [
            _Batch(
                places, partial(self._begin, [sources[i] for i in places], max_lengths[places[0]], settings)
            )
            for places in _batches(sources, max_lengths, settings)
        ]
        self._line.join(batches)
        return self._collect(sources, batches, settings)

    def _begin(self, sources: list[Sequence[int]], max_length: int, settings: SearchSettings) -> list[Any]:
        """Begin to translate a batch.

        CTranslate2 leaves the end mark out of an output that reaches the limit. The reference gives its last place
        to the mark whatever stands before it: the same, with one place less.
        """
        if max_length <= 1:
            return []
        tokens = self._tokens
        begun: list[Any] = self._translator.translate_batch(
            [[tokens[piece] for piece in source] for source in sources],
            asynchronous=True,
            beam_size=settings.beam_size,
            num_hypotheses=settings.n_best,
            length_penalty=settings.length_penalty.exponent,
            max_decoding_length=max_length - 1,
            min_decoding_length=0,
            max_input_length=0,
            return_scores=True,
            return_end_token=True,
        )
        return begun

    def _collect(
        self,
        sources: Sequence[Sequence[int]],
        batches: list[_Batch],
        settings: SearchSettings,
    ) -> Iterator[tuple[int, list[Hypothesis]]]:
        end = self._tokens[Tokenizer.eos_id]
        unscored: list[tuple[int, list[Hypothesis], _Scoring]] = []
        for batch in batches:
            self._line.move_up()
            running = batch.begun()
            if not running:
                unscored += [(i, [], self._begin_to_score(sources[i], [()])) for i in batch.places]
                continue
            for i, task in zip(batch.places, running, strict=True):
                result = task.result()
                found, cut = [], []
                for tokens, score in zip(result.hypotheses, result.scores, strict=True):
                    if tokens and tokens[-1] == end:
                        ids = tuple(map(int, tokens[:-1]))
                        log_prob = score / normalized(1.0, len(tokens), settings.length_penalty)
                        found.append(Hypothesis(ids, log_prob, score))
                    else:
                        cut.append(tuple(map(int, tokens)))
                if cut:
                    unscored.append((i, found, self._begin_to_score(sources[i], cut)))
                else:
                    yield i, found
        for i, found, scoring in unscored:
            yield i, sorted([*found, *scoring.hypotheses(settings)], key=lambda hypothesis: -hypothesis.score)

    def _begin_to_score(self, source: Sequence[int], outputs: list[tuple[int, ...]]) -> _Scoring:
        """Begin to score outputs that were not ended by the search, with the end mark that they get."""
        tokens = self._tokens
        running = self._translator.score_batch(
            [[tokens[piece] for piece in source]] * len(outputs),
            [[tokens[piece] for piece in ids] for ids in outputs],
            max_input_length=0,
            asynchronous=True,
        )
        return _Scoring(outputs, running)


@dataclass
class _Batch:
    """Sources of one search, by their places, and what begins to translate them."""

    places: list[int]
    begin: Callable[[], list[Any]]
    _running: list[Any] | None = None

    def begun(self) -> list[Any]:
        """Begin, unless that was done, and return a task for each place; none where nothing is to be searched."""
        if self._running is None:
            self._running = self.begin()
        return self._running

    def is_done(self) -> bool:
        return all(task.done() for task in self.begun())


class _Line:
    """Batches of all searches in the order they were asked for; so many of them are begun at a time.

    What is begun cannot be called back: an interrupted process ends when that is done.
    """

    def __init__(self, n_begun: int) -> None:
        self._n_begun = n_begun
        self._begun: deque[_Batch] = deque()
        self._waiting: deque[_Batch] = deque()

    def join(self, batches: Sequence[_Batch]) -> None:
        """Put batches at the end of the line."""
        self._waiting.extend(batches)
        self.move_up()

    def move_up(self) -> None:
        """Begin the next batches in place of those that are done."""
        while self._begun and self._begun[0].is_done():
            self._begun.popleft()
        while self._waiting and len(self._begun) < self._n_begun:
            self._begun.append(self._waiting.popleft())
            self._begun[-1].begun()


@dataclass(frozen=True)
class _Scoring:
    """Outputs whose log-probabilities are being computed, behind all that was begun before."""

    outputs: list[tuple[int, ...]]
    running: list[Any]

    def hypotheses(self, settings: SearchSettings) -> list[Hypothesis]:
        """Wait for the log-probabilities."""
        found = []
        for ids, task in zip(self.outputs, self.running, strict=True):
            log_prob = sum(task.result().log_probs)
            found.append(
                Hypothesis(ids, log_prob, normalized(log_prob, len(ids) + 1, settings.length_penalty))
            )
        return found


def _batches(
    sources: Sequence[Sequence[int]], max_lengths: Sequence[int], settings: SearchSettings
) -> list[list[int]]:
    """Cut the sources into batches of one length and one limit, longest first: none is padded, none waits long."""
    alike: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, (source, limit) in enumerate(zip(sources, max_lengths, strict=True)):
        alike[len(source), limit].append(i)
    batches = []
    for (length, _), places in sorted(alike.items(), reverse=True):
        size = settings.batch_size or max(1, settings.batch_tokens // (length * settings.beam_size))
        batches += [places[start : start + size] for start in range(0, len(places), size)]
    return batches


def _cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _workers(cores: int) -> tuple[int, int]:
    """Return how many batches are worked on at a time, and by how many threads each: 2 x 1 beats 1 x 2."""
    workers = min(cores, 8)
    return workers, max(1, cores // workers)
