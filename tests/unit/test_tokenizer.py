"""Training, saving and using SentencePiece models."""

import pickle
import random

import pytest

from tfcli.errors import CheckpointError, DataError, RecipeError
from tfcli.recipe.schema import TokenizerSection
from tfcli.text.tokenizer import Tokenizer, train_tokenizer


def sentences(seed, alphabet, count=300):
    rng = random.Random(seed)
    words = ["".join(rng.choices(alphabet, k=rng.randint(2, 7))) for _ in range(80)]
    return [" ".join(rng.choices(words, k=rng.randint(2, 9))) for _ in range(count)]


SRC, TGT = sentences(1, "abcdefgh"), sentences(2, "ijklmnöß")


def trained(src=SRC, tgt=TGT, notes=None, **settings):
    section = TokenizerSection.model_validate({"vocab_size": 120, **settings})
    return train_tokenizer(section, src, tgt, ([] if notes is None else notes).append)


@pytest.mark.parametrize("kind", ["unigram", "bpe", "char"])
@pytest.mark.parametrize("shared", [True, False])
def test_text_comes_back_from_its_ids(kind, shared):
    tokenizer = trained(kind=kind, shared=shared)
    assert tokenizer.shared == shared
    for src, tgt in zip(SRC[:20], TGT[:20], strict=True):
        assert tokenizer.decode_src(tokenizer.encode_src(src)) == src
        assert tokenizer.decode_tgt(tokenizer.encode_tgt(tgt)) == tgt
        assert tokenizer.join_src(tokenizer.src_pieces(src)) == src
        assert tokenizer.join_tgt(tokenizer.tgt_pieces(tgt)) == tgt
    assert tokenizer.encode_src_many(SRC[:5]) == [tokenizer.encode_src(line) for line in SRC[:5]]
    assert tokenizer.encode_tgt_many(TGT[:5]) == [tokenizer.encode_tgt(line) for line in TGT[:5]]


def test_a_shared_vocabulary_knows_both_sides_and_separate_ones_their_own():
    shared, separate = trained(shared=True), trained(shared=False)
    assert shared.encode_src(TGT[0]) == shared.encode_tgt(TGT[0])
    assert Tokenizer.unk_id not in shared.encode_src(TGT[0])
    assert Tokenizer.unk_id in separate.encode_src(TGT[0])
    assert Tokenizer.unk_id not in separate.encode_tgt(TGT[0])
    assert shared.src_vocab_size == shared.tgt_vocab_size == 120


def test_the_four_special_ids_are_fixed_and_never_come_out_of_text():
    tokenizer = trained()
    assert (Tokenizer.pad_id, Tokenizer.unk_id, Tokenizer.bos_id, Tokenizer.eos_id) == (0, 1, 2, 3)
    for text in ("<s> </s> <pad> <unk>", "<pad>", *SRC):
        assert not {0, 2, 3} & set(tokenizer.encode_src(text))


def test_marks_and_padding_are_passed_over_when_ids_are_decoded():
    tokenizer = trained()
    ids = tokenizer.encode_tgt(TGT[0])
    assert tokenizer.decode_tgt([2, *ids, 3, 0, 0]) == TGT[0]
    assert tokenizer.decode_tgt([]) == tokenizer.decode_tgt([3, 0]) == ""


def test_the_same_text_gives_the_same_bytes():
    for kind in ("unigram", "bpe", "char"):
        assert trained(kind=kind).src_model == trained(kind=kind).src_model
    assert trained().digest == trained().digest != trained(kind="bpe").digest
    assert trained(shared=False).digest != trained().digest


@pytest.mark.parametrize("kind", ["unigram", "bpe", "char"])
def test_a_vocabulary_larger_than_the_text_supports_is_lowered_with_a_note(kind):
    notes = []
    tokenizer = trained(kind=kind, vocab_size=8000, notes=notes)
    assert 16 < tokenizer.src_vocab_size < 8000
    assert notes[0].startswith(f"tokenizer.vocab_size lowered from 8000 to {tokenizer.src_vocab_size}")
    assert "both sides" in notes[0]


