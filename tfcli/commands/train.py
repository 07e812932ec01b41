"""The verb `train`: from a recipe to a run folder with a model in it."""

import os
import shutil
import signal
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tfcli.commands.console import Verbosity, print_json, print_text, say, verbosity, warn
from tfcli.commands.info import cpu_name
from tfcli.commands.machine import keep_compiled_code_at_home, share_the_cores
from tfcli.commands.options import (
    DataRootOption,
    DeviceOption,
    JsonOption,
    OutOption,
    PrecisionOption,
    RecipeArgument,
    SetOption,
    refuse_unknown_precision,
)
from tfcli.commands.ranks import meet, restarted
from tfcli.commands.recipes import Opened, TextFiles, open_recipe, open_text, prepare_opened
from tfcli.commands.start import open_start, refuse_own_model, tokenizer_of
from tfcli.commands.train_display import ConsoleReporter, duration
from tfcli.commands.validation import validator
from tfcli.errors import RecipeError
from tfcli.model.torch_import import import_torch
from tfcli.recipe.tasks import TASKS
from tfcli.wording import counted

if TYPE_CHECKING:
    from tfcli.corpus.prepare import Prepared
    from tfcli.corpus.prepare_text import PreparedText
    from tfcli.recipe.schema import Recipe
    from tfcli.training.distributed import Ranks
    from tfcli.training.run import Outcome, Run

TEXT_PANEL = "Without a recipe"
# What a run folder holds besides its recipe, the tokenizer and the encoded corpora, which --fresh may keep.
RUN_ENTRIES = (
    "checkpoints", "best", "tensorboard", "metrics.jsonl", "decisions.jsonl", "finished.json", "scores.json", "eval", "log.txt",
    "environment.json", "initial.json", ".best.old",
)  # fmt: skip


def train(
    recipe: RecipeArgument = None,
    src: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Source text, a sentence a line, .gz or .xz too.", rich_help_panel=TEXT_PANEL
        ),
    ] = None,
    tgt: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Its translation, line for line.", rich_help_panel=TEXT_PANEL),
    ] = None,
    valid_src: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=r"Validation source.  \[default: pairs held out of the text]",
            rich_help_panel=TEXT_PANEL,
        ),
    ] = None,
    valid_tgt: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Validation target.", rich_help_panel=TEXT_PANEL),
    ] = None,
    overrides: SetOption = None,
    out: OutOption = None,
    data_root: DataRootOption = None,
    init: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Start from the weights of this run or model, with its tokenizer."),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over: drop the run's checkpoints instead of resuming.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Load everything, try the worst batch, tell size, memory and time."),
    ] = False,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a network as a recipe says, or on two files; run again, it resumes from the newest checkpoint.

    Example: tfcli train --src train.de --tgt train.en --out runs/de-en
    """
    files = _text_files(recipe, (src, tgt, valid_src, valid_tgt), out, data_root)
    wishes = [*(overrides or []), *([f"training.precision={precision}"] if precision else [])]
    if precision is not None:
        refuse_unknown_precision(precision)
    ranks, device = meet(device)
    fresh = fresh and not restarted()  # a command that torchrun repeats goes on with what it has made
    trains = ranks.is_first and not dry_run
    drops = fresh and trains
    with ExitStack() as held:
        with ranks.first_ahead():
            if fresh and out is not None:
                _refuse_strange_folder(out)
            start = open_start(init, fresh=fresh)
            if files is not None and out is not None:
                opened = open_text(files, out, wishes, device, start)
            else:
                opened = open_recipe(recipe or "", wishes, data_root, out, start)
            settings = opened.recipe
            run_dir = opened.run_dir(out)
            refuse_own_model(start.init, run_dir)
            if fresh:
                _refuse_strange_folder(run_dir)
            share_the_cores(training=True)
            keep_compiled_code_at_home()
            import_torch()
            from tfcli.corpus.run_tokenizer import TokenizerPlan
            from tfcli.model.precision import pick_device
            from tfcli.training.holding import hold
            from tfcli.training.learner import refuse_impossible

            pick_device(device or "auto")  # before anything is written or dropped
            refuse_impossible(settings)
            plan = TokenizerPlan(tokenizer_of(opened.initial, run_dir), replace=drops)
            begun = (run_dir / "recipe.yaml").is_file()
            if trains and begun:
                held.enter_context(hold(run_dir, warn))
            prepared = prepare_opened(opened, run_dir, plan)
            if prepared.labels is not None:
                say(prepared.labels.told())
            if trains and not begun:  # the folder is made only now, when the text is known to be of use
                held.enter_context(hold(run_dir, warn))
            if drops:
                _start_over(run_dir, settings)
        log = None if dry_run or not ranks.is_first else run_dir / "log.txt"
        with ConsoleReporter(settings.task, settings.training.max_steps, log) as reporter:
            interruption = Interruption()
            run = _make_run(opened, run_dir, prepared, device or "auto", reporter, interruption)
            run = _on_ranks(run, ranks)
            if dry_run:
                _show_rehearsal(run, as_json=as_json)
                ranks.leave()
                return
            from tfcli.training.fit import fit

            with interruption:
                outcome = fit(run)
    ranks.leave()
    if ranks.is_first:
        _show_outcome(run, outcome, as_json=as_json)
    if outcome.reason == "stopped":
        raise typer.Exit(128 + (interruption.signal or signal.SIGTERM))  # or another rank was asked to


def _text_files(
    recipe: str | None, paths: "tuple[Path | None, ...]", out: Path | None, data_root: Path | None
) -> TextFiles | None:
    """Return the files that stand for a recipe, None when a recipe is given."""
    src, tgt, valid_src, valid_tgt = paths
    if recipe is not None:
        if any(path is not None for path in paths):
            raise typer.BadParameter("give a RECIPE, or --src and --tgt, not both")
        return None
    if src is None or tgt is None:
        raise typer.BadParameter(
            "expected a RECIPE, or --src FILE and --tgt FILE, got none of them"
            if src is tgt
            else "--src and --tgt belong together"
        )
    if out is None:
        raise typer.BadParameter("--src and --tgt need --out RUN, the folder to train in")
    if (valid_src is None) != (valid_tgt is None):
        raise typer.BadParameter("--valid-src and --valid-tgt belong together")
    if data_root is not None:
        raise typer.BadParameter("--data-root goes with a RECIPE; paths given here start from this folder")
    return TextFiles(src, tgt, valid_src, valid_tgt)


class Interruption:
    """Turns the first Ctrl-C or SIGTERM into a wish to stop after the step; a second one stops at once."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        """Start to listen."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        """Put the handlers back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _take(self, number: int, frame: object) -> None:
        if self.signal is not None:
            self._before[number](number, frame)
        self.signal = number
        if verbosity() >= Verbosity.NORMAL:
            # not through sys.stderr, which may be in the middle of a write
            os.write(
                2,
                b"stopping when this step or validation is done and a checkpoint written; again to stop at once\n",
            )


