"""Any text can be encoded, and comes back where nothing is normalized away."""

from functools import cache

from hypothesis import given
from hypothesis import strategies as st

from tfcli.recipe.schema import TokenizerSection
from tfcli.text.tokenizer import Tokenizer, train_tokenizer

# U+2581 is SentencePiece's own sign for a space and the only character that does not come back.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\u2581"))
LINES = ["a few words of text", "and a line more, with ä and ö", "words words"]


@cache
def tokenizer(kind):
    section = TokenizerSection.model_validate(
        {"kind": kind, "vocab_size": 400, "byte_fallback": True, "normalization": "identity"}
    )
    return train_tokenizer(section, LINES, LINES, lambda note: None)


@given(st.sampled_from(["unigram", "bpe", "char"]), TEXT)
def test_with_bytes_and_without_normalization_every_text_comes_back(kind, text):
    ids = tokenizer(kind).encode_src(text)
    assert not {Tokenizer.pad_id, Tokenizer.unk_id, Tokenizer.bos_id, Tokenizer.eos_id} & set(ids)
    assert tokenizer(kind).decode_tgt(ids) == text
    assert tokenizer(kind).join_src(tokenizer(kind).src_pieces(text)) == text


@given(st.sampled_from(["unigram", "bpe", "char"]), st.text(st.characters(exclude_categories=["Cs"])))
def test_encoding_alone_and_in_company_is_the_same(kind, text):
    assert tokenizer(kind).encode_src_many([text, "words", text]) == [
        tokenizer(kind).encode_src(line) for line in (text, "words", text)
    ]
