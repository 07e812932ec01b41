"""The learning rate, step by step."""

import pytest

from tfcli.recipe.schema import TrainingSection
from tfcli.training.schedule import learning_rate


def rates(steps, **changes):
    settings = TrainingSection(
        **{"learning_rate": 1e-2, "warmup_steps": 10, "max_steps": 110, "schedule": "inverse_sqrt", **changes}
    )
    return [learning_rate(settings, step) for step in steps]


def test_the_warm_up_grows_linearly_to_the_peak():
    assert rates([1, 5, 10]) == pytest.approx([1e-3, 5e-3, 1e-2])


def test_without_warm_up_training_starts_at_the_peak():
    assert rates([1], warmup_steps=0, schedule="cosine")[0] == pytest.approx(1e-2, rel=1e-3)
    assert rates([1, 4], warmup_steps=0) == pytest.approx([1e-2, 5e-3])


def test_the_inverse_square_root_halves_over_four_times_the_steps():
    assert rates([40, 160]) == pytest.approx([5e-3, 2.5e-3])


def test_the_cosine_falls_to_the_floor_at_the_last_step():
    assert rates([60, 110], schedule="cosine", min_learning_rate=2e-3) == pytest.approx([6e-3, 2e-3])


def test_a_constant_rate_stays():
    assert rates([10, 1000], schedule="constant") == [1e-2, 1e-2]


def test_the_floor_holds_after_the_warm_up_but_not_during_it():
    assert rates([1, 100_000], min_learning_rate=4e-3) == pytest.approx([1e-3, 4e-3])
