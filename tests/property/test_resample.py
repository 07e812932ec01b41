"""Batches cut into pieces anew: the same text, other pieces each epoch, and nothing but what they should depend on."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from tests.training_runs import demo_lines, final_bytes, make_run, rows_of
from tests.unit.test_tokenizer import trained
from tfcli.corpus import resample as module
from tfcli.corpus.batches import Position, TrainingBatches, collate, worst_batch
from tfcli.corpus.resample import Resampler, gather_anew
from tfcli.corpus.shards import IdBlock, IdColumn, ParallelIds, id_dtype
from tfcli.errors import RecipeError
from tfcli.model.config import ModelConfig
from tfcli.recipe.loader import build_recipe
from tfcli.text.tokenizer import Tokenizer
from tfcli.training import memory as memory_module
from tfcli.training.fit import fit

SRC, TGT = demo_lines("en", 400), demo_lines("de", 400)
STRANGE = ["bad ¤cab <tag> éa ha", "¤¤", "abé"]  # characters that no vocabulary has, and a symbol
N_PAIRS = 40


@lru_cache
def tokenizer_of(kind, *, shared=True, byte_fallback=False):
    size = 500 if byte_fallback else 250
    return trained(
        SRC, TGT, kind=kind, shared=shared, vocab_size=size, byte_fallback=byte_fallback, symbols=["<tag>"]
    )


def encoded(tokenizer):
    columns = []
    for encode, lines in ((tokenizer.encode_src_many, SRC), (tokenizer.encode_tgt_many, TGT)):
        block = IdBlock.of(encode([*lines[:N_PAIRS], *STRANGE], end_mark=True), id_dtype(500))
        columns.append(IdColumn.of(block))
    return ParallelIds(*columns)


def recipe_of(tokenizer, kind, seed=1, max_pieces=200, **training):
    values = {"subword_regularization": 0.2, **training}
    return build_recipe(
        {
            "name": "tiny",
            "seed": seed,
            "data": {
                "train": [{"src": "a", "tgt": "b"}],
                "valid": {"src": "c", "tgt": "d"},
                "max_pieces": max_pieces,
            },
            "tokenizer": {"kind": kind, "shared": tokenizer.shared},
            "training": values,
        }
    )


def resampler(tokenizer, kind, **settings):
    return Resampler(recipe_of(tokenizer, kind, **settings), tokenizer, encoded(tokenizer))


def sentences(batch):
    return [
        (src[src != 0].tolist(), tgt[tgt != 0].tolist())
        for src, tgt in zip(batch.src, batch.tgt_out, strict=True)
    ]


ALL = np.arange(N_PAIRS + len(STRANGE))


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("byte_fallback", [True, False])
def test_the_text_stays_and_the_pieces_change(kind, shared, byte_fallback):
    tokenizer = tokenizer_of(kind, shared=shared, byte_fallback=byte_fallback)
    stored = sentences(collate(encoded(tokenizer), ALL))
    drawn = sentences(resampler(tokenizer, kind).batch(ALL, Position()))
    changed = 0
    for (src, tgt), (new_src, new_tgt) in zip(stored, drawn, strict=True):
        assert tokenizer.decode_src(new_src) == tokenizer.decode_src(src)
        assert tokenizer.decode_tgt(new_tgt) == tokenizer.decode_tgt(tgt)
        assert new_src[-1] == new_tgt[-1] == Tokenizer.eos_id
        assert new_src.count(Tokenizer.unk_id) == src.count(Tokenizer.unk_id)
        changed += (new_src != src) + (new_tgt != tgt)
    assert changed > N_PAIRS


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_batch_depends_on_seed_epoch_and_pair_alone(kind, monkeypatch):
    tokenizer = tokenizer_of(kind)
    whole = sentences(resampler(tokenizer, kind).batch(ALL, Position(1, 0)))
    again = resampler(tokenizer, kind)
    again.batch(
        ALL, Position(0, 3)
    )  # what was drawn before makes no difference, nor the order or the company
    backwards = again.batch(ALL[::-1], Position(1, 7))
    assert sentences(backwards) == whole[::-1]
    assert backwards.indices.tolist() == ALL[::-1].tolist()
    assert backwards.position == Position(1, 7)
    assert [sentences(again.batch(ALL[i : i + 1], Position(1)))[0] for i in (0, 5)] == [whole[0], whole[5]]
    monkeypatch.setattr(module, "KEPT_WORDS", 3)
    assert sentences(resampler(tokenizer, kind).batch(ALL, Position(1, 0))) == whole
    assert sentences(again.batch(ALL, Position(2, 0))) != whole
    assert sentences(resampler(tokenizer, kind, seed=2).batch(ALL, Position(1, 0))) != whole


def test_equal_sentences_of_two_pairs_or_sides_are_drawn_apart():
    tokenizer = tokenizer_of("unigram")
    line = tokenizer.encode_src_many([SRC[0]] * 4, end_mark=True)
    column = IdColumn.of(IdBlock.of(line, id_dtype(500)))
    drawing = Resampler(recipe_of(tokenizer, "unigram"), tokenizer, ParallelIds(column, column))
    pairs = sentences(drawing.batch(np.arange(4), Position()))
    assert len({tuple(ids) for pair in pairs for ids in pair}) > 4


@pytest.mark.parametrize("side", ["src", "tgt"])
def test_one_side_can_be_left_as_it_is(side):
    tokenizer = tokenizer_of("bpe")
    stored = sentences(collate(encoded(tokenizer), ALL))
    drawn = sentences(resampler(tokenizer, "bpe", subword_sides=side).batch(ALL, Position()))
    kept, changed = (1, 0) if side == "src" else (0, 1)
    assert [pair[kept] for pair in drawn] == [pair[kept] for pair in stored]
    assert [pair[changed] for pair in drawn] != [pair[changed] for pair in stored]


def test_a_sentence_that_would_become_too_long_keeps_its_pieces():
    tokenizer = tokenizer_of("unigram")
    stored = sentences(collate(encoded(tokenizer), ALL))
    most = max(len(ids) - 1 for pair in stored for ids in pair)
    free = sentences(resampler(tokenizer, "unigram").batch(ALL, Position()))
    assert max(len(ids) - 1 for pair in free for ids in pair) > most
    held = sentences(resampler(tokenizer, "unigram", max_pieces=most).batch(ALL, Position()))
    for before, wanted, got in zip(stored, free, held, strict=True):
        for side in (0, 1):
            assert got[side] == (wanted[side] if len(wanted[side]) - 1 <= most else before[side])


def test_nothing_is_drawn_unless_the_recipe_asks_for_it():
    tokenizer = tokenizer_of("unigram")
    recipe = recipe_of(tokenizer, "unigram", subword_regularization=None)
    assert gather_anew(recipe, tokenizer, encoded(tokenizer)) is None


def test_the_same_pairs_make_up_a_batch(tmp_path):
    tokenizer = tokenizer_of("bpe")
    ds = encoded(tokenizer)
    plain = TrainingBatches(ds, 100, seed=1)
    gather = gather_anew(recipe_of(tokenizer, "bpe"), tokenizer, ds)
    drawn = TrainingBatches(ds, 100, seed=1, gather=gather)
    differs = 0
    for _ in range(40):
        one, other = plain.next_batch(), drawn.next_batch()
        assert one.indices.tolist() == other.indices.tolist()
        assert one.position == other.position
        differs += one.src.tolist() != other.src.tolist()
    assert differs > 20
    assert plain.position == drawn.position


def run_with(tmp_path, kind, *, name="run", stop_asked=lambda: False, **training):
    """Return a tiny run on real text."""
    tokenizer = tokenizer_of(kind)
    run = make_run(tmp_path, name=name, stop_asked=stop_asked, batch_tokens=200, **training)
    ds = encoded(tokenizer)
    recipe = run.recipe.model_copy(
        update={"tokenizer": run.recipe.tokenizer.model_copy(update={"kind": kind})}
    )
    return replace(
        run,
        recipe=recipe,
        prepared=replace(run.prepared, tokenizer=tokenizer, train=ds, valid=ds),
        config=ModelConfig.from_recipe(run.recipe.model, tokenizer.src_vocab_size, tokenizer.tgt_vocab_size),
    )


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.parametrize("steps_before", [7])
def test_stopping_and_resuming_gives_the_same_bytes_as_going_through(tmp_path, kind, steps_before):
    wish = {"subword_regularization": 0.2, "max_steps": 24, "validate_every": 12}
    through = run_with(tmp_path, kind, name="through", **wish)
    fit(through)
    asked = iter([False] * (steps_before - 1) + [True] + [False] * 30)
    stopped = run_with(tmp_path, kind, name="stopped", stop_asked=lambda: next(asked), **wish)
    assert fit(stopped).reason == "stopped"
    assert fit(stopped).reason == "finished"
    assert final_bytes(stopped) == final_bytes(through)
    assert rows_of(stopped) == rows_of(through)


@pytest.mark.parametrize(("kind", "none", "some"), [("unigram", 1e4, 0.2), ("bpe", 1e-12, 0.2)])
def test_where_only_the_best_is_drawn_a_run_is_the_one_without(tmp_path, kind, none, some):
    plain = run_with(tmp_path, kind, name="plain")
    best = run_with(tmp_path, kind, name="best", subword_regularization=none)
    varied = run_with(tmp_path, kind, name="varied", subword_regularization=some)
    for run in (plain, best, varied):
        fit(run)
    assert final_bytes(best) == final_bytes(plain)
    assert final_bytes(varied) != final_bytes(plain)


def test_no_more_is_computed_at_once_than_the_worst_batch_that_was_tried(tmp_path, monkeypatch):
    run = run_with(tmp_path, "unigram", subword_regularization=0.01)
    computed, add = [], memory_module.add_gradients

    def listening(learner, batches, tokens):
        computed.append([memory_module.positions(batch) for batch in batches if len(batch.indices) > 1])
        return add(learner, batches, tokens)

    monkeypatch.setattr(memory_module, "add_gradients", listening)
    fit(run)
    worst = memory_module.positions(worst_batch(run.prepared.train, 200))
    assert computed[0] == [worst]
    assert max(max(sizes, default=0) for sizes in computed) <= worst
    assert any(len(sizes) > 1 for sizes in computed)  # some had to be computed in parts
    assert sum(len(result.suspects) for result in run.reporter.results) == 0


@pytest.mark.parametrize(
    ("kind", "strength", "complaint"),
    [
        ("char", 0.1, "needs other segmentations to choose from; tokenizer.kind: char has one"),
        ("bpe", 1.5, "is a probability with tokenizer.kind: bpe, and must be below 1, got 1.5"),
        ("unigram", 0.0, "must be above 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_the_key(kind, strength, complaint):
    tokenizer = tokenizer_of("unigram")
    with pytest.raises(RecipeError, match=complaint) as caught:
        recipe_of(tokenizer, kind, subword_regularization=strength)
    assert "training.subword_regularization: " in caught.value.message
    recipe_of(tokenizer, "unigram", subword_regularization=1.5)


def test_what_stands_behind_a_special_piece_is_drawn_as_well():
    tokenizer = tokenizer_of("unigram")
    ids = tokenizer.encode_src_many(["¤children"], end_mark=True)
    column = IdColumn.of(IdBlock.of(ids, id_dtype(500)))
    drawing = Resampler(recipe_of(tokenizer, "unigram"), tokenizer, ParallelIds(column, column))
    seen = {tuple(drawing.batch(np.arange(1), Position(epoch)).src[0]) for epoch in range(30)}
    assert len(seen) > 1
    assert {ids.count(Tokenizer.unk_id) for ids in seen} == {1}
