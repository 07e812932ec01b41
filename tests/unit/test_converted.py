"""Where converted models are kept, and when they are made again."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tfcli.errors import CheckpointError

pytest.importorskip("ctranslate2")

from tfcli.interop.converted import converted_model
from tfcli.model.description import describe_model


@pytest.fixture
def folder(tiny_model, tmp_path, monkeypatch):
    """Return a model folder, with a cache folder of its own beside it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    save(tiny_model, tmp_path / "model", seed=1)
    return tmp_path / "model"


def save(tiny_model, folder, seed):
    from tfcli.model.folder import save_model_folder
    from tfcli.recipe.schema import DecodingSection, TokenizerSection
    from tfcli.text.tokenizer import train_tokenizer

    lines = ["the dog sleeps .", "a cat sees the bird ."]
    tokenizer = train_tokenizer(TokenizerSection(kind="char", vocab_size=40), lines, lines, lambda _: None)
    size = tokenizer.src_vocab_size
    model = tiny_model(seed=seed, src_vocab_size=size, tgt_vocab_size=size)
    info = {"decoding": DecodingSection().model_dump(), "max_source_pieces": 50}
    save_model_folder(folder, model, tokenizer, info, "card")


def converted(folder, precision="fp32"):
    said = []
    place = converted_model(describe_model(folder), precision, said.append)
    return place, said


def weights(place):
    return (place / "model.bin").read_bytes()


def test_a_model_is_converted_once_for_each_precision(folder):
    place, said = converted(folder)
    assert place == folder / "ctranslate2" / "fp32"
    assert said == [f"{folder}: converting to CTranslate2 in fp32"]
    before = (place / "model.bin").stat().st_mtime_ns
    assert converted(folder) == (place, [])
    assert (place / "model.bin").stat().st_mtime_ns == before
    int8, _ = converted(folder, "int8")
    assert int8 == folder / "ctranslate2" / "int8"
    assert len(weights(int8)) < len(weights(place))
    assert sorted(path.name for path in place.parent.iterdir()) == ["fp32", "int8"]


def test_it_is_made_again_when_the_weights_have_changed(folder, tiny_model, tmp_path):
    place, _ = converted(folder)
    old = weights(place)
    save(tiny_model, tmp_path / "other", seed=2)
    (tmp_path / "other" / "model.safetensors").replace(folder / "model.safetensors")
    again, said = converted(folder)
    assert (again, len(said)) == (place, 1)
    assert weights(place) != old
    assert converted(folder)[1] == []


@pytest.mark.parametrize("key", ["model", "conversion"])
def test_it_is_made_again_when_the_network_or_the_conversion_is_another(folder, key):
    place, _ = converted(folder)
    origin = json.loads((place / "of.json").read_text())
    origin[key] = origin[key] | {"n_heads": 2} if key == "model" else origin[key] - 1
    (place / "of.json").write_text(json.dumps(origin))
    assert len(converted(folder)[1]) == 1
    assert converted(folder)[1] == []


def test_what_is_no_whole_model_is_not_taken_for_one(folder):
    place, _ = converted(folder)
    for rest in ("", "{", "[]"):
        (place / "of.json").write_text(rest)
        assert len(converted(folder)[1]) == 1
    (place / "of.json").unlink()
    assert len(converted(folder)[1]) == 1


def test_the_users_cache_serves_a_model_folder_that_cannot_be_written(folder, tmp_path, tiny_model):
    (folder / "ctranslate2").write_text("in the way")  # nothing can be made below it, whoever runs this
    place, said = converted(folder)
    assert len(said) == 1
    assert tmp_path / "cache" / "tfcli" / "ctranslate2" in place.parents
    assert converted(folder) == (place, [])
    save(tiny_model, folder, seed=3)
    (folder / "ctranslate2").write_text("in the way")
    assert converted(folder)[0] != place


def test_it_is_an_error_when_the_cache_cannot_be_written_either(folder, tmp_path):
    (folder / "ctranslate2").write_text("in the way")
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(CheckpointError, match="can be written neither there nor into") as caught:
        converted(folder)
    assert "use --engine torch" in caught.value.hint


def test_what_a_killed_conversion_left_is_removed_in_time(folder):
    left = folder / "ctranslate2" / ".int8.0123abcd"
    fresh = folder / "ctranslate2" / ".int8.fedc0123"
    for path in (left, fresh):
        path.mkdir(parents=True)
        (path / "model.bin").write_bytes(b"half")
    os.utime(left, (time.time() - 7200,) * 2)
    converted(folder)
    assert not left.exists()
    assert fresh.exists()  # another process may be at work on it


def test_several_at_once_all_get_a_whole_model(folder):
    with ThreadPoolExecutor(4) as pool:
        places = [place for place, _ in pool.map(converted, [folder] * 4)]
    assert set(places) == {folder / "ctranslate2" / "fp32"}
    assert [path.name for path in places[0].parent.iterdir()] == ["fp32"]
    assert converted(folder)[1] == []


def test_a_tokenizer_of_another_model_is_refused_before_a_converted_one_is_used(folder):
    from tfcli.recipe.schema import TokenizerSection
    from tfcli.text.tokenizer import train_tokenizer

    converted(folder)
    train_tokenizer(TokenizerSection(kind="char", vocab_size=16), ["ab"], ["ab"], lambda _: None).save(folder)
    with pytest.raises(CheckpointError, match="the tokenizer has"):
        converted(folder)


def test_missing_weights_are_an_error_although_there_is_a_converted_model(folder):
    converted(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="no such file"):
        converted(folder)
