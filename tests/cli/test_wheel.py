"""The wheel and the sdist: built, installed where no checkout is near, and used."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHORT = (
    "training.max_steps=6", "training.warmup_steps=2", "training.validate_every=6", "training.checkpoint_every=3",
    "model.n_encoder_layers=1", "model.n_decoder_layers=1", "decoding.beam_size=1",
    "decoding.max_output_ratio=0.1", "decoding.max_output_extra=1",
)  # fmt: skip


def run(*command: object, cwd: Path, **more: str) -> "subprocess.CompletedProcess[str]":
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "TFCLI_DATA")}
    result = subprocess.run(
        list(map(str, command)), cwd=cwd, env={**clean, **more}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """Return a folder with a wheel made from the sdist, as an installer would."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=ROOT)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    source = next(path for path in folder.iterdir() if path.is_dir())
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=source)
    return folder


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory) -> Path:
    """Return the command of an environment that holds the wheel; what it depends on is that of the tests."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    python = folder / "bin" / "python"
    wheel = next(built.glob("*.whl"))
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        wheel,
        cwd=folder,
    )
    packages = run(
        python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder
    ).stdout.strip()
    # a .pth file inside a folder that was itself added by one is not read: the checkout stays out of sight
    (Path(packages) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = run(python, "-c", "import tfcli; print(tfcli.__file__)", cwd=folder).stdout
    assert where.startswith(packages)
    return folder / "bin" / "tfcli"


def test_the_wheel_holds_the_recipes_and_the_demo_and_nothing_of_the_workshop(built):
    names = zipfile.ZipFile(next(built.glob("*.whl"))).namelist()
    for recipe in (ROOT / "recipes").glob("*.yaml"):
        assert f"tfcli/bundled/recipes/{recipe.name}" in names
    assert {Path(name).suffix for name in names if "/bundled/recipes/" in name} == {".yaml"}
    assert "tfcli/bundled/data/demo/train.en.gz" in names
    assert "tfcli/py.typed" in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"tfcli"}


def test_the_sdist_holds_what_tests_and_docs_need(built):
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"Makefile", "README.md", "constraints.txt", "tests/conftest.py", "docs/train.md"} <= names
    assert not any(name.startswith((".venv", "runs/", "dist/")) for name in names)


def test_every_verb_works_outside_the_checkout(installed, tmp_path):
    changes = [word for change in SHORT for word in ("--set", change)]
    assert run(installed, "--version", cwd=tmp_path).stdout.startswith("tfcli ")
    assert "demo" in run(installed, "info", "--recipes", cwd=tmp_path).stdout
    run(installed, "tokenize", "demo", *changes, cwd=tmp_path)
    run(installed, "train", "demo", *changes, cwd=tmp_path)
    run(installed, "eval", "runs/demo", cwd=tmp_path)
    (tmp_path / "in.txt").write_text("The dog sleeps.\n\n")
    run(installed, "translate", "runs/demo", "in.txt", "-o", "out.txt", cwd=tmp_path)
    assert (tmp_path / "out.txt").read_text().count("\n") == 2
    assert "demo" in run(installed, "info", "runs/demo", cwd=tmp_path).stdout
    assert sorted(path.name for path in tmp_path.glob("[!.]*")) == ["in.txt", "out.txt", "runs"]


def test_a_bundled_recipe_fetches_into_the_folder_where_one_works(installed, tmp_path):
    result = subprocess.run(
        [str(installed), "train", "tatoeba-en-de"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "TFCLI_DATA")},
    )  # fmt: skip
    assert result.returncode == 3
    assert "looked for corpora/tatoeba-en-de/train.en.gz" in result.stderr
