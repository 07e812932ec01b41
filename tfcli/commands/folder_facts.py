"""What a run or model folder holds, read from its files alone: all of it for programs, the gist for people.

The files are taken as they are rather than through the schema: a run of another version shows as well.
"""

import json
import math
import shlex
from pathlib import Path
from typing import Any

from tfcli.commands.run_course import about_course
from tfcli.commands.run_report import course_rows
from tfcli.errors import CheckpointError
from tfcli.recipe.tasks import TASKS
from tfcli.wording import counted

MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors format
COMMIT_DIGITS = 12
OLD_BEST = ".best.old"  # where best/ is for the moment in which training replaces it


def about_folder(folder: Path) -> dict[str, Any]:
    """Return all that is known of a run folder or a model folder.

    Raises: CheckpointError when it is neither, or when a file of it is damaged.
    """
    is_run = (folder / "recipe.yaml").is_file()
    if not is_run and not (folder / "config.json").is_file():
        raise CheckpointError(
            f"{folder}: not a run or model folder: it has neither recipe.yaml nor config.json",
            "give the folder that `tfcli train` wrote, or the best/ in it",
        )
    model_folders = [folder / "best", folder / OLD_BEST] if is_run else [folder]
    config = next(filter(None, (_json_object(path / "config.json") for path in model_folders)), {})
    weights = [path / "model.safetensors" for path in model_folders]
    checkpoints = _checkpoints(folder) if is_run else {}
    recipe = _recipe_values(folder / "recipe.yaml") if is_run else {}
    metrics = json_lines(folder / "metrics.jsonl") if is_run else []
    recipe_model, data, training = (_part(recipe, name) for name in ("model", "data", "training"))
    rows = (line["step"] for line in metrics if isinstance(line.get("step"), int))
    last_step = max([*checkpoints, *rows], default=None)
    return {
        "folder": str(folder),
        "kind": "run" if is_run else "model",
        "name": config.get("name", recipe.get("name")),
        "task": config.get("task", recipe.get("task")),
        "src_lang": config.get("src_lang", data.get("src_lang")),
        "tgt_lang": config.get("tgt_lang", data.get("tgt_lang")),
        "preset": recipe_model.get("preset"),
        "parameters": _parameters([*weights, *(path / "model.safetensors" for path in checkpoints.values())]),
        "weights": next((str(path) for path in weights if path.is_file()), None),
        "checkpoints": sorted(checkpoints),
        "last_step": last_step,
        "max_steps": training.get("max_steps"),
        "model": _part(config, "model") or recipe_model,
        "config": {key: value for key, value in config.items() if key != "model"},
        "validation": next((line for line in reversed(metrics) if line.get("kind") == "valid"), {}),
        "course": _course(folder, metrics, training, checkpoints, last_step) if is_run else None,
        "scores": _scores(folder / "scores.json"),
        "environment": _json_object(folder / "environment.json"),
    }


def _checkpoints(run: Path) -> dict[int, Path]:
    """Return the checkpoints of a run by their steps, the newest first."""
    found = (path for path in (run / "checkpoints").glob("step-*") if path.name[5:].isdecimal())
    return dict(sorted(((int(path.name[5:]), path) for path in found), reverse=True))


def _course(
    folder: Path,
    metrics: list[dict[str, Any]],
    training: dict[str, Any],
    checkpoints: dict[int, Path],
    last_step: int | None,
) -> dict[str, Any]:
    states = (_part(_json_object(path / "state.json"), "state") for path in checkpoints.values())
    state = next(filter(None, states), {})  # of the newest that has one, from which a run goes on
    return about_course(folder, metrics, training, state, _json_object(folder / "finished.json"), last_step)


def gist(facts: dict[str, Any]) -> dict[str, str]:
    """Return what a reader wants to know first of `about_folder`, in words; what is not known is left out."""
    config, environment = facts["config"], facts["environment"]
    rows = {
        facts["kind"]: facts["folder"],
        "name": facts["name"],
        "task": _task(facts),
        "network": _network(facts),
        "parameters": facts["parameters"],
        "steps": _steps(facts),
        **_course_rows(facts),
        "best model": _best(facts),
        "weights": _missing_weights(facts),
        "trained": _provenance(environment or config),
        "command": command_line(environment.get("command")),
    }
    return {name: written(value) for name, value in rows.items() if value not in (None, "")}


def written(value: Any) -> str:
    """Return a value as people read it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(str(item) for item in value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def without_nan(value: Any) -> Any:
    """Return a value with null for every number that is not finite: JSON has none of those."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def count_parameters(path: Path) -> int:
    """Return how many numbers a safetensors file holds, from its header alone.

    Raises: CheckpointError when the header cannot be read, FileNotFoundError when there is no file.
    Source: https://github.com/huggingface/safetensors#format
    """
    try:
        with path.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            header: dict[str, Any] = json.loads(stream.read(size) if size <= MAX_HEADER_BYTES else "")
        return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    except FileNotFoundError:
        raise  # not damaged: training may have replaced the folder at this moment
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read: {error.strerror}", "check its permissions and the disk"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CheckpointError(
            f"{path}: not a safetensors file, or a damaged one", "train again, or take an earlier checkpoint"
        ) from None


def _parameters(paths: list[Path]) -> int | None:
    for path in paths:
        try:
            return count_parameters(path)
        except FileNotFoundError:
            continue  # not written yet, or dropped in favour of a newer one
    return None


