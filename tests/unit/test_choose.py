"""Sizes chosen from the number of pairs and the machine."""

import re
from pathlib import Path

import pytest

from tfcli.recipe.choose import (
    CPU_HOURS,
    CPU_PIECES_PER_SECOND,
    ROWS,
    Machine,
    Row,
    choose_settings,
    fitted,
    held_out_pairs,
)
from tfcli.recipe.loader import build_recipe

LAPTOP = Machine("cpu", 2, bf16=False)
GPU = Machine("gpu", 16, bf16=True)
SIZES = [10, 1000, 10_000, 29_000, 100_000, 161_615, 500_000, 2_000_000, 10_000_000, 100_000_000]
PAGE = Path(__file__).resolve().parents[2] / "docs" / "choosing-settings.md"


def chosen(n_pairs, machine=LAPTOP, target_bytes=60.0):
    sections = choose_settings(n_pairs, target_bytes, machine).sections
    data = {"train": [{"src": "a", "tgt": "b"}], "valid": {"pairs": held_out_pairs(n_pairs)}}
    return build_recipe({"name": "x", "data": data, **sections})


@pytest.mark.parametrize("machine", [LAPTOP, GPU], ids=["cpu", "gpu"])
@pytest.mark.parametrize("n_pairs", SIZES)
def test_every_size_gives_a_sound_recipe(n_pairs, machine):
    training = chosen(n_pairs, machine).training
    assert training.warmup_steps < training.max_steps
    assert training.checkpoint_every * training.keep_checkpoints <= training.max_steps
    assert 5 <= training.max_steps / training.validate_every <= 20


@pytest.mark.parametrize("machine", [LAPTOP, GPU], ids=["cpu", "gpu"])
def test_more_pairs_never_mean_a_smaller_vocabulary_or_more_dropout(machine):
    recipes = [chosen(n_pairs, machine) for n_pairs in SIZES]
    vocabularies = [recipe.tokenizer.vocab_size for recipe in recipes]
    assert vocabularies == sorted(vocabularies)
    dropouts = [recipe.model.dropout for recipe in recipes]
    assert dropouts == sorted(dropouts, reverse=True)


def test_a_cpu_gets_no_more_than_it_can_train_in_a_night():
    for n_pairs in SIZES:
        recipe = chosen(n_pairs)
        pieces = recipe.training.max_steps * recipe.training.batch_tokens * 0.8
        assert pieces / (2 * CPU_PIECES_PER_SECOND) <= 1.1 * CPU_HOURS * 3600
        assert recipe.tokenizer.vocab_size <= 8000
        assert recipe.training.batch_tokens <= 4096
        assert recipe.model.preset == "modern-small"


def test_a_cpu_keeps_the_dropout_and_the_rounds_that_suit_so_many_pairs():
    many_cores = Machine("cpu", 8, bf16=True)
    on_cpu, on_gpu = chosen(500_000, many_cores), chosen(500_000, GPU)
    assert on_cpu.model.dropout == on_gpu.model.dropout == 0.1
    pieces = [each.training.max_steps * each.training.batch_tokens for each in (on_cpu, on_gpu)]
    assert pieces[0] == pytest.approx(pieces[1], rel=0.05)


def test_a_limit_on_the_steps_is_said():
    assert "hours" in choose_settings(10_000_000, 100.0, LAPTOP).reasons["training.max_steps"]
    assert "hours" not in choose_settings(10_000_000, 100.0, GPU).reasons["training.max_steps"]


def test_a_gpu_gets_the_networks_of_the_paper_for_large_corpora_with_the_norm_that_trains_safely():
    recipe = chosen(5_000_000, GPU)
    assert (recipe.model.preset, recipe.model.norm) == ("vaswani-base", "pre")
    assert chosen(50_000_000, GPU).model.preset == "vaswani-big"


@pytest.mark.parametrize(
    ("n_pairs", "machine", "optimizer", "rate"),
    [
        (10_000, LAPTOP, "muon", 5e-3),
        (29_000, LAPTOP, "muon", 5e-3),
        (100_000, LAPTOP, "muon", 5e-3),
        (100_000, GPU, "muon", 5e-3),
        (1_000_000, LAPTOP, "muon", 5e-3),
        (29_000, GPU, "muon", 5e-3),
        (1_000_000, GPU, "adamw", 1e-3),
        (50_000_000, GPU, "adamw", 7e-4),
    ],
)
def test_small_networks_get_muon_and_those_of_the_paper_adamw(n_pairs, machine, optimizer, rate):
    training = chosen(n_pairs, machine).training
    assert (training.optimizer, training.learning_rate) == (optimizer, rate)


