"""A run that starts from a language model: what a classifier and a translator take of it, and at which sizes."""

import json

import pytest
import torch
from safetensors.torch import load_file

from tests.cli.conftest import write_small_corpus
from tests.cli.test_bad_input import refused
from tests.labelled_text import write_labelled
from tfcli.app import main
from tfcli.model.config import ModelConfig
from tfcli.model.folder import save_model_folder
from tfcli.model.networks import build_network
from tfcli.recipe.loader import load_recipe
from tfcli.text.tokenizer import Tokenizer
from tfcli.training.initial import open_initial

SIZES = {
    "n_encoder_layers": 0, "n_decoder_layers": 2, "d_model": 32, "d_ff": 48, "n_heads": 2, "dropout": 0.0, "norm": "pre",
    "norm_kind": "rms", "bias": False, "positions": "rotary", "activation": "swiglu", "qk_norm": True,
    "attention_dropout": 0.0, "tie_embeddings": "all", "max_positions": 256,
}  # fmt: skip
FROZEN = ["--set", "training.freeze=[src_embedding, encoder, encoder_norm]", "--set", "training.max_steps=1"]


@pytest.fixture
def language_model(small_run, tmp_path):
    """Return the folder of a language model of modern layers, with the pieces of a small run."""
    tokenizer = Tokenizer.load(small_run)
    n_pieces = tokenizer.tgt_vocab_size
    torch.manual_seed(5)
    network = build_network(ModelConfig(src_vocab_size=n_pieces, tgt_vocab_size=n_pieces, **SIZES))
    info = {"task": "language_model", "decoding": {}, "tfcli_version": "0.0.1"}
    save_model_folder(tmp_path / "lm", network, tokenizer, info, "card")
    return tmp_path / "lm"


def bare(recipe, **model):
    """Write a recipe again without its tokenizer, and with these settings alone of its network."""
    lines = [line for line in recipe.read_text().split("\n") if not line.startswith(("tokenizer:", "model:"))]
    recipe.write_text("\n".join([*lines, f"model: {json.dumps(model)}", ""]))
    return recipe


def test_a_classifier_takes_the_decoder_of_a_language_model_as_its_encoder(language_model, tmp_path, capsys):
    recipe = bare(write_labelled(tmp_path))
    out = tmp_path / "run"
    assert main(["train", str(recipe), "--init", str(language_model), "--out", str(out), *FROZEN]) == 0
    assert f"starting from the weights of {language_model}; random: output" in capsys.readouterr().err
    model = load_recipe(out / "recipe.yaml").model
    assert (model.n_encoder_layers, model.bias, model.positions) == (2, False, "rotary")
    lent = load_file(language_model / "model.safetensors")
    taken = load_file(out / "best" / "model.safetensors")
    assert {name.partition(".")[0] for name in taken} == {
        "src_embedding",
        "encoder",
        "encoder_norm",
        "output",
    }
    for name, tensor in taken.items():
        if not name.startswith("output."):
            origin = name.replace("encoder", "decoder").replace("src_", "tgt_")
            assert torch.equal(tensor, lent[origin]), name


def test_a_classifier_of_other_layers_than_the_language_model_is_refused(language_model, tmp_path, capsys):
    recipe = bare(write_labelled(tmp_path), n_encoder_layers=1)
    lines, _ = refused(capsys, 2, "train", recipe, "--init", language_model, "--out", tmp_path / "run")
    assert lines[1:] == ["model.n_encoder_layers: 1 in the recipe, 2 in the model"]


