"""How far the engines and precisions agree on a test set: equal translations, and BLEU beside torch's fp32.

    benchmarks/engines_agree.py MODEL SOURCE REFERENCE [--lines N]

MODEL is a model folder that may be written. Greedy search and beam search with 5 hypotheses; prints a row for each of
them, engine and precision: the lines that are the same as those of torch in fp32, and the difference in BLEU.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import sacrebleu

from tfcli.decoding.loading import load_translator
from tfcli.text.lines import read_lines

FIRST = ("torch", "fp32")
OTHERS = (("ctranslate2", "fp32"), ("ctranslate2", "int8"), ("torch", "bf16"))


def main() -> None:
    """Translate with each, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("source", type=Path)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--lines", type=int, help="only the first so many")
    options = parser.parse_args()
    sources = list(read_lines(options.source))[: options.lines]
    gold = list(read_lines(options.reference))[: options.lines]
    assert len(sources) == len(gold), "line i of one file must be the translation of line i of the other"
    print(f"{'':30}{'same lines':>11}{'%':>7}{'BLEU':>7}{'difference':>11}")
    for beam_size in (1, 5):
        first: list[str] | None = None
        for engine, precision in (FIRST, *OTHERS):
            translator = load_translator(
                options.model,
                engine=engine,
                device="cpu",
                precision=precision,
                changes={"beam_size": beam_size},
            )
            found = [translation.text for translation in translator.translate(sources)]
            first = first or found
            same = sum(one == two for one, two in zip(first, found, strict=True))
            bleu, before = (sacrebleu.corpus_bleu(texts, [gold]).score for texts in (found, first))
            print(
                f"{f'beam {beam_size}, {engine} {precision}':30}{same:11,}{100 * same / len(found):7.1f}{bleu:7.2f}"
                f"{bleu - before:+11.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
