"""An engine and a tokenizer that give every line back as it is: what comes out is known, and costs next to nothing."""

from tfcli.decoding.hypothesis import Hypothesis
from tfcli.decoding.translator import Translator
from tfcli.recipe.schema import DecodingSection
from tfcli.text.tokenizer import Tokenizer

FIRST_CHARACTER = 4  # pieces below are marks


class Characters:
    """A tokenizer whose pieces are characters; `translated` counts the texts that were decoded."""

    def __init__(self):
        self.translated = 0

    def encode_src(self, text):
        return [ord(character) + FIRST_CHARACTER for character in text]

    def encode_src_many(self, texts):
        return [self.encode_src(text) for text in texts]

    def decode_tgt(self, ids):
        self.translated += 1
        return "".join(chr(number - FIRST_CHARACTER) for number in ids)


class Echo:
    """An engine that finds each source as its own translation; the last source first."""

    name, device, precision, max_positions = "echo", "cpu", "fp32", 10**9

    def search(self, sources, max_lengths, settings, prefixes=None):
        assert not any(prefixes or ())
        for place in reversed(range(len(sources))):
            *ids, end = sources[place]
            assert end == Tokenizer.eos_id
            yield place, [Hypothesis(tuple(ids), -1.0, -1.0)] * settings.n_best


def echo_translator(max_source_pieces=200):
    """Return a translator that gives back what it gets."""
    return Translator(Echo(), Characters(), DecodingSection(beam_size=1), max_source_pieces)


def echoed(content):
    """Return what must come out for these bytes: blank lines blank, what is no UTF-8 replaced."""
    lines = content.decode("utf-8", errors="replace").split("\n")
    return "\n".join(line if line.strip() else "" for line in lines).encode()


def use_echo(patch, folder):
    """Have `translate` load such a translator for `model` in this folder, which becomes the current one."""
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text("{}")
    patch.chdir(folder)
    patch.setattr("tfcli.decoding.loading.load_translator", lambda *_, **__: echo_translator())
    patch.setattr("tfcli.commands.translate.WINDOW_LINES", 3)
    patch.setattr("os.fsync", lambda _: None)  # what is not killed needs no disk
