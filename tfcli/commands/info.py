"""The verb `info`: what is installed here, what a recipe says, what a run or model folder holds."""

import json
import math
import os
import platform
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tfcli import __version__
from tfcli.commands.console import print_json, print_table, print_text
from tfcli.errors import CheckpointError

if TYPE_CHECKING:
    from tfcli.recipe.schema import Recipe

REQUIRED_PACKAGES = (
    "torch", "numpy", "sentencepiece", "sacrebleu", "safetensors", "pydantic", "pyyaml", "typer", "rich",
)  # fmt: skip
OPTIONAL_PACKAGES = ("tensorboard",)
RECIPE_SUFFIXES = (".yaml", ".yml")
MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors format


def info(
    target: Annotated[
        Path | None, typer.Argument(metavar="RECIPE|RUN", help="A recipe, or a run or model folder.")
    ] = None,
    schema: Annotated[
        bool,
        typer.Option(
            "--schema", help="Print the JSON Schema of recipes, for editors.", rich_help_panel="Output"
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel="Output")] = False,
) -> None:
    """Show what a recipe says or a run holds; alone, what is installed here, for a bug report.

    Example: tfcli info runs/de-en --json
    """
    if schema:
        if target is not None:
            raise typer.BadParameter("--schema describes all recipes: give no RECIPE or RUN with it")
        from tfcli.recipe.loader import recipe_json_schema

        print_json(recipe_json_schema())
    elif target is None:
        _show(about_installation(), as_json)
    elif target.is_dir():
        _show(about_folder(target), as_json)
    elif target.exists() or target.suffix in RECIPE_SUFFIXES:
        from tfcli.recipe.loader import load_recipe

        recipe = load_recipe(target)
        _show(recipe.model_dump(mode="json") if as_json else _about_recipe(recipe), as_json)
    else:
        raise CheckpointError(f"{target}: no such folder", "give a run folder, a model folder or a recipe")


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
        "packages": {name: _version(name) for name in REQUIRED_PACKAGES},
        "optional packages": {name: _version(name) for name in OPTIONAL_PACKAGES},
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


def _version(package: str) -> str | None:
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


def _about_recipe(recipe: "Recipe") -> dict[str, Any]:
    """Return what a reader wants to know first; `--json` has every key."""
    data, training = recipe.data, recipe.training
    corpora = [corpus.tsv or f"{corpus.src} | {corpus.tgt}" for corpus in data.train]
    return {
        "name": recipe.name,
        "task": recipe.task,
        "languages": " - ".join(lang or "?" for lang in (data.src_lang, data.tgt_lang)),
        "train": ", ".join(corpora),
        "valid": data.valid.tsv or f"{data.valid.src} | {data.valid.tgt}",
        "tests": ", ".join(data.tests) or None,
        "tokenizer": {key: getattr(recipe.tokenizer, key) for key in ("kind", "vocab_size", "shared")},
        "model": recipe.model.model_dump(mode="json"),
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
        "expected": {name: f"BLEU {e.bleu:g} +- {e.tolerance:g}" for name, e in recipe.expected.items()},
    }


