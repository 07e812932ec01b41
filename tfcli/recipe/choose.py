"""Settings for who has text but no recipe: sizes chosen from the number of pairs and the machine.

    pairs -> row of the table below -> vocabulary, dropout, epochs
    pairs, device -> network -> batch, optimizer, learning rate
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
# Target pieces a second of one core in fp32, and how many cores help; measured on 2 cores, see benchmarks/RESULTS.md.
CPU_RATES = {"tiny": 2200.0, "small": 1000.0}
BF16_GAIN = 2.0
MAX_USEFUL_CORES = 8
FILLED = 0.8  # of the padded size of a batch about four fifths are target pieces


@dataclass(frozen=True)
class Row:
    """What suits a corpus of up to so many pairs; `vocab_size` on a CPU is held to `CPU_VOCABULARY`."""

    pairs: float
    vocab_size: int
    dropout: float
    epochs: int


ROWS = (
    Row(20_000, 2000, 0.3, 60),
    Row(60_000, 4000, 0.3, 40),
    Row(250_000, 8000, 0.2, 20),
    Row(1_000_000, 16_000, 0.1, 12),
    Row(5_000_000, 32_000, 0.1, 8),
    Row(20_000_000, 32_000, 0.1, 5),
    Row(float("inf"), 32_000, 0.1, 2),
)
CPU_VOCABULARY = 8000


Optimizer = Literal["adamw", "muon"]


@dataclass(frozen=True)
class Network:
    """A network for corpora of up to so many pairs, with the batch and the rates that suit it.

    Muon is chosen where it has a rate.
    """

    pairs: float
    preset: str
    batch_tokens: int
    adamw_rate: float
    muon_rate: float | None = None


CPU_NETWORKS = (
    Network(20_000, "tiny", 1024, 2e-3, 5e-3),
    Network(60_000, "tiny", 2048, 3e-3, 5e-3),
    Network(250_000, "small", 2048, 2e-3, 5e-3),
    Network(float("inf"), "small", 4096, 2e-3, 5e-3),
)
GPU_NETWORKS = (
    Network(20_000, "tiny", 1024, 2e-3, 5e-3),
    Network(60_000, "tiny", 2048, 3e-3, 5e-3),
    Network(250_000, "small", 4096, 2e-3, 5e-3),
    Network(20_000_000, "vaswani-base", 16_384, 1e-3),
    Network(float("inf"), "vaswani-big", 32_768, 7e-4),
)


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
) -> Choice:
    """Choose sizes for `n_pairs` pairs whose target sides have `target_bytes` bytes on average.

    With `max_steps`, training has so many, and what goes by them is planned for them; with `optimizer` it has that one,
    and a rate that suits it. A pure function: the same text on the same kind of machine gets the same settings.
    """
    row = next(row for row in ROWS if n_pairs <= row.pairs)
    on_cpu = machine.device == "cpu"
    network = next(each for each in (CPU_NETWORKS if on_cpu else GPU_NETWORKS) if n_pairs <= each.pairs)
    vocab_size = min(row.vocab_size, CPU_VOCABULARY) if on_cpu else row.vocab_size
    epoch_pieces = n_pairs * (target_bytes / BYTES_A_PIECE + 1)
    if optimizer is None:
        optimizer = "adamw" if network.muon_rate is None else "muon"
    muon_rate = network.muon_rate or network.adamw_rate
    learning_rate = muon_rate if optimizer == "muon" else network.adamw_rate
    steps, limited = _steps(row.epochs * epoch_pieces, network, machine)
    if max_steps is not None:
        steps, limited = max_steps, False
    epochs = steps * FILLED * network.batch_tokens / epoch_pieces
    # the smaller of two, where there is one, is for runs of less than 200 steps, which only --set asks for
    warmup = min(4000, max(min(100, steps // 2), steps // 8))
    checkpoint_every = max(1, min(5, steps // 5), steps // 40)
    model: dict[str, Any] = {"preset": network.preset, "dropout": row.dropout}
    if network.preset.startswith("vaswani"):
        model["norm"] = "pre"
    why_steps = f"about {epochs:.1f} epochs" + (
        f", what a CPU does in some {CPU_HOURS:.0f} hours; more would do it good" if limited else ""
    )
    return Choice(
        sections={
            "tokenizer": {"vocab_size": vocab_size},
            "model": model,
            "training": {
                "batch_tokens": network.batch_tokens,
                "max_steps": steps,
                "optimizer": optimizer,
                "learning_rate": learning_rate,
                "warmup_steps": warmup,
                "schedule": "cosine",
                "validate_every": 3 * checkpoint_every,
                "checkpoint_every": checkpoint_every,
            },
        },
        reasons={
            "tokenizer.vocab_size": f"{vocab_size:,} (each piece should be seen often enough to be learned)",
            "model.preset": f"{network.preset} (the largest that this many pairs can fill"
            + (" and a CPU can train)" if on_cpu else ")"),
            "model.dropout": f"{row.dropout} (the fewer pairs, the more)",
            "training.batch_tokens": f"{network.batch_tokens:,}",
            "training.optimizer": optimizer
            + (" (gets further than adamw at this size)" if optimizer == "muon" else ""),
            "training.learning_rate": f"{learning_rate:g} (falls to zero at the last step)",
            "training.max_steps": f"{steps:,} ({why_steps})",
            "training.warmup_steps": counted(warmup, "step"),
            "training.validate_every": counted(3 * checkpoint_every, "step"),
            "training.checkpoint_every": counted(checkpoint_every, "step"),
        },
    )


def fitted(choice: Choice, model: str) -> Choice:
    """Return a choice without the sizes of tokenizer and network, which are those of the `model` that it starts from."""
    sections = {**choice.sections, "model": {"dropout": choice.sections["model"]["dropout"]}}
    del sections["tokenizer"]
    own = {"tokenizer.vocab_size", "model.preset"}
    reasons = {key: line for key, line in choice.reasons.items() if key not in own}
    return Choice(sections, {"tokenizer, model": f"as in {model}", **reasons})


def held_out_pairs(n_pairs: int) -> int:
    """Return how many pairs to hold out: 1 %, at least 500 and at most 3,000, and never over a tenth."""
    return max(1, min(3000, max(500, n_pairs // 100), n_pairs // 10))


def _steps(pieces: float, network: Network, machine: Machine) -> tuple[int, bool]:
    """Return the steps that see so many target pieces, and whether a CPU's night is too short for them."""
    limited = False
    if machine.device == "cpu":
        rate = CPU_RATES[network.preset] * min(machine.cores, MAX_USEFUL_CORES)
        affordable = rate * (BF16_GAIN if machine.bf16 else 1.0) * 3600 * CPU_HOURS
        limited = affordable < pieces
        pieces = min(pieces, affordable)
    steps = max(200, round(pieces / (FILLED * network.batch_tokens)))
    digits = max(0, len(str(steps)) - 2)
    return round(steps, -digits), limited
