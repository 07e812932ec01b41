"""The verb `train`: from a recipe to a run folder with a model in it."""

import functools
import math
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tfcli.commands.console import Progress, print_text, progress, say, say_or_warn, share_the_cores, warn
from tfcli.commands.info import cpu_name
from tfcli.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tfcli.corpus.prepare import Prepared
    from tfcli.model.transformer import Transformer
    from tfcli.recipe.schema import Recipe
    from tfcli.text.files import CorpusFiles
    from tfcli.training.fit import Outcome, Run
    from tfcli.training.state import TrainingState
    from tfcli.training.step import StepResult

EXIT_TERMINATED = 143  # 128 + SIGTERM, as a shell reports it
# What a run folder holds besides the tokenizer and the encoded corpora, which --fresh may keep.
RUN_ENTRIES = (
    "checkpoints", "best", "tensorboard", "metrics.jsonl", "finished.json", "scores.json", "eval", "log.txt",
    "environment.json", "recipe.yaml",
)  # fmt: skip


def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the recipe.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help=r"The run folder.  \[default: runs/NAME]")] = None,
    data_root: Annotated[
        Path | None, typer.Option(help="Folder that data paths start from, before TFCLI_DATA and data.root.")
    ] = None,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.", rich_help_panel="Hardware")
    ] = "auto",
    precision: Annotated[
        str | None,
        typer.Option(help="auto, fp32 or bf16, instead of the recipe's.", rich_help_panel="Hardware"),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over: drop the run's checkpoints instead of resuming.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Load everything, try the worst batch, tell size, memory and time."),
    ] = False,
) -> None:
    """Train a network as a recipe says; run again, it resumes from the newest checkpoint.

    Example: tfcli train recipes/demo.yaml --set training.max_steps=500
    """
    from tfcli.corpus.prepare import prepare
    from tfcli.recipe.loader import load_recipe
    from tfcli.text.files import data_roots, locate

    wishes = [*(overrides or []), *([f"training.precision={precision}"] if precision else [])]
    settings = load_recipe(recipe, wishes)
    roots = data_roots(settings, recipe.parent, data_root)
    corpora = [locate(corpus, roots, f"data.train[{i}]", say) for i, corpus in enumerate(settings.data.train)]
    valid = locate(settings.data.valid, roots, "data.valid", say)
    for name, corpus in settings.data.tests.items():  # a wrong path is to be known now, not after hours
        locate(corpus, roots, f"data.tests.{name}", say)
    settings = _with_root(settings, roots)
    run_dir = out if out is not None else Path("runs") / settings.name
    if fresh:
        _refuse_strange_folder(run_dir)
    share_the_cores()
    from tfcli.model.precision import pick_device

    pick_device(device)  # before anything is written or dropped
    prepared = prepare(settings, corpora, valid, run_dir, say_or_warn, replace=fresh and not dry_run)
    if fresh and not dry_run:
        _drop(run_dir)
    log = None if dry_run else run_dir / "log.txt"
    with ConsoleReporter(settings.training.max_steps, log) as reporter:
        interruption = Interruption()
        run = _make_run(settings, run_dir, prepared, valid, device, reporter, interruption)
        if dry_run:
            _show_rehearsal(run)
            return
        from tfcli.training.fit import fit

        with interruption:
            outcome = fit(run)
    _show_outcome(run, outcome)
    if outcome.reason == "stopped":
        raise typer.Exit(EXIT_TERMINATED if interruption.signal == signal.SIGTERM else 130)


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

    def _take(self, number: int, _: object) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
        say("stopping when this step or validation is done and a checkpoint written; again to stop at once")


