"""From corpus files to a tokenizer and encoded corpora in a run folder, reused while nothing has changed.

1. The lines are counted and the files' contents hashed; where the recipe asks for it, validation pairs are held out.
2. The tokenizer is trained on the training corpora, if they or its settings have changed, or taken over.
3. Training pairs are cleaned and encoded, validation pairs encoded as they are, if anything has changed.

Everything is written beside and renamed; its fingerprint comes last, so nothing half-written is ever reused. Two
processes that prepare one run do it one after the other.
"""

from __future__ import annotations

import json
import shutil
import time
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tfcli.corpus.duplicates import PairMemory
from tfcli.corpus.encode import EncodedBlock, Encoder
from tfcli.corpus.fingerprint import FileDigests, read_record, write_record
from tfcli.corpus.held_out import HeldOut, hold_out
from tfcli.corpus.label_survey import refuse_unfit_lines, survey_labels
from tfcli.corpus.labels import Labels, keep_labels, labels_for
from tfcli.corpus.run_tokenizer import TokenizerPlan, tokenizer_for, tokenizer_of_pairs
from tfcli.corpus.shards import FORMAT_VERSION, ParallelIds, ShardWriter
from tfcli.corpus.stats import CorpusStats, CorpusTally
from tfcli.corpus.suspicions import Evenness, identical_sides, labels_as_targets, misalignment, swapped_sides
from tfcli.corpus.turns import turn
from tfcli.corpus.workers import in_order, processes_for
from tfcli.errors import CheckpointError, DataError
from tfcli.recipe.tasks import TASKS
from tfcli.text.cleaning import DUPLICATE, KEYS, CleaningRules
from tfcli.text.pairs import text_blocks
from tfcli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tfcli.recipe.schema import Recipe
    from tfcli.text.files import CorpusFiles
    from tfcli.text.tokenizer import Tokenizer

_PROGRESS_SECONDS = 5.0
_TRAIN_ONE = TokenizerPlan()


@dataclass(frozen=True)
class Prepared:
    """What training starts from.

    `valid_files` is the validation text, given or held out. `stats` has a row for each training corpus and one for
    validation, `digests` the SHA-256 of every file's uncompressed content by path; `reused` says that nothing had
    to be made anew.
    """

    tokenizer: Tokenizer
    train: ParallelIds
    valid: ParallelIds
    valid_files: CorpusFiles
    stats: list[CorpusStats]
    warnings: list[str]
    digests: dict[str, str]
    reused: bool
    labels: Labels | None = None
    """Of a classifier."""


@dataclass(frozen=True)
class _Job:
    """One encoded corpus to be: where it goes and all that it depends on."""

    folder: Path
    names: list[str]
    corpora: Sequence[CorpusFiles]
    lines: int
    fingerprint: dict[str, Any]
    rules: CleaningRules | None
    max_positions: int
    labels: Labels | None = None
    max_pieces: int = 0

    @property
    def entry(self) -> str:
        """One of what it holds."""
        return TASKS["translation" if self.labels is None else "classification"].entry


