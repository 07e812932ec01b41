"""CTranslate2 with our weights against our own search."""

import random
from dataclasses import dataclass, fields, replace
from itertools import product

import pytest
import torch

from tfcli.decoding.engine import SearchSettings
from tfcli.decoding.hypothesis import LengthPenalty
from tfcli.decoding.torch_engine import TorchEngine
from tfcli.model.config import ModelConfig
from tfcli.text.tokenizer import Tokenizer

pytest.importorskip("ctranslate2")

from tfcli.decoding.ctranslate2_engine import CTranslate2Engine, _Batch, _Line, cannot
from tfcli.interop.ctranslate2 import convert

CHOICES = {
    "norm": ("pre", "post"),
    "positions": ("sinusoidal", "learned", "rotary"),
    "activation": ("relu", "gelu"),
    "tie_embeddings": ("all", "decoder", "none"),
}
MODERN = {
    "norm_kind": {"norm_kind": "rms"},
    "activation": {"activation": "swiglu"},
    "qk_norm": {"qk_norm": True},
    "bias": {"bias": False},
    "n_kv_heads": {"n_kv_heads": 2},
}
ALL_MODERN = {
    "positions": "rotary",
    **{key: value for each in MODERN.values() for key, value in each.items()},
}
GREEDY = SearchSettings(beam_size=1, length_penalty=LengthPenalty(0.7))
UNLIKELY = -30.0


@pytest.fixture
def engines(tiny_model, tmp_path):
    """Return a function that makes both engines of a network with random weights."""

    def make(precision="fp32", marks=UNLIKELY, **changes):
        model = tiny_model(seed=5, **changes)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                inner = parameter.dim() > 1 and "pieces" not in name and "output" not in name
                parameter.add_(torch.randn_like(parameter) * (0.3 if inner else 0.1))
            # One coordinate of what the output layer sees is always 1: it makes the end mark probable enough to come at
            # various places, and padding and the begin mark as probable as wanted.
            last = model.decoder_norm if model.config.norm == "pre" else model.decoder[-1].feed_forward_norm
            if getattr(last, "bias", None) is not None:
                last.weight[0], last.bias[0] = 0.0, 1.0
            else:
                keep_first_coordinate(model)
            model.output.weight[[Tokenizer.pad_id, Tokenizer.bos_id], 0] = marks
            model.output.weight[Tokenizer.eos_id, 0] = 1.0
        folder = tmp_path / precision
        folder.mkdir()
        before = [parameter.clone() for parameter in model.parameters()]
        convert(model, folder, precision)
        assert all(map(torch.equal, before, model.parameters()))
        return TorchEngine(model), CTranslate2Engine(folder, model.config, precision, "cpu")

    return make


def keep_first_coordinate(model):
    """Have one coordinate of the residual stream positive from the embeddings on, where norms have no bias to make it so."""
    assert model.config.tie_embeddings == "none"
    model.src_embedding.pieces.weight[:, 0] = model.tgt_embedding.pieces.weight[:, 0] = 5.0
    for name, parameter in model.named_parameters():
        if "norm" in name and "_norm.weight" in name and "attention." not in name:
            parameter[0] = (
                4.0  # sub-layers do not add to it, and what they add elsewhere makes norms shrink it
            )
        elif name.split(".")[-2] in ("out", "down"):
            parameter[0] = 0.0


def sources(vocab_size, n=24):
    rng = random.Random(1)
    return [
        [*(rng.randrange(4, vocab_size) for _ in range(rng.randrange(1, 18))), Tokenizer.eos_id]
        for _ in range(n)
    ]


def searched(engine, texts, limits, settings):
    found = dict(engine.search(texts, limits, settings))
    assert sorted(found) == list(range(len(texts)))
    return [found[i] for i in range(len(texts))]


def assert_same(ours, theirs):
    assert [[found.ids for found in of_one] for of_one in theirs] == [
        [found.ids for found in of_one] for of_one in ours
    ]
    for our, their in zip(ours, theirs, strict=True):
        for a, b in zip(our, their, strict=True):
            assert b.log_prob == pytest.approx(a.log_prob, abs=1e-4)
            assert b.score == pytest.approx(a.score, abs=1e-4)


