"""The torch engine on tiny networks: every search, by one network or several, agrees with recomputation and with training."""

import itertools
import math

import pytest
import torch

from tfcli.decoding.engine import Sampling, SearchSettings
from tfcli.decoding.ensemble import average
from tfcli.decoding.hypothesis import LengthPenalty
from tfcli.decoding.torch_engine import TorchEngine
from tfcli.decoding.torch_search import Batch, search_with
from tfcli.text.tokenizer import Tokenizer
from tfcli.training.loss import smoothed_cross_entropy

EOS, BOS, PAD = Tokenizer.eos_id, Tokenizer.bos_id, Tokenizer.pad_id
SOURCES = [[5, 9, 7, 11, EOS], [8, EOS], [20, 21, 22, 23, 24, 25, EOS], [13, 4, EOS]]
LIMITS = [9, 5, 12, 7]
PREFIXES = [(), (6, 6), (17,), ()]
RULES = {"no_repeat_ngram": 2, "min_output_ratio": 1.0}
SEARCHES = {
    "greedy": SearchSettings(1, LengthPenalty(1.0), **RULES),
    "beam": SearchSettings(3, LengthPenalty(0.8, "gnmt"), n_best=3, **RULES),
    "sampling": SearchSettings(1, LengthPenalty(1.0), n_best=2, sampling=Sampling(temperature=1.3), **RULES),
}


class Recomputed:
    """`NextPiece` without a cache or a batch: every row's whole prefix goes through every network by itself."""

    def __init__(self, models, sources, width):
        self.models = models
        self.rows = [(source, ()) for source in sources for _ in range(width)]

    def step(self, last):
        self.rows = [
            (source, (*ids, piece)) for (source, ids), piece in zip(self.rows, last.tolist(), strict=True)
        ]
        return torch.stack([self._log_probs(source, ids) for source, ids in self.rows])

    def _log_probs(self, source, ids):
        probs = torch.zeros(29)
        for model in self.models:
            states = model(torch.tensor([source]), torch.tensor([ids]))
            probs += model.logits(states)[0, -1].softmax(-1) / len(self.models)
        probs[[PAD, BOS]] = 0.0
        return probs.log()

    def select(self, rows, sentences):
        self.rows = [self.rows[row] for row in rows.tolist()]


@pytest.fixture
def networks(tiny_model):
    """Return three networks that disagree; their embeddings are made larger, so that they are sure of something."""
    models = [tiny_model(seed=seed) for seed in (3, 4, 5)]
    with torch.no_grad():
        for model in models:
            model.output.weight *= 2
    return models


def searched(engine, settings, order=None):
    order = order or range(len(SOURCES))
    found = engine.search(
        [SOURCES[i] for i in order], [LIMITS[i] for i in order], settings, [PREFIXES[i] for i in order]
    )
    by_place = dict(found)
    return {i: by_place[place] for place, i in enumerate(order)}


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("name", SEARCHES)
def test_cached_and_batched_equals_recomputed_one_by_one(networks, name, members):
    models, settings = networks[:members], SEARCHES[name]
    found = searched(TorchEngine(models[0], others=models[1:]), settings)
    with torch.no_grad():
        for i, source in enumerate(SOURCES):
            batch = Batch([source], [LIMITS[i]], [PREFIXES[i]])
            (naive,) = search_with(
                Recomputed(models, [source], settings.rows), batch, settings, torch.device("cpu")
            )
            assert [one.ids for one in found[i]] == [one.ids for one in naive]
            assert [one.score for one in found[i]] == pytest.approx([one.score for one in naive], abs=1e-5)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("name", SEARCHES)
def test_forced_decoding_gives_every_hypothesis_the_score_of_its_search(networks, name, members):
    settings = SEARCHES[name]
    engine = TorchEngine(networks[0], others=networks[1:members])
    for i, hypotheses in searched(engine, settings).items():
        targets = [[*one.ids, EOS] for one in hypotheses]
        forced = dict(engine.score([SOURCES[i]] * len(targets), targets, settings))
        for place, one in enumerate(hypotheses):
            assert forced[place].ids == (*one.ids, EOS)
            assert sum(forced[place].log_probs) == pytest.approx(one.log_prob, abs=1e-5)