def test_a_translator_takes_the_decoder_and_has_an_encoder_as_it_likes(language_model, tmp_path, capsys):
    recipe = bare(write_small_corpus(tmp_path), n_encoder_layers=1)
    frozen = [
        "--set",
        "training.freeze=[src_embedding, decoder.0.self_attention]",
        "--set",
        "training.max_steps=1",
    ]
    out = tmp_path / "run"
    assert main(["train", str(recipe), "--init", str(language_model), "--out", str(out), *frozen]) == 0
    assert (
        "; random: decoder.cross_attention, decoder.cross_attention_norm, encoder, encoder_norm\n"
        in capsys.readouterr().err
    )
    lent = load_file(language_model / "model.safetensors")
    taken = load_file(out / "best" / "model.safetensors")
    qkv = "decoder.0.self_attention.qkv.weight"
    assert torch.equal(taken[qkv], lent[qkv])
    # the pieces of both sides, and the output, are one matrix, which each network keeps under one name
    assert torch.equal(taken["src_embedding.pieces.weight"], lent["tgt_embedding.pieces.weight"])


def pairs_of_texts(tmp_path):
    """Write a recipe for a classifier of pairs of texts."""
    recipe = bare(write_labelled(tmp_path))
    recipe.write_text(
        recipe.read_text().replace("  max_pieces", "  second_text_field: 2\n  label_field: 3\n  max_pieces")
    )
    for name in ("train", "valid", "test"):
        file = tmp_path / f"{name}.tsv"
        file.write_text(file.read_text().replace("\t", "\tthe dog .\t"))
    return recipe


def test_a_classifier_of_pairs_says_how_a_model_comes_to_the_separator(language_model, tmp_path, capsys):
    recipe = pairs_of_texts(tmp_path)
    lines, hint = refused(capsys, 2, "train", recipe, "--init", language_model, "--out", tmp_path / "run")
    assert lines[1:] == ["tokenizer.symbols: a second text needs '<sep>', which the model's tokenizer lacks"]
    assert "trained with tokenizer: {symbols: [<sep>]}, or leave out data.second_text_field" in hint
    assert "leave these keys" not in hint


def test_a_classifier_of_pairs_starts_from_a_language_model_with_the_separator(tmp_path, capsys):
    (tmp_path / "text.txt").write_text("the dog runs and a cow eats\n" * 100)
    (tmp_path / "lm.yaml").write_text(
        "name: lm\ntask: language_model\n"
        "data: {train: [{text: text.txt}], valid: {fraction: 0.1}, context: 16}\n"
        "tokenizer: {kind: char, symbols: [<sep>]}\n"
        "model: {d_model: 32, d_ff: 48, n_heads: 2, n_decoder_layers: 1, dropout: 0.25}\n"
        "training: {max_steps: 1, batch_tokens: 256}\n"
    )
    assert main(["train", str(tmp_path / "lm.yaml"), "--out", str(tmp_path / "lm"), "-q"]) == 0
    command = ["train", str(pairs_of_texts(tmp_path)), "--init", str(tmp_path / "lm"), "--out"]
    assert main([*command, str(tmp_path / "run"), "--set", "training.max_steps=1"]) == 0
    said = capsys.readouterr().err
    assert f"starting from the weights of {tmp_path / 'lm' / 'best'}; random: output" in said
    assert (
        "dropout is 0.1 (the recipe's, or else that of the preset small); the model was trained with 0.25"
        in said
    )


@pytest.mark.parametrize(("preset", "d_ff"), [("modern-tiny", 192), (None, 48)])
def test_a_network_of_a_presets_sizes_brings_the_presets_name_and_dropout(small_run, tmp_path, preset, d_ff):
    sizes = {
        **SIZES,
        "n_decoder_layers": 4,
        "d_model": 128,
        "d_ff": d_ff,
        "n_heads": 4,
        "tie_embeddings": "none",
    }
    tokenizer = Tokenizer.load(small_run)
    n_pieces = tokenizer.tgt_vocab_size
    network = build_network(ModelConfig(src_vocab_size=n_pieces, tgt_vocab_size=n_pieces, **sizes))
    save_model_folder(tmp_path / "lm", network, tokenizer, {"task": "language_model", "decoding": {}}, "card")
    sections = open_initial(tmp_path / "lm").sections
    assert sections["model"].get("preset") == preset
    model = load_recipe(bare(write_labelled(tmp_path)), base=sections).model
    assert (model.preset, model.dropout) == ((preset, 0.3) if preset else ("small", 0.1))