def _course_rows(facts: dict[str, Any]) -> dict[str, str | None]:
    if not facts["course"]:
        return {}
    task = TASKS.get(facts["task"], TASKS["translation"])
    rows = course_rows(facts["course"], facts["last_step"], facts["max_steps"], task.unit)
    stopped = facts["course"]["status"] == "stopped"
    return {**rows, "go on with": command_line(["tfcli", "train", facts["folder"]]) if stopped else None}


def _task(facts: dict[str, Any]) -> str:
    said = [str(facts["task"] or "")]
    if facts["src_lang"] is not None or facts["tgt_lang"] is not None:
        said.append(f"{facts['src_lang'] or '?'} to {facts['tgt_lang'] or '?'}")
    return ", ".join(part for part in said if part)


def _network(facts: dict[str, Any]) -> str:
    """Return the sizes in a line, by the names that recipes give them."""
    sizes = facts["model"]
    layers = [sizes.get("n_encoder_layers"), sizes.get("n_decoder_layers")]
    said = [f"preset {facts['preset']}"] if facts["preset"] else []
    if None not in layers:  # of a network that has one stack, its own
        counts = [str(n) for n in layers if n]
        said.append(f"{'+'.join(counts)} {'layer' if counts == ['1'] else 'layers'}")
    said += [f"{key} {sizes[key]}" for key in ("d_model", "d_ff", "n_heads") if key in sizes]
    vocabularies = [sizes[key] for key in ("src_vocab_size", "tgt_vocab_size") if key in sizes]
    said += [f"vocabulary {' and '.join(map(written, dict.fromkeys(vocabularies)))}"] if vocabularies else []
    return ", ".join(said)


def _steps(facts: dict[str, Any]) -> str | None:
    if facts["last_step"] is None:
        return "none yet" if facts["kind"] == "run" else None
    of = f" of {written(facts['max_steps'])}" if facts["max_steps"] is not None else ""
    kept = len(facts["checkpoints"])
    verb = "is" if kept == 1 else "are"
    return f"{written(facts['last_step'])}{of}" + (
        f"; {counted(kept, 'checkpoint')} {verb} kept" if kept else ""
    )


def _best(facts: dict[str, Any]) -> str:
    """Return what the weights that translate are worth, and for a run where they lie."""
    trained = _part(facts["config"], "trained")
    averaged = trained.get("averaged_checkpoints")
    said = [str(Path(facts["folder"]) / "best")] if facts["kind"] == "run" and facts["config"] else []
    for task in TASKS.values():
        score = trained.get(f"validation_{task.goal}")
        said += [f"validation {task.told(score)}"] if isinstance(score, float) else []
    said += [f"step {written(trained['step'])}"] if "step" in trained else []
    said += (
        [f"the average of {counted(averaged, 'checkpoint')}"]
        if averaged and isinstance(averaged, int)
        else []
    )
    said += ["an exponential moving average"] if trained.get("ema_decay") else []
    return ", ".join(said)


def _missing_weights(facts: dict[str, Any]) -> str:
    """Return a complaint where there is a model folder, but nothing in it that could be used."""
    if not facts["config"] or facts["weights"] is not None:
        return ""
    return "missing: model.safetensors is not there; copy the whole folder again, or train again"


def _provenance(facts: dict[str, Any]) -> str:
    """Return when, with what and on what a model was trained."""
    commit, _, dirty = str(facts.get("commit") or "").partition("-")
    said = [str(facts.get("started") or "").partition("T")[0]]
    said += [f"tfcli {facts['tfcli_version']}"] if "tfcli_version" in facts else []
    said += [f"commit {commit[:COMMIT_DIGITS]}" + (f"-{dirty}" if dirty else "")] if commit else []
    said += [f"on {facts['device']} in {facts.get('precision')}"] if "device" in facts else []
    return ", ".join(part for part in said if part)


def command_line(command: Any) -> str | None:
    """Return the command that a run was made with, as it is typed."""
    if not isinstance(command, list):
        return command if isinstance(command, str) else None
    return shlex.join(["tfcli", *map(str, command[1:])])


def _scores(path: Path) -> dict[str, Any]:
    """Return the present scores of a run by test set."""
    sets = _part(_json_object(path), "sets")
    return {name: scores for name, scores in sets.items() if isinstance(scores, dict) and scores}


def _part(record: dict[str, Any], key: str) -> dict[str, Any]:
    value = record.get(key)
    return value if isinstance(value, dict) else {}


def _recipe_values(path: Path) -> dict[str, Any]:
    from tfcli.recipe.yaml12 import YamlSyntaxError, read_yaml

    try:
        value = read_yaml(path.read_text(encoding="utf-8")).value
    except (YamlSyntaxError, UnicodeDecodeError, OSError) as error:
        raise _damaged(path, error) from None
    if not isinstance(value, dict):
        raise _damaged(path, "expected a mapping")
    return value


def _json_object(path: Path) -> dict[str, Any]:
    """Return the object that a file holds; an empty one where there is no file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, OSError) as error:
        raise _damaged(path, error) from None
    if not isinstance(value, dict):
        raise _damaged(path, "expected an object")
    return value


def json_lines(path: Path) -> list[dict[str, Any]]:
    """Return the records of a log that may be growing: a line that is not whole yet is left out."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    records = []
    for line in content.split(b"\n"):
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
