"""`scores.json`: what a run scores now, and every evaluation of it that was kept.

sets, model, decoding, created   the newest scores of the present weights and settings
test_sets                        which texts these are the scores of
history                          one entry an evaluation, the oldest first
"""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from tfcli import __version__
from tfcli.errors import DataError
from tfcli.scoring.results import as_json
from tfcli.text.whole_file import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tfcli.scoring.evaluation import HeldOutSet
    from tfcli.scoring.results import SetResult

SCORES_FILE = "scores.json"
_OF_AN_ENTRY = ("created", "model", "decoding", "sets")
_DAMAGED_HINT = "mend the file or move it away"


class _Interval(BaseModel, strict=True, allow_inf_nan=False):
    low: float
    high: float


class _Score(BaseModel, strict=True, allow_inf_nan=False):
    score: float
    interval: _Interval | None = None


class _Entry(BaseModel, strict=True):
    """What is read of an evaluation; of what else stands there, nothing is expected."""

    created: str = ""
    model: dict[str, Any] = {}
    decoding: dict[str, Any] = {}
    sets: dict[str, dict[str, _Score]] = {}


class _File(_Entry, strict=True):
    test_sets: dict[str, dict[str, Any]] = {}
    history: list[_Entry] = []


@dataclass(frozen=True)
class Origin:
    """What scores are of: the weights and how they decoded; and what made them."""

    model: dict[str, Any]
    decoding: dict[str, Any]
    command: list[str]
    commit: str | None


def write_scores(
    path: Path, results: Sequence[SetResult], origin: Origin, warn: Callable[[str], None]
) -> None:
    """Add an evaluation to a run's `scores.json`; `warn` is told of a damaged one, which is put aside.

    Sets and metrics that were not scored this time keep the scores that the same weights got with the same decoding.

    Raises: DataError when it cannot be written.
    """
    before = _read_or_put_aside(path, warn)
    found = as_json(results)
    same = before.get("model") == origin.model and before.get("decoding") == origin.decoding
    sets = dict(before.get("sets", {})) if same else {}
    texts = dict(before.get("test_sets", {})) if same else {}
    for result in results:
        text = _text_of(result)
        kept = sets.get(result.name, {}) if texts.get(result.name, text) == text else {}
        sets[result.name] = {**kept, **found["sets"][result.name]}
        texts[result.name] = text
    created = datetime.now(UTC).isoformat(timespec="seconds")
    entry = {
        "created": created,
        "command": origin.command,
        "tfcli_version": __version__,
        "commit": origin.commit,
        "model": origin.model,
        "decoding": origin.decoding,
        **found,
    }
    record = {
        "sets": sets,
        "model": origin.model,
        "decoding": origin.decoding,
        "created": created,
        "test_sets": texts,
        "history": [*_history_of(before), entry],
    }
    write_text(path, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def read_history(path: Path) -> list[dict[str, Any]]:
    """Return the evaluations that a `scores.json` keeps, the oldest first; those without a score are left out.

    Raises: DataError when there is none, or the file is damaged.
    """
    there = path.is_file()
    entries = _history_of(_read(path)) if there else []
    scored = [entry for entry in entries if any(entry.get("sets", {}).values())]
    if not scored:
        problem = "no score in it" if there else "no such file"
        raise DataError(f"{path}: {problem}: nothing was scored yet", f"`tfcli eval {path.parent}` does so")
    return scored


def refuse_another_text(path: Path, held_out: HeldOutSet, called: str) -> None:
    """Refuse a baseline whose `scores.json` says that its set of this name is another text; `called` names it.

    Raises: DataError.
    """
    known = _read(path).get("test_sets", {}).get(held_out.name) if path.is_file() else None
    if known is None:
        return
    now = _text_of(held_out)
    called_by = {"src": "sources", "references": "references"}
    differing = [name for key, name in called_by.items() if known.get(key) != now[key]]
    if differing:
        raise DataError(
            f"{called}: its {held_out.name} is another text: the {' and the '.join(differing)} differ",
            "score it again on these files, or give a file of translations of them",
        )


def _text_of(text: HeldOutSet | SetResult) -> dict[str, Any]:
    return {
        "lines": len(text.references[0]),
        "src": None if text.src is None else sha256_of_lines(text.src),
        "references": [sha256_of_lines(reference) for reference in text.references],
    }


def sha256_of_lines(lines: Sequence[str]) -> str:
    """Return the checksum of a text: that of its file, uncompressed, if each line ends in one feed."""
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def _history_of(record: dict[str, Any]) -> list[dict[str, Any]]:
    if "history" in record:
        return list(record["history"])
    # before there was a history, a file was one evaluation
    return [{key: record[key] for key in _OF_AN_ENTRY if key in record}] if record.get("sets") else []


def _read(path: Path) -> dict[str, Any]:
    """Return what the file holds.

    Raises: DataError when it is damaged.
    """
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        _File.model_validate(record)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        what = first["msg"].removeprefix("Input ").partition(" or instance of")[0]
        raise DataError(f"{path}: damaged: {place}: {what[0].lower()}{what[1:]}", _DAMAGED_HINT) from error
    except ValueError as error:
        raise DataError(f"{path}: damaged: {error}", _DAMAGED_HINT) from error
    return record


def _read_or_put_aside(path: Path, warn: Callable[[str], None]) -> dict[str, Any]:
    """Return what the file holds; a damaged one gets another name, so that nothing is lost."""
    if not path.is_file():
        return {}
    try:
        return _read(path)
    except DataError as error:
        names = (path.with_name(f"{path.stem}.damaged-{number}.json") for number in itertools.count(1))
        aside = next(name for name in names if not name.exists())
        path.rename(aside)
        warn(f"{error.message}; it is now {aside.name}, and a new one is begun")
        return {}


def write_text(path: Path, text: str) -> None:
    """Write a file in one stroke.

    Raises: DataError when it cannot be written.
    """
    try:
        write_whole(path, text)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written: {error.strerror or error}",
            "check the path, its permissions and the space on the disk",
        ) from error
