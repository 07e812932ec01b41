"""Training that starts from the weights of another model: what is taken over, what is refused, how it resumes."""

import json
import re
import shutil

import pytest
from safetensors.torch import load_file, save_file

from tests.cli.conftest import write_small_corpus
from tests.cli.test_bad_input import refused
from tfcli.app import main
from tfcli.recipe.loader import load_recipe

FEW = ["--set", "training.max_steps=2", "--set", "decoding.max_output_ratio=0.1", "-q"]
BARE = """\
name: tuned
data:
  train: [{src: train.en, tgt: train.de}]
  valid: {src: valid.en, tgt: valid.de}
training: {batch_tokens: 512, warmup_steps: 1, validate_every: 4, checkpoint_every: 2, log_every: 1}
decoding: {beam_size: 1}
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """Return a recipe that says nothing of tokenizer and network."""
    monkeypatch.delenv("TFCLI_DATA", raising=False)
    write_small_corpus(tmp_path)
    (tmp_path / "bare.yaml").write_text(BARE)
    return tmp_path / "bare.yaml"


@pytest.fixture
def base(small_run, tmp_path):
    """Return a model folder of its own."""
    return shutil.copytree(small_run / "best", tmp_path / "base")


def train(recipe, run, *more):
    return main(["train", str(recipe), "--out", str(run), *FEW, *map(str, more)])


def other_weights(folder):
    """Change one number of a model."""
    weights = load_file(folder / "model.safetensors")
    weights["encoder_norm.weight"][0] += 1.0
    save_file(weights, folder / "model.safetensors")


def test_what_the_recipe_leaves_open_comes_from_the_model(recipe, small_run, tmp_path):
    run = tmp_path / "run"
    assert train(recipe, run, "--init", small_run) == 0
    assert (run / "tokenizer.model").read_bytes() == (small_run / "tokenizer.model").read_bytes()
    assert (run / "best" / "tokenizer.model").read_bytes() == (small_run / "tokenizer.model").read_bytes()
    made, first = load_recipe(run / "recipe.yaml"), load_recipe(small_run / "recipe.yaml")
    assert made.tokenizer == first.tokenizer
    assert made.model == first.model.model_copy(update={"preset": "small", "dropout": 0.1})
    origin = json.loads((run / "environment.json").read_text())["initial"]
    assert origin["folder"] == str(small_run / "best")
    card = (run / "best" / "README.md").read_text()
    assert f"training started from those of `{small_run / 'best'}` (SHA-256 {origin['sha256']})" in card
    assert json.loads((run / "best" / "config.json").read_text())["initial"] == origin


def test_the_first_loss_is_that_of_the_model(recipe, small_run, tmp_path):
    quiet = [
        "--set",
        "model.dropout=0",
        "--set",
        "training.batch_tokens=100000",
    ]  # all pairs in the first batch
    assert (
        train(recipe, tmp_path / "run", "--init", small_run, *quiet, "--set", "training.precision=fp32") == 0
    )
    first = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().split("\n")[0])
    import torch

    from tfcli.corpus.shards import ParallelIds
    from tfcli.model.folder import load_model_folder
    from tfcli.training.learner import Learner
    from tfcli.training.packer import Packer
    from tfcli.training.step import corpus_nll

    model = load_model_folder(small_run).model
    cpu = torch.device("cpu")
    packer = Packer(cpu, model.config.n_heads, varlen=False, fill=None)
    learner = Learner(model, model, None, cpu, "fp32", 0.0, None, None, None, packer)
    nll = corpus_nll(learner, ParallelIds.open(tmp_path / "run" / "corpus" / "train"), 100_000)
    assert first["perplexity"] == pytest.approx(torch.tensor(nll).exp().item(), rel=1e-4)


def test_text_alone_takes_the_sizes_of_the_model(recipe, base, tmp_path, capsys):
    files = ["--src", str(tmp_path / "train.en"), "--tgt", str(tmp_path / "train.de")]
    command = ["train", *files, "--out", str(tmp_path / "run"), "--init", str(base), *FEW[:-1]]
    assert main(command) == 0
    said = capsys.readouterr().err
    assert f"tokenizer, model: as in {base}\n" in said
    assert "model.preset" not in said
    assert f"starting from the weights of {base}\n" in said
    made = load_recipe(tmp_path / "run" / "recipe.yaml")
    assert (made.model.d_model, made.training.optimizer) == (32, "adamw")
    assert main(command) == 0
    assert "training is finished (step 2" in capsys.readouterr().err


def test_another_network_or_tokenizer_is_refused_with_all_that_differs(recipe, base, tmp_path, capsys):
    text = BARE + "model: {preset: tiny, norm: post, dropout: 0.5}\ntokenizer: {kind: bpe, vocab_size: 100}\n"
    recipe.write_text(text)
    lines, hint = refused(capsys, 2, "train", recipe, "--out", tmp_path / "run", "--init", base)
    assert lines == [
        f"--init {base}: the recipe describes another network or tokenizer",
        "model.d_ff: 256 in the recipe, 64 in the model",
        "model.d_model: 128 in the recipe, 32 in the model",
        "model.n_decoder_layers: 4 in the recipe, 1 in the model",
        "model.n_encoder_layers: 4 in the recipe, 1 in the model",
        "model.norm: 'post' in the recipe, 'pre' in the model",
        "tokenizer.kind: 'bpe' in the recipe, 'unigram' in the model",
        "tokenizer.vocab_size: 100 in the recipe, 300 in the model",
    ]
    assert "leave these keys out of the recipe" in hint
    assert not (tmp_path / "run").exists()


def test_settings_that_agree_and_a_larger_vocabulary_are_no_difference(recipe, base, tmp_path):
    agreeing = "{kind: unigram, vocab_size: 8000, character_coverage: 1.0, normalization: nmt_nfkc}"
    recipe.write_text(f"{BARE}tokenizer: {agreeing}\nmodel: {{n_heads: 4, dropout: 0.4}}\n")
    assert train(recipe, tmp_path / "run", "--init", base) == 0
    assert load_recipe(tmp_path / "run" / "recipe.yaml").model.dropout == 0.4


def test_learned_positions_are_as_many_as_the_model_has(recipe, base, tmp_path, capsys):
    config = json.loads((base / "config.json").read_text())
    config["model"]["positions"] = "learned"
    (base / "config.json").write_text(json.dumps(config))
    wish = ["--set", "model.max_positions=512"]
    lines, _ = refused(capsys, 2, "train", recipe, "--out", tmp_path / "run", "--init", base, *wish)
    assert lines[1:] == ["model.max_positions: 512 in the recipe, 1024 in the model"]


def test_what_is_no_model_cannot_be_started_from(recipe, tmp_path, capsys):
    lines, _ = refused(capsys, 4, "train", recipe, "--out", tmp_path / "run", "--init", tmp_path / "nowhere")
    assert lines == [f"{tmp_path / 'nowhere'}: no such folder"]


def test_a_model_without_its_weights_or_with_a_damaged_description_is_refused(recipe, base, tmp_path, capsys):
    command = ["train", recipe, "--out", tmp_path / "run", "--init", base]
    (base / "model.safetensors").rename(base / "elsewhere")
    lines, _ = refused(capsys, 4, *command)
    assert lines == [f"{base / 'model.safetensors'}: no such file"]
    config = json.loads((base / "config.json").read_text())
    del config["model"]
    (base / "config.json").write_text(json.dumps(config))
    lines, _ = refused(capsys, 4, *command)
    assert lines == [f"{base / 'config.json'}: damaged: 'model'"]


def test_a_run_does_not_start_from_itself(recipe, small_run, tmp_path, capsys):
    run = shutil.copytree(small_run, tmp_path / "run")
    lines, _ = refused(capsys, 2, "train", run, "--init", run, "--fresh")
    assert lines == [f"--init {run / 'best'}: the run's own folder, whose model it would replace"]
    assert (run / "best" / "model.safetensors").is_file()


def weights(run, step):
    return (run / "checkpoints" / f"step-{step:08d}" / "model.safetensors").read_bytes()


def test_a_run_goes_on_with_the_option_or_without_and_reads_the_weights_no_more(recipe, base, tmp_path):
    through, parts = tmp_path / "through", tmp_path / "parts"
    longer = ["--set", "training.max_steps=6"]
    assert train(recipe, through, "--init", base, *longer) == 0
    assert train(recipe, parts, "--init", base) == 0
    assert train(recipe, parts, "--init", base, "--set", "training.max_steps=4") == 0
    shutil.rmtree(base)
    assert train(recipe, parts, *longer) == 0
    assert weights(parts, 6) == weights(through, 6)
    assert main(["train", str(parts), "-q"]) == 0
    assert main(["tokenize", str(recipe), "--out", str(parts), "-q"]) == 0  # with the run's tokenizer


def test_other_weights_are_refused_when_a_run_goes_on(recipe, base, tmp_path, capsys):
    run = tmp_path / "run"
    assert train(recipe, run, "--init", base) == 0
    other = shutil.copytree(base, tmp_path / "other")
    assert train(recipe, run, "--init", other) == 0  # the same weights in another place
    other_weights(other)
    lines, hint = refused(capsys, 2, "train", recipe, "--out", run, "--init", other, *FEW[:-1])
    assert lines[0] == f"{run}: the run was started with other settings"
    told = rf"--init: {re.escape(str(base))} \(weights (\w+)\) -> {re.escape(str(other))} \(weights (\w+)\)"
    found = re.fullmatch(told, lines[1])
    assert found
    assert found[1] != found[2]
    assert "leave --init out to resume" in hint
    assert train(recipe, run, "--init", other, "--fresh") == 0
    assert json.loads((run / "initial.json").read_text())["folder"] == str(other)


def test_a_run_that_began_with_random_weights_does_not_become_another(recipe, base, tmp_path, capsys):
    run = tmp_path / "run"
    small = tmp_path / "small.yaml"
    assert train(small, run) == 0
    lines, _ = refused(capsys, 2, "train", small, "--out", run, "--init", base, *FEW[:-1])
    assert lines[1].startswith(f"--init: none -> {base} (weights ")


def test_a_lost_or_damaged_record_is_noticed(recipe, base, tmp_path, capsys):
    run = tmp_path / "run"
    assert train(recipe, run, "--init", base) == 0
    (run / "initial.json").write_text("{")
    lines, _ = refused(capsys, 4, "train", run)
    assert lines[0].startswith(f"{run / 'initial.json'}: cannot be read: ")
    (run / "initial.json").unlink()
    lines, _ = refused(capsys, 2, "train", run)
    assert re.fullmatch("--init: weights [0-9a-f]{12} -> none", lines[1])


def test_before_its_first_checkpoint_a_run_starts_again_from_the_same_weights(recipe, base, tmp_path, capsys):
    run = tmp_path / "run"
    assert train(recipe, run, "--init", base) == 0
    first = weights(run, 2)
    shutil.rmtree(run / "checkpoints")
    assert train(recipe, run) == 0
    assert weights(run, 2) == first
    shutil.rmtree(run / "checkpoints")
    other_weights(base)
    lines, _ = refused(capsys, 4, "train", run)
    assert lines == [
        f"{base / 'model.safetensors'}: not the weights that {run} is to start from (their checksum differs)"
    ]


def test_a_fresh_start_without_the_option_forgets_the_model(recipe, base, tmp_path):
    run = tmp_path / "run"
    small = tmp_path / "small.yaml"
    assert train(small, run, "--init", base) == 0
    assert train(small, run, "--fresh") == 0
    assert not (run / "initial.json").exists()
    assert json.loads((run / "environment.json").read_text())["initial"] is None


def test_a_dry_run_takes_the_model_and_writes_nothing_of_it(recipe, base, tmp_path, capsys):
    run = tmp_path / "run"
    plain = ["--set", "training.compile=false", "--json"]
    assert main(["train", str(recipe), "--out", str(run), "--init", str(base), "--dry-run", *plain]) == 0
    out, err = capsys.readouterr()
    parameters = sum(tensor.numel() for tensor in load_file(base / "model.safetensors").values())
    assert json.loads(out)["parameters"] == parameters
    assert f"starting from the weights of {base}" in err
    assert sorted(path.name for path in run.iterdir()) == ["corpus", "tokenizer.model"]
