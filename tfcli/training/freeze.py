"""Freezing: parameters that training leaves as they are, chosen by how their names begin.

A prefix ends where a part of the name does: `encoder.1` is layer 1 of the encoder, not layer 10. A matrix that is
tied has several names and is frozen if one of them is.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from tfcli.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn


def freeze(model: nn.Module, prefixes: Sequence[str]) -> list[str]:
    """Freeze what `prefixes` name; return the names that are frozen only because their matrix is tied to one of those.

    Raises: RecipeError when a prefix begins no parameter's name, or when nothing would be left to train.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for prefix in prefixes:
        if not any(_begins(name, prefix) for name in parameters):
            raise RecipeError(
                f"training.freeze: no parameter's name begins with '{prefix}'",
                _near_names(prefix, parameters),
            )
    chosen = [name for name in parameters if any(_begins(name, prefix) for prefix in prefixes)]
    for name in chosen:
        parameters[name].requires_grad_(False)
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise RecipeError(
            "training.freeze: every parameter is frozen, so there is nothing to train", "take some names out"
        )
    return [name for name in parameters if name not in chosen and not parameters[name].requires_grad]


def _begins(name: str, prefix: str) -> bool:
    return f"{name}.".startswith(f"{prefix}.")


def _near_names(prefix: str, names: dict[str, nn.Parameter]) -> str:
    """Say which prefixes look like the one that was given, or which there are at the top."""
    parts = [name.split(".") for name in names]
    known = dict.fromkeys(".".join(part[:depth]) for part in parts for depth in range(1, len(part) + 1))
    near = difflib.get_close_matches(prefix, known, n=4)
    return (
        f"near names: {', '.join(near)}"
        if near
        else f"the top names: {', '.join(dict.fromkeys(part[0] for part in parts))}"
    )