def test_each_side_of_its_own_is_lowered_with_a_note_of_its_own():
    notes = []
    tokenizer = trained(["a b"], TGT, shared=False, notes=notes, vocab_size=80)
    assert tokenizer.src_vocab_size < tokenizer.tgt_vocab_size == 80
    assert len(notes) == 1
    assert "the source side" in notes[0]


def test_a_vocabulary_that_fits_comes_without_a_note():
    notes = []
    assert trained(notes=notes).src_vocab_size == 120
    assert notes == []


def test_unknown_characters_become_bytes_with_byte_fallback():
    plain, with_bytes = trained(), trained(byte_fallback=True, vocab_size=400)
    assert Tokenizer.unk_id in plain.encode_src("a 猫 b")
    ids = with_bytes.encode_src("a 猫 b")
    assert Tokenizer.unk_id not in ids
    assert with_bytes.decode_src(ids) == "a 猫 b"


def test_what_is_decoded_is_one_line_even_if_the_network_wants_a_line_feed():
    tokenizer = trained(byte_fallback=True, vocab_size=400)
    pieces = [*tokenizer.tgt_pieces("ij"), "<0x0A>", *tokenizer.tgt_pieces("kl")]
    assert "\n" not in tokenizer.join_tgt(pieces)
    line_feed = [i for i in range(400) if tokenizer._tgt.id_to_piece(i) == "<0x0A>"]
    assert tokenizer.decode_tgt([*tokenizer.encode_tgt("ij"), *line_feed]) == "ij "


def test_symbols_stay_one_piece():
    tokenizer = trained(symbols=["<2de>", "a,b"])
    assert "<2de>" in tokenizer.src_pieces("<2de> abc")
    assert "a,b" in tokenizer.src_pieces("a,b")


def test_the_normalization_rule_is_the_recipes():
    text = "A\ufb01\u00a0 b"  # a ligature, a no-break space
    src = [*SRC, "A b Fi fi \ufb01 a\u00a0b"] * 2

    def round_trip(rule):
        tokenizer = trained(src=src, normalization=rule, vocab_size=200)
        return tokenizer.decode_src(tokenizer.encode_src(text))

    assert round_trip("identity") == text
    assert round_trip("nmt_nfkc") == "Afi b"
    assert round_trip("nmt_nfkc_cf") == "afi b"


def test_identity_keeps_every_space():
    tokenizer = trained(normalization="identity")
    for text in ("  ab  c ", " ", "   "):
        assert tokenizer.decode_src(tokenizer.encode_src(text)) == text


def test_odd_characters_and_endless_lines_neither_crash_nor_hide_text():
    odd = ["nul\0byte", "\u2581 \u2581x", "\0", "line\u2028separator", "\ufeffx", "\r", "x" * 6000 + "q"]
    for normalization in ("identity", "nmt_nfkc"):
        tokenizer = trained(src=[*SRC, *odd], normalization=normalization, vocab_size=200)
        for text in odd:
            assert tokenizer.encode_src(text) is not None
            tokenizer.decode_src(tokenizer.encode_src(text))
        # only the endless line has a q: SentencePiece by default passes over such lines
        assert Tokenizer.unk_id not in tokenizer.encode_src("q")


def test_blank_text_is_refused():
    for shared, sides in (
        (True, "both sides of the training corpora are"),
        (False, "the source side of the"),
    ):
        with pytest.raises(DataError, match=f"no text to train a tokenizer on: {sides}"):
            trained(["", "  ", "\u3000"], [], shared=shared)
    with pytest.raises(DataError, match="the target side of the training corpora is blank"):
        trained(SRC, ["\u200b"], shared=False)  # a space of no width is normalized away


def test_a_vocabulary_smaller_than_the_alphabet_is_refused_with_what_it_needs():
    with pytest.raises(RecipeError, match=r"tokenizer.vocab_size: 16 is too small: .* need 21") as caught:
        trained(vocab_size=16)
    assert "21" in caught.value.hint


def test_symbols_that_are_special_or_repeated_are_refused():
    with pytest.raises(RecipeError, match=r"tokenizer\.symbols: '<s>' is a special piece"):
        trained(symbols=["<s>"])
    with pytest.raises(
        RecipeError, match=r"SentencePiece cannot train with these settings .* already defined"
    ):
        trained(symbols=["<x>", "<x>"])