def _refuse_strange_folder(run_dir: Path) -> None:
    """Make sure that --fresh drops nothing of a folder that is no run."""
    if not run_dir.is_dir() or not any(run_dir.iterdir()):
        return
    if not (run_dir / "recipe.yaml").is_file() and not (run_dir / "corpus" / "files.json").is_file():
        raise RecipeError(f"--fresh: {run_dir} holds files, but is no run folder", "give another --out")


def _start_over(run_dir: Path, recipe: "Recipe") -> None:
    """Drop what training has made; the run has its recipe all the time, which may be written down nowhere else."""
    from tfcli.recipe.loader import dump_recipe
    from tfcli.text.whole_file import write_whole

    write_whole(run_dir / "recipe.yaml", dump_recipe(recipe))
    for name in RUN_ENTRIES:
        path = run_dir / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _make_run(
    opened: "Opened",
    run_dir: Path,
    prepared: "Prepared | PreparedText",
    device_name: str,
    reporter: ConsoleReporter,
    interruption: Interruption,
) -> "Run":
    from tfcli.corpus.blocks import always_fills_a_batch
    from tfcli.corpus.stream import TextIds
    from tfcli.model.config import ModelConfig
    from tfcli.model.precision import pick_device, pick_precision
    from tfcli.model.varlen import has_varlen
    from tfcli.training.compiled import pick_compile
    from tfcli.training.provenance import environment
    from tfcli.training.resume import begun_settings
    from tfcli.training.run import Run

    recipe, device = opened.recipe, pick_device(device_name)
    precision = pick_precision(recipe.training.precision, device)
    tokenizer = prepared.tokenizer
    n_labels = len(prepared.labels.names) if prepared.labels is not None else None
    config = ModelConfig.of(recipe, tokenizer.src_vocab_size, tokenizer.tgt_vocab_size, n_labels)
    begun = begun_settings(run_dir)
    varlen = (
        recipe.task != "language_model"
        and begun.get("training.varlen") is not False
        and has_varlen(device, precision, config)
    )
    # compiling a language model took 52 s and made it 1.14 times as fast, once: where that is asked for
    compiled = (recipe.task == "translation" or recipe.training.compile is True) and pick_compile(
        recipe.training, device, precision, begun.get("training.compile"), varlen=varlen
    )
    batch_tokens = recipe.training.batch_tokens
    if (
        compiled
        and isinstance(prepared.train, TextIds)
        and not always_fills_a_batch(prepared.train, batch_tokens)
    ):
        say("not compiled: the text does not fill a batch (training.batch_tokens) wherever an epoch begins")
        compiled = False
    how = f"{precision}, compiled" if compiled else precision
    say(f"{run_dir}: {counted(len(prepared.train), TASKS[recipe.task].entry)}, training on {device} in {how}")
    return Run(
        recipe=recipe,
        run_dir=run_dir,
        config=config,
        prepared=prepared,
        device=device,
        precision=precision,
        compiled=compiled,
        varlen=varlen,
        environment=environment(sys.argv, cpu_name(), device, precision, prepared.digests, opened.initial),
        validate=validator(recipe, prepared, precision),
        reporter=reporter,
        stop_asked=lambda: interruption.signal is not None,
        initial=opened.initial,
    )


