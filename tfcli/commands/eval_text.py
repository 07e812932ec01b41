"""`tfcli eval RUN` with a language model: the perplexity of its test texts, of its validation text, or of a file."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tfcli import __version__
from tfcli.commands.console import print_json, print_table, progress, say, say_or_warn, warn
from tfcli.commands.eval_request import Request, recipe_of
from tfcli.commands.eval_show import show_expected
from tfcli.errors import CheckpointError, DataError, RecipeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tfcli.decoding.language_model import LanguageModelEngine
    from tfcli.model.description import ModelDescription
    from tfcli.recipe.schema import Recipe
    from tfcli.scoring.perplexity import Perplexity
    from tfcli.scoring.results import SetResult
    from tfcli.text.passage import Passage
    from tfcli.text.running_text import RunningText


@dataclass(frozen=True)
class _Text:
    name: str
    passage: "Passage"


def language_model_at(run: Path | None) -> "ModelDescription | None":
    """Return what a folder says of the language model in it; None where there is another model, or none.

    What is wrong with a folder is for those to say who use it.
    """
    from tfcli.model.description import describe_model

    if run is None:
        return None
    try:
        description = describe_model(run)
    except CheckpointError:
        return None
    return description if description.config.task == "language_model" else None


def score_texts(request: Request, description: "ModelDescription", *, as_json: bool) -> None:
    """Tell the perplexity of what was asked for, and keep it in the run's `scores.json` if that is all of its own.

    Raises: DataError, RecipeError and CheckpointError for files, settings and runs that cannot be used.
    """
    _refuse_what_is_for_translations(request)
    texts = _texts(request)
    for text in texts:  # what is wrong with any of them is to be known first
        if not text.passage.counts().characters:
            raise DataError(f"{text.name}: no text in it", "check the file")
    from tfcli.commands.predict_text import load_language_model

    engine, running = load_language_model(description, request.device, request.precision)
    results = [_perplexity(text, engine, running) for text in texts]
    found = [_as_result(result, text, engine) for result, text in zip(results, texts, strict=True)]
    _keep(request, description, engine, found)
    if as_json:
        from tfcli.scoring.results import as_json as results_as_json

        print_json({**results_as_json(found), "texts": {result.name: result.sizes for result in results}})
    else:
        _show(results, engine)
        show_expected(found, recipe_of(request.run).expected if request.run and request.src is None else {})


def _refuse_what_is_for_translations(request: Request) -> None:
    options = {
        "--ref": request.refs, "--hyp": request.hyps, "--testset": request.testset, "--langpair": request.langpair,
        "--beam-size": request.beam_size, "--engine": request.engine, "--tokenize": request.tokenize,
        "--lowercase": request.lowercase or None, "--metric": request.metrics, "--baseline": request.baseline,
        "--paired": request.paired, "--resamples": request.resamples, "--seed": request.seed,
        "--comet-model": request.comet_model, "--fetch": request.fetch or None, "--report": request.report,
    }  # fmt: skip
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise RecipeError(
            f"{', '.join(given)}: for translations, but {request.run} is a language model, whose perplexity is told",
            "leave it out",
        )
    if request.src is not None and request.tests:
        raise RecipeError(
            "--test: for the run's test texts, but --src is scored in their place", "leave one of them out"
        )


def _texts(request: Request) -> "list[_Text]":
    from tfcli.text.files import require_text
    from tfcli.text.passage import Passage

    if request.src is not None:
        require_text(request.src, "--src")
        return [_Text(request.src.name, Passage((request.src,)))]
    assert request.run is not None
    from tfcli.scoring.evaluation import VALIDATION

    recipe = recipe_of(request.run)
    wanted = request.tests or list(recipe.data.tests) or [VALIDATION]
    known = [*recipe.data.tests, VALIDATION]
    for name in wanted:
        if name not in known:
            raise RecipeError(f"--test {name}: no such text", f"the recipe has {', '.join(known)}")
    return [_Text(name, _passage(name, recipe, request)) for name in dict.fromkeys(wanted)]


def _passage(name: str, recipe: "Recipe", request: Request) -> "Passage":
    from tfcli.corpus.prepare_text import passages
    from tfcli.text.files import data_roots, locate
    from tfcli.text.passage import Passage

    assert request.run is not None
    roots, data = data_roots(recipe, request.run, request.data_root), recipe.data
    if name in data.tests:
        return Passage(locate(data.tests[name], roots, f"data.tests.{name}", say_or_warn).paths)
    if not data.valid.held_out:
        return Passage(locate(data.valid, roots, "data.valid", say_or_warn).paths)
    train = [
        locate(corpus, roots, f"data.train[{number}]", say_or_warn)
        for number, corpus in enumerate(data.train)
    ]
    return passages(recipe, train, None)[1]


def _perplexity(text: _Text, engine: "LanguageModelEngine", running: "RunningText") -> "Perplexity":
    import numpy as np

    from tfcli.scoring.perplexity import Perplexity
    from tfcli.text.passage import Counts

    counts, parts = Counts(), []
    for chunk in text.passage.chunks():
        counts = counts + Counts.of(chunk)
        parts.append(np.array(running.encode(chunk), dtype=np.uint32))
    ids = np.concatenate(parts)
    with progress(f"reading {text.name}", len(ids), "token") as bar:
        (log_probs,) = engine.log_probs([ids], bar.advance)
    return Perplexity(text.name, -float(log_probs.sum(dtype=np.float64)), len(ids), counts)


def _show(results: "Sequence[Perplexity]", engine: "LanguageModelEngine") -> None:
    print_table(
        [
            "text", "loss", "perplexity/token", "perplexity/word", "bits/byte", "tokens", "words and line ends", "bytes",
        ],
        [
            [
                result.name, f"{result.loss:.4f}", f"{result.token_perplexity:.3f}",
                "-" if result.word_perplexity is None else f"{result.word_perplexity:.2f}",
                f"{result.bits_per_byte:.4f}", result.pieces, result.words, result.counts.bytes,
            ]
            for result in results
        ],
    )  # fmt: skip
    say(
        f"windows of {engine.context} tokens, {_stride(engine)} further on each time; perplexity/word counts each line end "
        "as a word, as is usual"
    )


def _as_result(result: "Perplexity", text: _Text, engine: "LanguageModelEngine") -> "SetResult":
    """Return a text's figures in the form that `scores.json` keeps."""
    from tfcli.scoring.results import Score, SetResult, SystemResult

    signature = f"context:{engine.context}|stride:{_stride(engine)}|words:split+eol|version:{__version__}"
    scores = {name: Score(score, signature, f"{score:.4f}") for name, score in result.scores.items()}
    lines = "".join(text.passage.chunks()).split("\n")
    return SetResult(text.name, None, [lines], [SystemResult(text.name, [], scores)])


def _stride(engine: "LanguageModelEngine") -> int:
    return max(1, engine.context // 2)


def _keep(
    request: Request,
    description: "ModelDescription",
    engine: "LanguageModelEngine",
    results: "Sequence[SetResult]",
) -> None:
    """Write `scores.json` into the run, or where --out says; of another text or precision only there."""
    from tfcli.commands.eval_run import kept_in, origin_of
    from tfcli.scoring.history import write_scores

    assert request.run is not None
    tried = {"--src": request.src, "--precision": request.precision}
    kept = kept_in(request.run, request.out, [name for name, value in tried.items() if value is not None])
    if kept is None:
        return
    if request.out is not None:
        request.out.mkdir(parents=True, exist_ok=True)
    how = {
        "engine": "torch",
        "context": engine.context,
        "device": engine.device,
        "precision": engine.precision,
    }
    write_scores(kept.scores, results, origin_of(request.run, description.info, how), warn)
    say(f"scores are in {kept.scores}")