def test_an_error_in_reading_the_text_comes_out_as_it_is():
    def broken():
        yield SRC[0]
        raise DataError("line 2 is broken")

    with pytest.raises(DataError, match="line 2 is broken"):
        trained(src=broken())


def test_training_says_nothing_on_its_own(capfd):
    trained()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("shared", [True, False])
def test_a_saved_tokenizer_loads_the_same(tmp_path, shared):
    tokenizer = trained(shared=shared)
    tokenizer.save(tmp_path / "run")
    loaded = Tokenizer.load(tmp_path / "run")
    assert loaded.digest == tokenizer.digest
    assert loaded.shared == shared
    assert loaded.encode_tgt(TGT[0]) == tokenizer.encode_tgt(TGT[0])


def test_saving_replaces_a_tokenizer_of_the_other_kind(tmp_path):
    shared, separate = trained(), trained(shared=False)
    for tokenizer, names in (
        (separate, ["tokenizer.src.model", "tokenizer.tgt.model"]),
        (shared, ["tokenizer.model"]),
        (separate, ["tokenizer.src.model", "tokenizer.tgt.model"]),
    ):
        tokenizer.save(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == names
        assert Tokenizer.load(tmp_path).digest == tokenizer.digest


@pytest.mark.parametrize("shared", [True, False])
def test_a_pickled_tokenizer_encodes_the_same(shared):
    tokenizer = trained(shared=shared)
    expected = tokenizer.encode_tgt(TGT[0])
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert copy.encode_tgt(TGT[0]) == expected
    assert copy.digest == tokenizer.digest


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(CheckpointError, match=r"no tokenizer, expected tokenizer\.model") as caught:
            Tokenizer.load(folder)
        assert str(folder) in caught.value.message
    (tmp_path / "tokenizer.src.model").write_bytes(trained().src_model)
    with pytest.raises(CheckpointError, match="no tokenizer"):
        Tokenizer.load(tmp_path)


def test_a_damaged_model_is_refused(tmp_path):
    model = trained().src_model
    for damaged in (b"", b"not a model", model[: len(model) // 2]):
        (tmp_path / "tokenizer.model").write_bytes(damaged)
        with pytest.raises(CheckpointError, match="not a SentencePiece model, or a damaged one") as caught:
            Tokenizer.load(tmp_path)
        assert "tokenizer.model" in caught.value.message


def test_what_is_there_and_cannot_be_read_is_not_called_missing(tmp_path):
    (tmp_path / "tokenizer.model").mkdir()
    with pytest.raises(
        CheckpointError, match=r"tokenizer\.model: the tokenizer cannot be read: Is a directory"
    ):
        Tokenizer.load(tmp_path)


def test_a_model_with_other_special_ids_is_refused(tmp_path):
    import io

    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SRC), model_writer=model, vocab_size=60, minloglevel=3
    )
    (tmp_path / "tokenizer.model").write_bytes(model.getvalue())
    with pytest.raises(
        CheckpointError, match=r"pad, unk, bos and eos are \(-1, 0, 1, 2\), expected 0, 1, 2, 3"
    ):
        Tokenizer.load(tmp_path)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write the tokenizer into"):
        trained().save(tmp_path / "file" / "run")
    (tmp_path / "run" / "tokenizer.model").mkdir(parents=True)
    with pytest.raises(DataError, match="cannot write the tokenizer into"):
        trained().save(tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["tokenizer.model"]


def test_a_vocabulary_that_sentencepiece_cannot_count_to_is_lowered():
    notes = []
    assert (
        train_tokenizer(TokenizerSection(vocab_size=2**31 - 1), SRC, TGT, notes.append).src_vocab_size < 1000
    )
    assert notes[0].startswith("tokenizer.vocab_size lowered from 2147483647 to ")


def test_a_folder_for_temporary_files_that_cannot_be_used_is_told_with_its_cure(monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", "/proc/nowhere")
    with pytest.raises(DataError, match="cannot write the tokenizer's training text") as caught:
        trained()
    assert "TMPDIR" in caught.value.hint
