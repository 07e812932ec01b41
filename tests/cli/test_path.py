"""The whole path by the real commands: tokenize, train, eval, info; translate is in test_translate_run.py."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.cli.conftest import write_small_corpus
from tfcli.app import main
from tfcli.recipe.loader import load_recipe


def test_a_run_folder_holds_what_the_design_says(small_run):
    names = {path.name for path in small_run.iterdir()}
    assert {
        "recipe.yaml",
        "tokenizer.model",
        "corpus",
        "checkpoints",
        "best",
        "metrics.jsonl",
        "log.txt",
    } <= names
    converted = {"ctranslate2"}  # where another test has translated with this run before
    assert {path.name for path in (small_run / "best").iterdir()} - converted == {
        "config.json", "model.safetensors", "tokenizer.model", "README.md"
    }  # fmt: skip
    assert sorted(path.name for path in (small_run / "checkpoints").iterdir()) == [
        "step-00000060",
        "step-00000090",
    ]
    environment = json.loads((small_run / "environment.json").read_text())
    assert len(environment["data"]) == 4
    assert environment["packages"]["torch"]
    assert environment["precision"] in ("fp32", "bf16")
    assert "Transformer that translates en to de" in (small_run / "best" / "README.md").read_text()


def test_metrics_have_the_rows_that_the_recipe_asks_for(small_run):
    rows = [json.loads(line) for line in (small_run / "metrics.jsonl").read_text().split("\n")[:-1]]
    assert [row["step"] for row in rows if row["kind"] == "train"] == [30, 60, 90]
    assert [row["step"] for row in rows if row["kind"] == "valid"] == [45, 90]
    train = [row for row in rows if row["kind"] == "train"]
    assert train[-1]["loss"] < train[0]["loss"]
    assert all({"bleu", "loss", "perplexity"} <= row.keys() for row in rows if row["kind"] == "valid")


def test_the_resolved_recipe_makes_the_same_run_again(small_run, tmp_path):
    assert main(["train", str(small_run / "recipe.yaml"), "--out", str(tmp_path / "again"), "-q"]) == 0
    again = tmp_path / "again" / "checkpoints" / "step-00000090" / "model.safetensors"
    assert (
        again.read_bytes() == (small_run / "checkpoints" / "step-00000090" / "model.safetensors").read_bytes()
    )


def test_a_finished_run_says_so_and_exits_0(small_run, capsys):
    recipe = small_run.parent / "small.yaml"
    assert main(["train", str(recipe), "--out", str(small_run)]) == 0
    assert "training is finished (step 90" in capsys.readouterr().err


def test_changed_settings_are_refused_with_a_diff_and_fresh_starts_over(small_run, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(small_run, folder)
    recipe = str(small_run.parent / "small.yaml")
    args = ["train", recipe, "--out", str(folder), "--set", "training.learning_rate=1e-3"]
    assert main(args) == 2
    assert "training.learning_rate: 0.01 -> 0.001" in capsys.readouterr().err
    assert main([*args, "--set", "training.max_steps=2", "--fresh", "-q"]) == 0
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["step-00000002"]


def test_fresh_drops_nothing_before_it_knows_that_it_can_start(small_run, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(small_run, folder)
    before = sorted(path.relative_to(folder) for path in folder.rglob("*"))
    args = ["train", str(small_run.parent / "small.yaml"), "--fresh", "--out"]
    assert main([*args, str(folder), "--device", "abacus"]) == 2
    assert "unknown device" in capsys.readouterr().err
    assert sorted(path.relative_to(folder) for path in folder.rglob("*")) == before
    assert main([*args, str(small_run.parent)]) == 2
    assert "holds files, but is no run folder" in capsys.readouterr().err
    assert (small_run.parent / "train.en").exists()


def test_a_run_finds_its_text_again_behind_links_and_parent_folders(tmp_path, capsys):
    (tmp_path / "real").mkdir()
    (tmp_path / "work").mkdir()
    recipe = write_small_corpus(tmp_path / "real")
    (tmp_path / "linked.en").symlink_to(tmp_path / "real" / "train.en")
    moved = recipe.read_text().replace("train.en", "../linked.en").replace("train.de", "../real/train.de")
    moved = moved.replace("valid.", "../real/valid.")
    (tmp_path / "work" / "r.yaml").write_text(moved)
    run = str(tmp_path / "run")
    assert (
        main(
            ["train", str(tmp_path / "work" / "r.yaml"), "--out", run, "-q", "--set", "training.max_steps=2"]
        )
        == 0
    )
    assert main(["eval", run, "-q", "--json"]) == 0
    assert main(["train", f"{run}/recipe.yaml", "--out", run]) == 0
    assert "training is finished (step 2" in capsys.readouterr().err


def test_changed_text_is_refused_when_a_run_resumes(tmp_path, capsys):
    recipe = write_small_corpus(tmp_path)
    args = [
        "train",
        str(recipe),
        "--out",
        str(tmp_path / "run"),
        "-q",
        "--set",
        "training.validate_every=100",
    ]
    assert main([*args, "--set", "training.max_steps=2"]) == 0
    (tmp_path / "valid.de").write_bytes((tmp_path / "valid.de").read_bytes().replace(b"e", b"a"))
    assert main([*args, "--set", "training.max_steps=4"]) == 2
    assert "data.content" in capsys.readouterr().err


def test_without_a_terminal_training_prints_plain_lines_to_stderr_alone(tmp_path, capfd):
    recipe = write_small_corpus(tmp_path)
    assert main(["train", str(recipe), "--out", str(tmp_path / "run"), "--set", "training.max_steps=10"]) == 0
    out, err = capfd.readouterr()
    assert out == ""
    assert re.search(r"step 10/10: loss \d.*target tokens/s", err)
    assert "\x1b" not in err
    assert "\r" not in err


def test_dry_run_tells_size_memory_and_time_and_trains_nothing(tmp_path, capsys):
    recipe = write_small_corpus(tmp_path)
    assert main(["train", str(recipe), "--out", str(tmp_path / "run"), "--dry-run"]) == 0
    out = capsys.readouterr().out
    for said in ("parameters: ", "worst batch: ", "peak memory: ", "target tokens/s", "expected: "):
        assert said in out
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_missing_test_set_is_told_before_training(tmp_path, capsys):
    recipe = write_small_corpus(tmp_path)
    recipe.write_text(recipe.read_text().replace("held-out: {src: valid.en", "held-out: {src: vlaid.en"))
    assert main(["train", str(recipe), "--out", str(tmp_path / "run")]) == 3
    assert "data.tests.held-out.src" in capsys.readouterr().err


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_a_checkpoint_and_the_run_resumes_to_the_same_weights(
    small_run, tmp_path, signum, code
):
    recipe = write_small_corpus(tmp_path)
    run = tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "tfcli",
        "train",
        str(recipe),
        "--out",
        str(run),
        "--set",
        "training.log_every=1",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (run / "metrics.jsonl").exists() or not (run / "metrics.jsonl").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signum)
    _, err = process.communicate(timeout=120)
    assert process.returncode == code
    assert "the same command, without --fresh, resumes" in err
    assert subprocess.run([*command, "-q"], check=False).returncode == 0
    final = run / "checkpoints" / "step-00000090" / "model.safetensors"
    assert (
        final.read_bytes() == (small_run / "checkpoints" / "step-00000090" / "model.safetensors").read_bytes()
    )


def test_eval_translates_and_scores_the_test_sets_of_a_run(small_run, capfd):
    assert main(["eval", str(small_run), "--json", "-q"]) == 0
    result = json.loads(capfd.readouterr().out)
    assert set(result["sets"]["held-out"]) == {"bleu", "chrf", "ter"}
    assert "tok:13a" in result["sets"]["held-out"]["bleu"]["signature"]
    assert (small_run / "eval" / "held-out.hyp").read_bytes().count(b"\n") == 20
    assert main(["info", str(small_run), "--json"]) == 0
    info = json.loads(capfd.readouterr().out)
    assert info["scores"]["held-out"]["bleu"] == result["sets"]["held-out"]["bleu"]
    assert info["last_step"] == 90
    assert info["validation"]["step"] == 90


def test_validation_scores_what_eval_scores(small_run, capfd):
    """The validation text is the test set here: the best model's score must come out again."""
    best = json.loads((small_run / "best" / "config.json").read_text())["trained"]["validation_bleu"]
    assert main(["eval", str(small_run), "--json", "-q"]) == 0
    assert json.loads(capfd.readouterr().out)["sets"]["held-out"]["bleu"]["score"] == pytest.approx(
        best, abs=1e-6
    )