@pytest.mark.parametrize("choice", list(product(*CHOICES.values())), ids="-".join)
def test_greedy_search_is_the_same_for_every_kind_of_network(engines, choice):
    reference, fast = engines(**dict(zip(CHOICES, choice, strict=True)), n_decoder_layers=1)
    texts = sources(29)
    limits = [len(text) + 4 for text in texts]
    assert_same(searched(reference, texts, limits, GREEDY), searched(fast, texts, limits, GREEDY))


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize(
    "changes",
    [*MODERN.values(), {"n_kv_heads": 1}, ALL_MODERN, {**ALL_MODERN, "n_kv_heads": 1}],
    ids=str,
)
def test_greedy_search_is_the_same_with_every_modern_choice(engines, changes, norm):
    reference, fast = engines(norm=norm, tie_embeddings="none", **changes)
    texts = sources(29)
    limits = [len(text) + 4 for text in texts]
    assert_same(searched(reference, texts, limits, GREEDY), searched(fast, texts, limits, GREEDY))


def test_what_keeps_norms_from_dividing_by_nothing_is_the_same(tiny_model, tmp_path):
    model = tiny_model(**ALL_MODERN)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "embedding" in name or "qkv" in name:
                parameter.mul_(0.01)
        model.output.weight[[Tokenizer.pad_id, Tokenizer.bos_id]] = 0.0
    convert(model, tmp_path, "fp32")
    fast = CTranslate2Engine(tmp_path, model.config, "fp32", "cpu")
    text = [7, 20, 11, Tokenizer.eos_id]
    [[found]] = searched(fast, [text], [9], GREEDY)
    with torch.no_grad():
        logits = model.logits(model(torch.tensor([text]), torch.tensor([[Tokenizer.bos_id, *found.ids]])))[0]
    logits[:, [Tokenizer.pad_id, Tokenizer.bos_id]] = -torch.inf
    chosen = logits.log_softmax(-1).gather(1, torch.tensor([*found.ids, Tokenizer.eos_id])[:, None])
    assert found.log_prob == pytest.approx(chosen.sum().item(), abs=1e-4)


def test_outputs_that_end_by_themselves_and_such_that_are_cut_short_are_the_same(engines):
    reference, fast = engines(norm="post", activation="gelu", tie_embeddings="none", n_decoder_layers=1)
    texts = sources(29)
    limits = [len(text) + 4 for text in texts]
    ours = searched(reference, texts, limits, GREEDY)
    assert_same(ours, searched(fast, texts, limits, GREEDY))
    lengths = [len(found[0].ids) + 1 for found in ours]
    pairs = list(zip(lengths, limits, strict=True))
    assert len({length for length, limit in pairs if length < limit}) > 1, pairs
    assert any(length == limit for length, limit in pairs), pairs


def test_two_vocabularies_and_an_odd_number_of_layers(engines):
    sizes = {"src_vocab_size": 41, "n_encoder_layers": 1, "n_decoder_layers": 3}
    reference, fast = engines(tie_embeddings="decoder", **sizes)
    texts = sources(41)
    limits = [len(text) + 4 for text in texts]
    assert_same(searched(reference, texts, limits, GREEDY), searched(fast, texts, limits, GREEDY))


def test_each_source_has_its_own_limit_whatever_its_neighbours_have(engines):
    reference, fast = engines(norm="post", activation="gelu", tie_embeddings="none", n_decoder_layers=1)
    longest = max(sources(29), key=lambda text: len(searched(reference, [text], [40], GREEDY)[0][0].ids))
    limits = [0, 1, 2, 3, 5, 9, 40]
    ours = searched(reference, [longest] * 7, limits, GREEDY)
    assert_same(ours, searched(fast, [longest] * 7, limits, GREEDY))
    assert [len(found[0].ids) for found in ours[:5]] == [0, 0, 1, 2, 4]


def test_padding_and_the_begin_mark_are_never_output(engines):
    reference, fast = engines(marks=-UNLIKELY)
    texts = sources(29)
    limits = [len(text) + 4 for text in texts]
    theirs = searched(fast, texts, limits, GREEDY)
    assert [found[0].ids for found in theirs] == [
        found[0].ids for found in searched(reference, texts, limits, GREEDY)
    ]


@pytest.mark.parametrize("penalty", [0.0, 1.0, 1.4])
def test_hypotheses_of_beam_search_have_the_scores_that_the_network_gives_them(engines, penalty):
    reference, fast = engines()
    settings = SearchSettings(beam_size=4, length_penalty=LengthPenalty(penalty), n_best=3)
    texts = sources(29)
    limits = [len(text) + 4 for text in texts]
    at_limit = 0
    for text, limit, found in zip(texts, limits, searched(fast, texts, limits, settings), strict=True):
        assert len({hypothesis.ids for hypothesis in found}) == 3
        assert [hypothesis.score for hypothesis in found] == sorted(
            (hypothesis.score for hypothesis in found), reverse=True
        )
        for hypothesis in found:
            expected = log_probability(reference.models[0], text, hypothesis.ids)
            length = len(hypothesis.ids) + 1
            assert length <= limit
            at_limit += length == limit
            assert hypothesis.log_prob == pytest.approx(expected, abs=1e-4)
            assert hypothesis.score == pytest.approx(expected / length**penalty, abs=1e-4)
    assert at_limit


