"""What a model folder says of itself: all of it but the weights, read without torch.

config.json         sizes of the network, how it decodes, which languages
model.safetensors   weights
tokenizer.model     (or tokenizer.src.model and tokenizer.tgt.model)
README.md           model card
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from pydantic import ValidationError

from tfcli import __version__
from tfcli.errors import CheckpointError
from tfcli.model.config import ModelConfig, Pooling, Task
from tfcli.recipe.complaints import explain
from tfcli.recipe.schema import DecodingSection, ModelSection
from tfcli.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 2  # 1: before networks had the choices of `ModelConfig.before`
WEIGHTS_FILE = "model.safetensors"
OLD_BEST = ".best.old"  # stands in for best/ where a crash came between the two renames of `put_in_place`
PICKLE_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")
NO_PICKLES = (
    "loading a pickle can run any program hidden in it, so tfcli never does: get the weights as safetensors, or "
    "train again"
)
NAMES: dict[Task, str] = {
    "translation": "translation",
    "language_model": "language modelling",
    "classification": "classification",
}
_GIVE = "give a folder that `tfcli train` wrote for a recipe with task:"
COPY_AGAIN = "copy the whole folder again from where it came, or train again"


@dataclass(frozen=True)
class ModelDescription:
    """A model folder without its weights."""

    folder: Path
    config: ModelConfig
    tokenizer: Tokenizer
    decoding: DecodingSection
    max_source_pieces: int
    info: dict[str, Any]

    @property
    def weights(self) -> Path:
        """Where the weights are."""
        return self.folder / WEIGHTS_FILE

    @property
    def hint(self) -> str:
        """What to do when they do not fit the description."""
        return _hint(self.info)

    def require_translation(self) -> None:
        """Raise an error when the network does not translate.

        Raises: CheckpointError.
        """
        if self.config.task != "translation":
            raise CheckpointError(
                f"{self.folder}: a network for {NAMES[self.config.task]}, expected one for translation",
                f"`tfcli predict` runs such a network; {_GIVE} translation",
            )

    def require_labels(self) -> list[str]:
        """Return the labels of a classifier.

        Raises: CheckpointError when the network is none, or its labels are not there.
        """
        if self.config.task != "classification":
            verb = "`tfcli translate` runs such a network; " if self.config.task == "translation" else ""
            raise CheckpointError(
                f"{self.folder}: a network for {NAMES[self.config.task]}, expected one for classification or language "
                "modelling",
                f"{verb}{_GIVE} classification or language_model",
            )
        labels = self.info.get("labels")
        if not isinstance(labels, list) or not all(map(_is_label, labels)):
            raise CheckpointError(f"{self.folder / 'config.json'}: labels are missing or damaged", self.hint)
        if len(labels) != self.config.n_labels:
            raise CheckpointError(
                f"{self.folder / 'config.json'}: {len(labels)} labels, but the network has {self.config.n_labels}",
                self.hint,
            )
        return labels

    def require_fitting_tokenizer(self) -> None:
        """Raise an error when the vocabularies are not those of the network.

        Raises: CheckpointError.
        """
        vocabularies = (self.tokenizer.src_vocab_size, self.tokenizer.tgt_vocab_size)
        expected = (self.config.src_vocab_size, self.config.tgt_vocab_size)
        if vocabularies != expected:
            raise CheckpointError(
                f"{self.folder}: the tokenizer has {vocabularies[0]} source and {vocabularies[1]} target pieces, the "
                f"network {expected[0]} and {expected[1]}",
                "copy the tokenizer again from the run that the model comes from",
            )


def describe_model(path: Path) -> ModelDescription:
    """Read the model folder at `path`, or in the run folder `path`, but for its weights.

    Raises: CheckpointError when something is missing, damaged or of another version.
    """
    folder = find_model_folder(path)
    config_file = folder / "config.json"
    info = read_config(config_file)
    tokenizer = Tokenizer.load(folder)
    config, decoding = _sections(info, config_file)
    return ModelDescription(folder, config, tokenizer, decoding, int(info["max_source_pieces"]), info)


def is_pickle(path: Path) -> bool:
    """Tell whether a file begins as pickles do: a zip archive, as PyTorch writes it, or a binary pickle itself."""
    try:
        with path.open("rb") as stream:
            start = stream.read(9)
    except OSError:
        return False
    # safetensors may begin with the same bytes, the length of its header, which then begins with a brace
    return start.startswith(b"PK\x03\x04") or (
        start[:1] == b"\x80" and start[1:2] in b"\2\3\4\5" and start[8:] != b"{"
    )


def find_model_folder(path: Path) -> Path:
    """Return the model folder that `path` is, or that a run folder holds as `best/`.

    Raises: CheckpointError when there is none.
    """
    for folder in (path, path / "best", path / OLD_BEST):
        if (folder / "config.json").is_file():
            return folder
    if not path.exists():
        raise CheckpointError(f"{path}: no such folder", "give a run folder or a model folder")
    if path.is_file():
        if path.suffix in PICKLE_SUFFIXES or is_pickle(path):
            raise CheckpointError(f"{path}: a pickle, expected a run folder or a model folder", NO_PICKLES)
        raise CheckpointError(
            f"{path}: a file, expected a run folder or a model folder", "give the folder it is for"
        )
    if not (path / "best").exists():
        _refuse_run_without_model(path)
    raise CheckpointError(
        f"{path}: neither a model folder (config.json) nor a run folder with best/",
        "give the folder that `tfcli train` wrote, or the best/ in it",
    )


def _refuse_run_without_model(path: Path) -> None:
    recipe = path / "recipe.yaml"
    if recipe.exists() or (path / "checkpoints").exists():
        raise CheckpointError(
            f"{path}: the run has no model yet: its first validation is still to come",
            f"go on with `tfcli train {recipe if recipe.exists() else 'RECIPE'} --out {path}`; "
            "--set training.validate_every=N has it validate sooner",
        )
    if (path / "corpus").exists():
        raise CheckpointError(
            f"{path}: nothing was trained here: there is text that was prepared, and no training has begun",
            f"`tfcli train RECIPE --out {path}` trains, or says what keeps it from that",
        )


def read_config(path: Path) -> dict[str, Any]:
    """Read config.json as far as any version's can be read, fill in what older ones left out, and refuse newer ones."""
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}", COPY_AGAIN) from error
    version = info.get("format") if isinstance(info, dict) else None
    if not isinstance(version, int):
        raise CheckpointError(
            f"{path}: not written by tfcli: it has no key 'format'", "give a folder that `tfcli train` wrote"
        )
    if not 1 <= version <= FORMAT:
        age = "a newer" if version > FORMAT else "an older"
        raise CheckpointError(
            f"{path}: written by {age} tfcli ({info.get('tfcli_version', 'of unknown version')}): format {version}, "
            f"but this one ({__version__}) reads formats 1 to {FORMAT}",
            "install the version that wrote it" + (", or a newer one" if version > FORMAT else ""),
        )
    if version == 1 and isinstance(info.get("model"), dict):
        return {**info, "model": ModelConfig.before() | info["model"]}
    return dict(info)


