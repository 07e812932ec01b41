"""How `tfcli eval` is to score, from its options: metrics, resamples, the test of a comparison, tokenizer and case."""

from typing import TYPE_CHECKING, get_args

from tfcli.commands.eval_request import Request, recipe_of
from tfcli.errors import CheckpointError, RecipeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tfcli.recipe.schema import ScoringSection
    from tfcli.scoring.comet import Comet
    from tfcli.scoring.plan import Plan


def plan_of(request: Request) -> "Plan":
    """Return how to score.

    Raises: RecipeError when that cannot be done.
    """
    from tfcli.scoring.plan import LABEL_METRICS, METRICS, RESAMPLES, SEED, TRIALS, Plan

    of_labels = tells_labels(request)
    metrics = _metrics(request, of_labels=of_labels) or (LABEL_METRICS if of_labels else METRICS)
    resamples = RESAMPLES if request.resamples is None else request.resamples
    _refuse_tests_without_sense(request, resamples)
    return Plan(
        settings=_scoring(request),
        metrics=metrics,
        resamples=resamples,
        paired="ar" if request.paired == "ar" else "bs",
        trials=request.resamples or TRIALS,
        seed=request.seed or SEED,
        comet=_comet(request, metrics),
    )


def tells_labels(request: Request) -> bool:
    """Say whether a run is given that is a classifier's; one that cannot be read is told of when it is used."""
    from tfcli.model.description import find_model_folder, read_config

    if request.run is None:
        return False
    try:
        config = read_config(find_model_folder(request.run) / "config.json")
    except CheckpointError:
        return False
    return config.get("task") == "classification"


def _refuse_tests_without_sense(request: Request, resamples: int) -> None:
    from tfcli.scoring.plan import LEAST_RESAMPLES

    if 0 < resamples < LEAST_RESAMPLES:
        raise RecipeError(
            f"--resamples {resamples}: too few for a 95 % interval",
            f"give at least {LEAST_RESAMPLES}, or 0 for no intervals and no tests",
        )
    if request.paired not in (None, "bs", "ar"):
        raise RecipeError(f"--paired {request.paired}: unknown test", "use bs or ar")
    if request.paired is not None and request.baseline is None and len(set(request.hyps or [])) < 2:
        raise RecipeError("--paired: there is nothing to compare", "give a --baseline, or several --hyp")
    if request.paired is not None and resamples == 0:
        raise RecipeError("--paired with --resamples 0: a test needs resamples", "leave one of the two out")


def _metrics(request: Request, *, of_labels: bool) -> tuple[str, ...]:
    from tfcli.scoring.plan import LABEL_METRICS, TRANSLATION_METRICS

    names = tuple(dict.fromkeys(request.metrics or ()))
    known = (*TRANSLATION_METRICS, "comet", *LABEL_METRICS)
    for name in names:
        if name not in known:
            raise unknown(f"--metric {name}: unknown metric", name, known, "the metrics are: ")
    labels = [name for name in names if name in LABEL_METRICS]
    if labels and len(labels) < len(names):
        others = [name for name in names if name not in labels]
        raise RecipeError(
            f"--metric {labels[0]} beside --metric {others[0]}: one is for labels, the other for translations",
            "score them one after the other",
        )
    if of_labels and names and not labels:
        raise RecipeError(
            f"--metric {names[0]}: for translations, but {request.run} tells labels",
            f"the metrics of labels are: {', '.join(LABEL_METRICS)}",
        )
    if labels and request.run is not None and not of_labels:
        raise RecipeError(
            f"--metric {labels[0]}: for files of labels, but a run was given, which translates",
            "give the labels with --hyp and --ref",
        )
    return names


def _comet(request: Request, metrics: "Sequence[str]") -> "Comet | None":
    """Return the model that the metric comet asks for."""
    if "comet" not in metrics:
        if request.comet_model is not None:
            raise RecipeError("--comet-model: only --metric comet has use for it", "add --metric comet")
        return None
    if request.run is None and request.src is None and request.testset is None:
        raise RecipeError("--metric comet: it needs the source", "give it with --src")
    if request.comet_model is None:
        raise RecipeError(
            "--metric comet: which model?",
            "give the file of one with --comet-model, or the name of one with --fetch, as Unbabel/wmt22-comet-da",
        )
    from tfcli.scoring.comet import Comet, require_package

    require_package()
    import torch

    return Comet(request.comet_model, fetch=request.fetch, gpus=int(torch.cuda.is_available()))


def unknown(message: str, word: str, known: "Sequence[str]", they_are: str) -> RecipeError:
    """Return the error about a word that is none of those that are known, with the nearest of them."""
    from tfcli.recipe.complaints import nearest

    near = nearest(word, known)
    return RecipeError(
        message + (f", did you mean {near!r}?" if near else ""), f"{they_are}{', '.join(known)}"
    )


def _scoring(request: Request) -> "ScoringSection":
    """Return what the options say, on top of the recipe of a run that has one."""
    from tfcli.recipe.schema import ScoringSection

    tokenize = request.tokenize
    known = get_args(ScoringSection.model_fields["tokenize"].annotation)
    if tokenize is not None and tokenize not in known:
        raise unknown(
            f"--tokenize {tokenize}: unknown tokenizer", tokenize, known, "sacreBLEU's tokenizers are: "
        )
    of_run = request.run is not None and (request.run / "recipe.yaml").is_file()
    settings = recipe_of(request.run).scoring if request.run is not None and of_run else ScoringSection()
    given = ({"lowercase": True} if request.lowercase else {}) | (
        {} if tokenize is None else {"tokenize": tokenize}
    )
    return ScoringSection.model_validate({**settings.model_dump(), **given})