def about_folder(folder: Path) -> dict[str, Any]:
    """Return what a run folder or a model folder holds.

    Raises: CheckpointError when it is neither, or when a file of it is damaged.
    """
    is_run = (folder / "recipe.yaml").is_file()
    if not is_run and not (folder / "config.json").is_file():
        raise CheckpointError(
            f"{folder}: not a run or model folder: it has neither recipe.yaml nor config.json",
            "give the folder that `tfcli train` wrote, or the best/ in it",
        )
    model_folder = folder / "best" if is_run else folder
    checkpoints = sorted((folder / "checkpoints").glob("step-*")) if is_run else []
    steps = [int(path.name.removeprefix("step-")) for path in checkpoints if path.name[5:].isdigit()]
    weights = [path / "model.safetensors" for path in (model_folder, *reversed(checkpoints))]
    recipe = _recipe_values(folder / "recipe.yaml") if is_run else {}
    sizes = recipe.get("model")
    metrics = _json_lines(folder / "metrics.jsonl")
    # The files are read as they are rather than through the schema: a run of another version shows as well.
    return {
        "folder": str(folder),
        "kind": "run" if is_run else "model",
        "name": recipe.get("name"),
        "task": recipe.get("task"),
        "preset": sizes.get("preset") if isinstance(sizes, dict) else None,
        "parameters": next((count_parameters(path) for path in weights if path.is_file()), None),
        "checkpoints": steps,
        "last_step": max(
            [*steps, *(line["step"] for line in metrics if isinstance(line.get("step"), int))], default=None
        ),
        "model": _json_object(model_folder / "config.json") or sizes or {},
        "validation": _last_validation(metrics),
        "scores": (_json_object(folder / "scores.json") or {}).get("sets", {}),
        "environment": _json_object(folder / "environment.json") or {},
    }


def count_parameters(path: Path) -> int:
    """Return how many numbers a safetensors file holds, from its header alone.

    Raises: CheckpointError when the header cannot be read.
    Source: https://github.com/huggingface/safetensors#format
    """
    try:
        with path.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            header: dict[str, Any] = json.loads(stream.read(size) if size <= MAX_HEADER_BYTES else "")
        return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise CheckpointError(
            f"{path}: not a safetensors file, or a damaged one", "train again, or take an earlier checkpoint"
        ) from None


def _recipe_values(path: Path) -> dict[str, Any]:
    from tfcli.recipe.yaml12 import YamlSyntaxError, read_yaml

    try:
        value = read_yaml(path.read_text(encoding="utf-8")).value
    except (YamlSyntaxError, UnicodeDecodeError, OSError) as error:
        raise _damaged(path, error) from None
    if not isinstance(value, dict):
        raise _damaged(path, "expected a mapping")
    return value


def _json_object(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise _damaged(path, error) from None
    if not isinstance(value, dict):
        raise _damaged(path, "expected an object")
    return value


def _json_lines(path: Path) -> list[dict[str, Any]]:
    """Return the records of a log that may be growing: a line that is not whole yet is left out."""
    if not path.is_file():
        return []
    records = []
    for line in path.read_bytes().split(b"\n"):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            records.append(record)
    return records


def _damaged(path: Path, reason: object) -> CheckpointError:
    return CheckpointError(
        f"{path}: cannot be read: {reason}", "the folder is damaged, or still being written"
    )


def _last_validation(metrics: list[dict[str, Any]]) -> dict[str, Any]:
    validations = [line for line in metrics if line.get("kind") == "valid"]
    return validations[-1] if validations else {}


def _show(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(facts)
        return
    rows: list[tuple[str, str]] = []
    _flatten(facts, "", rows)
    if rows:
        width = max(len(name) for name, _ in rows)
        print_text("\n".join(f"{name:<{width}}  {value}" for name, value in rows))
    scores = facts.get("scores")
    if isinstance(scores, dict) and scores:
        print_text("")
        _show_scores(scores)


def _flatten(facts: dict[str, Any], prefix: str, rows: list[tuple[str, str]]) -> None:
    for name, value in facts.items():
        if not prefix and name == "scores":
            continue  # a table of its own
        if isinstance(value, dict):
            _flatten(value, f"{prefix}{name}.", rows)
        elif value not in (None, [], ""):
            rows.append((f"{prefix}{name}", _written(value)))


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(str(item) for item in value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _show_scores(sets: dict[str, Any]) -> None:
    metrics = list(dict.fromkeys(metric for scores in sets.values() for metric in scores))
    rows = []
    for name, scores in sets.items():
        found = (scores.get(metric) for metric in metrics)
        values = [score.get("score") if isinstance(score, dict) else score for score in found]
        rows.append([name, *(f"{value:.2f}" if isinstance(value, float) else value for value in values)])
    print_table(["test set", *metrics], rows)
