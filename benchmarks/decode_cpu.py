"""How fast tfcli translates on a CPU: several checkouts of it in turn, both precisions, greedy and beam search.

    python benchmarks/decode_cpu.py RUN SOURCE [--checkout FOLDER]... [--rounds 3] [--beams 1 5] [--precisions fp32 bf16]

1. Each round runs every combination once, checkout by checkout next to each other, in a process of its own.
2. A process loads the model, translates the first lines to warm up, then all of SOURCE, and is timed doing that
   ("steady"); its whole life is timed as well, from the start of Python on.
3. Medians over the rounds are printed, and the machine's own rate of matrix products before each round.

Target tokens are the pieces of the best hypotheses, end marks included. Peak memory is the process's own.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

WARM_UP_LINES = 100
HERE = Path(__file__).resolve().parent
PRODUCT = """
import time, torch
a, b = torch.randn(4096, 256), torch.randn(256, 1024)
seconds = []
for _ in range(25):
    start = time.perf_counter(); a @ b; seconds.append(time.perf_counter() - start)
print(round(2 * 4096 * 256 * 1024 / sorted(seconds)[12] / 1e9))
"""


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("source", type=Path)
    parser.add_argument("--checkout", type=Path, action="append", metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--beams", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--batch-tokens", type=int)
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        print(json.dumps(once(options)))
        return
    checkouts = options.checkout or [HERE.parent]
    combinations = [(beam, precision) for beam in options.beams for precision in options.precisions]
    found: dict[tuple[Path, int, str], list[dict[str, float]]] = {}
    for number in range(options.rounds):
        products = subprocess.run([sys.executable, "-c", PRODUCT], check=True, capture_output=True, text=True)
        print(f"round {number + 1}: fp32 products {products.stdout.strip()} GFLOP/s", file=sys.stderr)
        for beam, precision in combinations:
            for checkout in checkouts:
                result = in_a_process(options, checkout, beam, precision)
                found.setdefault((checkout, beam, precision), []).append(result)
                print(
                    f"{checkout.resolve().name}, beam {beam}, {precision}: {row([result])}", file=sys.stderr
                )
    print(
        "| checkout | beam | precision | sentences/s | target tokens/s | steady s | whole process s | peak MiB |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for (checkout, beam, precision), results in found.items():
        print(f"| {checkout.resolve().name} | {beam} | {precision} | {row(results)} |")


def in_a_process(options: argparse.Namespace, checkout: Path, beam: int, precision: str) -> dict[str, float]:
    """Translate once with the code in `checkout`; return rates, seconds and memory."""
    command = [sys.executable, __file__, str(options.run), str(options.source), "--once"]
    command += ["--beams", str(beam), "--precisions", precision]
    if options.batch_tokens is not None:
        command += ["--batch-tokens", str(options.batch_tokens)]
    environment = {"GOMP_SPINCOUNT": "20000", **os.environ, "PYTHONPATH": str(checkout.resolve())}
    start = time.perf_counter()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    whole = time.perf_counter() - start
    result: dict[str, float] = json.loads(done.stdout)
    return {**result, "whole": whole - result["warm_up"]}


def once(options: argparse.Namespace) -> dict[str, float]:
    """Load, warm up, translate; what `in_a_process` runs."""
    from tfcli.decoding.loading import load_translator
    from tfcli.text.lines import read_lines

    translator = load_translator(
        options.run,
        engine="torch",
        device="cpu",
        precision=options.precisions[0],
        changes={"beam_size": options.beams[0], "batch_tokens": options.batch_tokens},
    )
    lines = list(read_lines(options.source))
    start = time.perf_counter()
    translator.translate(lines[:WARM_UP_LINES])
    warm = time.perf_counter()
    translations = translator.translate(lines)
    seconds = time.perf_counter() - warm
    n_tokens = sum(len(translator.tokenizer.encode_tgt(each.text)) + 1 for each in translations)
    return {
        "seconds": seconds,
        "warm_up": warm - start,
        "sentences": len(lines) / seconds,
        "tokens": n_tokens / seconds,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,
    }


def row(results: list[dict[str, float]]) -> str:
    """Return the medians as cells of the table."""
    keys = {"sentences": ",.0f", "tokens": ",.0f", "seconds": ".2f", "whole": ".2f", "memory": ",.0f"}
    return " | ".join(format(statistics.median(r[key] for r in results), form) for key, form in keys.items())


if __name__ == "__main__":
    main()
