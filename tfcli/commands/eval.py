"""The verb `eval`: what a run's translations of its test sets, or translations in a file, are worth."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tfcli.commands.console import (
    detail,
    print_json,
    print_table,
    print_text,
    progress,
    say,
    say_or_warn,
    share_the_cores,
    warn,
)
from tfcli.commands.options import (
    DATA_ROOT_HELP,
    DEVICE_HELP,
    PRECISION_HELP,
    TRANSLATION_PRECISIONS,
    JsonOption,
    refuse_unknown_precision,
)
from tfcli.errors import CheckpointError, RecipeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tfcli.decoding.translator import Translator
    from tfcli.recipe.schema import Recipe, ScoringSection
    from tfcli.scoring.evaluation import HeldOutSet, SetScores

METRIC_NAMES = {"bleu": "BLEU", "chrf": "chrF", "ter": "TER"}
RUN_PANEL = "Translating with RUN"
FILES_PANEL = "Scoring files"


@dataclass(frozen=True)
class Kept:
    """Where an evaluation is kept: a folder for `NAME.hyp`, and the file of the scores."""

    translations: Path
    scores: Path


def evaluate(
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN", help="The run folder that translates; for --src, a model folder will do."
        ),
    ] = None,
    tests: Annotated[
        list[str] | None,
        typer.Option(
            "--test",
            metavar="NAME",
            help="Only this one of the recipe's test sets; may be given again.",
            rich_help_panel=RUN_PANEL,
        ),
    ] = None,
    beam_size: Annotated[
        int | None,
        typer.Option(min=1, help=r"1 is greedy search.  \[default: the recipe's]", rich_help_panel=RUN_PANEL),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            help=r"auto, torch or ctranslate2.  \[default: torch, as in validation]",
            rich_help_panel=RUN_PANEL,
        ),
    ] = None,
    precision: Annotated[str | None, typer.Option(help=PRECISION_HELP, rich_help_panel=RUN_PANEL)] = None,
    device: Annotated[str | None, typer.Option(help=DEVICE_HELP, rich_help_panel=RUN_PANEL)] = None,
    data_root: Annotated[Path | None, typer.Option(help=DATA_ROOT_HELP, rich_help_panel=RUN_PANEL)] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help=r"Folder for NAME.hyp and scores.json.  \[default: RUN/eval and RUN]",
            rich_help_panel=RUN_PANEL,
        ),
    ] = None,
    src: Annotated[
        Path | None,
        typer.Option(
            help="Text to translate in place of the test sets; needs --ref.", rich_help_panel=RUN_PANEL
        ),
    ] = None,
    hyp: Annotated[
        Path | None,
        typer.Option(help="Translations, one a line; plain, .gz or .xz.", rich_help_panel=FILES_PANEL),
    ] = None,
    refs: Annotated[
        list[Path] | None,
        typer.Option(
            "--ref",
            metavar="PATH",
            help="The reference, of --hyp or of --src; given again, a further one.",
            rich_help_panel=FILES_PANEL,
        ),
    ] = None,
    tokenize: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="sacreBLEU's tokenizer for BLEU: 13a, intl, zh, none, ...  \\[default: 13a]",
            rich_help_panel=FILES_PANEL,
        ),
    ] = None,
    lowercase: Annotated[
        bool, typer.Option("--lowercase", help="Ignore case.", rich_help_panel=FILES_PANEL)
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Score a run on its recipe's test sets or on other text, or a file of translations: BLEU, chrF and TER.

    A run keeps the scores of its own test sets and settings; all others go only where --out says.

    Example: tfcli eval runs/demo
    Example: tfcli eval runs/demo --src test.en --ref test.de
    Example: tfcli eval --hyp out.en --ref test.en.gz --json
    """
    search = {
        "--beam-size": beam_size,
        "--engine": engine,
        "--precision": precision,
    }  # what changes the translations
    of_runs = {"--test": tests, **search, "--device": device, "--data-root": data_root, "--out": out}
    of_runs["--src"] = src
    of_files = {"--hyp": hyp, "--ref": refs, "--tokenize": tokenize, "--lowercase": lowercase or None}
    _refuse_contradictions(run, of_runs, of_files)
    recipe: Recipe | None = None
    if precision is not None:
        refuse_unknown_precision(precision, TRANSLATION_PRECISIONS)
    if run is not None:
        if src is not None and refs is not None:
            settings = _scoring(tokenize, lowercase=lowercase, run=run)
            sets = _own_set(src, refs, settings)
        else:
            recipe = _recipe_of(run)
            settings = recipe.scoring
            sets = _sets(recipe, run, tests or [], data_root)
        translator = _load(
            run, engine=engine or "torch", device=device or "auto", precision=precision, beam_size=beam_size
        )
        tried = [name for name, value in {"--src": src, **search}.items() if value is not None]
        results = evaluate_run(run, _kept_in(run, out, tried), sets, settings, translator)
    elif hyp is not None and refs is not None:
        results = [_score_files(hyp, refs, _scoring(tokenize, lowercase=lowercase))]
    else:
        raise _nothing_to_score(of_files)
    if as_json:
        from tfcli.scoring.evaluation import as_json as results_as_json

        print_json(results_as_json(results))
    else:
        _show(results, recipe)


