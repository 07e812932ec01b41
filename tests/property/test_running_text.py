"""A language model's tokenizer gives every text back, character for character."""

from functools import cache

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tfcli.errors import CheckpointError, RecipeError
from tfcli.recipe.schema import TokenizerSection
from tfcli.text.byte_model import byte_model
from tfcli.text.running_text import RunningText
from tfcli.text.tokenizer import Tokenizer, train_text_tokenizer, train_tokenizer

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NEAR = st.text(st.sampled_from(" \n\r\t\u2581\u00a0wordsext.,<unk>äöab"))
LINES = [" a few words of text", "and  a line more, with ä and ö ", "words words", "\tsome <unk> words"]
KINDS = ["unigram", "bpe", "char", "byte"]


@cache
def running_text(kind, **settings):
    section = TokenizerSection.model_validate({"kind": kind, "vocab_size": 400, **settings})
    return RunningText(train_text_tokenizer(section, LINES, lambda note: None))


@given(st.sampled_from(KINDS), TEXT | NEAR)
@example("unigram", "\u2581 a \u2581\u2581\n \n\n  words \u2585 <unk><s></s> <0x41> \ufffd\0")
@example("bpe", " \u2581\n\r\n")
def test_every_text_comes_back(kind, text):
    ids = running_text(kind).encode(text)
    assert not {Tokenizer.pad_id, Tokenizer.unk_id, Tokenizer.bos_id, Tokenizer.eos_id} & set(ids)
    assert running_text(kind).decode(ids) == text


@given(st.sampled_from(KINDS), NEAR, NEAR)
def test_a_text_that_is_cut_at_a_line_end_has_the_same_ids(kind, one, two):
    encode = running_text(kind).encode
    assert encode(f"{one}\n{two}") == encode(f"{one}\n") + encode(two)
    assert encode("\n") == [running_text(kind).line_end]


def test_characters_of_the_alphabet_are_one_piece_each_and_others_are_bytes():
    encode = running_text("char").encode
    assert len(encode(LINES[1])) == len(LINES[1])
    assert len(encode("日")) == 3


def test_bytes_are_their_own_pieces():
    text = " two words\nä\u2581\0"
    assert running_text("byte").encode(text) == [4 + byte for byte in text.encode()]
    assert running_text("byte").tokenizer.tgt_vocab_size == 260


def test_words_are_pieces_with_the_space_before_them():
    assert len(running_text("bpe").encode(" words words")) < len(" words words")


def test_a_tokenizer_without_bytes_is_refused():
    section = TokenizerSection.model_validate({"vocab_size": 60})
    with pytest.raises(CheckpointError, match="no pieces for bytes"):
        RunningText(train_tokenizer(section, LINES, LINES, lambda note: None))


def test_symbols_beside_bytes_are_refused():
    with pytest.raises(RecipeError, match="bytes are the only pieces"):
        running_text.__wrapped__("byte", symbols=["<tag>"])


def test_the_byte_model_is_the_same_each_time_and_can_be_copied_around():
    tokenizer = Tokenizer(byte_model())
    assert tokenizer.digest == Tokenizer(byte_model()).digest
    assert tokenizer.text_of([2, 4 + ord("a"), 4 + ord("\n"), 3]) == "a\n"
