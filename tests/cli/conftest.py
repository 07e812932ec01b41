"""A small run made by the real commands, once for all tests of this folder."""

import gzip
import io
import sys
from pathlib import Path

import pytest

from tests.labelled_text import write_labelled
from tests.lookup_run import TABLE, LookupTranslator, write_toy_run
from tests.small_text import write_text
from tfcli.app import main
from tfcli.commands import console, eval_run

DEMO = Path(__file__).resolve().parents[2] / "data" / "demo"
RECIPE = """\
name: small
seed: 3
data:
  src_lang: en
  tgt_lang: de
  train: [{src: train.en, tgt: train.de}]
  valid: {src: valid.en, tgt: valid.de}
  tests:
    held-out: {src: valid.en, tgt: valid.de}
tokenizer: {vocab_size: 300}
model: {preset: tiny, n_encoder_layers: 1, n_decoder_layers: 1, d_model: 32, d_ff: 64, dropout: 0.0}
training:
  {batch_tokens: 512, max_steps: 90, learning_rate: 1e-2, warmup_steps: 10, log_every: 30, validate_every: 45,
   checkpoint_every: 30, keep_checkpoints: 2}
decoding: {beam_size: 2, max_output_ratio: 1.0, max_output_extra: 4}
expected: {held-out: {bleu: 0.0, tolerance: 100.0}}
"""


@pytest.fixture(autouse=True)
def _new_consoles():
    # consoles remember the stream they were made for; each test has streams of its own
    console._console.cache_clear()
    yield
    console._console.cache_clear()


@pytest.fixture
def stdin(monkeypatch):
    """Return a function that puts bytes on standard input."""

    def give(content):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    return give


def write_small_corpus(folder):
    """Write a recipe and the text it names: the first pairs of the embedded corpus."""
    for split, count in (("train", 400), ("valid", 20)):
        for language in ("en", "de"):
            lines = gzip.decompress((DEMO / f"{split}.{language}.gz").read_bytes()).split(b"\n")[:count]
            (folder / f"{split}.{language}").write_bytes(b"\n".join(lines) + b"\n")
    (folder / "small.yaml").write_text(RECIPE)
    return folder / "small.yaml"


@pytest.fixture(scope="session")
def small_run(tmp_path_factory):
    """Return the folder of a finished run: `recipe` beside it, text beside that."""
    folder = tmp_path_factory.mktemp("small")
    recipe = write_small_corpus(folder)
    console._console.cache_clear()
    assert main(["train", str(recipe), "--out", str(folder / "run"), "-q"]) == 0
    return folder / "run"


@pytest.fixture(scope="session")
def labelled_run(tmp_path_factory):
    """Return the folder of a finished run of a classifier."""
    folder = tmp_path_factory.mktemp("animals")
    recipe = write_labelled(folder)
    console._console.cache_clear()
    assert main(["train", str(recipe), "--out", str(folder / "run"), "-q"]) == 0
    return folder / "run"


@pytest.fixture(scope="session")
def text_run(tmp_path_factory):
    """Return the folder of a finished run of a language model; recipe and text lie beside it."""
    folder = tmp_path_factory.mktemp("text")
    write_text(folder)
    console._console.cache_clear()
    assert main(["train", str(folder / "text.yaml"), "--out", str(folder / "run"), "-q"]) == 0
    return folder / "run"


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory):
    """Return a model folder of a network that has learnt nothing, and says little: quick, and as good for errors."""
    import torch

    from tfcli.model.config import ModelConfig
    from tfcli.model.folder import save_model_folder
    from tfcli.model.transformer import Transformer
    from tfcli.recipe.schema import DecodingSection, TokenizerSection
    from tfcli.text.tokenizer import train_tokenizer

    sentences = ["the dog sleeps .", "a cat sees the bird .", "two birds sing , and the dog hears them ."]
    settings = TokenizerSection(kind="char", vocab_size=40)
    tokenizer = train_tokenizer(settings, sentences, sentences, lambda _: None)
    torch.manual_seed(1)
    size = tokenizer.src_vocab_size
    model = Transformer(
        ModelConfig(
            src_vocab_size=size, tgt_vocab_size=size, n_encoder_layers=1, n_decoder_layers=1, d_model=8, d_ff=8,
            n_heads=2, dropout=0.0, attention_dropout=0.0, norm="pre", positions="sinusoidal", activation="relu",
            tie_embeddings="none", max_positions=256,
        )
    ).eval()  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)  # else it says the same whatever it is asked
    decoding = DecodingSection(beam_size=1, max_output_ratio=0.01, max_output_extra=4).model_dump()
    info = {"decoding": decoding, "max_source_pieces": 200, "precision": "fp32", "tfcli_version": "0.0.1"}
    folder = tmp_path_factory.mktemp("tiny") / "model"
    save_model_folder(folder, model, tokenizer, info, "card")
    return folder


@pytest.fixture
def toy_run(tmp_path):
    """Return a run folder with two test sets, which stands for a trained one where `loaded` does its part."""
    return write_toy_run(tmp_path)


@pytest.fixture
def loaded(monkeypatch):
    """Put a lookup table in the network's place; return what each load was asked for."""
    monkeypatch.delenv("TFCLI_DATA", raising=False)
    loads = []

    def load(folder, **options):
        translator = LookupTranslator(TABLE, beam_size=options["beam_size"])
        loads.append({"folder": folder, **options, "translator": translator})
        return translator

    monkeypatch.setattr(eval_run, "_load", load)
    return loads