def prepare(
    recipe: Recipe,
    train: Sequence[CorpusFiles],
    valid: CorpusFiles | None,
    run_dir: Path,
    report: Callable[[str], None],
    plan: TokenizerPlan = _TRAIN_ONE,
) -> Prepared:
    """Make the tokenizer and encode the corpora into the run folder, or take what is there already.

    `valid` None: the pairs that `data.valid` holds out of the training text.

    Raises: DataError when the text cannot be used, RecipeError when the tokenizer's settings do not suit it,
    CheckpointError when the run has checkpoints and its tokenizer would become another one.
    """
    folder = run_dir / "corpus"
    digests = FileDigests(folder / "files.json")
    given = [*train, *([] if valid is None else [valid])]
    digests.read(given)
    for files in given:
        digests.pairs(files)  # before there is a run folder: none for text that cannot be used
    lines = sum(map(digests.pairs, train))
    labels = _labels(recipe, (train, lines), valid, run_dir, replace_run=plan.replace)
    with writing(run_dir), turn(folder, report):
        train_digests = [digests.of(files) for files in train]
        held_out = None
        if valid is None:
            held_out = hold_out(recipe, train, train_digests, lines, folder, report)
            valid = held_out.files
            digests.read([valid])
        valid_digests = digests.of(valid)
        digests.remember()
        train_one = partial(tokenizer_of_pairs, recipe, (train, lines, valid), report)
        tokenizer, same_tokenizer = tokenizer_for(recipe, train_one, train_digests, run_dir, report, plan)
        train_job = _train_job(recipe, folder, (train, lines), train_digests, tokenizer, held_out)
        valid_job = _valid_job(
            recipe, folder, (valid, digests.pairs(valid)), [valid_digests, *train_digests], tokenizer
        )
        train_job, valid_job = (_labelled(job, labels, recipe) for job in (train_job, valid_job))
        train_ids, train_record, same_train = _encoded(train_job, tokenizer, train[0], report)
        valid_ids, valid_record, same_valid = _encoded(valid_job, tokenizer, train[0], report)
        if labels is not None:
            labels = labels.counted_in(train_ids)
            keep_labels(labels, run_dir)
    for doubt in labels.doubts if labels is not None else ():
        report(f"warning: {doubt}")
    records = (train_record, valid_record)
    warnings = [str(warning) for record in records for warning in record["warnings"]]
    for record, same in zip(records, (same_train, same_valid), strict=True):
        for warning in [] if same else record["warnings"]:
            report(f"warning: {warning}")
    return Prepared(
        tokenizer=tokenizer,
        train=train_ids,
        valid=valid_ids,
        valid_files=valid,
        stats=[CorpusStats.from_json(stats) for record in records for stats in record["stats"]],
        warnings=warnings,
        digests=digests.all(),
        reused=same_tokenizer and same_train and same_valid,
        labels=labels,
    )


def _labels(
    recipe: Recipe,
    text: tuple[Sequence[CorpusFiles], int],
    valid: CorpusFiles | None,
    run_dir: Path,
    *,
    replace_run: bool,
) -> Labels | None:
    """Return the labels of a classifier's training text, which has so many lines; validation text has no others."""
    if recipe.task != "classification":
        return None
    train, lines = text
    labels = labels_for(survey_labels(train, lines), train, run_dir, replace_run=replace_run)
    if valid is not None:
        refuse_unfit_lines(valid, labels.names)
    return labels


def _labelled(job: _Job, labels: Labels | None, recipe: Recipe) -> _Job:
    """Return a job whose targets are labels, where there are any."""
    if labels is None:
        return job
    fields = [asdict(files.fields) if files.fields is not None else None for files in job.corpora]
    depends = {"labels": labels.names, "fields": fields, "max_pieces": recipe.data.max_pieces}
    fingerprint = {**job.fingerprint, **json.loads(json.dumps(depends))}  # as it is read back
    return replace(job, fingerprint=fingerprint, labels=labels, max_pieces=recipe.data.max_pieces)


def _train_job(
    recipe: Recipe,
    folder: Path,
    text: tuple[Sequence[CorpusFiles], int],
    digests: list[dict[str, str]],
    tokenizer: Tokenizer,
    held_out: HeldOut | None,
) -> _Job:
    corpora, lines = text
    rules = CleaningRules.of(recipe.data, held_out.rule if held_out is not None else None)
    names = ["train"] if len(corpora) == 1 else [f"train[{i}]" for i in range(len(corpora))]
    fingerprint = {
        "format": FORMAT_VERSION,
        "tokenizer": tokenizer.digest,
        "files": digests,
        "cleaning": asdict(rules),
    }
    return _Job(folder / "train", names, corpora, lines, fingerprint, rules, recipe.model.max_positions)


