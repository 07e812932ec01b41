"""Searches on a device without fp64, as Apple's GPUs are: nothing of it is asked for, and the same is found."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.property.test_search import EOS, LookupNextPiece
from tfcli.decoding import beam, sampling
from tfcli.decoding.engine import Sampling, SearchSettings
from tfcli.decoding.hypothesis import LengthPenalty
from tfcli.decoding.torch_search import Batch, search_with
from tfcli.model.precision import widest_float

CPU = torch.device("cpu")
SEEDS = [3, 14, 15, 92]
WIDTH = 3


class NoFp64(TorchDispatchMode):
    """Whatever makes or takes a tensor of fp64 fails, as it does there."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, kwargs, made)):
            if isinstance(leaf, torch.Tensor) and leaf.dtype == torch.float64:
                raise TypeError(f"no fp64 here: {func}")
        return made


def search(settings):
    batch = Batch([[seed, EOS] for seed in SEEDS], [6] * len(SEEDS), [()] * len(SEEDS))
    return search_with(LookupNextPiece(SEEDS, WIDTH), batch, settings, CPU)


@pytest.mark.parametrize(
    "settings",
    [
        SearchSettings(WIDTH, LengthPenalty(1.0), n_best=2),
        SearchSettings(1, LengthPenalty(1.0), n_best=WIDTH, sampling=Sampling(seed=5, top_p=0.9)),
    ],
    ids=["beam", "sampling"],
)
def test_a_device_without_fp64_finds_the_same(settings, monkeypatch):
    wanted = search(settings)
    with pytest.raises(TypeError, match="no fp64 here"), NoFp64():
        search(settings)
    for module in (beam, sampling):
        monkeypatch.setattr(module, "widest_float", lambda _: torch.float32)
    with NoFp64():
        assert search(settings) == wanted


def test_a_chance_that_rounds_to_one_draws_the_last_piece_that_is_possible():
    scores = torch.tensor([[-0.5, -2.0, -1.4, -torch.inf]])
    chances = torch.tensor([1 - 2.0**-53], dtype=torch.float64)
    for dtype in (torch.float64, torch.float32):
        assert sampling.draw(scores, chances.to(dtype), Sampling()).tolist() == [2]


def test_apples_gpus_alone_have_no_fp64():
    types = {name: widest_float(torch.device(name)) for name in ("cpu", "cuda", "mps")}
    assert types == {"cpu": torch.float64, "cuda": torch.float64, "mps": torch.float32}