def _refuse_contradictions(run: Path | None, of_runs: dict[str, Any], of_files: dict[str, Any]) -> None:
    runs_given = [name for name, value in of_runs.items() if value is not None]
    files_given = [name for name, value in of_files.items() if value is not None]
    own_text = "--src" in runs_given
    if run is not None and "--hyp" not in files_given and own_text != ("--ref" in files_given):
        raise RecipeError(
            f"{'--src' if own_text else '--ref'} alone: --src and --ref belong together",
            f"`tfcli eval {run} --src FILE --ref FILE` translates and scores text of your own",
        )
    of_tests = [name for name in runs_given if name in ("--test", "--data-root")]
    if run is not None and own_text and of_tests:
        raise RecipeError(
            f"{', '.join(of_tests)}: for the run's test sets, but --src is scored in their place",
            "leave one of the two out",
        )
    if run is not None and files_given and (not own_text or "--hyp" in files_given):
        raise RecipeError(
            f"{', '.join(files_given)}: for scoring files, but a run was given, which is scored as its recipe says",
            f"leave RUN out; `tfcli eval {run}` keeps its translations in {run}/eval, to be scored as files",
        )
    if run is None and runs_given:
        raise RecipeError(
            f"{', '.join(runs_given)}: only a run has use for it", "give a RUN to translate with"
        )


def _nothing_to_score(of_files: dict[str, Any]) -> RecipeError:
    alone = [name for name in ("--hyp", "--ref") if of_files[name] is not None]
    return RecipeError(
        f"expected a RUN, or --hyp and --ref together, got {alone[0] if alone else 'none of them'}",
        "`tfcli eval RUN` scores a run on its test sets, with --src FILE --ref FILE on other text; "
        "`tfcli eval --hyp FILE --ref FILE` scores files",
    )


def _scoring(tokenize: str | None, *, lowercase: bool, run: Path | None = None) -> "ScoringSection":
    """Return what the options say, on top of the recipe of a run that has one."""
    from typing import get_args

    from tfcli.recipe.complaints import nearest
    from tfcli.recipe.schema import ScoringSection

    known = get_args(ScoringSection.model_fields["tokenize"].annotation)
    if tokenize is not None and tokenize not in known:
        near = nearest(tokenize, known)
        raise RecipeError(
            f"--tokenize {tokenize}: unknown tokenizer" + (f", did you mean {near!r}?" if near else ""),
            f"sacreBLEU's tokenizers are: {', '.join(known)}",
        )
    of_run = run is not None and (run / "recipe.yaml").is_file()
    settings = _recipe_of(run).scoring if run is not None and of_run else ScoringSection()
    given = ({"lowercase": True} if lowercase else {}) | ({} if tokenize is None else {"tokenize": tokenize})
    return ScoringSection.model_validate({**settings.model_dump(), **given})


def _score_files(hyp: Path, refs: "Sequence[Path]", settings: "ScoringSection") -> "SetScores":
    from tfcli.scoring.metrics import check_counts, require_tokenizer
    from tfcli.text.lines import read_lines

    hypotheses = list(read_lines(hyp))
    references = [list(read_lines(ref)) for ref in refs]
    check_counts(hypotheses, references, [str(path) for path in (hyp, *refs)])
    require_tokenizer(settings)
    return _score(hyp.name, hypotheses, references, settings)


def _score(
    name: str, hypotheses: "Sequence[str]", references: "Sequence[Sequence[str]]", settings: "ScoringSection"
) -> "SetScores":
    from tfcli.scoring.evaluation import SetScores
    from tfcli.scoring.metrics import METRICS, Score, score, tokenization_warning

    scores: dict[str, Score] = {}
    with progress(f"scoring {name}", total=len(METRICS), unit="metric") as bar:
        for metric in METRICS:  # TER takes seconds for a thousand lines
            scores |= score(hypotheses, references, settings, (metric,))
            bar.advance()
    warning = tokenization_warning(hypotheses, settings)
    if warning is not None:
        warn(f"{name}: {warning}")
    return SetScores(name, len(hypotheses), scores)


def _recipe_of(run: Path) -> "Recipe":
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


