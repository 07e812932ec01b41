"""Model folders and checkpoints from before networks had the choices of today."""

import json
from dataclasses import fields, replace

import pytest
import torch

from tests.training_runs import make_run
from tfcli.decoding.loading import load_translator
from tfcli.errors import CheckpointError
from tfcli.model.config import ModelConfig
from tfcli.model.description import describe_model
from tfcli.model.folder import load_model_folder, load_network, save_model_folder
from tfcli.model.networks import build_network
from tfcli.recipe.schema import DecodingSection, ModelSection, TokenizerSection
from tfcli.text.tokenizer import train_tokenizer
from tfcli.training.checkpoint import _sha256, checkpoint_folders
from tfcli.training.fit import fit

# As format 1 was written.
FORMAT_1 = {
    "src_vocab_size", "tgt_vocab_size", "n_encoder_layers", "n_decoder_layers", "d_model", "d_ff", "n_heads", "dropout",
    "attention_dropout", "norm", "positions", "activation", "tie_embeddings", "max_positions", "pad_id",
}  # fmt: skip


@pytest.fixture
def folder_of(tmp_path):
    """Return a function that writes the folder of a network; its vocabulary is the tokenizer's."""
    tokenizer = train_tokenizer(
        TokenizerSection(kind="char", vocab_size=16), ["ab cd"], ["ab cd"], lambda _: None
    )

    def write(make, **changes):
        size = tokenizer.src_vocab_size
        model = make(src_vocab_size=size, tgt_vocab_size=size, **changes)
        info = {"decoding": DecodingSection().model_dump(), "max_source_pieces": 20}
        save_model_folder(tmp_path / "model", model, tokenizer, info, "")
        return tmp_path / "model", model

    return write


def change_config(folder, change):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def states(model):
    with torch.no_grad():
        return model(torch.tensor([[5, 7, 3]]), torch.tensor([[2, 6]]))


def test_a_folder_of_format_1_is_the_network_that_it_was(folder_of, tiny_model):
    folder, model = folder_of(tiny_model)

    def as_before(config):
        config["format"] = 1
        config["model"] = {key: value for key, value in config["model"].items() if key in FORMAT_1}

    change_config(folder, as_before)
    loaded = load_model_folder(folder).model
    assert loaded.config == model.config
    assert torch.equal(states(loaded), states(model))


def test_a_folder_of_today_keeps_every_choice(folder_of, tiny_model):
    changes = {"norm_kind": "rms", "n_kv_heads": 2, "qk_norm": True, "bias": False, "activation": "swiglu"}
    folder, model = folder_of(tiny_model, **changes)
    loaded = load_model_folder(folder).model
    assert loaded.config == model.config
    assert torch.equal(states(loaded), states(model))


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"n_encoder_layers": 0}, "language modelling"),
        ({"n_decoder_layers": 0, "n_labels": 3, "pooling": "first"}, "classification"),
    ],
)
def test_the_two_other_networks_come_back_from_their_folders_and_do_not_translate(
    folder_of, tiny_config, changes, name
):
    folder, model = folder_of(lambda **sizes: build_network(tiny_config(**sizes)).eval(), **changes)
    loaded = load_network(describe_model(folder))
    assert type(loaded) is type(model)
    assert loaded.config == model.config
    with torch.no_grad():
        text = torch.tensor([[5, 7, 3]])
        assert torch.equal(loaded(text), model(text))
    for engine in ("auto", "torch"):
        with pytest.raises(CheckpointError, match=f"a network for {name}, expected one for translation"):
            load_translator(folder, engine=engine)


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("n_labels", None, "n_labels is None"),
        ("pooling", "last", "model.pooling: expected one of 'mean', 'first', got \"last\""),
        ("n_encoder_layers", 0, "model.n_encoder_layers: must be at least 1, got 0"),
    ],
)
def test_sizes_that_no_classifier_has_are_refused(folder_of, tiny_config, key, value, complaint):
    folder, _ = folder_of(lambda **sizes: build_network(tiny_config(**sizes)), n_decoder_layers=0, n_labels=3)
    change_config(folder, lambda config: config["model"].update({key: value}))
    with pytest.raises(CheckpointError, match=complaint):
        describe_model(folder)


def test_a_key_that_is_missing_from_a_folder_of_today_is_not_guessed(folder_of, tiny_model):
    folder, _ = folder_of(tiny_model, qk_norm=True)
    change_config(folder, lambda config: config["model"].pop("qk_norm"))
    with pytest.raises(CheckpointError, match="keys missing or unknown: qk_norm"):
        load_model_folder(folder)


def test_format_1_left_out_what_has_a_default_and_recipes_have_the_same_one():
    before = ModelConfig.before()
    assert {field.name for field in fields(ModelConfig)} - before.keys() == FORMAT_1 - {"pad_id"}
    silent = ModelConfig.from_recipe(ModelSection.model_validate({}), 16, 16)
    assert replace(silent, **before) == silent


def test_a_checkpoint_from_before_goes_on(tmp_path):
    asked = iter([False, True])
    run = make_run(tmp_path, stop_asked=lambda: next(asked))
    fit(run)
    folder = checkpoint_folders(run.run_dir / "checkpoints")[-1]
    values = json.loads((folder / "state.json").read_text())
    for key in ("norm_kind", "n_kv_heads", "qk_norm", "bias"):
        del values["settings"][f"model.{key}"]
    (folder / "state.json").write_text(json.dumps(values))
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(
        json.dumps({**manifest, "state.json": _sha256(folder / "state.json")})
    )
    assert fit(replace(run, stop_asked=lambda: False)).reason == "finished"