class ConsoleReporter:
    """Shows how training goes: a live line on a terminal, plain lines elsewhere, and all lines in log.txt."""

    def __init__(self, max_steps: int, log: Path | None) -> None:
        self._max_steps = max_steps
        self._log = log.open("a", encoding="utf-8") if log is not None else None
        self._bar: Progress | None = None
        self._close_bar: Callable[[], object] | None = None
        self._shown_step = 0
        self._start = (time.perf_counter(), 0)
        self._rate_from = (0.0, 0)  # elapsed seconds and tokens at the last line
        self._rate = 0.0

    def __enter__(self) -> "ConsoleReporter":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the live line away and close the log."""
        if self._close_bar is not None:
            self._close_bar()
        if self._log is not None:
            self._log.close()

    def note(self, message: str) -> None:
        """Show a remark."""
        self._write(message)
        say(message)

    def warn(self, message: str) -> None:
        """Show a warning."""
        self._write(f"warning: {message}")
        warn(message)

    def progress(self, state: "TrainingState", result: "StepResult") -> None:
        """Move the live line."""
        if self._shown_step == 0:
            self._start = (time.perf_counter(), state.step - 1)
            self._rate_from = (state.elapsed_seconds, state.tokens)
            self._shown_step = state.step - 1
        if state.elapsed_seconds - self._rate_from[0] > 2.0:
            seconds, tokens = self._rate_from
            self._rate = (state.tokens - tokens) / (state.elapsed_seconds - seconds)
            self._rate_from = (state.elapsed_seconds, state.tokens)
        if sys.stderr.isatty():
            self._show_bar(state, result)
        self._shown_step = state.step

    def row(self, kind: str, step: int, values: dict[str, float]) -> None:
        """Show a line of the log."""
        if kind == "valid":
            line = f"step {step}: validation loss {values['loss']:.3f}, perplexity {values['perplexity']:.2f}, BLEU {values['bleu']:.2f}"
        else:
            # a start of less than two seconds has no rate of its own yet
            rate = self._rate or values["tokens"] / max(values["elapsed_seconds"], 1e-3)
            line = (
                f"step {step}/{self._max_steps}: loss {values['loss']:.3f}, perplexity {values['perplexity']:.2f}, "
                f"learning rate {values['learning_rate']:.2e}, {rate:,.0f} target tokens/s, "
                f"{self._remaining(step)} left"
            )
        self._write(line)
        if kind == "valid" or not sys.stderr.isatty():
            say(line)

    def _show_bar(self, state: "TrainingState", result: "StepResult") -> None:
        if self._bar is None:
            manager = progress("training", self._max_steps, "steps")
            self._bar = manager.__enter__()
            self._close_bar = functools.partial(manager.__exit__, None, None, None)
            self._bar.advance(state.step - 1)
        perplexity = math.exp(min(result.nll / result.tokens, 100.0))
        self._bar.update(
            description=f"loss {result.loss / result.tokens:.2f} ppl {perplexity:.1f} "
            f"lr {result.learning_rate:.0e} {self._rate or 0:,.0f} tok/s"
        )
        self._bar.advance(1)

    def _remaining(self, step: int) -> str:
        start_time, start_step = self._start
        per_step = (time.perf_counter() - start_time) / max(1, step - start_step)
        return duration(per_step * (self._max_steps - step))

    def _write(self, line: str) -> None:
        if self._log is not None:
            self._log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
            self._log.flush()


def duration(seconds: float) -> str:
    """Return a time as people say it: 45 s, 12 min, 3 h 05 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def _with_root(recipe: "Recipe", roots: "Sequence[Path]") -> "Recipe":
    """Return the recipe with `data.root` as the absolute folder that its training text was found in."""
    first = recipe.data.train[0]
    name = first.tsv or first.src or ""
    root = next(root for root in roots if (root / name).exists())
    data = recipe.data.model_copy(update={"root": str(root.absolute())})
    return recipe.model_copy(update={"data": data})


def _refuse_strange_folder(run_dir: Path) -> None:
    """Make sure that --fresh drops nothing of a folder that is no run."""
    if not run_dir.is_dir() or not any(run_dir.iterdir()):
        return
    if not (run_dir / "recipe.yaml").is_file() and not (run_dir / "corpus").is_dir():
        raise RecipeError(f"--fresh: {run_dir} holds files, but is no run folder", "give another --out")


