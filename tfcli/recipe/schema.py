"""The recipe: every key, its type, its unit and its default, in the order in which a run uses them.

This is the only home of a default. `tfcli info --schema` prints it as JSON Schema, and the loader next door
turns YAML into it. Contradictions between keys are refused here, naming the key to change.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from tfcli.recipe.corpora import SEPARATOR, Corpus, DataSection
from tfcli.recipe.expectation import Expectation
from tfcli.recipe.presets import PRESETS
from tfcli.recipe.section import (
    SYMBOL_PATTERN,
    Name,
    PositiveFloat,
    PositiveInt,
    Probability,
    Section,
    contradiction,
)
from tfcli.recipe.tasks import TaskName, with_task_defaults


class TokenizerSection(Section):
    """The SentencePiece model that turns text into pieces; trained on the training corpora."""

    kind: Literal["unigram", "bpe", "char", "byte"] = "unigram"
    """Algorithm: unigram language model, byte-pair encoding, single characters, or the 256 bytes, which suit language
    models alone."""
    vocab_size: Annotated[int, Field(ge=16)] = 8000
    """Pieces in the vocabulary, special pieces included; lowered, with a note, when the text has fewer."""
    shared: bool = True
    """One vocabulary for both sides; false: one for each."""
    byte_fallback: bool = False
    """Write a character outside the vocabulary as UTF-8 bytes (256 more pieces) instead of <unk>."""
    character_coverage: Annotated[float, Field(gt=0.9, le=1)] = 1.0
    """Share of the characters that the vocabulary covers; 0.9995 suits Chinese and Japanese."""
    normalization: Literal["identity", "nfkc", "nmt_nfkc", "nfkc_cf", "nmt_nfkc_cf"] = "nmt_nfkc"
    """SentencePiece's normalization rule; the `_cf` ones fold case."""
    symbols: list[Annotated[str, StringConstraints(min_length=1, pattern=SYMBOL_PATTERN)]] = Field(
        default_factory=list
    )
    """Strings that always stay one piece, such as tags and placeholders."""
    training_sentences: PositiveInt = 2_000_000
    """Lines of each side, at most, that the tokenizer is trained on, spread evenly over the corpus."""