def test_tokenize_with_a_runs_model_goes_there_and_back(small_run, stdin, capfdbinary):
    text = b"The dog sees a bird.\n\nTwo cats sleep.\n"
    stdin(text)
    assert main(["tokenize", "--model", str(small_run / "best")]) == 0
    stdin(capfdbinary.readouterr().out)
    assert main(["tokenize", "--model", str(small_run), "--decode"]) == 0
    assert capfdbinary.readouterr().out == text


def test_a_recipe_error_is_told_without_loading_torch(tmp_path):
    recipe = write_small_corpus(tmp_path)
    recipe.write_text(recipe.read_text().replace("max_steps", "max_stepz"))
    program = (
        "import sys; from tfcli.app import main; code = main(sys.argv[1:]);"
        "assert 'torch' not in sys.modules and 'sacrebleu' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "train", str(recipe)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert f"{recipe}:13: training.max_stepz: unknown key, did you mean 'max_steps'?" in done.stderr


def test_separate_vocabularies_and_other_choices_work_from_end_to_end(tmp_path, stdin, capfdbinary):
    recipe = write_small_corpus(tmp_path)
    changes = [
        "tokenizer.shared=false", "tokenizer.kind=char", "tokenizer.vocab_size=60",
        "model.positions=rotary", "model.norm=post", "model.attention_dropout=0.1", "training.schedule=cosine",
        "training.max_steps=6", "training.accumulation_steps=2", "decoding.beam_size=1", "training.precision=bf16",
    ]  # fmt: skip
    options = [word for change in changes for word in ("--set", change)]
    assert main(["train", str(recipe), "--out", str(tmp_path / "run"), "-q", *options]) == 0
    assert (tmp_path / "run" / "best" / "tokenizer.src.model").exists()
    stdin(b"The dog.\n")
    assert main(["translate", str(tmp_path / "run"), "-q"]) == 0
    assert capfdbinary.readouterr().out.count(b"\n") == 1
    assert load_recipe(tmp_path / "run" / "recipe.yaml").training.precision == "bf16"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="no C++ compiler")
