"""What a run starts from: the model that `--init` names, what it began with when it resumes, or random weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tfcli.corpus.initial import Initial, read_initial
from tfcli.errors import RecipeError

if TYPE_CHECKING:
    from tfcli.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Start:
    """What stands on the command line about where a run starts; `init` is what `--init` names."""

    init: Initial | None = None
    fresh: bool = False

    def of(self, run_dir: Path) -> Initial | None:
        """Return what the run in a folder starts from, or has started from.

        Raises: RecipeError when that is something else than `--init` names.
        """
        if self.fresh:
            return self.init
        recorded = read_initial(run_dir)
        if self.init is None:
            return recorded
        if any(run_dir.glob("checkpoints/step-*")) and (
            recorded is None or recorded.sha256 != self.init.sha256
        ):
            raise RecipeError(
                f"{run_dir}: the run was started with other settings\n"
                f"--init: {_named(recorded)} -> {_named(self.init)}",
                "leave --init out to resume, use --fresh to start over, or another --out",
            )
        return self.init


def open_start(init: Path | None, *, fresh: bool) -> Start:
    """Read what `--init` names.

    Raises: CheckpointError when it is no model.
    """
    if init is None:
        return Start(fresh=fresh)
    from tfcli.training.initial import open_initial

    return Start(open_initial(init), fresh)


def refuse_own_model(initial: Initial | None, run_dir: Path) -> None:
    """Make sure that a run does not start from what it is going to overwrite.

    Raises: RecipeError.
    """
    if initial is not None and Path(initial.folder).resolve().is_relative_to(run_dir.resolve()):
        raise RecipeError(
            f"--init {initial.folder}: the run's own folder, whose model it would replace",
            "give another --out, or copy best/ to another place and start from there",
        )


def tokenizer_of(initial: Initial | None, run_dir: Path) -> "Tokenizer | None":
    """Return the tokenizer that a run takes over; a run that goes on has it in its own folder.

    Raises: CheckpointError when it is missing or damaged.
    """
    from tfcli.text.tokenizer import Tokenizer

    if initial is None:
        return None
    return Tokenizer.load(run_dir if read_initial(run_dir) == initial else Path(initial.folder))


def _named(initial: Initial | None) -> str:
    return f"{initial.folder} (weights {initial.sha256[:12]})" if initial is not None else "none"
