"""`tfcli eval RUN`: runs, test sets and folders that cannot be used are found before the work begins."""

from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_eval import refused
from tests.lookup_run import SOURCE, TABLE
from tfcli.recipe.loader import dump_recipe, load_recipe


def test_test_sets_that_cannot_be_scored_are_refused_before_the_network_is_loaded(
    toy_run: Path, loaded: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, 2, toy_run, "--test", "neer")
    assert "--test neer: the recipe has no such test set, did you mean 'near'?" in said
    said = refused(capsys, 2, toy_run, "--test", "zzz")
    assert "--test zzz: the recipe has no such test set\n" in said
    assert "hint: its test sets are: near, far" in said
    (tmp_path / "data" / "far.tsv").write_bytes(b"")
    said = refused(capsys, 3, toy_run)
    assert f"data.tests.far.tsv: {tmp_path / 'data' / 'far.tsv'} is empty" in said
    (tmp_path / "data" / "near.src").write_bytes(b"one\n")
    said = refused(capsys, 3, toy_run)
    assert "near.src has 1 line," in said
    assert "near.tgt.gz has 4" in said
    recipe = load_recipe(toy_run / "recipe.yaml", ["data.tests={}", "expected={}"])
    (toy_run / "recipe.yaml").write_text(dump_recipe(recipe))
    said = refused(capsys, 2, toy_run)
    assert "data.tests: the recipe names no test set" in said
    assert f"hint: `tfcli eval {toy_run} --src FILE --ref FILE` scores the run on text of your own" in said
    assert not loaded


def test_a_missing_tokenizer_is_found_before_the_network_is_loaded(
    toy_run: Path,
    loaded: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sacrebleu.tokenizers.tokenizer_ko_mecab.MeCab", None)
    recipe = load_recipe(toy_run / "recipe.yaml", ["scoring.tokenize=ko-mecab"])
    (toy_run / "recipe.yaml").write_text(dump_recipe(recipe))
    assert "pip install 'sacrebleu[ko]'" in refused(capsys, 2, toy_run)
    assert not loaded


def test_folders_that_are_no_runs_are_refused(
    toy_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"{tmp_path / 'gone'}: no such folder" in refused(capsys, 4, tmp_path / "gone")
    assert f"{tmp_path / 'toy.yaml'}: not a folder" in refused(capsys, 4, tmp_path / "toy.yaml")
    said = refused(capsys, 4, toy_run / "best")
    assert f"{toy_run / 'best'}: not a run folder: it has no recipe.yaml" in said
    (toy_run / "recipe.yaml").write_text("name: x\n")
    assert "recipe.yaml:1: data: " in refused(capsys, 2, toy_run)


def test_a_run_without_a_model_is_refused_by_the_real_loader(
    toy_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TFCLI_DATA", raising=False)
    (toy_run / "best" / "config.json").unlink()
    assert "neither a model folder" in refused(capsys, 4, toy_run)
    assert not (toy_run / "scores.json").exists()


def test_an_output_folder_that_cannot_be_made_is_found_before_translating(
    toy_run: Path, loaded: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, 3, toy_run, "--out", tmp_path / "toy.yaml" / "inside")
    assert f"{tmp_path / 'toy.yaml' / 'inside'}: Not a directory" in said
    assert loaded[0]["translator"].asked == []


def test_a_translation_of_several_lines_is_a_defect(
    toy_run: Path,
    loaded: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(TABLE, SOURCE[0], "a\nb")
    assert "a translation must be a single line" in refused(capsys, 1, toy_run)
    assert not list((toy_run / "eval").iterdir())
