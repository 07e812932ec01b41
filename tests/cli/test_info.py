"""`tfcli info`: the installation, a recipe, a run folder and a model folder, for people and as JSON."""

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from tfcli import __version__
from tfcli.app import main
from tfcli.recipe.loader import dump_recipe, load_recipe

RECIPE = """\
name: toy
data:
  src_lang: en
  tgt_lang: de
  train: [{src: a.en, tgt: a.de}, {tsv: b.tsv}]
  valid: {src: v.en, tgt: v.de}
  tests: {held: {tsv: t.tsv}}
model: {preset: tiny}
expected: {held: {bleu: 41.5}}
"""
SIZES = {"n_encoder_layers": 4, "n_decoder_layers": 2, "d_model": 128, "n_heads": 4, "src_vocab_size": 6000}
CONFIG = {
    "format": 1,
    "model": {**SIZES, "tgt_vocab_size": 6000},
    "name": "toy",
    "task": "translation",
    "src_lang": "en",
    "tgt_lang": "de",
    "decoding": {"beam_size": 5},
    "trained": {"step": 200, "averaged_checkpoints": 2, "validation_bleu": 20.5},
    "tfcli_version": "0.1.0",
    "commit": None,
}
SCORES = {
    "sets": {
        "held": {
            "bleu": {"score": 41.234, "signature": "nrefs:1"},
            "chrf": {"score": 60.0, "signature": "nrefs:1"},
        }
    }
}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "toy.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def run(tmp_path: Path, recipe: Path) -> Path:
    folder = tmp_path / "run"
    for name in ("checkpoints/step-00000100", "checkpoints/step-00000200", "best"):
        (folder / name).mkdir(parents=True)
    (folder / "recipe.yaml").write_text(dump_recipe(load_recipe(recipe)))
    (folder / "best/config.json").write_text(json.dumps(CONFIG))
    weights = {"a": np.zeros((3, 4), np.float32), "b": np.zeros(5, np.float32), "c": np.zeros((), np.float32)}
    save_file(weights, folder / "best/model.safetensors", metadata={"format": "pt"})
    (folder / "metrics.jsonl").write_text(
        '{"step": 100, "kind": "valid", "bleu": 10.5}\n{"step": 200, "kind": "valid", "bleu": 20.5}\n{"step": 250, "loss": 2.0}\n{"step": 3'
    )
    (folder / "scores.json").write_text(json.dumps(SCORES))
    (folder / "environment.json").write_text(
        json.dumps(
            {
                "command": ["/usr/bin/tfcli", "train", "my toy.yaml"],
                "started": "2026-11-22T15:48:10+00:00",
                "tfcli_version": "0.1.0",
                "commit": "0123456789abcdef-dirty",
                "packages": {"torch": "2"},
                "device": "cpu",
                "precision": "fp32",
                "data": {"a": "f0"},
            }
        )
    )
    return folder


def lines(output: str) -> dict[str, str]:
    """Return the `name  value` lines of a report."""
    return {
        line.split("  ")[0].strip(): line.split("  ", 1)[1].strip()
        for line in output.split("\n")
        if "  " in line
    }


