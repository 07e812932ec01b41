"""From what stands on the command line to a checked recipe and the text that it names."""

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfcli.commands.console import say, say_or_warn, warn
from tfcli.commands.machine import n_cores, share_the_cores
from tfcli.commands.start import Start
from tfcli.corpus.initial import Initial
from tfcli.errors import CheckpointError, RecipeError
from tfcli.model.torch_import import import_torch
from tfcli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tfcli.corpus.prepare import Prepared
    from tfcli.corpus.prepare_text import PreparedText
    from tfcli.corpus.run_tokenizer import TokenizerPlan
    from tfcli.recipe.choose import Choice, Machine, Optimizer
    from tfcli.recipe.schema import Recipe
    from tfcli.text.files import CorpusFiles

SAMPLED_LINES = 20_000
FEW_PAIRS = 5000
_ANYWHERE = Start()
NO_LANGUAGES = ("txt", "tok", "raw", "src", "tgt", "trg", "ref")


@dataclass(frozen=True)
class Opened:
    """A recipe with its text: `valid` is None where validation pairs are held out of the training text.

    `run` is the run folder that was given in place of a recipe, `initial` the model that the run starts from.
    """

    recipe: "Recipe"
    train: "list[CorpusFiles]"
    valid: "CorpusFiles | None"
    tests: "list[CorpusFiles]"
    run: Path | None = None
    initial: Initial | None = None

    def run_dir(self, out: Path | None) -> Path:
        """Return the run folder: `out` if it is given, else the one that was given, else runs/NAME."""
        return out or self.run or _default_folder(self.recipe)


def _default_folder(recipe: "Recipe") -> Path:
    return Path("runs") / recipe.name


@dataclass(frozen=True)
class TextFiles:
    """The files that stand for a recipe on the command line."""

    src: Path
    tgt: Path
    valid_src: Path | None
    valid_tgt: Path | None


def open_recipe(
    given: str,
    overrides: "Sequence[str]",
    data_root: Path | None,
    out: Path | None = None,
    start: Start = _ANYWHERE,
) -> Opened:
    """Read the recipe of a file, a name or a run, and find all the text that it names; `data.root` is made absolute.

    `out` is the run folder if it is given. What the recipe leaves open is as the model has it that the run starts from.

    Raises: RecipeError, DataError, CheckpointError for a folder that is no run.
    """
    from tfcli.recipe.bundled import bundled_data, find_recipe
    from tfcli.recipe.loader import load_recipe
    from tfcli.text.files import data_roots

    run = Path(given) if _is_run(Path(given)) else None
    path = run / "recipe.yaml" if run is not None else find_recipe(given)
    if path.is_dir():
        raise _no_run(path)
    base = start.init.sections if start.init is not None else None
    recipe = load_recipe(path, overrides, by_key=run is not None, base=base)
    initial = start.of(out or run or _default_folder(recipe))
    if initial is not None and initial != start.init:  # a run that goes on
        recipe = load_recipe(path, overrides, by_key=run is not None, base=initial.sections)
    _refuse_another_network(recipe, start)
    roots = data_roots(recipe, path.parent, data_root)
    came_by_name = run is None and path != Path(given)
    if came_by_name and not any(
        wish.partition("=")[0].strip() in ("data", "data.root") for wish in overrides
    ):  # its own folder is the package's, where nothing is to be fetched to
        roots = [*roots[:-1], Path("corpora"), bundled_data()]
    return replace(_located(recipe, roots), run=run, initial=initial)


def prepare_opened(opened: Opened, run_dir: Path, plan: "TokenizerPlan") -> "Prepared | PreparedText":
    """Make the tokenizer and encode the corpora, as befits the task.

    Raises: DataError, RecipeError, CheckpointError.
    """
    if opened.recipe.task == "language_model":
        from tfcli.corpus.prepare_text import prepare_text

        return prepare_text(opened.recipe, opened.train, opened.valid, run_dir, say_or_warn, plan)
    from tfcli.corpus.label_survey import refuse_unfit_lines
    from tfcli.corpus.prepare import prepare

    prepared = prepare(opened.recipe, opened.train, opened.valid, run_dir, say_or_warn, plan)
    if prepared.labels is not None:
        for files in opened.tests:
            refuse_unfit_lines(files, prepared.labels.names)
    return prepared


