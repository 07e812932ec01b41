"""Text to encoded blocks, in order, on all cores when there is enough of it.

A block of lines goes to a worker, which encodes, cleans and counts; the parent drops duplicates, adds up and
writes. Blocks come back in the order of the text, so one process and many give the same bytes.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter, deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tfcli.corpus.shards import IdBlock, id_dtype
from tfcli.corpus.suspicions import Evenness, evenness
from tfcli.errors import DataError
from tfcli.text.cleaning import CleaningRules, pair_key
from tfcli.text.pairs import read_pairs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from tfcli.text.files import CorpusFiles
    from tfcli.text.tokenizer import Tokenizer

# Large enough to make the way to a worker cheap, small enough that a few per core cost little memory.
BLOCK_LINES = 8192
# Starting processes takes a second or two, in which one core encodes about this many lines.
LINES_WORTH_PROCESSES = 50_000


@dataclass(frozen=True)
class TextBlock:
    """Consecutive lines of one corpus; `first_line` counts from 1."""

    corpus: int
    first_line: int
    pairs: list[tuple[str, str]]


@dataclass(frozen=True)
class EncodedSide:
    """One side of the pairs of a block that were kept. Shapes: words (pairs,), unknown (pairs,)."""

    block: IdBlock
    words: NDArray[np.int32]
    unknown: NDArray[np.int32]

    def select(self, chosen: NDArray[np.bool_]) -> EncodedSide:
        """Return the pairs that are chosen. Shapes: chosen (pairs,)."""
        return EncodedSide(self.block.select(chosen), self.words[chosen], self.unknown[chosen])


@dataclass(frozen=True)
class EncodedBlock:
    """A block of lines encoded: what was kept, and what was dropped and why."""

    corpus: int
    first_line: int
    lines: int
    src: EncodedSide
    tgt: EncodedSide
    dropped: Counter[str]
    keys: list[bytes]
    evenness: Evenness | None


@dataclass(frozen=True)
class Encoder:
    """Encode blocks of text; `rules` None keeps every pair."""

    tokenizer: Tokenizer
    rules: CleaningRules | None

    def __call__(self, block: TextBlock) -> EncodedBlock:
        """Encode one block."""
        rules = self.rules
        src_ids = self.tokenizer.encode_src_many([src for src, _ in block.pairs])
        tgt_ids = self.tokenizer.encode_tgt_many([tgt for _, tgt in block.pairs])
        dropped: Counter[str] = Counter()
        kept = []
        for index, ((src, tgt), src_pieces, tgt_pieces) in enumerate(
            zip(block.pairs, src_ids, tgt_ids, strict=True)
        ):
            reason = rules and rules.objection(src, tgt, len(src_pieces), len(tgt_pieces))
            if reason:
                dropped[reason] += 1
            else:
                kept.append(index)
        pairs = [block.pairs[i] for i in kept]
        return EncodedBlock(
            corpus=block.corpus,
            first_line=block.first_line,
            lines=len(block.pairs),
            src=self._side(
                [src for src, _ in pairs], [src_ids[i] for i in kept], self.tokenizer.src_vocab_size
            ),
            tgt=self._side(
                [tgt for _, tgt in pairs], [tgt_ids[i] for i in kept], self.tokenizer.tgt_vocab_size
            ),
            dropped=dropped,
            keys=[pair_key(*pair) for pair in pairs] if rules and rules.drop_duplicates else [],
            evenness=evenness(block.pairs, block.first_line),
        )

    def _side(self, texts: Sequence[str], sentences: Sequence[list[int]], vocab_size: int) -> EncodedSide:
        unk_id, eos_id = self.tokenizer.unk_id, self.tokenizer.eos_id
        return EncodedSide(
            IdBlock.of([[*ids, eos_id] for ids in sentences], id_dtype(vocab_size)),
            words=np.array([len(text.split()) for text in texts], dtype=np.int32),
            unknown=np.array([ids.count(unk_id) for ids in sentences], dtype=np.int32),
        )


def text_blocks(corpora: Sequence[CorpusFiles]) -> Iterator[TextBlock]:
    """Yield the lines of the corpora, one after the other.

    Raises: DataError when a line cannot be read.
    """
    for corpus, files in enumerate(corpora):
        pairs, first_line = read_pairs(files), 1
        while lines := list(islice(pairs, BLOCK_LINES)):
            yield TextBlock(corpus, first_line, lines)
            first_line += len(lines)


def encode_blocks(encoder: Encoder, blocks: Iterable[TextBlock], processes: int) -> Iterator[EncodedBlock]:
    """Yield the blocks encoded, in their order, by this process or by several others.

    Raises: DataError when a process is killed, as for want of memory.
    """
    if processes <= 1:
        yield from map(encoder, blocks)
        return
    # Spawned, not forked: a fork inherits locks of threads that do not exist in it.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, initializer=_Worker.start, initargs=(encoder,))
    try:
        pending: deque[Future[EncodedBlock]] = deque()
        for block in blocks:
            pending.append(pool.submit(_Worker.encode, block))
            # Two for each process keep all busy; more would fill the memory with a corpus read ahead.
            if len(pending) > 2 * processes:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    except BrokenProcessPool as error:
        raise DataError(
            "a process that encoded the corpus was killed, perhaps for want of memory",
            "free some memory and run again",
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def processes_for(lines: int) -> int:
    """Return how many processes encode this many lines fastest on this machine."""
    if lines < LINES_WORTH_PROCESSES:
        return 1
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows
        return os.cpu_count() or 1


class _Worker:
    """The state of a worker process: its encoder, sent once."""

    encoder: ClassVar[Encoder]

    @classmethod
    def start(cls, encoder: Encoder) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
        cls.encoder = encoder

    @classmethod
    def encode(cls, block: TextBlock) -> EncodedBlock:
        return cls.encoder(block)