class ModelSection(Section):
    """The network: a preset and what differs from it."""

    preset: Literal[
        "tiny", "small", "vaswani-base", "vaswani-big", "modern-tiny", "modern-small", "modern-base"
    ] = "small"
    """Where the keys below that are not given come from."""
    n_encoder_layers: PositiveInt
    """Layers of the encoder (N in the paper)."""
    n_decoder_layers: PositiveInt
    """Layers of the decoder."""
    d_model: PositiveInt
    """Width of the residual stream."""
    d_ff: PositiveInt
    """Width of the feed-forward's hidden layer; with `activation: swiglu`, two thirds of it cost as much."""
    n_heads: PositiveInt
    """Attention heads; divides `d_model`."""
    n_kv_heads: PositiveInt | None = None
    """Heads of keys and values, each shared by a group of attention heads (Ainslie et al., 2023); divides `n_heads`;
    null: as many."""
    qk_norm: bool = False
    """Normalise each head's queries and keys in self-attention (Henry et al., 2020), which bounds its scores."""
    dropout: Probability
    """Dropout on embeddings and on each sub-layer's output."""
    attention_dropout: Probability = 0.0
    """Dropout of attention weights; other than 0, attention on GPUs computes padding: the kernel that does not has none."""
    norm: Literal["pre", "post"]
    """Normalization before each sub-layer, or after the residual sum as in the paper."""
    norm_kind: Literal["layer", "rms"] = "layer"
    """Layer normalization, or RMSNorm (Zhang and Sennrich, 2019), which subtracts no mean and has no bias."""
    bias: bool = True
    """Biases of linear maps and layer normalization, as in the paper; the output layer never has one."""
    positions: Literal["sinusoidal", "learned", "rotary"] = "sinusoidal"
    """How order is told: the paper's sinusoids, a learned table, or rotated queries and keys (Su et al., 2021)."""
    activation: Literal["relu", "gelu", "swiglu"] = "relu"
    """Non-linearity of the feed-forward; swiglu is a gate by a third matrix (Shazeer, 2020)."""
    tie_embeddings: Literal["all", "decoder", "none"] = "all"
    """One matrix for source, target and output; for target and output (the default with two vocabularies); or three."""
    pooling: Literal["mean", "first"] = "mean"
    """What a classifier tells the label from: the mean of the encoder's states, or the first of them."""
    max_positions: PositiveInt = 1024
    """Longest sequence the network takes; unit: pieces, marks included."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        preset = given.get("preset", "small")
        return {**PRESETS.get(preset, PRESETS["small"]), **given} if isinstance(preset, str) else given

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.d_model % self.n_heads:
            raise contradiction("n_heads", f"must divide d_model ({self.d_model}), got {self.n_heads}")
        if self.n_kv_heads is not None and self.n_heads % self.n_kv_heads:
            raise contradiction("n_kv_heads", f"must divide n_heads ({self.n_heads}), got {self.n_kv_heads}")
        if self.d_model % 2:
            raise contradiction("d_model", f"must be even, got {self.d_model}")
        if self.positions == "rotary" and (self.d_model // self.n_heads) % 2:
            raise contradiction("positions", "rotary needs an even head width; change n_heads or d_model")
        return self


class TrainingSection(Section):
    """How the network learns. A step is one update of the weights."""

    batch_tokens: Annotated[int, Field(ge=64)] = 4096
    """Padded size of a batch: the longer side's longest sentence times the sentences; unit: pieces."""
    accumulation_steps: PositiveInt = 1
    """Batches whose gradients are summed before each update, by each process where there are several."""
    max_steps: PositiveInt = 20_000
    """Updates after which training ends."""
    learning_rate: PositiveFloat = 1e-3
    """Highest learning rate, reached at the end of the warm-up."""
    warmup_steps: Annotated[int, Field(ge=0)] = 1000
    """Updates over which the learning rate grows linearly from zero."""
    schedule: Literal["inverse_sqrt", "cosine", "constant"] = "inverse_sqrt"
    """Course of the learning rate after the warm-up; cosine falls to `min_learning_rate` at `max_steps`."""
    min_learning_rate: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Floor of the learning rate after the warm-up."""
    freeze: list[Annotated[str, StringConstraints(min_length=1)]] = Field(default_factory=list)
    """Parameters that stay as they are, by how their names begin: `[src_embedding, encoder.0]`; a matrix that several
    names share is frozen under all of them."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """Muon orthogonalises the updates of the layers' matrices; embeddings, output, norms and biases stay with AdamW.
    `learning_rate` and `weight_decay` serve both."""
    muon_momentum: Probability = 0.95
    """Muon's decay of the gradient's mean."""
    adam_beta1: Probability = 0.9
    """AdamW's decay of the gradient's mean."""
    adam_beta2: Probability = 0.98
    """AdamW's decay of the gradient's square."""
    adam_epsilon: PositiveFloat = 1e-9
    """AdamW's epsilon (the paper's value)."""
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Decoupled weight decay on matrices; biases, norms and embeddings are not decayed."""
    label_smoothing: Probability = 0.1
    """Share of the target probability spread evenly over the vocabulary, or over a classifier's labels."""
    class_weights: Literal["balanced"] | None = None
    """`balanced`: a text counts the more in the loss the rarer its label is, so that each label counts as much as any
    other; null: each text counts as much."""
    r_drop: PositiveFloat | None = None
    """R-Drop: each batch goes through the network twice, and the divergence of the two outputs, which dropout makes
    different, costs so much; the paper takes 5 for translation. A step takes twice the time and memory. null: off."""
    subword_regularization: PositiveFloat | None = None
    """Cut the training text into other pieces each epoch, at random. unigram: alpha, the power of a segmentation's
    probability, 0.1 to 0.5 as a rule, the smaller the more varied; bpe: the share of merges that are passed over
    (BPE-dropout), such as 0.1, below 1. null: off."""
    subword_sides: Literal["both", "src", "tgt"] = "both"
    """Sides that `subword_regularization` is for."""
    clip_norm: PositiveFloat | None = 1.0
    """Largest norm of the whole gradient; null: not clipped."""
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of the exponential moving average of the weights, such as 0.999; it is what is validated and becomes
    `best/`; smaller in the first updates; null: none."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the matrix products; auto takes bf16 where the hardware has it, else fp32."""
    compile: bool | None = None
    """torch.compile the network, which starts a minute or more later and needs a C++ compiler; null: with bf16 products,
    on CPUs and NVIDIA GPUs, for runs of hours, which gain by it, but not for a language model."""
    gradient_checkpointing: bool = False
    """Compute each layer anew in the backward pass instead of keeping what it computed: less memory, slower steps, the
    same result."""
    sharding: bool = False
    """Where there are several processes, each keeps a part of the weights, gradients and moments instead of all of them
    (FSDP2): for networks that one GPU does not hold. Slower; never compiled, and for adamw alone."""
    validate_every: PositiveInt = 500
    """Steps between validations (loss, and BLEU of real translations)."""
    checkpoint_every: PositiveInt = 500
    """Steps between checkpoints."""
    keep_checkpoints: PositiveInt = 5
    """Newest checkpoints kept; all of them are averaged at the end."""
    average_checkpoints: bool = True
    """At the end, try the average of the kept checkpoints; it becomes `best/` if better on validation."""
    patience: PositiveInt | None = None
    """Validations without a better BLEU after which training ends early; null: never."""
    log_every: PositiveInt = 50
    """Steps between lines in `metrics.jsonl` and in the log."""

    @model_validator(mode="after")
    def _what_is_sharded_is_in_parts(self) -> Self:
        if self.sharding and self.optimizer == "muon":
            raise contradiction(
                "sharding", "muon needs whole matrices: use optimizer: adamw, or sharding: false"
            )
        if self.sharding and self.compile:
            raise contradiction(
                "sharding", "a sharded network is not compiled: leave out compile, or sharding"
            )
        return self