def _is_run(folder: Path) -> bool:
    """Tell whether a training has begun here; a recipe alone may be one that somebody wrote."""
    marks = ("environment.json", "corpus/files.json", "checkpoints", "best/config.json")
    return (folder / "recipe.yaml").is_file() and any((folder / mark).exists() for mark in marks)


def _no_run(folder: Path) -> CheckpointError:
    recipe = folder / "recipe.yaml"
    if recipe.is_file():
        return CheckpointError(
            f"{folder}: not a run folder: nothing in it was made by a training",
            f"to train with the recipe in it, give {recipe}",
        )
    return CheckpointError(
        f"{folder}: not a run folder: it has no recipe.yaml",
        "give a recipe, or the folder of a training that has begun",
    )


def open_text(
    files: TextFiles, run_dir: Path, overrides: "Sequence[str]", device: str | None, start: Start = _ANYWHERE
) -> Opened:
    """Return a recipe for text files alone: the run's own if it has begun, else one whose sizes are chosen.

    A fresh start has them chosen in any case; those of a model that the run starts from are kept.

    Raises: RecipeError, DataError.
    """
    from tfcli.recipe.choose import choose_settings, fitted
    from tfcli.recipe.loader import build_recipe, load_recipe

    begun = run_dir / "recipe.yaml"
    initial = start.of(run_dir)
    if begun.is_file() and not start.fresh:
        recipe = load_recipe(begun, overrides, by_key=True)
        _refuse_other_text(recipe, files, run_dir)
        _refuse_another_network(recipe, start)
        say(f"{run_dir}: goes on with the settings of {begun}")
        return replace(_located(recipe, [Path()]), initial=initial)
    n_pairs, machine, given = _count(files), _machine(device), _given_keys(overrides)
    max_steps = given.get("training.max_steps")
    choice = choose_settings(
        n_pairs,
        _mean_bytes(files.tgt),
        machine,
        max_steps if _is_count(max_steps) else None,
        _optimizer(given, initial),
        given.get("model.dropout"),
    )
    if initial is not None:
        choice = fitted(choice, initial.folder)
    values = {"name": _name(run_dir), "data": _data(files, n_pairs), **choice.sections}
    base = initial.sections if initial is not None else None
    recipe = build_recipe(values, overrides, "options", base)
    _refuse_another_network(recipe, start)
    opened = replace(_located(recipe, [Path()]), initial=initial)
    _say_choice(choice, n_pairs, machine, given)  # now that nothing is wrong with it
    return opened


def _refuse_another_network(recipe: "Recipe", start: Start) -> None:
    if start.init is not None:
        from tfcli.training.initial import refuse_another_network

        refuse_another_network(recipe, start.init)


def _given_keys(overrides: "Sequence[str]") -> dict[str, Any]:
    """Return the values that overrides give, `section.key`; what cannot be read is the loader's to complain of."""
    from tfcli.recipe.overrides import OverrideError, changes_of, format_path

    given: dict[str, Any] = {}
    for text in overrides:
        with suppress(OverrideError):
            given |= {format_path(loc): value for loc, value in changes_of(text, by_key=True)}
    return given


def _optimizer(given: dict[str, Any], initial: Initial | None) -> "Optimizer | None":
    """Return the optimizer that is settled before anything is chosen, if one is.

    Sharding knows AdamW alone, and only with that one were models trained on.
    """
    named: Optimizer
    for named in ("adamw", "muon"):
        if given.get("training.optimizer") == named:
            return named
    return "adamw" if initial is not None or given.get("training.sharding") is True else None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _say_choice(choice: "Choice", n_pairs: int, machine: "Machine", given: dict[str, Any]) -> None:
    where = counted(machine.cores, "CPU core") if machine.device == "cpu" else "a GPU"
    say(f"no recipe given; chosen for {counted(n_pairs, 'pair')} on {where}:")
    for key, line in choice.reasons.items():
        say(f"  {key}: {'as --set says' if key in given else line}")
    if n_pairs < FEW_PAIRS:
        warn(
            f"only {counted(n_pairs, 'pair')}: a network that learns from so little alone will not translate much else"
        )


