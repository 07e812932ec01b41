"""COMET, by its own package, where it is installed: a network judges each line with its source and reference.

tfcli fetches nothing for it: the model is a file that the user has, or one that the package is told to fetch.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfcli.errors import DataError, RecipeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

BATCH_SIZE = 16


class Comet:
    """A COMET model, ready to judge; `signature` names it and the package."""

    def __init__(self, model: str, *, fetch: bool, gpus: int) -> None:
        """Load a model from its checkpoint, or from the folder that holds it; with `fetch`, also by its name.

        Raises: RecipeError when the package is missing, DataError when there is no such model or it cannot be loaded.
        """
        package = require_package()
        checkpoint = _checkpoint(package, model, fetch=fetch)
        try:
            self._model = package.load_from_checkpoint(str(checkpoint))
        except Exception as error:  # what comes depends on the package, on torch and on the file
            raise DataError(
                f"--comet-model {checkpoint}: COMET cannot load it: {error}",
                "give the checkpoint of a COMET model, checkpoints/model.ckpt",
            ) from error
        self._gpus = gpus
        self.signature = f"model:{model}|version:{getattr(package, '__version__', 'unknown')}"

    def judge(
        self, src: Sequence[str], hypotheses: Sequence[str], reference: Sequence[str]
    ) -> NDArray[np.float64]:
        """Return the score of each line, times 100."""
        triples = [
            {"src": source, "mt": said, "ref": expected}
            for source, said, expected in zip(src, hypotheses, reference, strict=True)
        ]
        found = self._model.predict(triples, batch_size=BATCH_SIZE, gpus=self._gpus, progress_bar=False)
        return 100 * np.array(found.scores, dtype=np.float64)


def require_package() -> Any:
    """Return COMET's package, before anything else is loaded for it.

    Raises: RecipeError when it is missing.
    """
    try:
        return importlib.import_module("comet")
    except ImportError as error:
        raise RecipeError(
            f"--metric comet: COMET's package cannot be imported: {error}", "pip install unbabel-comet"
        ) from error


def _checkpoint(package: Any, model: str, *, fetch: bool) -> Path:
    path = Path(model)
    inside = path / "checkpoints" / "model.ckpt"
    if path.is_file() or inside.is_file():
        return path if path.is_file() else inside
    if not fetch:
        raise DataError(
            f"--comet-model {model}: no such file, nor a folder with checkpoints/model.ckpt",
            "--fetch lets COMET fetch a model by its name, as Unbabel/wmt22-comet-da (2 GB); it keeps it in ~/.cache/huggingface",
        )
    try:
        return Path(package.download_model(model))
    except Exception as error:  # what comes depends on the network and the hub
        raise DataError(
            f"--comet-model {model}: COMET cannot fetch it: {error}",
            "check the name and the network, or give the checkpoint of a model that you have",
        ) from error