def _on_ranks(run: "Run", ranks: "Ranks") -> "Run":
    if ranks.size == 1:
        return run
    return replace(run, ranks=ranks, environment=run.environment | {"ranks": ranks.size})


def _show_rehearsal(run: "Run", *, as_json: bool) -> None:
    from tfcli.training.rehearsal import rehearse

    found = rehearse(run)
    if not run.ranks.is_first:
        return
    (n_pairs, s), (_, t) = found.worst_src, found.worst_tgt
    if as_json:
        print_json(
            {
                "run": str(run.run_dir),
                "parameters": found.parameters,
                "worst_batch": {"pairs": n_pairs, "source_pieces": s, "target_pieces": t},
                "peak_memory_bytes": found.peak_memory_bytes,
                "seconds_per_step": found.seconds_per_step,
                "target_tokens_per_second": found.target_tokens_per_second,
                "expected_seconds": found.expected_seconds,
            }
        )
        return
    print_text(f"parameters: {found.parameters:,}")
    if run.recipe.task == "classification":
        print_text(f"worst batch: {counted(n_pairs, 'text')}, {counted(s, 'piece')} each")
    elif run.recipe.task == "language_model":
        print_text(f"batch: {counted(n_pairs, 'block')} of {counted(t, 'piece')}")
    else:
        print_text(
            f"worst batch: {counted(n_pairs, 'pair')}, {s} source and {counted(t, 'target piece')} each"
        )
    print_text(f"peak memory: {found.peak_memory_bytes / 2**20:,.0f} MiB")
    print_text(
        f"speed: {found.seconds_per_step:.2f} s a step, {found.target_tokens_per_second:,.0f} {run.task.unit}s/s"
    )
    steps = run.recipe.training.max_steps
    print_text(
        f"expected: {duration(found.expected_seconds)} for {counted(steps, 'step')}, validations not counted"
    )


def _show_outcome(run: "Run", outcome: "Outcome", *, as_json: bool) -> None:
    from tfcli.training.rehearsal import peak_memory

    memory = peak_memory(run.device)
    _say_outcome(run, outcome, memory)
    if as_json:
        model = run.run_dir / "best"
        print_json(
            {
                "run": str(run.run_dir),
                "reason": outcome.reason,
                "step": outcome.step,
                "best_step": outcome.best_step,
                f"best_{run.task.goal}": outcome.best_score,
                "seconds": outcome.seconds,
                "peak_memory_bytes": memory,
                "model": str(model) if model.is_dir() else None,
            }
        )


def _say_outcome(run: "Run", outcome: "Outcome", memory: int) -> None:
    best = "no validation yet"
    if outcome.best_score is not None:
        best = f"best validation {run.task.told(outcome.best_score)} at step {outcome.best_step}"
    if outcome.reason == "already finished":
        say(f"{run.run_dir}: training is finished (step {outcome.step}, {best}); nothing to do")
        ended_early = outcome.step < run.recipe.training.max_steps
        key = "training.patience" if ended_early else "training.max_steps"
        if key == "training.max_steps" and run.recipe.training.schedule == "cosine":
            say(
                "its learning rate has come to its end; to train longer, raise training.max_steps with --fresh"
            )
        else:
            say(f"raise {key} to go on, or use --fresh to start over")
        return
    if outcome.reason == "stopped":
        say(f"stopped at step {outcome.step}; the same command, without --fresh, resumes")
        return
    say(f"finished at step {outcome.step}; {best}; peak memory {memory / 2**20:,.0f} MiB")
    verb = "translate" if run.recipe.task == "translation" else "predict"
    say(f"model: {run.run_dir / 'best'}   try: tfcli {verb} {run.run_dir} < source.txt")