def _sections(info: dict[str, Any], config_file: Path) -> tuple[ModelConfig, DecodingSection]:
    """Read the sizes of the network and how it decodes."""
    hint = _hint(info)
    try:
        config = ModelConfig.from_dict(info["model"], str(config_file))
        int(info["max_source_pieces"])
    except CheckpointError as error:
        raise CheckpointError(error.message, hint) from error
    except KeyError as error:
        raise CheckpointError(f"{config_file}: the key {error} is missing", hint) from error
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{config_file}: damaged: {error}", hint) from error
    sizes = {key: value for key, value in config.to_dict().items() if key in ModelSection.model_fields}
    if config.task != "translation":  # the recipe's section knows of no network without one of the stacks
        absent = "n_encoder_layers" if config.task == "language_model" else "n_decoder_layers"
        del sizes[absent]
    problems: list[str] = []
    decoding = info.get("decoding") if config.task == "translation" else {}
    for name, section, values in (
        ("model", ModelSection, sizes),
        ("decoding", DecodingSection, decoding),
    ):
        try:
            section.model_validate(values)
        except ValidationError as error:
            problems += section_problems(name, error)
    if problems:
        raise CheckpointError(f"{config_file}: {problems[0]}", hint)
    of_classifier = ["n_labels"] if config.task == "classification" else []
    for key in ("src_vocab_size", "tgt_vocab_size", *of_classifier):  # which no recipe holds
        size = getattr(config, key)
        if not isinstance(size, int) or size < 1:
            raise CheckpointError(f"{config_file}: no network has such sizes: {key} is {size!r}", hint)
    if config.pooling not in get_args(Pooling):
        raise CheckpointError(
            f"{config_file}: no network has such sizes: pooling is {config.pooling!r}", hint
        )
    return config, DecodingSection.model_validate(decoding)


def _hint(info: dict[str, Any]) -> str:
    return f"{COPY_AGAIN}; it was written by tfcli {info.get('tfcli_version', '(unknown)')}, this is {__version__}"


def section_problems(section: str, error: ValidationError) -> list[str]:
    """Return what is wrong with values for a section of a recipe, one sentence a key."""
    placed = [{**problem, "loc": (section, *problem["loc"])} for problem in error.errors(include_url=False)]
    return [f"{'.'.join(map(str, loc))}: {sentence}" for loc, sentence in explain(placed).items()]  # type: ignore[arg-type]


def _is_label(value: Any) -> bool:
    """Say whether it can stand in a line of output."""
    return isinstance(value, str) and value.isprintable()