def _drop(run_dir: Path) -> None:
    for name in RUN_ENTRIES:
        path = run_dir / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _make_run(
    recipe: "Recipe",
    run_dir: Path,
    prepared: "Prepared",
    valid: "CorpusFiles",
    device_name: str,
    reporter: ConsoleReporter,
    interruption: Interruption,
) -> "Run":
    from tfcli.model.config import ModelConfig
    from tfcli.model.precision import pick_device, pick_precision
    from tfcli.text.pairs import read_pairs
    from tfcli.training.fit import Run
    from tfcli.training.provenance import environment

    device = pick_device(device_name)
    precision = pick_precision(recipe.training.precision, device)
    tokenizer = prepared.tokenizer
    config = ModelConfig.from_recipe(recipe.model, tokenizer.src_vocab_size, tokenizer.tgt_vocab_size)
    say(f"{run_dir}: {len(prepared.train):,} pairs, training on {device} in {precision}")
    pairs = list(read_pairs(valid))
    return Run(
        recipe=recipe,
        run_dir=run_dir,
        config=config,
        prepared=prepared,
        device=device,
        precision=precision,
        environment=environment(sys.argv, cpu_name(), device, precision, prepared.digests),
        validate=_validator(
            recipe, prepared, [src for src, _ in pairs], [tgt for _, tgt in pairs], precision
        ),
        reporter=reporter,
        stop_asked=lambda: interruption.signal is not None,
    )


def _validator(
    recipe: "Recipe",
    prepared: "Prepared",
    sources: "Sequence[str]",
    references: "Sequence[str]",
    precision: Any,
) -> "Callable[[Transformer], float]":
    """Return what scores a network as `translate` and `eval` would: same search, same text, same metric."""
    from tfcli.decoding.translator import Translator
    from tfcli.scoring.metrics import corpus_bleu

    def bleu(model: "Transformer") -> float:
        translator = Translator(
            model, prepared.tokenizer, recipe.decoding, recipe.max_source_pieces, precision
        )
        hypotheses = [translation.text for translation in translator.translate(sources)]
        return corpus_bleu(hypotheses, [references], recipe.scoring)

    return bleu


def _show_rehearsal(run: "Run") -> None:
    from tfcli.training.rehearsal import rehearse

    found = rehearse(run)
    (n_src, s), (_, t) = found.worst_src, found.worst_tgt
    print_text(f"parameters: {found.parameters:,}")
    print_text(f"worst batch: {n_src} pairs, {s} source and {t} target pieces each")
    print_text(f"peak memory: {found.peak_memory_bytes / 2**20:,.0f} MiB")
    print_text(
        f"speed: {found.seconds_per_step:.2f} s a step, {found.target_tokens_per_second:,.0f} target tokens/s"
    )
    steps = run.recipe.training.max_steps
    print_text(f"expected: {duration(found.expected_seconds)} for {steps:,} steps, validations not counted")


def _show_outcome(run: "Run", outcome: "Outcome") -> None:
    from tfcli.training.rehearsal import peak_memory

    best = "no validation yet"
    if outcome.best_bleu is not None:
        best = f"best validation BLEU {outcome.best_bleu:.2f} at step {outcome.best_step}"
    if outcome.reason == "already finished":
        say(f"{run.run_dir}: training is finished (step {outcome.step}, {best}); nothing to do")
        ended_early = outcome.step < run.recipe.training.max_steps
        key = "training.patience" if ended_early else "training.max_steps"
        say(f"raise {key} to go on, or use --fresh to start over")
        return
    if outcome.reason == "stopped":
        say(f"stopped at step {outcome.step}; the same command resumes")
        return
    say(f"finished at step {outcome.step}; {best}; peak memory {peak_memory(run.device) / 2**20:,.0f} MiB")
    say(f"model: {run.run_dir / 'best'}   try: tfcli translate {run.run_dir} < source.txt")
