"""Starting from the weights of another model: which those are, whether they fit, and putting them into the network.

Optimizer, schedule and averages start anew; what the recipe leaves open of the tokenizer and of the network's sizes is
as the model has it, and what it says otherwise is refused.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfcli.corpus.initial import Initial
from tfcli.errors import CheckpointError, RecipeError
from tfcli.model.config import ModelConfig
from tfcli.model.description import find_model_folder, read_config
from tfcli.model.folder import load_weights, model_tensors, read_tensors
from tfcli.recipe.corpora import SEPARATOR
from tfcli.recipe.foreign import own_values
from tfcli.recipe.presets import PRESETS
from tfcli.recipe.schema import ModelSection
from tfcli.text.model_file import settings_of_model
from tfcli.text.tokenizer import Tokenizer
from tfcli.training.sharding import parts_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from tfcli.recipe.schema import Recipe
    from tfcli.training.learner import Learner
    from tfcli.training.run import Run

# What gives the weights their shapes or their meaning; with learned positions `max_positions` does as well. Dropout
# and all that is not of the network may differ.
SIZES = (
    "n_encoder_layers", "n_decoder_layers", "d_model", "d_ff", "n_heads", "n_kv_heads", "qk_norm", "norm",
    "norm_kind", "bias", "positions", "activation", "tie_embeddings",
)  # fmt: skip
OF_NO_PRESET = ("tie_embeddings", "max_positions")  # they follow from the vocabularies and the text
# A decoder without attention to a memory has the weights of an encoder: what a language model lends to a classifier.
AS_ENCODER = {"decoder": "encoder", "decoder_norm": "encoder_norm"}
OTHER_SIDE = {"src_embedding": "tgt_embedding", "tgt_embedding": "src_embedding"}
_LEAVE_OUT = (
    "leave these keys out of the recipe (model.preset gives several of them): they are taken from the model"
)
TOKENIZER_KEYS = ("kind", "shared", "byte_fallback", "character_coverage", "normalization", "symbols")


def open_initial(path: Path) -> Initial:
    """Find the model folder that `path` is or holds, and return what a run that starts from it takes over.

    Raises: CheckpointError when it is no model folder, or a damaged one.
    """
    folder = find_model_folder(path).absolute()
    info, tokenizer = read_config(folder / "config.json"), Tokenizer.load(folder)
    try:
        config = ModelConfig.from_dict(info["model"], str(folder / "config.json"))
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"{folder / 'config.json'}: damaged: {error}", "copy the whole folder again from where it came"
        ) from error
    # a stack of no layers is one that the model does not have, and has nothing to say of
    absent = {"translation": "", "language_model": "n_encoder_layers", "classification": "n_decoder_layers"}
    values = config.to_dict()
    sizes = {key: values[key] for key in (*SIZES, "max_positions") if key != absent[config.task]}
    if config.task == "language_model":
        sizes["n_encoder_layers"] = (
            config.n_decoder_layers
        )  # of a classifier or translator that starts from it
    preset = _preset_of(sizes)
    both = [settings_of_model(model) for model in (tokenizer.src_model, tokenizer.tgt_model)]
    return Initial(
        folder=str(folder),
        sha256=_sha256(folder / "model.safetensors"),
        sections={
            "tokenizer": {
                **both[0],
                "vocab_size": max(settings["vocab_size"] for settings in both),
                "shared": tokenizer.shared,
            },
            "model": {**({"preset": preset} if preset else {}), **sizes},
        },
        task=config.task,
    )


def _preset_of(sizes: dict[str, Any]) -> str | None:
    """Return the preset that gives these sizes, if there is one: what else it gives then holds as well."""
    for name in PRESETS:
        own = ModelSection.model_validate({"preset": name}).model_dump()
        if all(own[key] == size for key, size in sizes.items() if key not in OF_NO_PRESET):
            return name
    return None


def refuse_another_network(recipe: Recipe, initial: Initial) -> None:
    """Raise an error if a recipe asks for another tokenizer or network than the model that it is to start from has.

    Raises: RecipeError with every difference on a line of its own.
    """
    has = initial.sections
    learned = recipe.model.positions == "learned"
    places = [("tokenizer", key) for key in TOKENIZER_KEYS]
    places += [("model", key) for key in (*SIZES, *(["max_positions"] if learned else []))]
    if recipe.task == "translation" and initial.task == "language_model":
        places.remove(("model", "n_encoder_layers"))  # it lends a translator its decoder alone
    wanted = own_values(recipe)
    different = [
        (section, key)
        for section, key in places
        if key in wanted[section] and key in has[section]
        if not _same(wanted[section][key], has[section][key])
    ]
    symbols = has["tokenizer"].get("symbols", [])
    lacks_separator = recipe.data.second_text_field is not None and SEPARATOR not in symbols
    if lacks_separator and recipe.tokenizer.symbols == [*symbols, SEPARATOR]:
        different.remove(("tokenizer", "symbols"))  # the recipe need not name it, so it cannot leave it out
    # a larger one than the text has pieces for is lowered when a tokenizer is trained
    if recipe.tokenizer.vocab_size < has["tokenizer"]["vocab_size"]:
        different.append(("tokenizer", "vocab_size"))
    lines = [
        f"{section}.{key}: {wanted[section][key]!r} in the recipe, {has[section][key]!r} in the model"
        for section, key in sorted(different)
    ]
    hints = [_LEAVE_OUT] if lines else []
    if lacks_separator:
        lines.append(
            f"tokenizer.symbols: a second text needs {SEPARATOR!r}, which the model's tokenizer lacks"
        )
        hints.append(
            f"start from a model that was trained with tokenizer: {{symbols: [{SEPARATOR}]}}, or leave out "
            "data.second_text_field"
        )
    if lines:
        first = f"--init {initial.folder}: the recipe describes another network or tokenizer"
        raise RecipeError("\n".join([first, *lines]), "; ".join(hints))


def begin(run: Run, learner: Learner) -> None:
    """Put the weights that the run starts from into the learner, whose averages begin with them.

    Raises: CheckpointError when they are gone, or not those that they were.
    """
    if run.initial is None:
        return
    weights = Path(run.initial.folder) / "model.safetensors"
    if _sha256(weights) != run.initial.sha256:
        raise CheckpointError(
            f"{weights}: not the weights that {run.run_dir} is to start from (their checksum differs)",
            "put them back, or name others with --init and --fresh",
        )
    tensors, fresh = _fitting(run, run.initial, learner, read_tensors(weights))
    load_weights(learner.model, parts_of(tensors, learner.model), str(weights))
    if learner.ema is not None:
        learner.ema.restore(model_tensors(learner.model), 0, str(weights))
    starts = f"; random: {', '.join(fresh)}" if fresh else ""
    run.reporter.note(f"starting from the weights of {run.initial.folder}{starts}")
    section = run.recipe.model
    before = read_config(Path(run.initial.folder) / "config.json")["model"]["dropout"]
    if section.dropout != before:
        run.reporter.note(
            f"dropout is {section.dropout:g} (the recipe's, or else that of the preset {section.preset}); the model was "
            f"trained with {before:g}"
        )


def _fitting(
    run: Run, initial: Initial, learner: Learner, tensors: dict[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the weights that the network begins with, and which parts of it stay random.

    From a model of the same task, with the same labels where it is a classifier, all are taken. Else those that both
    networks have are, but for the output: it tells pieces from labels, or other labels. The decoder of a language model
    becomes the encoder of a classifier. Embeddings serve both sides where the model has only one side's: the pieces are
    the same.
    """
    labels = list(run.prepared.labels.names) if run.prepared.labels is not None else None
    task = initial.task
    if task == run.recipe.task and read_config(Path(initial.folder) / "config.json").get("labels") == labels:
        return tensors, []
    if (task, run.recipe.task) == ("language_model", "classification"):
        tensors = {_renamed(name, AS_ENCODER): tensor for name, tensor in tensors.items()}
    tensors = {_renamed(name, OTHER_SIDE): tensor for name, tensor in tensors.items()} | tensors
    own = model_tensors(learner.model)
    taken = {
        name: tensors[name]
        for name, parameter in own.items()
        if name in tensors and tensors[name].shape == parameter.shape and not name.startswith("output.")
    }
    if not taken:
        raise CheckpointError(
            f"{initial.folder}: has no weights that this network has as well",
            "start from a model with an encoder or a decoder of the same sizes",
        )
    return {**own, **taken}, sorted({_part(name, taken) for name in own.keys() - taken.keys()})


def _part(name: str, others: Iterable[str]) -> str:
    """Return the largest part of the network with this parameter that has none of the others; of any layer."""
    names = name.split(".")
    for length in range(1, len(names)):
        part = ".".join(names[:length])
        if not any(other.startswith(f"{part}.") for other in others):
            break
    return ".".join(each for each in names[:length] if not each.isdecimal())


def _renamed(name: str, parts: dict[str, str]) -> str:
    part, dot, rest = name.partition(".")
    return parts.get(part, part) + dot + rest


def _same(wanted: Any, has: Any) -> bool:
    if isinstance(wanted, float) and isinstance(has, float):
        return math.isclose(wanted, has, rel_tol=1e-6)  # a model file has four bytes for it
    return bool(wanted == has)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        read_tensors(path)  # which says what is wrong with it
        raise
