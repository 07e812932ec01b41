"""What a baseline said of a test set: a file of translations, or a run that was scored on the same set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfcli.errors import CheckpointError
from tfcli.scoring.history import SCORES_FILE, refuse_another_text
from tfcli.scoring.metrics import check_counts
from tfcli.text.lines import read_lines

if TYPE_CHECKING:
    from pathlib import Path

    from tfcli.scoring.evaluation import HeldOutSet


def read_baseline(path: Path, held_out: HeldOutSet) -> list[str]:
    """Return the baseline's translations of a test set.

    Raises: CheckpointError for a folder that holds none, DataError when they are of another test set.
    """
    file = _translations(path, held_out.name)
    if path.is_dir():
        refuse_another_text(path / SCORES_FILE, held_out, f"--baseline {path}")
    hypotheses = list(read_lines(file))
    names = [
        f"--baseline {file}",
        *(f"reference {n} of {held_out.name}" for n in range(1, len(held_out.references) + 1)),
    ]
    check_counts(hypotheses, held_out.references, names)
    return hypotheses


def _translations(path: Path, name: str) -> Path:
    """Return the file of a baseline: itself, or in a run's folder or that of `--out`, the one of the test set."""
    if not path.is_dir():
        return path
    found = next(
        (file for file in (path / "eval" / f"{name}.hyp", path / f"{name}.hyp") if file.is_file()), None
    )
    if found is None:
        raise CheckpointError(
            f"--baseline {path}: it has no translations of {name}: no file {path / 'eval' / f'{name}.hyp'}",
            f"`tfcli eval {path}` makes those of its own test sets; for other text, `tfcli eval {path} --src ... --out DIR`, and DIR as baseline",
        )
    return found
