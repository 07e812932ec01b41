"""From a run folder and a few of its translations to the pictures of a report."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tfcli.commands.folder_facts import json_lines
from tfcli.commands.run_course import series

if TYPE_CHECKING:
    from tfcli.model.transformer import Transformer
    from tfcli.scoring.picture import Picture

POSITIONS_SHOWN = 64
DIMENSIONS_SHOWN = 256  # of a vector: a pixel or more each
RATES_SHOWN = 300
OF_SOURCE = (
    "Where the network looks in the source (columns) as it writes each piece of its translation (rows)."
)
OF_ITSELF = "Where the encoder looks in the source (columns) for each piece of it (rows)."
OF_TARGET = "Where the network looks in what it has written (columns) as it writes each piece of its translation (rows)."
POSITIONS = {
    "sinusoidal": (
        "What is added to the embedding (columns: dimensions) at each position (rows): sines in even dimensions, "
        "cosines in odd ones."
    ),
    "learned": (
        "What the network has learnt to add to the embedding (columns: dimensions) at each position (rows) of the "
        "source. Positions that no training sentence reached are as random as they were made."
    ),
    "rotary": "Cosine of the angle by which each pair of a head's coordinates (columns) is turned at each position (rows).",
}


class _Sentence(NamedTuple):
    """A pair in pieces, with the end marks."""

    number: int
    read: list[str]
    written: list[str]
    src_ids: list[int]
    tgt_ids: list[int]


def course_pictures(run: Path) -> "list[Picture]":
    """Return what can be shown of the training of a run: its curves, and the learning rate of its recipe.

    A model folder, which has neither metrics.jsonl nor recipe.yaml, has none. Needs no torch.

    Raises: RecipeError when the recipe cannot be read.
    """
    from tfcli.recipe.loader import load_recipe
    from tfcli.scoring.charts import Course, learning_rate_picture, training_picture
    from tfcli.training.schedule import learning_rate

    pictures = []
    rows = json_lines(run / "metrics.jsonl")
    trained, validated = (_cross_entropy(rows, kind) for kind in ("train", "valid"))
    if trained or validated:
        pictures.append(training_picture(Course(trained, validated, series(rows, "valid", "bleu"))))
    if (run / "recipe.yaml").is_file():
        training = load_recipe(run / "recipe.yaml").training
        every = -(-training.max_steps // RATES_SHOWN)
        warmed_up = min(training.warmup_steps, training.max_steps)
        steps = sorted({1, *range(every, training.max_steps, every), warmed_up, training.max_steps} - {0})
        rates = [(step, learning_rate(training, step)) for step in steps]
        pictures.append(learning_rate_picture(rates, training.schedule))
    return pictures


def network_pictures(folder: Path, pairs: Sequence[tuple[str, str]]) -> "list[Picture]":
    """Return where the network of a run or model folder looks in these sentences, and how it is told positions.

    Each pair is a source and a translation of it, which the network is made to write; its number is in the titles.
    Blank ones, and those with more pieces than the network knows positions, have no picture. Attention within a side is
    shown for the first pair alone.

    Raises: CheckpointError when the folder cannot be used.
    """
    from tfcli.model.description import describe_model
    from tfcli.model.folder import load_described

    description = describe_model(folder)
    model = load_described(description).model
    tokenizer, longest = description.tokenizer, description.config.max_positions
    pictures: list[Picture] = []
    for number, (src, tgt) in enumerate(pairs, start=1):
        sentence = _Sentence(
            number,
            [*tokenizer.src_pieces(src), "</s>"],
            [*tokenizer.tgt_pieces(tgt), "</s>"],
            [*tokenizer.encode_src(src), tokenizer.eos_id],
            [*tokenizer.encode_tgt(tgt), tokenizer.eos_id],
        )
        sizes = (len(sentence.src_ids), len(sentence.tgt_ids))
        if min(sizes) > 1 and max(sizes) <= longest:
            pictures += _attention(model, sentence, whole=not pictures)
    return [*pictures, _positions(model)]


def _attention(model: "Transformer", sentence: _Sentence, *, whole: bool) -> "list[Picture]":
    """Show attention to the source, and with `whole` that within each side."""
    from tfcli.model.attention_maps import attention_maps
    from tfcli.scoring.heat_map import Sides, attention_picture

    number, read, written = sentence[:3]
    maps = attention_maps(model, sentence.src_ids, sentence.tgt_ids)
    shown = [("Attention to the source", OF_SOURCE, maps.cross, Sides(written, read))]
    if whole:
        begun = ["<s>", *written[:-1]]
        shown += [
            ("Attention of the encoder", OF_ITSELF, maps.encoder, Sides(read, read)),
            ("Attention of the decoder to its own text", OF_TARGET, maps.decoder, Sides(written, begun)),
        ]
    return [
        attention_picture(f"{title}, sentence {number}", explanation, weights, sides)
        for title, explanation, weights, sides in shown
    ]


def _positions(model: "Transformer") -> "Picture":
    """Show how the encoder is told positions."""
    from tfcli.scoring.heat_map import positions_picture

    kind = model.config.positions
    added: Any = model.src_embedding.positions
    table = model.rotary.cos if model.rotary is not None else added.table
    values = table.detach()[:POSITIONS_SHOWN, :DIMENSIONS_SHOWN].numpy()
    caption = POSITIONS[kind]
    if table.shape[1] > DIMENSIONS_SHOWN:
        caption += f" The first {DIMENSIONS_SHOWN} of {table.shape[1]:,} columns are shown."
    largest = float(abs(values).max()) if kind == "learned" else 1.0
    return positions_picture(f"Positions ({kind})", caption, values, largest)


def _cross_entropy(rows: list[dict[str, Any]], kind: str) -> list[tuple[int, float]]:
    """Return the logarithm of the perplexity, which unlike the loss of training has no label smoothing in it."""
    return [
        (step, math.log(value) if value > 0 else math.nan) for step, value in series(rows, kind, "perplexity")
    ]
