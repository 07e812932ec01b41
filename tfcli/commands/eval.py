"""The verb `eval`: what a run's translations of its test sets, or translations in files, are worth."""

from pathlib import Path
from typing import Annotated

import typer

from tfcli.commands.console import print_json
from tfcli.commands.eval_files import score_files
from tfcli.commands.eval_plan import plan_of, tells_labels
from tfcli.commands.eval_report import require_report, write_report
from tfcli.commands.eval_request import Request, refuse_beside_history, refuse_contradictions
from tfcli.commands.eval_run import score_run
from tfcli.commands.eval_show import show, show_history
from tfcli.commands.eval_text import language_model_at, score_texts
from tfcli.commands.options import DATA_ROOT_HELP, DEVICE_HELP, OUTPUT_PANEL, PRECISION_HELP, JsonOption

RUN_PANEL = "Translating with RUN"
FILES_PANEL = "Scoring files"
SCORES_PANEL = "Scores and comparisons"


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
            help="Only this one of the recipe's test sets, or valid; again for more.",
            rich_help_panel=RUN_PANEL,
        ),
    ] = None,
    beam_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help=r"1 is greedy search.  \[default: the recipe's]",
            rich_help_panel=RUN_PANEL,
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            help=r"auto, torch or ctranslate2.  \[default: torch]",
            rich_help_panel=RUN_PANEL,
        ),
    ] = None,
    precision: Annotated[str | None, typer.Option(help=PRECISION_HELP, rich_help_panel=RUN_PANEL)] = None,
    device: Annotated[str | None, typer.Option(help=DEVICE_HELP, rich_help_panel=RUN_PANEL)] = None,
    data_root: Annotated[Path | None, typer.Option(help=DATA_ROOT_HELP, rich_help_panel=RUN_PANEL)] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help=r"Folder for NAME.hyp and scores.json.  \[default: in RUN]",
            rich_help_panel=RUN_PANEL,
        ),
    ] = None,
    src: Annotated[
        Path | None,
        typer.Option(
            help="Text instead of test sets, with --ref or labelled; or the source of --hyp.",
            rich_help_panel=RUN_PANEL,
        ),
    ] = None,
    hyps: Annotated[
        list[Path] | None,
        typer.Option(
            "--hyp",
            metavar="PATH",
            help="Translations, one a line; given again, those of another system.",
            rich_help_panel=FILES_PANEL,
        ),
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
    testset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A test set of sacreBLEU's, as wmt22; needs --langpair.",
            rich_help_panel=FILES_PANEL,
        ),
    ] = None,
    langpair: Annotated[
        str | None,
        typer.Option(
            metavar="PAIR", help="The languages of --testset, as en-de.", rich_help_panel=FILES_PANEL
        ),
    ] = None,
    fetch: Annotated[
        bool,
        typer.Option(
            "--fetch",
            help="Fetch --testset or --comet-model if it is not there.",
            rich_help_panel=FILES_PANEL,
        ),
    ] = False,
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
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            metavar="NAME",
            help="bleu, chrf, chrf++, ter, comet, accuracy, macro-f1.  \\[default: the task's]",
            rich_help_panel=SCORES_PANEL,
        ),
    ] = None,
    comet_model: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="The model for --metric comet, or its name.", rich_help_panel=SCORES_PANEL
        ),
    ] = None,
    resamples: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="For intervals and tests; 0: neither.  \\[default: 1000]",
            rich_help_panel=SCORES_PANEL,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Of the resamples.  \\[default: 12345]", rich_help_panel=SCORES_PANEL
        ),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(
            help="Compare with this scored run, or file of translations.", rich_help_panel=SCORES_PANEL
        ),
    ] = None,
    paired: Annotated[
        str | None,
        typer.Option(
            metavar="TEST",
            help="bs: bootstrap, ar: approximate randomization.  \\[default: bs]",
            rich_help_panel=SCORES_PANEL,
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a report: a page (.html) that opens offline, or Markdown (.md).",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    history: Annotated[
        bool,
        typer.Option(
            "--history",
            help="Show RUN's earlier evaluations, and do nothing else.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Score a run on its test sets or on other text, or files: BLEU, chrF, TER; accuracy of labels; perplexity of texts.

    A run keeps the scores of its own test sets and settings; all others go only where --out says.

    Example: tfcli eval runs/demo --baseline runs/before --report new.html
    Example: tfcli eval runs/demo --src test.en --ref test.de
    Example: tfcli eval --hyp old.en --hyp new.en --ref test.en.gz --json
    """
    request = Request(
        run=run, tests=tests, beam_size=beam_size, engine=engine, precision=precision, device=device,
        data_root=data_root, out=out, src=src, hyps=hyps, refs=refs, testset=testset,
        langpair=langpair, fetch=fetch, tokenize=tokenize, lowercase=lowercase, metrics=metrics,
        comet_model=comet_model, resamples=resamples, seed=seed, baseline=baseline, paired=paired,
        report=report,
    )  # fmt: skip
    if history:
        _show_history(request, as_json=as_json)
        return
    language_model = language_model_at(run)
    if language_model is not None:
        score_texts(request, language_model, as_json=as_json)
        return
    refuse_contradictions(request, of_labels=tells_labels(request))
    plan = plan_of(request)
    if report is not None:
        require_report(report, plan)
    results, expected = score_files(request, plan) if run is None else score_run(request, plan)
    if as_json:
        from tfcli.scoring.results import as_json as results_as_json

        print_json(results_as_json(results, by_system=run is None))
    else:
        show(results, expected, by_system=run is None)
    if report is not None:
        write_report(report, request, plan, results)


def _show_history(request: Request, *, as_json: bool) -> None:
    from tfcli.scoring.history import SCORES_FILE, read_history

    run = refuse_beside_history(request)
    entries = read_history(run / SCORES_FILE)
    if as_json:
        print_json({"history": entries})
    else:
        show_history(entries)
