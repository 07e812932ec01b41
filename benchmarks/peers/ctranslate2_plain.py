"""A model that tfcli converted, called as CTranslate2's own documentation does: tokenize, translate, detokenize.

python ctranslate2_plain.py MODEL_FOLDER PRECISION BEAM_SIZE < SOURCE > TRANSLATIONS
"""

import sys
from pathlib import Path

import ctranslate2
import sentencepiece


def main() -> None:
    """Translate standard input."""
    folder, precision, beam_size = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    tokenizer = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    translator = ctranslate2.Translator(
        str(folder / "ctranslate2" / precision),
        compute_type={"fp32": "float32", "int8": "int8"}[precision],
        inter_threads=2,
        intra_threads=1,
    )
    lines = sys.stdin.read().split("\n")[:-1]
    sources = [[*map(str, ids), "3"] for ids in tokenizer.encode(lines)]
    results = translator.translate_batch(
        sources, beam_size=beam_size, max_batch_size=4096, batch_type="tokens", max_input_length=0
    )
    for result in results:
        print(tokenizer.decode([int(token) for token in result.hypotheses[0]]))


if __name__ == "__main__":
    main()
