"""How fast whole translations are: engines, precisions and beam sizes, beside CTranslate2 in a plain script and `generate`.

    python benchmarks/translate.py MODEL SOURCE [--reference FILE] [--rounds 3] [--only TEXT] [--hf PYTHON]

MODEL is a model folder that may be written. Every run is a process of its own, from the start of Python to its end, and
all are run in turn. Prints medians: wall seconds, sentences and target pieces (end marks included) a second, and the
highest memory of a process; and BLEU with a reference. With --hf, the Python of an environment with transformers, the same
weights also go through its `generate`, 32, 128 and 512 sentences at a time.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

PLAIN = Path(__file__).parent / "peers" / "ctranslate2_plain.py"
GENERATE = Path(__file__).parent / "peers" / "hf_generate.py"
GENERATE_BATCHES = (32, 128, 512)


@dataclass
class Variant:
    """A way to translate, and what its runs took."""

    name: str
    command: list[str]
    seconds: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("source", type=Path)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="variants whose name holds this")
    parser.add_argument("--hf", help="the Python of an environment with transformers")
    options = parser.parse_args()
    variants = [variant for variant in variants_of(options.model, options.hf) if options.only in variant.name]
    for variant in variants:  # converts, and warms the disk's cache up
        run(variant, options.source, head=50)
    for _ in range(options.rounds):
        for variant in variants:
            run(variant, options.source)
    show(variants, options.model, options.reference)


def variants_of(model: Path, hf: str | None) -> list[Variant]:
    tfcli = [sys.executable, "-m", "tfcli", "translate", str(model), "-q"]
    found = []
    for beam in ("1", "5"):
        for engine, precision in (
            ("torch", "fp32"),
            ("torch", "bf16"),
            ("ctranslate2", "fp32"),
            ("ctranslate2", "int8"),
        ):
            options = ["--engine", engine, "--precision", precision, "--beam-size", beam]
            found.append(Variant(f"tfcli {engine} {precision}, beam {beam}", [*tfcli, *options]))
        for precision in ("fp32", "int8"):
            plain = [sys.executable, str(PLAIN), str(model), precision, beam]
            found.append(Variant(f"plain ctranslate2 {precision}, beam {beam}", plain))
        for precision in ("fp32", "bf16") if hf else ():
            for size in GENERATE_BATCHES:
                generate = [str(hf), str(GENERATE), str(model), precision, beam, str(size)]
                found.append(Variant(f"generate {precision} by {size}, beam {beam}", generate))
    return found


def run(variant: Variant, source: Path, head: int | None = None) -> None:
    """Translate once; a trial on the first lines alone is not counted."""
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "in"
        lines = source.read_bytes().split(b"\n")[:-1][:head]
        text.write_bytes(b"".join(line + b"\n" for line in lines))
        with text.open("rb") as stdin, (Path(folder) / "out").open("wb") as stdout:
            start = time.perf_counter()
            process = subprocess.Popen(variant.command, stdin=stdin, stdout=stdout)
            _, status, usage = os.wait4(process.pid, 0)
            elapsed = time.perf_counter() - start
        if status:
            sys.exit(f"{variant.name}: ended with status {status}")
        translations = (Path(folder) / "out").read_text().split("\n")[:-1]
    if len(translations) != len(lines):
        sys.exit(f"{variant.name}: {len(translations)} lines, expected {len(lines)}")
    if head is None:
        variant.seconds.append(elapsed)
        variant.megabytes.append(usage.ru_maxrss / 1024)
        variant.lines = translations


def show(variants: list[Variant], model: Path, reference: Path | None) -> None:
    import sacrebleu
    import sentencepiece

    tokenizer = sentencepiece.SentencePieceProcessor(model_file=str(model / "tokenizer.model"))
    gold = reference.read_text().split("\n")[:-1] if reference else None
    print(f"{'':34}{'seconds':>9}{'lines/s':>9}{'pieces/s':>10}{'MB':>7}" + ("   BLEU" if gold else ""))
    for variant in variants:
        seconds = statistics.median(variant.seconds)
        pieces = sum(len(ids) + 1 for ids in tokenizer.encode(variant.lines))
        row = f"{variant.name:34}{seconds:9.2f}{len(variant.lines) / seconds:9.0f}{pieces / seconds:10.0f}"
        row += f"{max(variant.megabytes):7.0f}"
        if gold:
            row += f"{sacrebleu.corpus_bleu(variant.lines, [gold]).score:7.2f}"
        print(row)


if __name__ == "__main__":
    main()