def _valid_job(
    recipe: Recipe,
    folder: Path,
    text: tuple[CorpusFiles, int],
    digests: list[dict[str, str]],
    tokenizer: Tokenizer,
) -> _Job:
    corpus, lines = text
    max_positions = recipe.model.max_positions
    # held-out pairs are cleaned as training text is, for the loss; validation BLEU is of all of them
    rules = CleaningRules.of(recipe.data) if recipe.data.valid.held_out else None
    fingerprint = {
        "format": FORMAT_VERSION,
        "tokenizer": tokenizer.digest,
        "files": digests,  # the training files' as well: the warning about swapped sides compares with them
        "max_positions": max_positions,
        "cleaning": asdict(rules) if rules is not None else None,
    }
    return _Job(folder / "valid", ["valid"], [corpus], lines, fingerprint, rules, max_positions)


@contextmanager
def writing(run_dir: Path) -> Iterator[None]:
    """Turn what may go wrong while a run folder is written into an error that names the file.

    Raises: DataError.
    """
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot write {error.filename or run_dir}: {error.strerror or error}",
            "check that the run folder may be written and that its disk has room",
        ) from error


def _encoded(
    job: _Job, tokenizer: Tokenizer, reference: CorpusFiles, report: Callable[[str], None]
) -> tuple[ParallelIds, dict[str, Any], bool]:
    """Return an encoded corpus with its record, and whether it was there."""
    record = read_record(job.folder / "record.json")
    if record is not None and record.get("made_from") == job.fingerprint:
        try:
            return ParallelIds.open(job.folder), record, True
        except CheckpointError as error:
            report(f"{error.message}; encoding it again")
    ours = any((job.folder / name).is_file() for name in ("record.json", "meta.json"))
    if job.folder.exists() and not ours and any(job.folder.iterdir()):
        raise DataError(f"{job.folder}: holds files that tfcli did not write", "give another --out")
    beside = job.folder.with_name(job.folder.name + ".part")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        tallies, blocks = _write(job, beside, tokenizer, report)
        stats = [tally.stats(name) for tally, name in zip(tallies, job.names, strict=True)]
        cut = [tally.cut for tally in tallies]
        warnings = [*_warnings(job, stats, blocks, reference), *_cut_texts(job, cut)]
        _refuse_empty(job, stats)
        record = {
            "made_from": job.fingerprint,
            "stats": [row.as_json() for row in stats],
            "warnings": warnings,
        }
        write_record(beside / "record.json", record)
        shutil.rmtree(job.folder, ignore_errors=True)
        beside.rename(job.folder)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return ParallelIds.open(job.folder), record, False


def _write(
    job: _Job, folder: Path, tokenizer: Tokenizer, report: Callable[[str], None]
) -> tuple[list[CorpusTally], list[list[Evenness]]]:
    """Encode and write the corpora of a job; return the counts and the evenness of each."""
    tallies = [CorpusTally() for _ in job.corpora]
    evenness: list[list[Evenness]] = [[] for _ in job.corpora]
    memory = PairMemory(job.lines) if job.rules is not None and job.rules.drop_duplicates else None
    done, last_said = 0, time.monotonic()
    encoded = in_order(
        Encoder(tokenizer, job.rules, job.labels, job.max_pieces),
        text_blocks(job.corpora),
        processes_for(job.lines),
    )
    with (
        closing(encoded) as blocks,
        ShardWriter(folder, tokenizer.src_vocab_size, tokenizer.tgt_vocab_size) as writer,
    ):
        for block in blocks:
            if job.rules is None:
                _refuse_too_long(job, block)
            src, tgt = block.src, block.tgt
            tally = tallies[block.corpus]
            if memory is not None and block.keys is not None:
                chosen = memory.first_time(block.keys)
                tally.dropped[DUPLICATE] += int(np.count_nonzero(~chosen))
                src, tgt = src.select(chosen), tgt.select(chosen)
            writer.append(src.block, tgt.block)
            tally.lines += block.lines
            tally.kept += len(src.block.lengths)
            tally.cut += block.cut
            tally.dropped.update(block.dropped)
            tally.src.add(int(src.words.sum()), int(src.unknown.sum()), src.block.lengths)
            tally.tgt.add(int(tgt.words.sum()), int(tgt.unknown.sum()), tgt.block.lengths)
            if block.evenness is not None:
                evenness[block.corpus].append(block.evenness)
            done += block.lines
            if time.monotonic() - last_said > _PROGRESS_SECONDS:
                report(f"encoding {job.folder.name}: {done:,} of {counted(job.lines, job.entry)}")
                last_said = time.monotonic()
    return tallies, evenness


