"""What is translated in `gpu_translate.py`: a network, and sources with the lengths that their outputs may have."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from gpu_train import generate

from tfcli.model.config import ModelConfig
from tfcli.model.folder import load_model_folder
from tfcli.model.transformer import Transformer
from tfcli.recipe.loader import build_recipe
from tfcli.text.lines import read_lines
from tfcli.text.tokenizer import Tokenizer

# A network that has learnt nothing says one piece over and over, the same whatever it is asked. With attention's matrices
# three times their usual size, outputs depend on the source, and with `small` also on what was said before.
SCALE = 3.0
TINY = {"d_model": 32, "d_ff": 64, "n_heads": 2, "n_encoder_layers": 1, "n_decoder_layers": 1}


@dataclass(frozen=True)
class Load:
    """A network on the CPU, in fp32, and sources with their end marks.

    With `exact`, it never writes the end mark by itself: every output is as long as it may be.
    """

    name: str
    model: Transformer
    sources: list[list[int]]
    max_lengths: list[int]
    exact: bool

    @property
    def config(self) -> ModelConfig:
        """The sizes of the network."""
        return self.model.config

    def batches(self, size: int, *, by_output: bool = False) -> list[list[int]]:
        """Cut the sources, sorted by length, longest first, into batches of `size` sentences."""
        lengths = self.max_lengths if by_output else list(map(len, self.sources))
        order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
        return [order[first : first + size] for first in range(0, len(order), size)]

    def longest(self, places: list[int]) -> int:
        """Return the longest output allowed in a batch."""
        return max(self.max_lengths[i] for i in places)

    def wanted(self, places: list[int], shortest: int) -> int | None:
        """Return the target pieces that count of a batch, if that is known, by whatever writes all to the longest.

        Raises: RuntimeError when it did not: the shortest output has fewer pieces.
        """
        if not self.exact:
            return None
        if shortest != self.longest(places):
            raise RuntimeError(f"an output of {shortest} pieces, expected {self.longest(places)}")
        return sum(self.max_lengths[i] for i in places)


def generated(preset: str, vocab_size: int, n_sources: int, *, tiny: bool) -> Load:
    """Return a preset with random weights, and sources and lengths of outputs as of news text."""
    recipe = build_recipe(
        {
            "name": preset,
            "data": {"train": [{"src": "a", "tgt": "b"}], "valid": {"src": "c", "tgt": "d"}},
            "model": {"preset": preset, **(TINY if tiny else {})},
        }
    )
    torch.manual_seed(1)
    model = Transformer(ModelConfig.from_recipe(recipe.model, vocab_size, vocab_size)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2 and "attention" in name:
                parameter.mul_(SCALE)
        # Marks have a score of 0 where the best piece has several times the deviation of all: none of them is written.
        model.tgt_embedding.pieces.weight[[Tokenizer.pad_id, Tokenizer.bos_id, Tokenizer.eos_id]] = 0.0
    with tempfile.TemporaryDirectory() as folder:
        pairs = generate(Path(folder) / "ids", n_sources, vocab_size, longest=8 if tiny else 250)
        sources = [pairs.src(i).tolist() for i in range(n_sources)]
        return Load(preset, model, sources, pairs.tgt_lengths.tolist(), exact=True)


def given(folder: Path, source: Path, n_sources: int) -> Load:
    """Return a trained network and the first lines of a file that are not too long for it."""
    found = load_model_folder(folder)
    encoded = found.tokenizer.encode_src_many([line for line in read_lines(source) if line.strip()])
    usable = [[*ids, Tokenizer.eos_id] for ids in encoded if 0 < len(ids) <= found.max_source_pieces]
    if not usable:
        raise ValueError(f"{source}: no line that {folder} could translate")
    sources = usable[:n_sources]
    ratio, extra = found.decoding.max_output_ratio, found.decoding.max_output_extra
    longest = found.model.config.max_positions
    limits = [min(int(len(ids) * ratio) + extra, longest) for ids in sources]
    return Load(folder.name, found.model, sources, limits, exact=False)
