"""Settings for who has text but no recipe: sizes chosen from the number of pairs and the machine.

    pairs -> row of the table below -> dropout, epochs, R-Drop
    pairs, device -> the same row, on a CPU none beyond `CPU_MAX_PAIRS` -> vocabulary, network, batch
    network -> optimizer, learning rate
    epochs, pairs, batch -> steps (on a CPU no more than end in a night), unless they are given
    steps -> warm-up, validations, checkpoints

The table and its reasons stand in docs/choosing-settings.md; a test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from tfcli.wording import counted

BYTES_A_PIECE = (
    4.5  # UTF-8, European and Chinese text alike, at the vocabulary sizes below; end marks come on top
)
CPU_HOURS = 8.0
# Target pieces a second of one core in fp32; bf16 products multiply that; more cores than so many help no further. It is
# what a busy older server CPU did with `small`; a newer one does more (benchmarks/RESULTS.md, `modern-small` with Muon).
CPU_PIECES_PER_SECOND = 1000.0
BF16_GAIN = 2.0
MAX_USEFUL_CORES = 8
FILLED = 0.8  # of the padded size of a batch about four fifths are target pieces


@dataclass(frozen=True)
class Row:
    """What suits a corpus of up to so many pairs."""

    pairs: float
    vocab_size: int
    preset: str
    batch_tokens: int
    dropout: float
    epochs: int
    r_drop: float | None = None


ROWS = (
    Row(20_000, 2000, "modern-small", 2048, 0.3, 40, 1.0),
    Row(60_000, 6000, "modern-small", 4096, 0.3, 15),
    Row(250_000, 8000, "modern-small", 4096, 0.15, 15),
    Row(1_000_000, 16_000, "vaswani-base", 16_384, 0.1, 12),
    Row(5_000_000, 32_000, "vaswani-base", 16_384, 0.1, 8),
    Row(20_000_000, 32_000, "vaswani-base", 16_384, 0.1, 5),
    Row(float("inf"), 32_000, "vaswani-big", 32_768, 0.1, 2),
)
CPU_MAX_PAIRS = 250_000  # a CPU gets no larger sizes than those for so many

Optimizer = Literal["adamw", "muon"]
ADAMW_LEARNING_RATES = {"modern-small": 2e-3, "vaswani-base": 1e-3, "vaswani-big": 7e-4}
MUON_LEARNING_RATES = {"modern-small": 5e-3}  # of those that it is chosen for; others take it with AdamW's


@dataclass(frozen=True)
class Machine:
    """What the network is going to be trained on."""

    device: Literal["cpu", "gpu"]
    cores: int
    bf16: bool


@dataclass(frozen=True)
class Choice:
    """The sections of a recipe, and for each choice, by its key, a line that says what was chosen and why."""

    sections: dict[str, Any]
    reasons: dict[str, str]


def choose_settings(
    n_pairs: int,
    target_bytes: float,
    machine: Machine,
    max_steps: int | None = None,
    optimizer: Optimizer | None = None,
    dropout: float | None = None,
) -> Choice:
    """Choose sizes for `n_pairs` pairs whose target sides have `target_bytes` bytes on average.

    With `max_steps`, training has so many, and what goes by them is planned for them; with `optimizer` it has that one,
    and a rate that suits it; with a `dropout` of 0 there is no R-Drop. A pure function: the same text on the same kind of
    machine gets the same settings.
    """
    on_cpu = machine.device == "cpu"
    by_pairs, by_machine = _row(n_pairs), _row(min(n_pairs, CPU_MAX_PAIRS) if on_cpu else n_pairs)
    epoch_pieces = n_pairs * (target_bytes / BYTES_A_PIECE + 1)
    if optimizer is None:
        optimizer = "muon" if by_machine.preset in MUON_LEARNING_RATES else "adamw"
    learning_rate = ADAMW_LEARNING_RATES[by_machine.preset]
    if optimizer == "muon":
        learning_rate = MUON_LEARNING_RATES.get(by_machine.preset, learning_rate)
    steps, limited = _steps(by_pairs.epochs * epoch_pieces, by_machine.batch_tokens, machine)
    if max_steps is not None:
        steps, limited = max_steps, False
    epochs = steps * FILLED * by_machine.batch_tokens / epoch_pieces
    # the smaller of two, where there is one, is for runs of less than 200 steps, which only --set asks for
    warmup = min(4000, max(min(100, steps // 2), steps // 8))
    checkpoint_every = max(1, min(5, steps // 5), steps // 40)
    model: dict[str, Any] = {"preset": by_machine.preset, "dropout": by_pairs.dropout}
    if by_machine.preset.startswith("vaswani"):
        model["norm"] = "pre"
    r_drop = None if dropout == 0 else by_pairs.r_drop
    why_steps = f"about {epochs:.1f} epochs" + (
        f", what a CPU does in some {CPU_HOURS:.0f} hours; more would do it good" if limited else ""
    )
    return Choice(
        sections={
            "tokenizer": {"vocab_size": by_machine.vocab_size},
            "model": model,
            "training": {
                "batch_tokens": by_machine.batch_tokens,
                "max_steps": steps,
                "optimizer": optimizer,
                "learning_rate": learning_rate,
                "warmup_steps": warmup,
                "schedule": "cosine",
                "r_drop": r_drop,
                "validate_every": 3 * checkpoint_every,
                "checkpoint_every": checkpoint_every,
            },
        },
        reasons={
            "tokenizer.vocab_size": f"{by_machine.vocab_size:,} (each piece should be seen often enough to be learned)",
            "model.preset": f"{by_machine.preset} (suits so many pairs{' on a CPU' if on_cpu else ''})",
            "model.dropout": f"{by_pairs.dropout} (the fewer pairs, the more)",
            "training.batch_tokens": f"{by_machine.batch_tokens:,}",
            "training.optimizer": optimizer
            + (" (gets further than adamw at this size)" if optimizer == "muon" else ""),
            "training.learning_rate": f"{learning_rate:g} (falls to zero at the last step)",
            "training.max_steps": f"{steps:,} ({why_steps})",
            **({} if r_drop is None else {"training.r_drop": f"{r_drop:g} (pays where pairs are few)"}),
            "training.warmup_steps": counted(warmup, "step"),
            "training.validate_every": counted(3 * checkpoint_every, "step"),
            "training.checkpoint_every": counted(checkpoint_every, "step"),
        },
    )


def fitted(choice: Choice, model: str) -> Choice:
    """Return a choice without the sizes of tokenizer and network, which are those of the `model` that it starts from.

    It has no R-Drop, which does a network no good that is trained already (recipes/RESULTS.md).
    """
    sections = {
        "model": {"dropout": choice.sections["model"]["dropout"]},
        "training": {**choice.sections["training"], "r_drop": None},
    }
    own = {"tokenizer.vocab_size", "model.preset", "training.r_drop"}
    reasons = {key: line for key, line in choice.reasons.items() if key not in own}
    return Choice(sections, {"tokenizer, model": f"as in {model}", **reasons})


def held_out_pairs(n_pairs: int) -> int:
    """Return how many pairs to hold out: 1 %, at least 500 and at most 3,000, and never over a tenth."""
    return max(1, min(3000, max(500, n_pairs // 100), n_pairs // 10))


def _row(n_pairs: float) -> Row:
    return next(row for row in ROWS if n_pairs <= row.pairs)


def _steps(pieces: float, batch_tokens: int, machine: Machine) -> tuple[int, bool]:
    """Return the steps that see so many target pieces, and whether a CPU's night is too short for them."""
    limited = False
    if machine.device == "cpu":
        rate = CPU_PIECES_PER_SECOND * min(machine.cores, MAX_USEFUL_CORES)
        affordable = rate * (BF16_GAIN if machine.bf16 else 1.0) * 3600 * CPU_HOURS
        limited = affordable < pieces
        pieces = min(pieces, affordable)
    steps = max(200, round(pieces / (FILLED * batch_tokens)))
    digits = max(0, len(str(steps)) - 2)
    return round(steps, -digits), limited