def _refuse_too_long(job: _Job, block: EncodedBlock) -> None:
    files = job.corpora[block.corpus]
    for path, side in ((files.paths[0], block.src), (files.paths[-1], block.tgt)):
        too_long = np.flatnonzero(side.block.lengths > job.max_positions)
        if len(too_long):
            raise DataError(
                f"{path}:{block.first_line + too_long[0]}: {side.block.lengths[too_long[0]]} pieces, end mark "
                f"included, but the network takes {job.max_positions} (model.max_positions)",
                f"remove the {job.entry} from the validation corpus, which is never cleaned, or raise model.max_positions",
            )


def _refuse_empty(job: _Job, stats: Sequence[CorpusStats]) -> None:
    if any(row.kept for row in stats):
        return
    lines = sum(row.lines for row in stats)
    if not lines:
        raise DataError(f"data.{job.folder.name}: no lines in {_paths(job.corpora)}", "check the files")
    reasons = ", ".join(f"{row.name} {reason} {n:,}" for row in stats for reason, n in row.dropped.items())
    keys = list(dict.fromkeys(KEYS[reason] for row in stats for reason in row.dropped if reason in KEYS))
    all_pairs = f"the only {job.entry} was" if lines == 1 else f"all {lines:,} {job.entry}s were"
    raise DataError(
        f"data.{job.folder.name}: {all_pairs} dropped ({reasons})",
        "check the files" + (f", or change {' and '.join(keys)}" if keys else ""),
    )


def _paths(corpora: Sequence[CorpusFiles]) -> str:
    return ", ".join(str(path) for files in corpora for path in files.paths)


def _cut_texts(job: _Job, cut: Sequence[int]) -> Iterator[str]:
    for name, n in zip(job.names, cut, strict=True):
        if n:
            verb = "has" if n == 1 else "have"
            yield f"{name}: {counted(n, 'text')} {verb} more than data.max_pieces ({job.max_pieces}) pieces and {'is' if n == 1 else 'are'} cut there"


def _warnings(
    job: _Job, stats: Sequence[CorpusStats], blocks: Sequence[list[Evenness]], reference: CorpusFiles
) -> list[str]:
    found: list[str | None] = []
    for row, files, evenness in zip(stats, job.corpora, blocks, strict=True):
        found.append(misalignment(row.name, evenness))
        if job.labels is None:
            found.append(identical_sides(files, row.name))
            found.append(labels_as_targets(files, row.name) if job.folder.name == "train" else None)
        if files != reference and job.labels is None:
            found.append(swapped_sides(reference, files, row.name))
        if row.kept < row.lines / 2:
            reasons = ", ".join(f"{reason} {n:,}" for reason, n in row.dropped.items())
            dropped = f"{row.lines - row.kept:,} of {counted(row.lines, job.entry)}"
            found.append(f"{row.name}: {dropped} {'was' if row.lines == 1 else 'were'} dropped ({reasons})")
        sides = (("source", row.src), ("target", row.tgt)) if job.labels is None else (("text", row.src),)
        for side, counts in sides:
            if counts.unknown_rate > 0.01:
                found.append(
                    f"{row.name}: {counts.unknown_rate:.1%} of the {side} pieces are unknown to the tokenizer; "
                    "tokenizer.byte_fallback: true would keep them"
                )
    return [warning for warning in found if warning]
