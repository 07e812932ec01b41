"""The sizes of a network: all that is needed to build one, as it stands in a model folder's config.json."""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal

from tfcli.errors import CheckpointError

if TYPE_CHECKING:
    from tfcli.recipe.schema import ModelSection, Recipe


Task = Literal["translation", "language_model", "classification"]
Pooling = Literal["mean", "first"]


@dataclass(frozen=True)
class ModelConfig:
    """Sizes and choices of a network; the recipe's `model` section with the vocabularies filled in.

    A stack of no layers is one that the network does not have: it is an encoder-decoder, a decoder or an encoder. The
    last two have one vocabulary, whose size stands for both sides.
    """

    src_vocab_size: int
    tgt_vocab_size: int
    n_encoder_layers: int
    n_decoder_layers: int
    d_model: int
    d_ff: int
    n_heads: int
    dropout: float
    attention_dropout: float
    norm: Literal["pre", "post"]
    positions: Literal["sinusoidal", "learned", "rotary"]
    activation: Literal["relu", "gelu", "swiglu"]
    tie_embeddings: Literal["all", "decoder", "none"]
    max_positions: int
    pad_id: int = 0
    # As networks were before there was a choice: config.json of format 1 does not tell.
    norm_kind: Literal["layer", "rms"] = "layer"
    n_kv_heads: int | None = None
    qk_norm: bool = False
    bias: bool = True
    # Of a classifier: its labels, and which of the encoder's states the label is told from.
    n_labels: int | None = None
    pooling: Pooling = "mean"

    @property
    def task(self) -> Task:
        """What the network is for: both stacks translate, a decoder alone continues text, an encoder alone classifies."""
        if self.n_encoder_layers and self.n_decoder_layers:
            return "translation"
        return "language_model" if self.n_decoder_layers else "classification"

    @property
    def head_width(self) -> int:
        """E in shapes."""
        return self.d_model // self.n_heads

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values, G in shapes."""
        return self.n_kv_heads or self.n_heads

    @classmethod
    def before(cls) -> dict[str, Any]:
        """Return what config.json of format 1 may leave out."""
        return {field.name: field.default for field in fields(cls) if field.default is not MISSING}

    @classmethod
    def from_recipe(cls, section: ModelSection, src_vocab_size: int, tgt_vocab_size: int) -> ModelConfig:
        """Fill the vocabularies' sizes into a recipe's `model` section."""
        sizes = section.model_dump(exclude={"preset"})
        return cls(src_vocab_size=src_vocab_size, tgt_vocab_size=tgt_vocab_size, **sizes)

    @classmethod
    def of(
        cls, recipe: Recipe, src_vocab_size: int, tgt_vocab_size: int, n_labels: int | None = None
    ) -> ModelConfig:
        """Return the network of a recipe, which has the stacks that its task needs; `n_labels` are a classifier's."""
        config = cls.from_recipe(recipe.model, src_vocab_size, tgt_vocab_size)
        if recipe.task == "classification":
            return replace(config, n_decoder_layers=0, n_labels=n_labels)
        return replace(config, n_encoder_layers=0) if recipe.task == "language_model" else config

    @classmethod
    def from_dict(cls, values: dict[str, Any], origin: str) -> ModelConfig:
        """Read a config back from JSON.

        Raises: CheckpointError when a key is missing or unknown, naming `origin`.
        """
        known = {field.name for field in fields(cls)}
        wrong = sorted(known.symmetric_difference(values))
        if wrong:
            raise CheckpointError(
                f"{origin}: keys missing or unknown: {', '.join(wrong)}",
                "the model folder was written by another version of tfcli, or is damaged",
            )
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return the config as JSON-ready values."""
        return asdict(self)
