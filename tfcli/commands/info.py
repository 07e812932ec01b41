"""The verb `info`: what is installed here, what a recipe says, what a run or model folder holds."""

import os
import platform
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tfcli import __version__
from tfcli.commands.console import print_json, print_table, print_text
from tfcli.commands.folder_facts import about_folder, gist, without_nan, written
from tfcli.commands.options import OUTPUT_PANEL, JsonOption
from tfcli.commands.run_report import curve_lines
from tfcli.errors import CheckpointError
from tfcli.recipe.tasks import TASKS
from tfcli.wording import counted

if TYPE_CHECKING:
    from tfcli.recipe.corpora import Corpus
    from tfcli.recipe.schema import Recipe

REQUIRED_PACKAGES = (
    "torch", "numpy", "sentencepiece", "sacrebleu", "safetensors", "pydantic", "pyyaml", "typer", "rich",
)  # fmt: skip
OPTIONAL_PACKAGES = ("ctranslate2", "tensorboard", "jinja2", "matplotlib")


def info(
    target: Annotated[
        str | None,
        typer.Argument(metavar="RECIPE|RUN", help="A recipe (its file or name), or a run or model folder."),
    ] = None,
    recipes: Annotated[
        bool,
        typer.Option(
            "--recipes", help="List the recipes that come with tfcli.", rich_help_panel=OUTPUT_PANEL
        ),
    ] = False,
    schema: Annotated[
        bool,
        typer.Option(
            "--schema", help="Print the JSON Schema of recipes, for editors.", rich_help_panel=OUTPUT_PANEL
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what a recipe says or a run holds; alone, what is installed here, for a bug report.

    A run is shown in short, with curves, also while it trains; --json has all of it: every setting, version and
    checksum.

    Example: tfcli info runs/demo
    """
    if target is not None and (schema or recipes):
        option = "--schema describes all recipes" if schema else "--recipes lists them all"
        raise typer.BadParameter(f"{option}: give no RECIPE or RUN with it")
    if schema:
        from tfcli.recipe.loader import recipe_json_schema

        print_json(recipe_json_schema())
    elif recipes:
        _show_recipes(as_json=as_json)
    elif target is None:
        _show(about_installation(), as_json)
    elif Path(target).is_dir():
        _show_folder(about_folder(Path(target)), as_json)
    else:
        from tfcli.recipe.bundled import find_recipe
        from tfcli.recipe.foreign import own_values
        from tfcli.recipe.loader import load_recipe

        path = find_recipe(target)
        if not path.exists() and not path.suffix:
            raise CheckpointError(
                f"{target}: no such folder", "give a run folder, a model folder or a recipe"
            )
        recipe = load_recipe(path)
        _show(own_values(recipe) if as_json else _about_recipe(recipe), as_json)


def _show_recipes(*, as_json: bool) -> None:
    """List the recipes that come with tfcli, each with what it is for and what it should score."""
    from tfcli.recipe.bundled import bundled_recipes
    from tfcli.recipe.loader import load_recipe

    found: list[dict[str, Any]] = [
        {
            "name": bundled.name,
            "purpose": bundled.purpose,
            "data": bundled.data,
            "cost": bundled.cost,
            "expected": _expected(load_recipe(bundled.path)),
        }
        for bundled in bundled_recipes()
    ]
    if as_json:
        print_json(found)
        return
    for recipe in found:
        scores = ", ".join(f"{name} {score}" for name, score in recipe["expected"].items())
        print_text(recipe["name"])
        for key in ("purpose", "data", "cost"):
            print_text(f"  {key:<8}  {recipe[key]}")
        print_text(f"  expected  {scores or 'not stated'}")


def _expected(recipe: "Recipe") -> dict[str, str]:
    from tfcli.scoring.results import METRIC_NAMES

    return {
        name: f"{METRIC_NAMES[found.metric]} {found.score:g} +- {found.tolerance:g}"
        for name, found in recipe.expected.items()
    }


def about_installation() -> dict[str, Any]:
    """Return versions, hardware and what is installed."""
    return {
        "tfcli": __version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "cpus": os.cpu_count(),
        "cpus_usable": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "compiler": next((name for name in ("c++", "g++", "clang++", "cl") if shutil.which(name)), None),
        "devices": _devices(),
        "packages": {name: version_of(name) for name in REQUIRED_PACKAGES},
        "optional packages": {name: version_of(name) for name in OPTIONAL_PACKAGES},
    }


def cpu_name() -> str:
    """Return the model of the processor, as far as the system tells."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def version_of(package: str) -> str | None:
    """Return the version of a package that is installed."""
    from importlib import metadata  # which loads the standard library's e-mail parser: 30 ms

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _devices() -> dict[str, Any]:
    try:
        import torch
    except (ImportError, OSError) as error:  # a bug report must come out of a broken installation too
        return {"torch cannot be imported": str(error)}
    found: dict[str, Any] = {
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }
    for number in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(number)
        found[f"cuda:{number}"] = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    if torch.backends.mps.is_available():
        found["mps"] = "available"
    return found


def _validation(recipe: "Recipe") -> str:
    valid, entry = recipe.data.valid, TASKS[recipe.task].entry
    if valid.pairs is not None:
        return f"{counted(valid.pairs, entry)} held out"
    if valid.fraction is not None:
        held_out = "text" if recipe.task == "language_model" else f"{entry}s"
        return f"{valid.fraction:.1%} of the {held_out} held out"
    return _files(valid)


def _files(corpus: "Corpus") -> str:
    return corpus.text or corpus.tsv or corpus.jsonl or f"{corpus.src} | {corpus.tgt}"


def _about_recipe(recipe: "Recipe") -> dict[str, Any]:
    """Return what a reader wants to know first; `--json` has every key."""
    from tfcli.recipe.foreign import own_values

    data, training, own = recipe.data, recipe.training, own_values(recipe)
    corpora = [_files(corpus) for corpus in data.train]
    languages = " - ".join(lang or "?" for lang in (data.src_lang, data.tgt_lang))
    return {
        "name": recipe.name,
        "task": recipe.task,
        "languages": languages if recipe.task == "translation" else None,
        "train": ", ".join(corpora),
        "valid": _validation(recipe),
        "tests": ", ".join(data.tests) or None,
        "context": own["data"].get("context"),
        "tokenizer": {key: own["tokenizer"].get(key) for key in ("kind", "vocab_size", "shared")},
        "model": own["model"],
        "training": {
            key: getattr(training, key)
            for key in (
                "batch_tokens",
                "accumulation_steps",
                "max_steps",
                "learning_rate",
                "schedule",
                "precision",
            )
        },
        "expected": _expected(recipe),
    }


def _show(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(facts)
        return
    rows: dict[str, str] = {}
    _flatten(facts, "", rows)
    _print_rows(rows)


def _flatten(facts: dict[str, Any], prefix: str, rows: dict[str, str]) -> None:
    for name, value in facts.items():
        if isinstance(value, dict):
            _flatten(value, f"{prefix}{name}.", rows)
        elif value not in (None, [], ""):
            rows[f"{prefix}{name}"] = written(value)


def _print_rows(rows: dict[str, str]) -> None:
    width = max(map(len, rows))
    print_text("\n".join(f"{name:<{width}}  {value}" for name, value in rows.items()))


def _show_folder(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(without_nan(facts))
        return
    _print_rows(gist(facts))
    if facts["course"] and (curves := curve_lines(facts["course"])):
        print_text("")
        print_text("\n".join(curves))
    if facts["scores"]:
        print_text("")
        _show_scores(facts["scores"])


def _show_scores(sets: dict[str, Any]) -> None:
    from tfcli.scoring.results import METRIC_NAMES

    metrics = list(dict.fromkeys(metric for scores in sets.values() for metric in scores))
    rows = []
    for name, scores in sets.items():
        found = (scores.get(metric) for metric in metrics)
        values = [score.get("score") if isinstance(score, dict) else score for score in found]
        rows.append([name, *(f"{value:.2f}" if isinstance(value, float) else value for value in values)])
    print_table(["test set", *(METRIC_NAMES.get(metric, metric) for metric in metrics)], rows)
