"""The errors a user may meet, each with an exit code and what to do next.

    TfcliError
    |-- RecipeError      2   a recipe, an option, a device or a precision that cannot be used
    |-- DataError        3   a text file that cannot be read or written as asked
    |-- CheckpointError  4   a run folder, model folder or checkpoint that is missing or damaged
    `-- TrainingError    5   training that cannot go on

Running out of memory, which many libraries tell in many ways, is recognized here, too.

They are raised where the value is used and caught once, in `app.py`, which prints the message and the
hint on stderr. `assert` and `ValueError` are for programmers' mistakes only.
"""

from __future__ import annotations

# What torch's and CTranslate2's allocators, cuBLAS and oneDNN say.
_SIGNS = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "could not create a memory object",
)


class TfcliError(Exception):
    """Anything a user can mend: `message` says what was expected and what came, `hint` what to do."""

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class RecipeError(TfcliError):
    """A recipe, a command-line option, a device or a precision that cannot be used."""

    exit_code = 2


class DataError(TfcliError):
    """A text file that cannot be read, or an output that cannot be written."""

    exit_code = 3


class CheckpointError(TfcliError):
    """A run folder, model folder, tokenizer or checkpoint that is missing or damaged."""

    exit_code = 4


class TrainingError(TfcliError):
    """Training that cannot go on."""

    exit_code = 5


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error, of whatever device, means that an allocation failed; torch's own is a RuntimeError."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)
    )