class DecodingSection(Section):
    """How translations are searched for, in validation as in `tfcli translate`."""

    beam_size: PositiveInt = 5
    """Hypotheses kept at each step; 1 is greedy search."""
    length_penalty: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    """Finished hypotheses are ranked by log-probability / length ** length_penalty; 0: by log-probability."""
    length_penalty_kind: Literal["average", "gnmt"] = "average"
    """`gnmt` takes (5 + length) / 6 in place of the length (Wu et al., 2016)."""
    no_repeat_ngram: PositiveInt | None = None
    """An output never has the same so many pieces in a row twice; null: it may."""
    min_output_ratio: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Shortest output: this many pieces for each source piece."""
    max_output_ratio: PositiveFloat = 2.0
    """Longest output: this many pieces for each source piece, plus `max_output_extra`."""
    max_output_extra: Annotated[int, Field(ge=0)] = 10
    """Pieces that the longest output may have on top."""
    batch_tokens: PositiveInt = 6144
    """Padded source pieces times `beam_size` that are decoded at once."""
    batch_size: PositiveInt | None = None
    """Sentences that are decoded at once, in place of `batch_tokens`; null: `batch_tokens` decides."""
    max_source_pieces: PositiveInt | None = None
    """Longer lines are split at sentence ends, translated and rejoined; null: `data.max_pieces`."""

    @model_validator(mode="after")
    def _shortest_is_not_above_longest(self) -> Self:
        if self.min_output_ratio > self.max_output_ratio:
            raise contradiction(
                "min_output_ratio", f"must not be above max_output_ratio ({self.max_output_ratio})"
            )
        return self


class ScoringSection(Section):
    """How BLEU is counted; sacreBLEU's own names."""

    tokenize: Literal[
        "13a", "intl", "zh", "ja-mecab", "ko-mecab", "char", "none", "flores101", "flores200"
    ] = "13a"
    """sacreBLEU's tokenizer; `none` for text that is tokenized already."""
    lowercase: bool = False
    """Ignore case."""