def test_the_rate_suits_an_optimizer_that_is_given():
    rates = {
        given: choose_settings(29_000, 60.0, LAPTOP, optimizer=given).sections["training"]["learning_rate"]
        for given in ("adamw", "muon")
    }
    assert rates == {"adamw": 2e-3, "muon": 5e-3}
    large = choose_settings(1_000_000, 60.0, GPU, optimizer="muon").sections["training"]
    assert (large["optimizer"], large["learning_rate"]) == ("muon", 1e-3)


def test_few_pairs_get_r_drop_unless_there_is_no_dropout_or_the_network_is_trained_already():
    few, more = (choose_settings(n_pairs, 60.0, LAPTOP) for n_pairs in (10_000, 29_000))
    assert [each.sections["training"]["r_drop"] for each in (few, more)] == [1.0, None]
    assert ["training.r_drop" in each.reasons for each in (few, more)] == [True, False]
    without = choose_settings(10_000, 60.0, LAPTOP, dropout=0.0)
    trained = fitted(few, "a model")
    for choice in (without, trained):
        assert choice.sections["training"]["r_drop"] is None
        assert "training.r_drop" not in choice.reasons


def test_bf16_buys_a_cpu_more_steps_and_more_cores_too():
    few = chosen(5_000_000).training.max_steps
    assert chosen(5_000_000, Machine("cpu", 2, bf16=True)).training.max_steps == pytest.approx(
        2 * few, rel=0.1
    )
    assert chosen(5_000_000, Machine("cpu", 4, bf16=False)).training.max_steps == pytest.approx(
        2 * few, rel=0.1
    )


@pytest.mark.parametrize("max_steps", [1, 4, 20, 100, 300, 5000, 1_000_000])
def test_what_depends_on_the_steps_follows_a_number_that_is_given(max_steps):
    given = choose_settings(10_000, 60.0, LAPTOP, max_steps)
    planned = given.sections["training"]
    assert planned["max_steps"] == max_steps
    assert planned["warmup_steps"] <= max_steps / 2
    assert planned["checkpoint_every"] <= max(1, max_steps / 5)
    assert planned["validate_every"] <= max(3, 0.6 * max_steps)
    assert given.reasons["training.warmup_steps"].startswith(f"{planned['warmup_steps']:,} step")
    if max_steps >= 200:  # as it would be, were so many steps chosen
        assert planned["warmup_steps"] == min(4000, max(100, max_steps // 8))
        assert planned["checkpoint_every"] == max(5, max_steps // 40)
    own = choose_settings(10_000, 60.0, LAPTOP).sections
    assert {**given.sections, "training": None} == {**own, "training": None}
    assert planned["batch_tokens"] == own["training"]["batch_tokens"]


@pytest.mark.parametrize(
    ("n_pairs", "held_out"),
    [(5, 1), (1000, 100), (10_000, 500), (161_615, 1616), (300_000, 3000), (100_000_000, 3000)],
)
def test_one_in_a_hundred_is_held_out_within_limits(n_pairs, held_out):
    assert held_out_pairs(n_pairs) == held_out


def test_the_page_shows_the_table_that_is_used():
    rows = re.findall(
        r"^\| (?:up to ([0-9]+)( 000| million)|more) \| ([0-9,]+) \| `([a-z-]+)` \| ([0-9,]+) \| ([0-9.]+) \| ([0-9]+) \| ?([0-9.]*) \|$",
        PAGE.read_text(),
        re.M,
    )
    shown = [
        Row(
            float(number) * (1e3 if unit == " 000" else 1e6) if number else float("inf"),
            int(vocab_size.replace(",", "")),
            preset,
            int(batch_tokens.replace(",", "")),
            float(dropout),
            int(epochs),
            float(r_drop) if r_drop else None,
        )
        for number, unit, vocab_size, preset, batch_tokens, dropout, epochs, r_drop in rows
    ]
    assert shown == list(ROWS)