def log_probability(model, text, ids):
    tgt = torch.tensor([[Tokenizer.bos_id, *ids]])
    with torch.no_grad():
        log_probs = model.logits(model(torch.tensor([text]), tgt)).log_softmax(-1)
    return log_probs[0].gather(1, torch.tensor([*ids, Tokenizer.eos_id])[:, None]).sum().item()


def test_a_translation_does_not_depend_on_its_neighbours(engines):
    _, fast = engines()
    settings = SearchSettings(beam_size=3, length_penalty=LengthPenalty(1.0), batch_tokens=200)
    texts = sources(29)
    limits = [len(text) + 4 for text in texts]
    together = searched(fast, texts, limits, settings)
    for text, limit, found in zip(texts, limits, together, strict=True):
        assert_same([found], searched(fast, [text], [limit], settings))


@pytest.mark.parametrize("first_first", [True, False])
def test_searches_that_run_at_once_find_what_each_finds_alone(engines, first_first):
    _, theirs = engines()
    texts = sources(15)
    one_by_one = replace(GREEDY, batch_size=1)  # more batches than are begun at a time
    limits = [len(text) + 4 for text in texts]
    alone = searched(theirs, texts, limits, one_by_one)
    together = [theirs.search(texts, limits, one_by_one) for _ in range(3)]
    del together[1]  # nobody asks for the results of this one
    found = [dict(running) for running in (together if first_first else reversed(together))]
    assert [[of_one[i] for i in range(len(texts))] for of_one in found] == [alone, alone]


def test_a_few_batches_are_begun_at_a_time_in_the_order_they_were_asked_for():
    begun, done = [], set()

    class Task:
        def __init__(self, number):
            self.number = number

        def done(self):
            return self.number in done

    def batch(number):
        return _Batch([0], lambda: begun.append(number) or [Task(number)])

    line = _Line(2)
    line.join([batch(0), batch(1), batch(2)])
    line.join([batch(3)])
    assert begun == [0, 1]
    done.add(0)
    line.move_up()
    line.move_up()
    assert begun == [0, 1, 2]
    done.update((1, 2))
    line.move_up()
    assert begun == [0, 1, 2, 3]


def test_int8_is_another_arithmetic_of_the_same_network(engines):
    reference, fast = engines("int8", d_model=32, d_ff=64)
    texts = sources(29)
    limits = [len(text) + 4 for text in texts]
    assert fast.precision == "int8"
    off = []
    for text, found in zip(texts, searched(fast, texts, limits, GREEDY), strict=True):
        off.append(abs(found[0].log_prob - log_probability(reference.models[0], text, found[0].ids)))
    assert max(off) > 1e-5
    assert sum(off) / len(off) < 0.3


def test_the_converter_knows_every_choice_of_a_network():
    """A field that is added to ModelConfig is to be converted, or refused, before it is named here."""
    sizes = {
        "src_vocab_size",
        "tgt_vocab_size",
        "n_encoder_layers",
        "n_decoder_layers",
        "d_model",
        "d_ff",
        "n_heads",
    }
    of_training = {"dropout", "attention_dropout"}
    of_others = {"n_labels", "pooling"}  # no translator has them
    known = sizes | of_training | of_others | {"max_positions", "pad_id"} | CHOICES.keys() | MODERN.keys()
    assert {field.name for field in fields(ModelConfig)} == known


def test_a_setting_of_the_search_that_is_unknown_to_the_engine_is_refused_unless_it_is_off():
    @dataclass(frozen=True)
    class More(SearchSettings):
        temperature: float | None = None

    assert cannot(GREEDY) is None
    assert cannot(More(beam_size=7, length_penalty=LengthPenalty(0.1), n_best=2, batch_tokens=9)) is None
    assert cannot(More(beam_size=1, length_penalty=LengthPenalty(1.0), temperature=0.5)) == "temperature"
    assert cannot(SearchSettings(4, LengthPenalty(1.0, "gnmt"))) == "length_penalty_kind gnmt"
