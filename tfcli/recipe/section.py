"""What every section of a recipe is made of: a strict model, types with their limits, and how a contradiction is told."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, lt=1)]
SHA256_PATTERN = r"^[0-9a-f]{64}$"
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
SYMBOL_PATTERN = r"^\S+$"
PATTERN_MEANINGS = {
    SHA256_PATTERN: "64 hexadecimal digits in lower case",
    NAME_PATTERN: "a name of letters, digits, '.', '_' and '-' that starts with a letter or a digit",
    SYMBOL_PATTERN: "text without white space",
}
"""What each pattern asks for, for the error message."""
Sha256 = Annotated[str, StringConstraints(pattern=SHA256_PATTERN)]
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Path = Annotated[str, StringConstraints(min_length=1)]


def contradiction(key: str, message: str) -> PydanticCustomError:
    """Return the error that says which key of this section does not agree with the others."""
    return PydanticCustomError("contradiction", "{message}", {"key": key, "message": message})


class Section(BaseModel):
    """A part of a recipe: unknown keys are refused, types are not guessed, values cannot change."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)
