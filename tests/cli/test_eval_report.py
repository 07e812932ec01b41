"""`tfcli eval --report`: what stands in it, and what is refused before any work."""

import errno
import hashlib
import re
import shutil
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from tfcli.app import main
from tfcli.commands import eval as verb
from tfcli.commands import eval_report
from tfcli.recipe.loader import dump_recipe, load_recipe

REFERENCE = ["The cat is sitting on the mat.", "", "Two dogs play <b>in</b> the snow.", "Anna sees a house."]
NEW = ["The cat sits on the mat.", "", "Two dogs play <b>in</b> the snow.", "Anna sees a horse."]
OLD = ["A cat sits.", "", "Dogs in the snow.", "Anna sees a house."]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, lines in {"ref": REFERENCE, "new": NEW, "old": OLD}.items():
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def words(path: Path) -> str:
    """Return the text of a page as it is read, but for its lines."""
    page = re.sub(r"<(script|style).*?</\1>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", page)))


def test_files_are_reported_as_a_page(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["eval", "--hyp", "new", "--ref", "ref", "--baseline", "old", "--resamples", "100"]
    assert main(command) == 0
    plain = capsys.readouterr().out
    assert main([*command, "--report", "report.html"]) == 0
    out, err = capsys.readouterr()
    assert out == plain
    assert "the report is report.html" in err
    text = words(files / "report.html")
    assert "new against old" in text
    assert "Largest gains of new over old" in text
    assert f"SHA-256 {hashlib.sha256((files / 'new').read_bytes()).hexdigest()}" in text
    assert "the training text is not at hand" in text
    assert sorted(path.name for path in files.iterdir()) == ["new", "old", "ref", "report.html"]


def test_files_are_reported_in_markdown_which_needs_no_extra(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eval_report, "find_spec", lambda name: None)
    command = ["eval", "--hyp", "new", "--hyp", "old", "--ref", "ref", "--resamples", "0", "-q"]
    assert main([*command, "--report", "report.md"]) == 0
    text = (files / "report.md").read_text()
    assert text.startswith("# 2 systems on ref\n")
    assert "| 1 | " in text
    assert "<b>" not in text


def test_a_run_is_reported_with_its_training_its_pictures_and_its_text(
    small_run: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.html"
    assert (
        main(["eval", str(small_run), "--resamples", "100", "--out", str(tmp_path), "--report", str(report)])
        == 0
    )
    page, text = report.read_text(encoding="utf-8"), words(report)
    for title in (
        "Training.",
        "Learning rate.",
        "Attention to the source, sentence 1.",
        "Positions (sinusoidal).",
    ):
        assert title in text
    assert page.count("<svg") >= 4
    assert "in the 400 lines of the training text" in text
    for name in ("train.en", "train.de", "valid.de"):
        digest = hashlib.sha256((small_run.parent / name).read_bytes()).hexdigest()
        assert f"data {name} SHA-256 {digest}" in text
    assert "engine torch" in text
    assert (
        f"held-out, {small_run} SHA-256 {hashlib.sha256((tmp_path / 'held-out.hyp').read_bytes()).hexdigest()}"
        in text
    )


def test_a_run_whose_training_text_is_gone_is_reported_without_it(
    small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(small_run, run, ignore=shutil.ignore_patterns("corpus", "checkpoints", "tensorboard"))
    recipe = (run / "recipe.yaml").read_text()
    assert "train.de" in recipe
    (run / "recipe.yaml").write_text(recipe.replace("train.de", "gone.de"))
    (tmp_path / "src").write_text("The dog sees a bird.\n")
    (tmp_path / "ref").write_text("Der Hund sieht einen Vogel.\n")
    report = tmp_path / "report.md"
    text = ["--src", str(tmp_path / "src"), "--ref", str(tmp_path / "ref"), "--resamples", "0"]
    assert main(["eval", str(run), *text, "--report", str(report)]) == 0
    assert "the report counts words in the references" in capsys.readouterr().err
    assert "the training text is not at hand" in report.read_text()


def test_a_training_text_that_has_an_address_is_not_fetched_for_a_report(
    toy_run: Path, loaded: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = load_recipe(
        toy_run / "recipe.yaml", ["data.train=[{src: a.en, tgt: a.de, tgt_url: 'http://127.0.0.1:9/a'}]"]
    )
    (toy_run / "recipe.yaml").write_text(dump_recipe(recipe))
    (tmp_path / "data" / "a.en").write_text("a\n")
    command = ["eval", str(toy_run), "--resamples", "0", "--metric", "bleu"]
    assert main([*command, "--report", str(tmp_path / "report.md")]) == 0
    err = capsys.readouterr().err
    assert "the training text cannot be read: data.train[0].tgt: no file a.de; looked for" in err
    assert "127.0.0.1" not in err


def test_the_folder_of_a_report_is_made_with_it(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["eval", "--hyp", "new", "--resamples", "0", "--report", "some/where/report.md"]
    assert main([*command, "--ref", "no-such-file"]) == 3
    assert not (files / "some").exists()
    assert main([*command, "--ref", "ref"]) == 0
    assert [path.name for path in (files / "some/where").iterdir()] == ["report.md"]


REFUSED = {
    "report.pdf": (2, "--report report.pdf: expected a name that ends in .html or .md"),
    "report": (2, "--report report: expected a name that ends in .html or .md"),
    "ref/report.html": (3, "--report ref/report.html: cannot be written: Not a directory"),
    "/proc/new/report.html": (3, "--report /proc/new/report.html: cannot be written: "),
    "folder.html": (3, "--report folder.html: a folder; expected a file"),
    "/proc/report.html": (3, "--report /proc/report.html: cannot be written: "),
}


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError("the work has begun")

    monkeypatch.setattr(verb, "score_files", fail)


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.usefixtures("no_work")
def test_a_report_that_cannot_be_written_is_refused_before_the_work(
    files: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (files / "folder.html").mkdir()
    code, message = REFUSED[name]
    assert main(["eval", "--hyp", "new", "--ref", "ref", "--report", name]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert f"error: {message}" in err


@pytest.mark.usefixtures("no_work")
def test_what_a_page_needs_is_named_before_the_work(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["eval", "--hyp", "new", "--ref", "ref", "--report", "report.html"]
    monkeypatch.setattr(eval_report, "find_spec", lambda name: None if name == "jinja2" else object())
    assert main(command) == 2
    err = capsys.readouterr().err
    assert "--report report.html: jinja2 is not installed" in err
    assert "pip install jinja2" in err
    monkeypatch.setattr(eval_report, "find_spec", lambda name: None)
    assert main(command) == 2
    assert "jinja2 and matplotlib are not installed" in capsys.readouterr().err


@pytest.mark.usefixtures("no_work")
def test_labels_have_no_report(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["eval", "--hyp", "new", "--ref", "ref", "--metric", "accuracy", "--report", "report.html"]
    assert main(command) == 2
    assert "--report: a report is about translations, and accuracy scores labels" in capsys.readouterr().err


def test_a_full_disk_leaves_the_old_report_and_the_scores(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (files / "report.md").write_text("old")
    monkeypatch.setattr("tfcli.text.whole_file.write_whole", full)
    command = ["eval", "--hyp", "new", "--ref", "ref", "--resamples", "0", "--report", "report.md"]
    assert main(command) == 3
    out, err = capsys.readouterr()
    assert "--report report.md: cannot be written: No space left on device" in err
    assert "BLEU" in out
    assert (files / "report.md").read_text() == "old"
