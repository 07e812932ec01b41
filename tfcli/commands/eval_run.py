"""`tfcli eval RUN`: test sets translated by a run, scored, and kept."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfcli.commands.console import detail, progress, say, say_or_warn, warn
from tfcli.commands.eval_plan import tells_labels
from tfcli.commands.eval_request import Request, recipe_of
from tfcli.commands.eval_show import measure_aloud
from tfcli.commands.machine import share_the_cores
from tfcli.errors import DataError, RecipeError
from tfcli.model.torch_import import import_torch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tfcli.decoding.labeller import Labeller
    from tfcli.decoding.translator import Translator
    from tfcli.recipe.expectation import Expectation
    from tfcli.scoring.evaluation import HeldOutSet
    from tfcli.scoring.history import Origin
    from tfcli.scoring.plan import Plan
    from tfcli.scoring.results import SetResult


@dataclass(frozen=True)
class Speaker:
    """What answers the lines of a test set, how that is called, and where the answers come from."""

    doing: str
    answer: "Callable[[Sequence[str], Callable[[int], None]], list[str]]"
    origin: "Origin"


@dataclass(frozen=True)
class Kept:
    """Where an evaluation is kept: a folder for `NAME.hyp`, and the file of the scores."""

    translations: Path
    scores: Path


def score_run(request: Request, plan: "Plan") -> "tuple[list[SetResult], Mapping[str, Expectation]]":
    """Translate and score what was asked for; return it with what the recipe expects of its test sets.

    Raises: DataError, RecipeError and CheckpointError for files, settings and runs that cannot be used.
    """
    assert request.run is not None
    run = request.run
    expected: Mapping[str, Expectation] = {}
    # All that can be wrong with files and settings is found before the first line is translated.
    if request.src is not None:
        from tfcli.scoring.evaluation import read_own_set

        sets = [read_own_set(request.src, request.refs) if request.refs else _labelled(request.src, run)]
    elif request.testset is not None:
        from tfcli.scoring.testsets import read_testset

        sets = [read_testset(request.testset, request.langpair, fetch=request.fetch)]
    else:
        expected = recipe_of(run).expected
        sets = _sets(request, run)
    _require_tokenizer(plan)
    baselines = _baselines(request.baseline, sets)
    speaker = _classifier(request, sets) if tells_labels(request) else _translator(request)
    tried = {"--src": request.src, "--testset": request.testset, **request.search}
    kept = kept_in(run, request.out, [name for name, value in tried.items() if value is not None])
    return _evaluate(request, kept, sets, baselines, plan, speaker), expected


def _require_tokenizer(plan: "Plan") -> None:
    from tfcli.scoring.metrics import require_tokenizer

    if "bleu" in plan.metrics:
        require_tokenizer(plan.settings)


def _sets(request: Request, run: Path) -> "list[HeldOutSet]":
    from tfcli.scoring.evaluation import read_sets
    from tfcli.text.files import data_roots

    recipe = recipe_of(run)
    if not recipe.data.tests and not request.tests:
        raise RecipeError(
            "data.tests: the recipe names no test set",
            f"`tfcli eval {run} --src FILE --ref FILE` scores the run on text of your own, "
            f"`tfcli eval {run} --test valid` on its validation text",
        )
    roots = data_roots(recipe, run, request.data_root)
    return read_sets(recipe, request.tests or [], roots, run, say_or_warn)


def _labelled(path: Path, run: Path) -> "HeldOutSet":
    """Return the texts and labels of a file that holds both, where the run's recipe says.

    Raises: RecipeError, DataError.
    """
    from tfcli.model.description import describe_model
    from tfcli.scoring.evaluation import read_labelled_set

    if (run / "recipe.yaml").is_file():
        return read_labelled_set(path, recipe_of(run).data)
    if describe_model(run).info.get("pairs_of_texts"):
        raise RecipeError(
            f"--src {path}: where two texts and a label stand in a line, only the recipe says",
            "give the run folder, which has it, in place of the model folder",
        )
    return read_labelled_set(path, None)


def _baselines(path: Path | None, sets: "Sequence[HeldOutSet]") -> dict[str, list[str]]:
    """Return the baseline's translations of each set; none without a baseline."""
    from tfcli.scoring.baseline import read_baseline

    return {} if path is None else {held_out.name: read_baseline(path, held_out) for held_out in sets}


def _translator(request: Request) -> Speaker:
    assert request.run is not None
    translator = _load(
        request.run,
        engine=request.engine or "torch",
        device=request.device or "auto",
        precision=request.precision,
        beam_size=request.beam_size,
    )
    used, decoding = translator.engine, translator.decoding
    how = {"engine": used.name, "device": str(used.device), "precision": used.precision}
    return Speaker(
        doing="translating",
        answer=lambda lines, advance: [found.text for found in translator.translate(lines, advance)],
        origin=origin_of(request.run, translator.info, {**decoding.model_dump(mode="json"), **how}),
    )


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


