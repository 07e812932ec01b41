"""What multi30k-synthetic.sh makes, from toy text and in few steps, is what multi30k-tok-en-de-best.yaml trains on."""

import gzip
import re
from pathlib import Path

import pytest
import yaml

from tests.readme_commands import run
from tests.toy_corpus import sentences
from tfcli.recipe.loader import load_recipe

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
PAIRS = 40
FEW_STEPS = {"max_steps": 3, "warmup_steps": 1, "validate_every": 3, "checkpoint_every": 1}
SMALL = {"d_model": 16, "d_ff": 16, "n_heads": 2, "n_encoder_layers": 1, "n_decoder_layers": 1}


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """Return a folder like a clone with small text, in which the script has run."""
    folder = tmp_path_factory.mktemp("clone")
    text = folder / "text" / "multi30k" / "tok"
    text.mkdir(parents=True)
    pairs = sentences(PAIRS)
    for language, lines in zip(("en", "de"), zip(*pairs, strict=True), strict=True):
        content = gzip.compress("".join(line + "\n" for line in lines).encode())
        for name in ("train", "val"):
            (text / f"{name}.lc.norm.tok.{language}.gz").write_bytes(content)
    (folder / "recipes").mkdir()
    for name in ("multi30k-tok-en-de", "multi30k-tok-de-en", "multi30k-tok-en-de-best"):
        recipe = yaml.safe_load((RECIPES / f"{name}.yaml").read_text())
        data = recipe["data"]
        del data["tests"]
        recipe.pop("expected", None)
        data["train"] = [files_alone(entry) for entry in data["train"]]
        data["valid"] = files_alone(data["valid"])
        recipe["tokenizer"]["vocab_size"] = 60
        recipe["model"] |= SMALL
        recipe["training"] |= FEW_STEPS
        recipe["decoding"] = {"beam_size": 2, "max_output_ratio": 1.0, "max_output_extra": 0}
        (folder / "recipes" / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
    script = (RECIPES / "multi30k-synthetic.sh").read_text()
    short, n_changed = re.subn(r"_steps=\d+", "_steps=2", script)
    assert n_changed == 5
    (folder / "recipes" / "multi30k-synthetic.sh").write_text(short)
    make(folder)
    return folder


def make(clone):
    """Run the script from outside of the clone, its text in a folder that TFCLI_DATA names."""
    done = run(clone.parent, f"TFCLI_DATA={clone / 'text'} sh {clone / 'recipes' / 'multi30k-synthetic.sh'}")
    assert done.returncode == 0, done.stderr


def made_in(clone):
    files = (clone / "corpora" / "multi30k" / "synthetic").glob("[!.]*")
    return {path.name: path.read_bytes() for path in files}


def files_alone(entry):
    return {side: entry[side] for side in ("src", "tgt")}


def test_each_file_has_a_line_for_each_caption(clone):
    lines = {name: text.count(b"\n") for name, text in made_in(clone).items()}
    names = ["sample1.en", "sample1.ensemble.de", "sample2.en", "sample2.ensemble.de", "train.ensemble.de"]
    assert lines == dict.fromkeys(names, PAIRS)


def test_two_samples_of_a_caption_differ(clone):
    made = made_in(clone)
    assert made["sample1.en"] != made["sample2.en"]


def test_no_two_teachers_are_alike(clone):
    recipes = [load_recipe(clone / "runs" / f"teacher{number}" / "recipe.yaml") for number in range(1, 5)]
    kinds = {(recipe.model.preset, recipe.model.norm, recipe.training.learning_rate) for recipe in recipes}
    assert len(kinds) == len(recipes)


def test_the_recipe_trains_on_all_of_it(clone):
    best = "recipes/multi30k-tok-en-de-best.yaml"
    done = run(clone, f"TFCLI_DATA={clone / 'text'} tfcli train {best}")
    assert done.returncode == 0, done.stderr
    n_pairs = int(re.search(r"(\d+) pairs, training", done.stderr)[1])
    assert 5 * PAIRS < n_pairs <= 6 * PAIRS  # what these networks leave blank is left out


def test_started_again_it_goes_on_where_it_was(clone):
    made = clone / "corpora" / "multi30k" / "synthetic"
    whole = made_in(clone)
    (made / "sample2.ensemble.de").unlink()
    before = {path.name: path.stat().st_mtime_ns for path in made.glob("[!.]*")}
    make(clone)
    assert made_in(clone) == whole
    assert before == {name: (made / name).stat().st_mtime_ns for name in before}