def _sets(recipe: "Recipe", run: Path, names: "Sequence[str]", data_root: Path | None) -> "list[HeldOutSet]":
    from tfcli.scoring.evaluation import read_sets
    from tfcli.scoring.metrics import require_tokenizer
    from tfcli.text.files import data_roots

    if not recipe.data.tests:
        raise RecipeError(
            "data.tests: the recipe names no test set",
            f"`tfcli eval {run} --src FILE --ref FILE` scores the run on text of your own",
        )
    # All that can be wrong with files and settings is found before the first line is translated.
    sets = read_sets(recipe, names, data_roots(recipe, run, data_root), say_or_warn)
    require_tokenizer(recipe.scoring)
    return sets


def _own_set(src: Path, refs: "Sequence[Path]", settings: "ScoringSection") -> "list[HeldOutSet]":
    from tfcli.scoring.evaluation import read_own_set
    from tfcli.scoring.metrics import require_tokenizer

    require_tokenizer(settings)
    return [read_own_set(src, refs)]


def _load(
    run: Path, *, engine: str, device: str, precision: str | None, beam_size: int | None
) -> "Translator":
    share_the_cores()
    from tfcli.decoding.loading import load_translator

    translator = load_translator(
        run, engine=engine, device=device, precision=precision, changes={"beam_size": beam_size}, report=say
    )
    used = translator.engine
    detail(f"{run}: {used.name}, {used.device}, {used.precision}, beam size {translator.decoding.beam_size}")
    return translator


def _kept_in(run: Path, out: Path | None, tried: "Sequence[str]") -> Kept | None:
    """Return where the results go; None when they are only printed.

    A run's own files are for the test sets and settings of its recipe: whatever else is tried on it, with the
    options named in `tried`, needs `--out`.
    """
    from tfcli.scoring.evaluation import SCORES_FILE

    if out is not None:
        return Kept(out, out / SCORES_FILE)
    if not tried:
        return Kept(run / "eval", run / SCORES_FILE)
    say(
        f"{' and '.join(tried)}: the scores are only printed, {run / SCORES_FILE} is for the recipe's own "
        "test sets and settings; --out DIR keeps them"
    )
    return None


def evaluate_run(
    run: Path,
    kept: Kept | None,
    sets: "Sequence[HeldOutSet]",
    settings: "ScoringSection",
    translator: "Translator",
) -> "list[SetScores]":
    """Translate and score the sets; write the translations and the scores down where they are to be kept."""
    from tfcli.scoring.evaluation import write_scores, write_translations

    if kept is not None:
        kept.translations.mkdir(parents=True, exist_ok=True)
    model, decoding = _provenance(run, translator)
    results = []
    for held_out in sets:
        with progress(f"translating {held_out.name}", total=len(held_out.src), unit="line") as bar:
            hypotheses = [found.text for found in translator.translate(held_out.src, bar.advance)]
        if kept is not None:
            write_translations(kept.translations / f"{held_out.name}.hyp", hypotheses)
        results.append(_score(held_out.name, hypotheses, held_out.references, settings))
    if kept is not None:
        write_scores(kept.scores, results, model, decoding)
        say(f"translations are in {kept.translations}, scores in {kept.scores}")
    return results


def _provenance(run: Path, translator: "Translator") -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the scores are of: the weights, and how they decode."""
    from tfcli.model.description import find_model_folder
    from tfcli.text.files import sha256_of_content

    weights = find_model_folder(run) / "model.safetensors"
    model = {**translator.info.get("trained", {}), "sha256": sha256_of_content(weights)}
    decoding = {
        **translator.decoding.model_dump(mode="json"),
        "engine": translator.engine.name,
        "device": str(translator.engine.device),
        "precision": translator.engine.precision,
    }
    return model, decoding


def _show(results: "Sequence[SetScores]", recipe: "Recipe | None") -> None:
    print_table(
        ["set", "lines", *METRIC_NAMES.values()],
        [
            [result.name, result.n_lines, *(f"{result.scores[name].score:6.2f}" for name in METRIC_NAMES)]
            for result in results
        ],
    )
    lines = [""]
    lines += [f"{result.name}: {result.scores['bleu'].details}" for result in results]
    lines.append("")
    for metric, label in METRIC_NAMES.items():
        signatures = dict.fromkeys(result.scores[metric].signature for result in results)
        lines += [f"{label:<4}  {signature}" for signature in signatures]
    print_text("\n".join(lines))
    if recipe is not None:
        _show_expected(results, recipe)


def _show_expected(results: "Sequence[SetScores]", recipe: "Recipe") -> None:
    from tfcli.scoring.evaluation import compare

    rows = [
        [
            found.name,
            f"{found.expected:.2f} +- {found.tolerance:g}",
            f"{found.obtained:.2f}",
            f"{found.difference:+.2f}",
            "reproduced" if found.reproduced else "not reproduced",
        ]
        for found in compare(results, recipe.expected)
    ]
    if rows:
        print_text("")
        print_table(["set", "expected BLEU", "obtained", "difference", "verdict"], rows)