def test_a_compiled_run_gives_the_losses_of_an_eager_one_and_resumes_to_the_last_bit(tmp_path):
    recipe = write_small_corpus(tmp_path)

    def train(name, steps, compiled):
        changes = [f"training.compile={compiled}", f"training.max_steps={steps}", "training.log_every=1"]
        changes += ["training.precision=fp32", "training.validate_every=100", "training.checkpoint_every=2"]
        options = [word for change in changes for word in ("--set", change)]
        environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
        environment.pop("TORCHINDUCTOR_CACHE_DIR", None)
        run = tmp_path / name
        command = [sys.executable, "-m", "tfcli", "train", str(recipe), "--out", str(run), *options]
        said = subprocess.run(command, check=True, env=environment, capture_output=True, text=True).stderr
        assert ("fp32, compiled" in said) == (compiled == "true")
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().split("\n")[:-1]]
        weights = run / "checkpoints" / f"step-{steps:08d}" / "model.safetensors"
        return [row["loss"] for row in rows if row["kind"] == "train"], weights.read_bytes()

    eager, _ = train("eager", 4, "false")
    losses, weights = train("through", 4, "true")
    assert losses == pytest.approx(eager, rel=1e-4)
    train("resumed", 2, "true")
    assert train("resumed", 4, "true") == (losses, weights)
    assert any((tmp_path / "cache" / "tfcli" / "torch-compile").iterdir())
