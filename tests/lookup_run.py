"""A run whose network is a lookup table: a recipe with two small test sets, their text, and a translator that knows it."""

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from safetensors.numpy import save

from tfcli.recipe.loader import dump_recipe, load_recipe
from tfcli.recipe.schema import DecodingSection

SOURCE = ["die Katze", "", "zwei\u2028Hunde", "Anna sieht"]
REFERENCE = [
    "The cat is sitting on the mat.",
    "",
    "Two dogs\u2028play in the snow.",
    "Anna sees a very small house.",
]
HYPOTHESES = [
    "The cat sits on the mat.",
    "",
    "two dogs\u2028are playing in the snow.",
    "Anna sees a very small house.",
]
TABLE = dict(zip(SOURCE, HYPOTHESES, strict=True))
WEIGHTS = save({"a": np.zeros(3, np.float32)})
RECIPE = """\
name: toy
data:
  root: {root}
  train: [{{src: a.en, tgt: a.de}}]
  valid: {{src: a.en, tgt: a.de}}
  tests:
    near: {{src: near.src, tgt: near.tgt.gz}}
    far: {{tsv: far.tsv}}
model: {{preset: tiny}}
scoring: {{lowercase: true}}
expected: {{near: {{bleu: 70, tolerance: 15}}, far: {{bleu: 50}}}}
"""


class LookupTranslator:
    """Translates what it knows, and writes down how it was asked."""

    def __init__(self, table: dict[str, str], beam_size: int | None = None) -> None:
        self.table = table
        self.info = {"trained": {"step": 800, "validation_bleu": 33.5}}
        self.decoding = DecodingSection(beam_size=beam_size or 5)
        self.engine = SimpleNamespace(name="torch", device="cpu", precision="fp32")
        self.asked: list[list[str]] = []

    def translate(
        self, lines: Sequence[str], advance: Callable[[int], None] | None = None
    ) -> list[SimpleNamespace]:
        self.asked.append(list(lines))
        if advance is not None:
            advance(len(lines))
        return [SimpleNamespace(text=self.table[line]) for line in lines]


def write_toy_run(folder: Path) -> Path:
    """Write the run into `run`, its recipe beside it as `toy.yaml`, and its text into `data`; return the run."""
    data = folder / "data"
    data.mkdir()
    (data / "near.src").write_bytes(as_text(SOURCE))
    (data / "near.tgt.gz").write_bytes(gzip.compress(as_text(REFERENCE)))
    (data / "far.tsv").write_bytes(as_text([f"{src}\tnothing alike {src}" for src in SOURCE[2:]]))
    recipe = folder / "toy.yaml"
    recipe.write_text(RECIPE.format(root=data))
    run = folder / "run"
    (run / "best").mkdir(parents=True)
    (run / "recipe.yaml").write_text(dump_recipe(load_recipe(recipe)))
    (run / "best" / "config.json").write_text("{}")
    (run / "best" / "model.safetensors").write_bytes(WEIGHTS)
    return run


def as_text(lines: Sequence[str]) -> bytes:
    """Return what a file of these lines holds."""
    return "".join(line + "\n" for line in lines).encode()