def _located(recipe: "Recipe", roots: "list[Path]") -> Opened:
    from tfcli.corpus.label_survey import refuse_unfit_lines
    from tfcli.text.files import locate_in
    from tfcli.text.pairs import read_pairs
    from tfcli.text.passage import Passage

    data = recipe.data
    train = [
        locate_in(recipe, corpus, roots, f"data.train[{i}]", say_or_warn)
        for i, corpus in enumerate(data.train)
    ]
    valid = None if data.valid.held_out else locate_in(recipe, data.valid, roots, "data.valid", say_or_warn)
    tests = [
        locate_in(recipe, corpus, roots, f"data.tests.{name}", say_or_warn)
        for name, corpus in data.tests.items()
    ]
    for found in tests:  # what is wrong with them is to be known now, not after hours
        if found.fields is not None:
            refuse_unfit_lines(found)
            continue
        for _ in read_pairs(found) if found.text is None else Passage(found.paths).chunks():
            pass
    first = data.train[0]
    name = first.text or first.tsv or first.jsonl or first.src or ""
    root = next(root for root in roots if (root / Path(name).expanduser()).exists())
    update = {"data": data.model_copy(update={"root": str(root.absolute())})}
    return Opened(recipe.model_copy(update=update), train, valid, tests)


def _count(files: TextFiles) -> int:
    """Return how many pairs there are; what is no text is refused."""
    from tfcli.text.files import CorpusFiles, require_text
    from tfcli.text.pairs import count_pairs

    require_text(files.src, "--src", [files.tgt])
    require_text(files.tgt, "--tgt", [files.src])
    if files.valid_src is not None and files.valid_tgt is not None:
        require_text(files.valid_src, "--valid-src", [files.valid_tgt])
        require_text(files.valid_tgt, "--valid-tgt", [files.valid_src])
    return count_pairs(CorpusFiles(src=files.src, tgt=files.tgt, tsv=None))


def _data(files: TextFiles, n_pairs: int) -> dict[str, Any]:
    from tfcli.recipe.choose import held_out_pairs

    valid: dict[str, Any] = {"pairs": held_out_pairs(n_pairs)}
    if files.valid_src is not None and files.valid_tgt is not None:
        valid = {"src": str(files.valid_src.absolute()), "tgt": str(files.valid_tgt.absolute())}
    return {
        "src_lang": _language(files.src),
        "tgt_lang": _language(files.tgt),
        "train": [{"src": str(files.src.absolute()), "tgt": str(files.tgt.absolute())}],
        "valid": valid,
    }


def _refuse_other_text(recipe: "Recipe", files: TextFiles, run_dir: Path) -> None:
    given = [files.src, files.tgt]
    begun_with = [
        name for corpus in recipe.data.train for name in (corpus.src, corpus.tgt, corpus.tsv) if name
    ]
    if files.valid_src is not None and files.valid_tgt is not None:
        given += [files.valid_src, files.valid_tgt]
        valid = recipe.data.valid
        begun_with += [name for name in (valid.src, valid.tgt, valid.tsv) if name]
    elif not recipe.data.valid.held_out:
        begun_with.append("validation files of its own")
    if begun_with != [str(path.absolute()) for path in given]:
        names = ", ".join(begun_with)
        raise RecipeError(
            f"{run_dir}: the run was started with other text: {names}",
            "give another --out, or --fresh to start over",
        )


def _machine(device: str | None) -> "Machine":
    share_the_cores(training=True)
    import_torch()
    from tfcli.model.precision import has_native_bf16, pick_device
    from tfcli.recipe.choose import Machine

    picked = pick_device(device or "auto")
    return Machine("cpu" if picked.type == "cpu" else "gpu", n_cores(), has_native_bf16(picked))


def _mean_bytes(path: Path) -> float:
    """Return the mean length of the first lines, in bytes of UTF-8."""
    from itertools import islice

    from tfcli.text.lines import read_raw_lines

    lengths = [len(line) for line in islice(read_raw_lines(path), SAMPLED_LINES)]
    return sum(lengths) / max(1, len(lengths))


def _language(path: Path) -> str | None:
    """Return the language that a name such as train.de or train.de.gz ends in."""
    suffixes = [suffix.lstrip(".") for suffix in path.suffixes if suffix not in (".gz", ".xz")]
    last = suffixes[-1] if suffixes else ""
    return last if last.isalpha() and len(last) in (2, 3) and last not in NO_LANGUAGES else None


def _name(run_dir: Path) -> str:
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in run_dir.absolute().name)
    return kept.lstrip("._-") or "run"