def test_forced_log_probabilities_add_up_to_the_training_loss(networks):
    model = networks[0]
    targets = [[7, 8, EOS], [EOS], [9, 9, 9, 9, EOS], [11, EOS]]
    forced = dict(TorchEngine(model).score(SOURCES, targets, SearchSettings(1, LengthPenalty(1.0))))
    for i, (source, target) in enumerate(zip(SOURCES, targets, strict=True)):
        states = model(torch.tensor([source]), torch.tensor([[BOS, *target[:-1]]]))[0]
        _, nll = smoothed_cross_entropy(states, model.output.weight, torch.tensor(target), 0.1)
        assert -sum(forced[i].log_probs) == pytest.approx(float(nll), abs=1e-5)
        assert len(forced[i].log_probs) == len(target)


@pytest.mark.parametrize("name", SEARCHES)
def test_batches_and_order_never_change_a_result(networks, name):
    base = SEARCHES[name]
    expected = searched(TorchEngine(networks[0]), base)
    values = {key: getattr(base, key) for key in base.__dataclass_fields__}
    cuts = [{"batch_size": 1}, {"batch_size": 3}, {"batch_tokens": 1}, {"batch_tokens": 40}]
    for cut, order in itertools.product(cuts, ([0, 1, 2, 3], [2, 0, 3, 1])):
        found = searched(TorchEngine(networks[0]), SearchSettings(**{**values, **cut}), order)
        for i in range(4):
            assert [one.ids for one in found[i]] == [one.ids for one in expected[i]]
            assert [one.score for one in found[i]] == pytest.approx(
                [one.score for one in expected[i]], abs=1e-5
            )


def test_batches_hold_the_sentences_that_batch_size_says(networks, monkeypatch):
    sizes = []
    encode = networks[0].encode
    monkeypatch.setattr(networks[0], "encode", lambda src: sizes.append(len(src)) or encode(src))
    searched(TorchEngine(networks[0]), SearchSettings(2, LengthPenalty(1.0), batch_tokens=1, batch_size=3))
    assert sorted(sizes) == [1, 3]


@pytest.mark.parametrize("name", SEARCHES)
def test_outputs_obey_the_rules_and_lists_are_sorted(networks, name):
    settings = SEARCHES[name]
    for i, found in searched(TorchEngine(networks[0]), settings).items():
        assert len(found) == settings.n_best
        assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
        if settings.sampling is None:
            assert len({one.ids for one in found}) == len(found)
        for one in found:
            prefix = PREFIXES[i]
            assert one.ids[: len(prefix)] == prefix
            bigrams = list(itertools.pairwise(one.ids))[len(prefix) :]
            assert len(set(bigrams)) == len(bigrams)
            assert min(len(SOURCES[i]) - 1, LIMITS[i] - 1) <= len(one.ids) < LIMITS[i]


def test_an_ensemble_of_a_network_with_itself_is_that_network(networks):
    alone = searched(TorchEngine(networks[0]), SEARCHES["beam"])
    doubled = searched(TorchEngine(networks[0], others=[networks[0]]), SEARCHES["beam"])
    for i in range(4):
        assert [one.ids for one in doubled[i]] == [one.ids for one in alone[i]]
        assert [one.score for one in doubled[i]] == pytest.approx([one.score for one in alone[i]], abs=1e-5)


def test_the_average_is_that_of_the_probabilities():
    one, two = torch.tensor([[0.5, 0.5, 0.0]]).log(), torch.tensor([[0.1, 0.9, 0.0]]).log()
    assert average([one, two]).exp()[0].tolist() == pytest.approx([0.3, 0.7, 0.0])
    assert math.isinf(float(average([one, two])[0, 2]))
    assert average([one]) is one


def test_the_shortest_of_the_members_limits_an_ensemble(tiny_model):
    assert TorchEngine(tiny_model(), others=[tiny_model(max_positions=17)]).max_positions == 17
