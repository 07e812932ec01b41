"""`tfcli eval --hyp FILE --ref FILE`: translations in files, of one system or several."""

from typing import TYPE_CHECKING

from tfcli.commands.eval_show import measure_aloud
from tfcli.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tfcli.commands.eval_request import Request
    from tfcli.recipe.expectation import Expectation
    from tfcli.scoring.evaluation import HeldOutSet
    from tfcli.scoring.plan import Plan
    from tfcli.scoring.results import SetResult


def score_files(request: "Request", plan: "Plan") -> "tuple[list[SetResult], Mapping[str, Expectation]]":
    """Score the files of translations against the references, and compare all with the first or the baseline.

    Raises: DataError for files that cannot be used, RecipeError when the tokenizer is missing.
    """
    from tfcli.scoring.baseline import read_baseline
    from tfcli.scoring.metrics import check_counts, require_tokenizer
    from tfcli.text.lines import read_lines

    if "bleu" in plan.metrics:
        require_tokenizer(plan.settings)
    held_out, names = _text(request)
    paths = list(dict.fromkeys([*([request.baseline] if request.baseline else []), *(request.hyps or [])]))
    if request.baseline is not None and len(paths) == 1:
        raise RecipeError(
            "--baseline: it is the file of --hyp, too", "give the translations of another system"
        )
    said = [
        read_baseline(path, held_out) if path == request.baseline else list(read_lines(path))
        for path in paths
    ]
    systems = dict(zip(_names(paths), said, strict=True))
    for path, hypotheses in zip(paths, systems.values(), strict=True):
        check_counts(hypotheses, held_out.references, [str(path), *names])
    return [measure_aloud(held_out, systems, plan, by_system=True)], {}


def _text(request: "Request") -> "tuple[HeldOutSet, list[str]]":
    """Return what was translated, and what to call its references."""
    from tfcli.scoring.evaluation import HeldOutSet
    from tfcli.scoring.metrics import check_counts
    from tfcli.scoring.testsets import read_testset
    from tfcli.text.lines import read_lines

    if request.testset is not None:
        held_out = read_testset(request.testset, request.langpair, fetch=request.fetch)
        return held_out, [f"reference {n} of {held_out.name}" for n, _ in enumerate(held_out.references, 1)]
    refs = request.refs or []
    references = [list(read_lines(ref)) for ref in refs]
    src = list(read_lines(request.src)) if request.src is not None else None
    if src is not None:
        check_counts(src, references, [str(path) for path in (request.src, *refs)])
    return HeldOutSet(refs[0].name, src, references), [str(path) for path in refs]


def _names(paths: "Sequence[Path]") -> list[str]:
    """Return the names of the files, with their folders where several have the same name."""
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]
