"""The translator around an engine and a tokenizer that are lookup tables."""

from types import SimpleNamespace

import pytest

from tfcli.commands.search_options import Wanted
from tfcli.decoding.hypothesis import Hypothesis
from tfcli.decoding.translator import Translator
from tfcli.errors import RecipeError
from tfcli.recipe.schema import DecodingSection, TokenizerSection
from tfcli.text.tokenizer import Tokenizer, train_tokenizer

SPELLINGS = {(10,): "ab", (11, 12): "ab", (13,): "c"}


class Engine:
    """Finds what it is told to find, and cannot score."""

    name, device, precision, max_positions = "table", "none", "exact", 50

    def __init__(self, *found):
        self.found = list(found)

    def search(self, sources, max_lengths, settings, prefixes=None):
        for place in range(len(sources)):
            yield place, self.found[: settings.n_best]


def translator(engine):
    tokenizer = SimpleNamespace(
        encode_src_many=lambda texts: [[20] * len(text) for text in texts],
        encode_src=lambda text: [20] * len(text),
        encode_tgt=lambda text: [20] * len(text),
        decode_tgt=SPELLINGS.__getitem__,
    )
    return Translator(engine, tokenizer, DecodingSection(), 40)


def test_of_two_spellings_of_a_text_the_better_one_stands_in_the_list():
    found = [Hypothesis((10,), -2.0, -1.0), Hypothesis((11, 12), -4.5, -1.5), Hypothesis((13,), -4.0, -2.0)]
    (result,) = translator(Engine(*found)).translate(["x"], n_best=3)
    assert [(one.text, one.score) for one in result.hypotheses] == [("ab", -1.0), ("c", -2.0)]


def test_an_engine_that_cannot_score_says_so():
    with pytest.raises(RecipeError, match="the engine table cannot score given translations"):
        translator(Engine()).score([("a", "b")])


def test_references_go_on_where_a_scoring_was_stopped(tmp_path):
    (tmp_path / "ref").write_bytes(b"1\n2\n3\n4\n")
    given = SimpleNamespace(score=lambda pairs, advance: pairs)
    with Wanted({}, score_only=True, ref=tmp_path / "ref").work(given, n_done=2) as work:
        assert work.begin(["c", "d"])() == [("c", "3"), ("d", "4")]


def test_tokenizers_tell_what_differs():
    def trained(text, **changes):
        settings = TokenizerSection(kind="char", vocab_size=16, **changes)
        return train_tokenizer(settings, [text], [text], lambda _: None)

    one = trained("a b c d e f g h i j k l m n")
    assert one.differences(Tokenizer(one.src_model)) is None
    assert one.differences(Tokenizer(one.src_model, one.src_model)) == (
        "one vocabulary for both sides here, one for each side there"
    )
    assert Tokenizer(one.src_model, one.src_model).differences(one) == (
        "one for each side here, one vocabulary for both sides there"
    )
    other = one.differences(trained("b c d e f g h i j k l m n z"))
    assert other is not None
    assert other.startswith("source piece ")
    folded = trained("a b c d e f g h i j k l m n", normalization="identity")
    assert (
        one.differences(folded) == "the pieces are the same, but not their scores or how text is normalized"
    )