def as_json(capsys: pytest.CaptureFixture[str], *args: str) -> Any:
    assert main(["info", *args, "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)


def test_alone_it_reports_the_installation(capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(capsys)
    assert found["tfcli"] == __version__
    assert set(found["packages"]) >= {"torch", "sentencepiece", "sacrebleu", "pydantic"}
    assert all(found["packages"].values())
    assert found["devices"]["threads"] >= 1
    assert found["cpus_usable"] <= found["cpus"]
    assert main(["info"]) == 0
    shown = lines(capsys.readouterr().out)
    assert shown["tfcli"] == __version__
    assert shown["packages.torch"] == found["packages"]["torch"]


def test_a_broken_torch_still_gives_a_report(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    assert "torch cannot be imported" in as_json(capsys)["devices"]


def test_the_schema_is_json(capsys: pytest.CaptureFixture[str], recipe: Path) -> None:
    assert main(["info", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "tfcli recipe"
    assert main(["info", "--schema", str(recipe)]) == 2
    assert "--schema describes all recipes" in capsys.readouterr().err


def test_a_recipe_is_shown_as_it_is_resolved(capsys: pytest.CaptureFixture[str], recipe: Path) -> None:
    assert main(["info", str(recipe)]) == 0
    shown = lines(capsys.readouterr().out)
    assert shown["name"] == "toy"
    assert shown["languages"] == "en - de"
    assert shown["train"] == "a.en | a.de, b.tsv"
    assert shown["model.d_model"] == "128"
    assert shown["training.max_steps"] == "20,000"
    assert shown["expected.held"] == "BLEU 41.5 +- 0.5"
    assert as_json(capsys, str(recipe))["training"]["patience"] is None


@pytest.mark.parametrize(("pairs", "said"), [(1, "1 pair held out"), (2000, "2,000 pairs held out")])
def test_pairs_that_are_held_out_are_counted(
    capsys: pytest.CaptureFixture[str], recipe: Path, pairs: int, said: str
) -> None:
    recipe.write_text(RECIPE.replace("{src: v.en, tgt: v.de}", f"{{pairs: {pairs}}}"))
    assert main(["info", str(recipe)]) == 0
    assert lines(capsys.readouterr().out)["valid"] == said


def test_a_run_folder_is_shown_with_all_that_is_in_it(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    found = as_json(capsys, str(run))
    assert found["kind"] == "run"
    assert found["name"] == "toy"
    assert found["preset"] == "tiny"
    assert found["parameters"] == 3 * 4 + 5 + 1
    assert found["checkpoints"] == [100, 200]
    assert found["last_step"] == 250
    assert found["max_steps"] == 20_000
    assert found["model"] == CONFIG["model"]
    assert {"model": found["model"], **found["config"]} == CONFIG
    assert found["validation"] == {"step": 200, "kind": "valid", "bleu": 20.5}
    assert found["scores"] == SCORES["sets"]
    assert found["environment"]["data"] == {"a": "f0"}


def test_the_gist_of_a_run_fits_a_screen(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    for name in ("metrics.jsonl", "environment.json"):
        os.utime(run / name, (time.time() - 3600,) * 2)
    assert main(["info", str(run)]) == 0
    out = capsys.readouterr().out
    report, curves, scores = out.split("\n\n")
    assert lines(report) == {
        "run": str(run),
        "name": "toy",
        "task": "translation, en to de",
        "network": "preset tiny, 4+2 layers, d_model 128, n_heads 4, vocabulary 6,000",
        "parameters": "18",
        "steps": "250 of 20,000; 2 checkpoints are kept",
        "status": "stopped, as it seems: last line 60 min ago",
        "go on with": f"tfcli train {run}",
        "best model": f"{run / 'best'}, validation BLEU 20.50, step 200, the average of 2 checkpoints",
        "trained": "2026-11-22, tfcli 0.1.0, commit 0123456789ab-dirty, on cpu in fp32",
        "command": "tfcli train 'my toy.yaml'",
    }
    assert [line.strip() for line in curves.split("\n")] == [
        "valid BLEU  ▁█",
        "10.50 at step 100 to 20.50 at step 200, best 20.50 at step 200",
    ]
    assert scores.split("\n")[0].split() == ["test", "set", "BLEU", "chrF"]
    assert scores.split("\n")[-2].split() == ["held", "41.23", "60.00"]


def test_a_folder_whose_files_say_other_things_than_expected_is_shown_as_far_as_it_goes(
    capsys: pytest.CaptureFixture[str], run: Path
) -> None:
    (run / "best/config.json").write_text('{"model": 3, "trained": [], "src_lang": null}')
    (run / "environment.json").write_text('{"command": 7}')
    (run / "recipe.yaml").write_text("training: {}\nmodel: later\n")
    (run / "scores.json").write_text('{"sets": {"near": 31.0, "far": {"bleu": "31"}}}')
    assert main(["info", str(run)]) == 0
    shown = lines(capsys.readouterr().out.partition("\n\n")[0])
    assert set(shown) == {"run", "parameters", "steps", "status", "best model"}


@pytest.mark.parametrize("content", ["{}", '{"sets": {}}', '{"sets": {"near": {}}}'])
def test_scores_that_are_none_are_no_table(
    capsys: pytest.CaptureFixture[str], run: Path, content: str
) -> None:
    (run / "scores.json").write_text(content)
    assert main(["info", str(run)]) == 0
    assert "test set" not in capsys.readouterr().out
    assert as_json(capsys, str(run))["scores"] == {}


def test_a_run_that_has_only_begun_is_shown_too(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    for path in [*run.glob("best/*"), *run.glob("*.json*")]:
        path.unlink()
    save_file({"a": np.zeros((2, 2), np.float32)}, run / "checkpoints/step-00000200/model.safetensors")
    found = as_json(capsys, str(run))
    assert found["parameters"] == 4
    assert found["last_step"] == 200
    assert found["model"]["d_model"] == 128
    assert found["validation"] == {}
    assert main(["info", str(run)]) == 0
    assert "best model" not in capsys.readouterr().out


def test_a_run_with_settings_this_version_does_not_know_is_shown(
    capsys: pytest.CaptureFixture[str], run: Path
) -> None:
    with (run / "recipe.yaml").open("a") as recipe:
        recipe.write("later: {x: 1}\n")
    assert as_json(capsys, str(run))["name"] == "toy"


def test_a_model_folder_is_shown(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    found = as_json(capsys, str(run / "best"))
    assert (found["kind"], found["parameters"], found["model"]["d_model"]) == ("model", 18, 128)
    assert main(["info", str(run / "best")]) == 0
    shown = lines(capsys.readouterr().out)
    assert list(shown) == ["model", "name", "task", "network", "parameters", "best model", "trained"]
    assert shown["best model"] == "validation BLEU 20.50, step 200, the average of 2 checkpoints"


def test_a_folder_without_its_weights_is_shown_and_says_so(
    capsys: pytest.CaptureFixture[str], run: Path
) -> None:
    assert as_json(capsys, str(run))["weights"] == str(run / "best/model.safetensors")
    (run / "best/model.safetensors").unlink()
    for folder in (run, run / "best"):
        found = as_json(capsys, str(folder))
        assert (found["weights"], found["parameters"]) == (None, None)
        assert main(["info", str(folder)]) == 0
        shown = lines(capsys.readouterr().out.partition("\n\n")[0])
        assert shown["weights"].startswith("missing: model.safetensors is not there; copy the whole folder")
        assert shown["network"].startswith(("preset tiny", "4+2 layers"))


def test_one_of_a_kind_is_told_in_the_singular(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    (run / "checkpoints/step-00000100").rmdir()
    trained = {"step": 200, "averaged_checkpoints": 1, "validation_bleu": 20.5}
    (run / "best/config.json").write_text(json.dumps({**CONFIG, "trained": trained}))
    assert main(["info", str(run)]) == 0
    shown = lines(capsys.readouterr().out.partition("\n\n")[0])
    assert shown["steps"] == "250 of 20,000; 1 checkpoint is kept"
    assert shown["best model"].endswith("the average of 1 checkpoint")


def test_what_is_no_run_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["info", str(tmp_path / "nothing")]) == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert f"error: {tmp_path / 'nothing'}: no such folder" in err
    assert main(["info", str(tmp_path)]) == 4
    assert "not a run or model folder: it has neither recipe.yaml nor config.json" in capsys.readouterr().err
    assert main(["info", str(tmp_path / "nothing.yaml")]) == 2
    assert "no such recipe" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("best/model.safetensors", b"", "not a safetensors file, or a damaged one"),
        ("best/model.safetensors", b"\xff" * 20, "not a safetensors file, or a damaged one"),
        ("best/model.safetensors", b"\x02" + bytes(7) + b"[]", "not a safetensors file, or a damaged one"),
        ("best/config.json", b"{", "config.json: cannot be read: "),
        ("environment.json", b"[]", "environment.json: cannot be read: expected an object"),
        ("scores.json", b"\xff", "scores.json: cannot be read: "),
        ("finished.json", b"[]", "finished.json: cannot be read: expected an object"),
        ("checkpoints/step-00000200/state.json", b"{", "state.json: cannot be read: "),
        ("recipe.yaml", b"a: [", "recipe.yaml: cannot be read: "),
        ("recipe.yaml", b"- a", "recipe.yaml: cannot be read: expected a mapping"),
    ],
)
def test_a_damaged_file_of_a_run_is_named(
    capsys: pytest.CaptureFixture[str], run: Path, name: str, content: bytes, complaint: str
) -> None:
    (run / name).write_bytes(content)
    assert main(["info", str(run)]) == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert str(run / name) in err
    assert complaint in err
