"""What a run takes over from the model that it starts from: `initial.json` in its folder.

The file is there as long as the run is: who resumes it need not say again where it started.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tfcli.errors import CheckpointError
from tfcli.text.whole_file import write_whole

if TYPE_CHECKING:
    from pathlib import Path

FILE = "initial.json"


@dataclass(frozen=True)
class Initial:
    """A model folder that a run starts from: the SHA-256 of its weights, what it says of sections of a recipe, its task."""

    folder: str
    sha256: str
    sections: dict[str, dict[str, Any]]
    task: str = "translation"


def read_initial(run_dir: Path) -> Initial | None:
    """Return what the run in a folder started from; None when that is random weights, or there is no run.

    Raises: CheckpointError when the file is damaged.
    """
    path = run_dir / FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        task = str(values.get("task", "translation"))
        return Initial(str(values["folder"]), str(values["sha256"]), dict(values["sections"]), task)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: cannot be read: {error}", "put a copy of it back, or start over with --fresh"
        ) from error


def write_initial(run_dir: Path, initial: Initial) -> None:
    """Write down what a run starts from.

    Raises: OSError when it cannot be written.
    """
    write_whole(run_dir / FILE, json.dumps(asdict(initial), indent=2, ensure_ascii=False) + "\n")
