"""The README: its commands are read from it and run, with fewer steps; its recipe and its error are true."""

import gzip
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.labelled_text import labelled, tsv
from tests.readme_commands import run

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# Lines that show a form rather than a command to type.
SYNOPSIS = [
    "tfcli tokenize recipe.yaml",
    "tfcli train recipe.yaml",
    "tfcli eval RUN",
    "tfcli translate RUN < in > out",
]
# The way without a recipe, with what makes it short.
WITHOUT_A_RECIPE = [
    "tfcli train --src train.de --tgt train.en --out runs/de-en",
    "tfcli translate runs/de-en < in.de > out.en",
]
# The other two tasks, whose recipes stand above them, with what makes them short.
OTHER_TASKS = [
    "tfcli train topics.yaml",
    "tfcli predict runs/topics < texts.txt > labels.txt",
    "tfcli train plays.yaml",
    "echo 'ROMEO:' | tfcli predict runs/plays --sample --lines 20",
]
FEW_STEPS = "--set training.max_steps=4"
SHORT = "--set training.max_steps=8 --set training.warmup_steps=2 --set decoding.max_output_ratio=0.1"
# What makes the recipes that the README runs short.
SHORTER = {
    "demo.yaml": {"max_steps: 1000": "max_steps: 8", "validate_every: 250": "validate_every: 8"},
    "multi30k-tok-en-de.yaml": {
        "max_steps: 4000": "max_steps: 4",
        "warmup_steps: 400": "warmup_steps: 2",
        "vocab_size: 6000": "vocab_size: 500",
        "{beam_size: 5, length_penalty: 1.0}": "{beam_size: 1, max_output_ratio: 0.1, max_output_extra: 1}",
    },
}
REAL = Path(os.environ.get("TFCLI_DATA", "")) / "multi30k" / "tok" / "train.lc.norm.tok.en.gz"


def commands():
    """Return the lines of the README that are typed into a shell, comments cut off."""
    typed = [line[4:] for line in README.split("\n") if re.match(r"    (tfcli|echo|make) ", line)]
    return [line.split("  #")[0].strip() for line in typed]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """Return a folder like a clone, where training is short."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "data" / "demo", folder / "data" / "demo")
    (folder / "recipes").mkdir()
    for name, changes in SHORTER.items():
        recipe = (ROOT / "recipes" / name).read_text(encoding="utf-8")
        for long, short in changes.items():
            assert long in recipe
            recipe = recipe.replace(long, short)
        (folder / "recipes" / name).write_text(recipe, encoding="utf-8")
    return folder


def run_all(clone, lines):
    for line in lines:
        done = run(clone, line)
        assert done.returncode == 0, f"{line}\n{done.stderr}"


def typed_commands():
    left_out = {*SYNOPSIS, *WITHOUT_A_RECIPE, *OTHER_TASKS}
    return [line for line in commands() if line not in left_out and not line.startswith("make ")]


def test_two_files_and_two_commands_are_enough(tmp_path):
    assert [line for line in commands() if line in WITHOUT_A_RECIPE] == WITHOUT_A_RECIPE
    for language in ("de", "en"):
        lines = gzip.decompress((ROOT / "data" / "demo" / f"train.{language}.gz").read_bytes()).split(b"\n")
        (tmp_path / f"train.{language}").write_bytes(b"\n".join(lines[:300]) + b"\n")
    (tmp_path / "in.de").write_text("Der Hund bellt.\n\nDie Katze\n", encoding="utf-8")
    train, translate = WITHOUT_A_RECIPE
    run_all(tmp_path, [f"{train} {SHORT}", translate])
    assert (tmp_path / "out.en").read_bytes().count(b"\n") == 3


def test_the_recipes_of_the_other_tasks_are_enough(tmp_path):
    assert [line for line in commands() if line in OTHER_TASKS] == OTHER_TASKS
    _, *recipes = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    for recipe in recipes:
        name = re.search(r"^name: (\w+)$", recipe, flags=re.MULTILINE)
        (tmp_path / f"{name[1]}.yaml").write_text(recipe, encoding="utf-8")
    (tmp_path / "topics.tsv").write_text(tsv(labelled(1500, 1)), encoding="utf-8")
    (tmp_path / "texts.txt").write_text("the dog runs\n\n", encoding="utf-8")
    text = gzip.decompress((ROOT / "data" / "demo" / "train.en.gz").read_bytes())
    (tmp_path / "plays.txt").write_bytes(text[:50_000])
    # the vocabulary of a recipe without one is larger than such texts have use for, and is clamped
    run_all(tmp_path, [f"{line} {FEW_STEPS}" if "tfcli train" in line else line for line in OTHER_TASKS[:3]])
    assert (tmp_path / "labels.txt").read_text().count("\n") == 2
    done = run(tmp_path, OTHER_TASKS[3])
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ROMEO:")


@pytest.mark.real_data
@pytest.mark.skipif(not REAL.is_file(), reason="TFCLI_DATA names no folder with multi30k/tok")
def test_the_commands_of_the_real_run_work(clone):
    lines = [line for line in typed_commands() if "multi30k" in line]
    assert len(lines) == 2
    run_all(clone, lines)


def test_every_command_on_the_embedded_corpus_works_in_the_order_in_which_it_stands(clone):
    lines = [line for line in typed_commands() if "multi30k" not in line]
    assert len(lines) >= 9
    run_all(clone, lines)
    assert (clone / "runs" / "demo" / "sample.de").read_text().count("\n") == (
        clone / "data" / "demo" / "sample.en"
    ).read_text().count("\n")
    assert (clone / "recipe.schema.json").read_text().startswith("{")


def test_the_synopsis_and_the_make_targets_are_there():
    for line in SYNOPSIS:
        assert line in commands()
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    for line in commands():
        if line.startswith("make "):
            assert line.split()[1] in targets


def test_the_readmes_recipe_is_enough_and_its_error_is_what_one_gets(clone):
    recipe = re.search(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    assert recipe is not None
    (clone / "de-en.yaml").write_text(recipe[1], encoding="utf-8")
    shown = re.search(r"    \$ (tfcli .*)\n    (error: .*)", README)
    assert shown is not None
    done = run(clone, shown[1])
    assert done.returncode == 2
    assert done.stderr.split("\n")[0] == shown[2]
    for language in ("de", "en"):
        shutil.copy(clone / "data" / "demo" / f"valid.{language}.gz", clone / f"news.{language}.gz")
    for name in ("train", "valid"):
        for language in ("de", "en"):
            shutil.copy(clone / "data" / "demo" / f"valid.{language}.gz", clone / f"{name}.{language}.gz")
            subprocess.run(["gunzip", "-f", f"{name}.{language}.gz"], cwd=clone, check=True)
    # a processor with bf16 products would compile a run of so many steps, which takes minutes
    settings = "--set tokenizer.vocab_size=500 --set training.compile=false"
    done = run(clone, f"tfcli train de-en.yaml --dry-run {settings}")
    assert done.returncode == 0, done.stderr
