"""Presets against the papers they come from, the recipes that ship, and contradictions between sections."""

from pathlib import Path

import pytest
import torch

from tfcli.errors import RecipeError
from tfcli.model.config import ModelConfig
from tfcli.model.transformer import Transformer
from tfcli.recipe.loader import build_recipe, load_recipe
from tfcli.recipe.schema import ModelSection

RECIPES = sorted((Path(__file__).resolve().parents[2] / "recipes").glob("*.yaml"))
DATA = {"train": [{"src": "a", "tgt": "b"}], "valid": {"src": "c", "tgt": "d"}}


@pytest.mark.parametrize(
    ("preset", "layers", "d_model", "d_ff", "n_heads", "dropout"),
    [
        ("vaswani-base", 6, 512, 2048, 8, 0.1),
        ("vaswani-big", 6, 1024, 4096, 16, 0.3),
        ("tiny", 4, 128, 256, 4, 0.3),
        ("small", 3, 256, 1024, 4, 0.1),
        ("modern-tiny", 4, 128, 192, 4, 0.3),
        ("modern-small", 3, 256, 704, 4, 0.1),
        ("modern-base", 6, 512, 1344, 8, 0.1),
    ],
)
def test_presets_have_the_sizes_they_are_known_by(preset, layers, d_model, d_ff, n_heads, dropout):
    model = ModelSection.model_validate({"preset": preset})
    assert (model.n_encoder_layers, model.n_decoder_layers) == (layers, layers)
    assert (model.d_model, model.d_ff, model.n_heads, model.dropout) == (d_model, d_ff, n_heads, dropout)


@pytest.mark.parametrize(("preset", "millions"), [("vaswani-base", 65), ("vaswani-big", 213)])
def test_the_papers_networks_have_as_many_parameters_as_its_table_3_says(preset, millions):
    config = ModelConfig.from_recipe(ModelSection.model_validate({"preset": preset}), 37_000, 37_000)
    with torch.device("meta"):
        model = Transformer(config)
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(
        millions, rel=0.04
    )


def n_parameters(preset, vocab_size):
    config = ModelConfig.from_recipe(ModelSection.model_validate({"preset": preset}), vocab_size, vocab_size)
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in Transformer(config).parameters())


@pytest.mark.parametrize(
    ("modern", "counterpart"),
    [("modern-tiny", "tiny"), ("modern-small", "small"), ("modern-base", "vaswani-base")],
)
def test_modern_networks_have_nearly_as_many_parameters_as_their_counterparts(modern, counterpart):
    # without the embeddings, which are the same
    sizes = [n_parameters(preset, 16) for preset in (modern, counterpart)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)


@pytest.mark.parametrize("preset", ["modern-tiny", "modern-small", "modern-base"])
def test_modern_networks_have_no_biases_and_are_otherwise_as_they_are_known(preset):
    section = ModelSection.model_validate({"preset": preset})
    assert (section.norm, section.norm_kind, section.activation, section.positions) == (
        "pre", "rms", "swiglu", "rotary"
    )  # fmt: skip
    assert section.qk_norm
    with torch.device("meta"):
        model = Transformer(ModelConfig.from_recipe(section, 16, 16))
    assert not [name for name, _ in model.named_parameters() if name.endswith("bias")]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_that_ships_is_valid_and_says_what_it_is_for(path):
    assert load_recipe(path).name == path.stem
    header = path.read_text(encoding="utf-8")
    for word in ("# Purpose:", "# Data:", "# Cost:", "# Score:"):
        assert word in header


@pytest.mark.parametrize(
    ("sections", "complaint"),
    [
        ({"model": {"n_heads": 3}}, "model.n_heads: must divide d_model (256), got 3"),
        ({"model": {"n_kv_heads": 3}}, "model.n_kv_heads: must divide n_heads (4), got 3"),
        ({"model": {"n_kv_heads": 8}}, "model.n_kv_heads: must divide n_heads (4), got 8"),
        ({"model": {"d_model": 15, "n_heads": 1}}, "model.d_model: must be even, got 15"),
        (
            {"model": {"d_model": 12, "n_heads": 4, "positions": "rotary"}},
            "model.positions: rotary needs an even head width",
        ),
        (
            {"tokenizer": {"shared": False}, "model": {"tie_embeddings": "all"}},
            "model.tie_embeddings: 'all' needs tokenizer.shared: true",
        ),
        ({"model": {"max_positions": 100}}, "data.max_pieces: must be below model.max_positions (100)"),
        (
            {"decoding": {"max_source_pieces": 2000}},
            "decoding.max_source_pieces: must be below model.max_positions (1024)",
        ),
        (
            {"model": {"dropout": 0.0}, "training": {"r_drop": 5.0}},
            "training.r_drop: compares two passes that dropout makes different, but model.dropout and "
            "model.attention_dropout are 0",
        ),
        ({"expected": {"news": {"bleu": 30.0}}}, "expected.news: no test set of this name in data.tests"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_naming_the_key(sections, complaint):
    with pytest.raises(RecipeError) as caught:
        build_recipe({"name": "x", "data": DATA, **sections})
    assert complaint in caught.value.message
