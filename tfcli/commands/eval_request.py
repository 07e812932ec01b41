"""What `tfcli eval` was asked for: and which options contradict each other."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from tfcli.commands.options import TRANSLATION_PRECISIONS, refuse_unknown_precision
from tfcli.errors import CheckpointError, RecipeError

if TYPE_CHECKING:
    from tfcli.recipe.schema import Recipe


@dataclass(frozen=True)
class Request:
    """The options as they were given; None: not given."""

    run: Path | None
    tests: list[str] | None
    beam_size: int | None
    engine: str | None
    precision: str | None
    device: str | None
    data_root: Path | None
    out: Path | None
    src: Path | None
    hyps: list[Path] | None
    refs: list[Path] | None
    testset: str | None
    langpair: str | None
    fetch: bool
    tokenize: str | None
    lowercase: bool
    metrics: list[str] | None
    comet_model: str | None
    resamples: int | None
    seed: int | None
    baseline: Path | None
    paired: str | None
    report: Path | None

    @property
    def search(self) -> dict[str, object]:
        """Return, by option, what changes the translations."""
        return {"--beam-size": self.beam_size, "--engine": self.engine, "--precision": self.precision}

    @property
    def of_runs(self) -> dict[str, object]:
        """Return, by option, what only a run has use for."""
        return {
            "--test": self.tests, **self.search, "--device": self.device, "--data-root": self.data_root,
            "--out": self.out,
        }  # fmt: skip

    @property
    def of_files(self) -> dict[str, object]:
        """Return, by option, what is for scoring files."""
        return {
            "--hyp": self.hyps, "--ref": self.refs, "--tokenize": self.tokenize,
            "--lowercase": self.lowercase or None,
        }  # fmt: skip


def _given(options: dict[str, object]) -> list[str]:
    return [name for name, value in options.items() if value is not None]


def refuse_contradictions(request: Request, *, of_labels: bool) -> None:
    """Refuse options that do not go together; `of_labels`: the run tells labels.

    Raises: RecipeError with the options.
    """
    if request.run is not None:
        _refuse_beside_a_run(request, of_labels=of_labels)
    else:
        runs_given = _given(request.of_runs)
        if request.src is not None and request.hyps is None:
            runs_given.append("--src")
        if runs_given:
            raise RecipeError(
                f"{', '.join(runs_given)}: only a run has use for it", "give a RUN to translate with"
            )
        if request.hyps is None or (request.refs is None and request.testset is None):
            raise _nothing_to_score(request)
    refs = request.refs or []
    twice = next((ref for n, ref in enumerate(refs) if ref in refs[:n]), None)
    if twice is not None:
        raise RecipeError(
            f"--ref {twice}: given twice", "a further reference is another translation of the source"
        )
    instead = _given({"--src": request.src, "--ref": request.refs})
    if request.testset is not None and instead:
        raise RecipeError(f"{', '.join(instead)}: --testset stands in its place", "leave one of the two out")
    if request.testset is None and request.langpair is not None:
        raise RecipeError("--langpair: only --testset has use for it", "give a --testset, as wmt22")
    if request.fetch and request.testset is None and request.comet_model is None:
        raise RecipeError("--fetch: nothing to fetch", "it is for --testset and --comet-model")
    if request.precision is not None:
        refuse_unknown_precision(request.precision, TRANSLATION_PRECISIONS)


def refuse_beside_history(request: Request) -> Path:
    """Return the run whose history is asked for; refuse whatever else was asked for.

    Raises: RecipeError, CheckpointError when the run is no folder.
    """
    given = {field.name: getattr(request, field.name) for field in fields(request) if field.name != "run"}
    if request.run is None or any(value not in (None, False) for value in given.values()):
        raise RecipeError(
            "--history: expected a RUN and nothing else but --json", "`tfcli eval RUN --history`"
        )
    if not request.run.is_dir():
        raise CheckpointError(
            f"{request.run}: no such folder", "give the run folder that `tfcli train` wrote"
        )
    return request.run


def _refuse_beside_a_run(request: Request, *, of_labels: bool) -> None:
    run, own_text = request.run, request.src is not None
    elsewhere = own_text or request.testset is not None
    alone = request.refs is None if own_text else request.refs is not None
    if request.hyps is None and request.testset is None and alone and not (own_text and of_labels):
        does = "labels" if of_labels else "translates"
        raise RecipeError(
            f"{'--src' if own_text else '--ref'} alone: --src and --ref belong together",
            f"`tfcli eval {run} --src FILE --ref FILE` {does} and scores text of your own",
        )
    of_tests = _given({"--test": request.tests, "--data-root": request.data_root})
    if elsewhere and of_tests:
        place = "--src" if own_text else "--testset"
        raise RecipeError(
            f"{', '.join(of_tests)}: for the run's test sets, but {place} is scored in their place",
            "leave one of the two out",
        )
    files_given = _given(request.of_files)
    if files_given and (not elsewhere or request.hyps is not None):
        raise RecipeError(
            f"{', '.join(files_given)}: for scoring files, but a run was given, which is scored as its recipe says",
            f"leave RUN out; `tfcli eval {run}` keeps its translations in {run}/eval, to be scored as files",
        )


def _nothing_to_score(request: Request) -> RecipeError:
    alone = _given({"--hyp": request.hyps, "--ref": request.refs})
    return RecipeError(
        f"expected a RUN, or --hyp and --ref together, got {alone[0] if alone else 'none of them'}",
        "`tfcli eval RUN` scores a run on its test sets, with --src FILE --ref FILE on other text; "
        "`tfcli eval --hyp FILE --ref FILE` scores files",
    )


def recipe_of(run: Path) -> "Recipe":
    """Return the recipe of a run folder.

    Raises: CheckpointError when it is none, RecipeError when the recipe cannot be used.
    """
    from tfcli.recipe.loader import load_recipe

    if not run.is_dir():
        what = "not a folder" if run.exists() else "no such folder"
        raise CheckpointError(f"{run}: {what}", "give the run folder that `tfcli train` wrote")
    if not (run / "recipe.yaml").is_file():
        raise CheckpointError(
            f"{run}: not a run folder: it has no recipe.yaml, which names the test sets",
            f"give the folder that `tfcli train` wrote, or text: `tfcli eval {run} --src FILE --ref FILE`",
        )
    return load_recipe(run / "recipe.yaml")
