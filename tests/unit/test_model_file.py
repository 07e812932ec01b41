"""What is read out of a SentencePiece model by hand is what SentencePiece says and what it was trained with."""

import pytest
import sentencepiece

from tests.unit.test_tokenizer import trained
from tfcli.text.model_file import pieces_of, settings_of_model


@pytest.mark.parametrize("kind", ["unigram", "bpe", "char"])
@pytest.mark.parametrize("byte_fallback", [True, False])
def test_settings_and_pieces_are_those_of_the_training(kind, byte_fallback):
    settings = {
        "kind": kind,
        "byte_fallback": byte_fallback,
        "character_coverage": 0.9995,
        "normalization": "nfkc_cf",
        "symbols": ["<2de>", "★"],
    }
    model = trained(vocab_size=400 if byte_fallback else 120, **settings).src_model
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    size = processor.get_piece_size()
    assert settings_of_model(model) == {**settings, "vocab_size": size}
    pieces = pieces_of(model)
    assert [piece.text for piece in pieces] == [processor.id_to_piece(i) for i in range(size)]
    assert [piece.score for piece in pieces] == [processor.get_score(i) for i in range(size)]
    assert [piece.text for piece in pieces if piece.is_symbol] == ["<2de>", "★"]
    for number, piece in enumerate(pieces):
        special = processor.is_control(number) or processor.is_unknown(number) or processor.is_byte(number)
        assert piece.is_normal == (not special and not piece.is_symbol)