class Recipe(Section):
    """Everything about a run, in one file."""

    name: Name
    """Name of the run; its folder is runs/NAME unless `--out` says otherwise."""
    task: TaskName = "translation"
    """What the network is for; keys that belong to another task are refused."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1
    """Seed of every random number: weights, order of the data, dropout."""
    data: DataSection
    tokenizer: TokenizerSection = Field(default_factory=TokenizerSection)
    model: ModelSection = Field(default_factory=lambda: ModelSection.model_validate({}))
    training: TrainingSection = Field(default_factory=TrainingSection)
    decoding: DecodingSection = Field(default_factory=DecodingSection)
    scoring: ScoringSection = Field(default_factory=ScoringSection)
    expected: dict[Name, Expectation] = Field(default_factory=dict)
    """Expected scores by test set."""

    @property
    def max_source_pieces(self) -> int:
        """Source pieces above which a line is split for translation."""
        return self.decoding.max_source_pieces or self.data.max_pieces

    @model_validator(mode="before")
    @classmethod
    def _fill_from_task(cls, given: Any) -> Any:
        return with_task_defaults(given) if isinstance(given, dict) else given

    @model_validator(mode="before")
    @classmethod
    def _two_vocabularies_share_no_matrix(cls, given: Any) -> Any:
        """Let `tie_embeddings` follow `tokenizer.shared: false` where it is not given."""
        if not isinstance(given, dict):
            return given
        tokenizer, model = given.get("tokenizer"), given.get("model", {})
        if isinstance(tokenizer, dict) and tokenizer.get("shared") is False and isinstance(model, dict):
            return {**given, "model": {"tie_embeddings": "decoder", **model}}
        return given

    @model_validator(mode="before")
    @classmethod
    def _a_second_text_has_a_separator(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not isinstance(data := given.get("data"), dict):
            return given
        tokenizer = given.get("tokenizer", {})
        if data.get("second_text_field") is None or not isinstance(tokenizer, dict):
            return given
        symbols = tokenizer.get("symbols", [])
        if not isinstance(symbols, list) or SEPARATOR in symbols:
            return given
        return {**given, "tokenizer": {**tokenizer, "symbols": [*symbols, SEPARATOR]}}

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        if self.model.tie_embeddings == "all" and not self.tokenizer.shared:
            raise contradiction(
                "model.tie_embeddings", "'all' needs tokenizer.shared: true; use 'decoder' or 'none'"
            )
        if self.task == "language_model":
            self._refuse_blocks_that_do_not_fit()
        elif self.tokenizer.kind == "byte":
            raise contradiction(
                "tokenizer.kind", "byte is for task language_model; char with byte_fallback comes near"
            )
        elif self.data.max_pieces + 1 > self.model.max_positions:
            raise contradiction(
                "data.max_pieces", f"must be below model.max_positions ({self.model.max_positions})"
            )
        if (self.decoding.max_source_pieces or 0) + 1 > self.model.max_positions:
            raise contradiction(
                "decoding.max_source_pieces",
                f"must be below model.max_positions ({self.model.max_positions})",
            )
        if self.training.r_drop is not None and not (self.model.dropout or self.model.attention_dropout):
            raise contradiction(
                "training.r_drop",
                "compares two passes that dropout makes different, but model.dropout and model.attention_dropout are 0",
            )
        if self.training.subword_regularization is not None:
            self._refuse_what_cannot_be_sampled(self.training.subword_regularization)
        for name, expected in self.expected.items():
            if name not in self.data.tests:
                raise contradiction(f"expected.{name}", "no test set of this name in data.tests")
            expected.require_one_score(name, self.task)
        return self

    def _refuse_blocks_that_do_not_fit(self) -> None:
        places: dict[str, Corpus] = {
            f"train[{number}]": corpus for number, corpus in enumerate(self.data.train)
        }
        places |= {f"tests.{name}": corpus for name, corpus in self.data.tests.items()}
        places |= {} if self.data.valid.held_out else {"valid": self.data.valid}
        for place, corpus in places.items():
            if corpus.text is None:
                raise contradiction(f"data.{place}", "a language model learns from 'text'")
        if self.data.context > self.model.max_positions:
            raise contradiction(
                "data.context", f"must not be above model.max_positions ({self.model.max_positions})"
            )
        if self.training.batch_tokens < self.data.context:
            raise contradiction(
                "training.batch_tokens", f"must not be below data.context ({self.data.context})"
            )

    def _refuse_what_cannot_be_sampled(self, strength: float) -> None:
        key = "training.subword_regularization"
        if self.tokenizer.kind == "char":
            raise contradiction(key, "needs other segmentations to choose from; tokenizer.kind: char has one")
        if self.tokenizer.kind == "bpe" and strength >= 1:
            raise contradiction(
                key, f"is a probability with tokenizer.kind: bpe, and must be below 1, got {strength:g}"
            )