def _classifier(request: Request, sets: "Sequence[HeldOutSet]") -> Speaker:
    """Return what tells the labels of texts.

    Raises: DataError when a test set has a label that the classifier does not know.
    """
    from tfcli.model.description import describe_model

    assert request.run is not None
    for option, value in {"--beam-size": request.beam_size, "--engine": request.engine}.items():
        if value is not None:
            raise RecipeError(
                f"{option}: for translations, but {request.run} tells labels", "leave the option out"
            )
    description = describe_model(request.run)
    _refuse_unknown_labels(sets, description.require_labels())
    share_the_cores()
    import_torch()
    from tfcli.decoding.labeller import load_labeller

    labeller = load_labeller(description, request.device or "auto", request.precision)
    detail(f"{request.run}: {labeller.device}, {labeller.precision}")
    how = {"engine": "torch", "device": labeller.device, "precision": labeller.precision}
    return Speaker(
        doing="labelling",
        answer=_labels_of_lines(labeller, request.src)
        if request.src is not None and request.refs
        else lambda lines, advance: [found.best for found in labeller.label(lines, 1, advance)],
        origin=origin_of(request.run, description.info, how),
    )


def _labels_of_lines(labeller: "Labeller", path: Path) -> "Callable[..., list[str]]":
    """Return what labels the lines of a file of texts, a pair of them parted by a tab; labelled files have them joined."""
    from tfcli.decoding.translator import LineError

    def answer(lines: "Sequence[str]", advance: "Callable[[int], None]") -> list[str]:
        try:
            return [found.best for found in labeller.begin(lines, advance)()]
        except LineError as error:
            raise DataError(f"{path}:{error.index + 1}: {error.message}", error.hint) from error

    return answer


def _refuse_unknown_labels(sets: "Sequence[HeldOutSet]", labels: "Sequence[str]") -> None:
    from tfcli.corpus.label_survey import unknown_label
    from tfcli.text.labelled import UnfitLines

    known = set(labels)
    for held_out in sets:
        unfit, said = UnfitLines(), held_out.references[0]
        numbers = held_out.line_numbers or range(1, len(said) + 1)
        wrong = [
            unknown_label(label, number, labels)
            for number, label in zip(numbers, said, strict=True)
            if label not in known
        ]
        unfit.add(held_out.reference_file or held_out.name, wrong)
        unfit.refuse()


def kept_in(run: Path, out: Path | None, tried: "Sequence[str]") -> Kept | None:
    """Return where the results go; None when they are only printed.

    A run's own files are for the test sets and settings of its recipe: whatever else is tried on it, with the
    options named in `tried`, needs `--out`.
    """
    from tfcli.scoring.history import SCORES_FILE

    if out is not None:
        return Kept(out, out / SCORES_FILE)
    if not tried:
        return Kept(run / "eval", run / SCORES_FILE)
    say(
        f"{' and '.join(tried)}: the scores are only printed, {run / SCORES_FILE} is for the recipe's own "
        "test sets and settings; --out DIR keeps them"
    )
    return None


def _evaluate(
    request: Request,
    kept: Kept | None,
    sets: "Sequence[HeldOutSet]",
    baselines: dict[str, list[str]],
    plan: "Plan",
    speaker: Speaker,
) -> "list[SetResult]":
    """Have the sets answered and score them; write the answers and the scores down where they are to be kept."""
    from tfcli.scoring.evaluation import write_translations
    from tfcli.scoring.history import write_scores

    assert request.run is not None
    if kept is not None:
        kept.translations.mkdir(parents=True, exist_ok=True)
    results = []
    for held_out in sets:
        assert held_out.src is not None
        with progress(f"{speaker.doing} {held_out.name}", total=len(held_out.src), unit="line") as bar:
            hypotheses = speaker.answer(held_out.src, bar.advance)
        if kept is not None:
            write_translations(kept.translations / f"{held_out.name}.hyp", hypotheses)
        systems = {str(request.run): hypotheses}
        if held_out.name in baselines:
            systems = {_baseline_name(request): baselines[held_out.name], **systems}
        found = measure_aloud(held_out, systems, plan, by_system=False)
        results.append(replace(found, origin=speaker.origin))
    if kept is not None:
        write_scores(kept.scores, results, speaker.origin, warn)
        what = "labels" if speaker.doing == "labelling" else "translations"
        say(f"{what} are in {kept.translations}, scores in {kept.scores}")
    return results


def _baseline_name(request: Request) -> str:
    name = str(request.baseline)
    return name if name != str(request.run) else f"{name} before"


def origin_of(run: Path, info: "Mapping[str, Any]", decoding: dict[str, Any]) -> "Origin":
    """Return what scores are of: the weights of a run, `info` of them, and how they were put to use."""
    from tfcli.model.description import find_model_folder
    from tfcli.scoring.history import Origin
    from tfcli.text.files import sha256_of_content
    from tfcli.training.source import source_commit

    weights = find_model_folder(run) / "model.safetensors"
    return Origin(
        model={**info.get("trained", {}), "sha256": sha256_of_content(weights)},
        decoding=decoding,
        command=sys.argv,
        commit=source_commit(),
    )
