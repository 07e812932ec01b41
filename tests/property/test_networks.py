"""What must hold for a decoder alone and an encoder alone, whatever their weights."""

import numpy as np
import pytest
import torch

from tests.parity.test_naive_transformer import Naive, shaken, weights_of
from tfcli.model.layout import Packing
from tfcli.model.networks import Classifier, LanguageModel, build_network
from tfcli.model.transformer import Transformer
from tfcli.model.varlen import VarlenPacking

MODERN = {
    "norm_kind": "rms", "activation": "swiglu", "positions": "rotary", "qk_norm": True, "bias": False, "n_kv_heads": 2
}  # fmt: skip
KINDS = [{}, {"norm": "post", "positions": "learned"}, MODERN]
CPU = torch.device("cpu")


def ids(*shape, seed=1):
    return torch.randint(4, 29, shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def language_model(tiny_config):
    def make(**changes):
        torch.manual_seed(3)
        return shaken(LanguageModel(tiny_config(n_encoder_layers=0, **changes))).double().eval()

    return make


@pytest.fixture
def classifier(tiny_config):
    def make(**changes):
        torch.manual_seed(3)
        config = tiny_config(n_decoder_layers=0, n_labels=5, **changes)
        return shaken(Classifier(config)).double().eval()

    return make


def packing_of(kind, lengths, config):
    lengths = np.array(lengths)
    if kind == "varlen":
        return VarlenPacking.of(lengths, int(lengths.max()), CPU)
    return Packing.of(lengths, config.n_heads, CPU, config.n_kv_heads)


@pytest.mark.parametrize("kind", KINDS)
def test_later_pieces_never_change_earlier_logits_of_a_language_model(language_model, kind):
    model = language_model(**kind)
    text = ids(2, 9)
    changed = text.clone()
    changed[:, 5:] = ids(2, 4, seed=3)
    before, after = (model.logits(model(each)) for each in (text, changed))
    torch.testing.assert_close(before[:, :5], after[:, :5])
    assert not torch.allclose(before[:, 5:], after[:, 5:])


@pytest.mark.parametrize("kind", KINDS)
def test_a_language_model_with_a_cache_computes_what_it_does_without(language_model, kind):
    model = language_model(**kind)
    text = ids(3, 12)
    cache = model.new_cache()
    steps = [
        model.decode(text[:, i : i + 1], cache) for i in range(10)
    ]  # past the room that the cache begins with
    steps.append(model.decode(text[:, 10:], cache))
    torch.testing.assert_close(torch.cat(steps, dim=1), model(text))
    assert cache.length == 12
    cache.select_rows(torch.tensor([2, 0]))
    following = ids(2, 1, seed=4)
    whole = model(torch.cat((text[[2, 0]], following), dim=1))
    torch.testing.assert_close(model.decode(following, cache), whole[:, 12:])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("packed", ["spread", "varlen"])
def test_documents_packed_into_a_block_do_not_see_each_other(language_model, kind, packed):
    model = language_model(**kind)
    documents = [ids(length, seed=length) for length in (4, 1, 7)]
    found = model(torch.cat(documents), packing_of(packed, (4, 1, 7), model.config))
    alone = torch.cat([model(document[None])[0] for document in documents])
    torch.testing.assert_close(found, alone)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_and_company_never_change_a_text_of_a_language_model(language_model, kind):
    model = language_model(**kind)
    together = ids(3, 9)
    together[0, 5:] = 0
    torch.testing.assert_close(model(together)[:1, :5], model(together[:1, :5]))


@pytest.mark.parametrize("pooling", ["mean", "first"])
@pytest.mark.parametrize("kind", KINDS)
def test_padding_company_and_packing_never_change_a_label(classifier, kind, pooling):
    model = classifier(pooling=pooling, **kind)
    lengths = (5, 9, 1)
    texts = [ids(length, seed=length) for length in lengths]
    alone = torch.cat([model(text[None]) for text in texts])
    padded = torch.zeros(3, 9, dtype=torch.long)
    for row, text in enumerate(texts):
        padded[row, : len(text)] = text
    torch.testing.assert_close(model(padded), alone)
    for packed in ("spread", "varlen"):
        torch.testing.assert_close(model(torch.cat(texts), packing_of(packed, lengths, model.config)), alone)


def test_the_mean_sees_every_piece_and_the_first_state_is_the_first(classifier):
    text = ids(1, 6)
    for pooling in ("mean", "first"):
        model = classifier(pooling=pooling)
        states = []
        model.encoder_norm.register_forward_hook(lambda *call, kept=states: kept.append(call[2]))
        found = model(text)
        wanted = states[0].mean(dim=1) if pooling == "mean" else states[0][:, 0]
        torch.testing.assert_close(found, model.output(wanted))


@pytest.mark.parametrize("kind", KINDS)
def test_the_stacks_alone_compute_what_loops_do(language_model, classifier, kind):
    if kind.get("positions") == "learned":
        kind = {"norm": "post"}  # the loops have no learned positions
    text = [5, 9, 4, 17, 3]
    model = language_model(tie_embeddings="none", **kind).float()
    expected = Naive(weights_of(model), model.config).decode(text, None)
    torch.testing.assert_close(model(torch.tensor([text]))[0], expected, rtol=1e-4, atol=1e-5)
    model = classifier(**kind).float()
    pooled = Naive(weights_of(model), model.config).encode(text).mean(dim=0)
    expected = model.output.weight @ pooled + model.output.bias
    torch.testing.assert_close(model(torch.tensor([text]))[0], expected, rtol=1e-4, atol=1e-5)


def test_the_network_follows_from_the_stacks_that_a_configuration_has(tiny_config):
    networks = [
        build_network(config)
        for config in (
            tiny_config(),
            tiny_config(n_encoder_layers=0),
            tiny_config(n_decoder_layers=0, n_labels=2),
        )
    ]
    assert [type(network) for network in networks] == [Transformer, LanguageModel, Classifier]
    names = [{name for name, _ in network.named_parameters(remove_duplicate=False)} for network in networks]
    assert names[1] == {n for n in names[0] if "src_" not in n and "encoder" not in n and "cross" not in n}
    assert names[2] - {"output.bias"} == {n for n in names[0] if "tgt_" not in n and "decoder" not in n}


@pytest.mark.parametrize(("tied", "n_matrices"), [("all", 1), ("decoder", 1), ("none", 2)])
def test_a_language_model_ties_its_one_vocabulary(tiny_config, tied, n_matrices):
    model = LanguageModel(tiny_config(n_encoder_layers=0, tie_embeddings=tied))
    assert len({id(model.tgt_embedding.pieces.weight), id(model.output.weight)}) == n_matrices


def test_what_stands_for_padding_begins_at_zero_and_biases_do(tiny_config):
    model = Classifier(tiny_config(n_decoder_layers=0, n_labels=3))
    assert not model.src_embedding.pieces.weight[0].any()
    assert not model.output.bias.any()
    assert not model.encoder[0].self_attention.qkv.bias.any()
