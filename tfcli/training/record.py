"""What a run writes down about itself: `metrics.jsonl` and, where TensorBoard is installed, its events."""

from __future__ import annotations

import importlib.util
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


class Record:
    """Appends rows to `metrics.jsonl`, each with a `step` and a `kind` ("train", "valid" or "average")."""

    def __init__(self, run_dir: Path, step: int) -> None:
        """Open the record of a run that stands at `step`; rows of later steps, which a crash undid, are dropped."""
        self._path = run_dir / "metrics.jsonl"
        # whoever comes here has yet to average: a row that says it was done is of an end that a crash cut short
        rows = [row for row in read_rows(self._path) if row["step"] <= step and row["kind"] != "average"]
        beside = self._path.with_name(".metrics.jsonl.new")
        beside.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        beside.replace(self._path)
        self._stream = self._path.open("a", encoding="utf-8")
        self._board: Any = None
        if importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(run_dir / "tensorboard"), purge_step=step + 1)

    def add(self, kind: str, step: int, values: dict[str, float]) -> None:
        """Write one row."""
        self._stream.write(json.dumps({"step": step, "kind": kind, **values}) + "\n")
        self._stream.flush()
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """Flush and close."""
        self._stream.close()
        if self._board is not None:
            self._board.close()


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a `metrics.jsonl`; a last line that a crash cut short is left out."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows
