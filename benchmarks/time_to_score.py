"""How long a recipe takes to a validation score: trains until it has it, prints the minutes, then scores the test sets once.

    python benchmarks/time_to_score.py RECIPE --valid 39.6 --out RUN [--test NAME] [--set KEY=VALUE ...]

The time runs from the command to the row of `metrics.jsonl` that has the score: tokenizer, encoding and all validations are in
it. The model that is scored is the best one on validation by then. RUN must not exist. What `--set` takes goes to `tfcli
train`. Exits with 1 when the training ends without the score.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

TFCLI = [sys.executable, "-m", "tfcli"]
LOOK_SECONDS = 0.5


def main() -> None:
    """Train, stop, score, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe")
    parser.add_argument("--valid", type=float, required=True, help="BLEU on the validation set")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--test", action="append", default=[], help="only this test set; may be given again")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    if options.out.exists():
        sys.exit(f"{options.out}: exists already; the time counts from an empty folder")
    row, seconds = train(options.recipe, options.out, options.set, options.valid)
    steps_seconds = last_row(options.out, "train").get("elapsed_seconds")
    print(
        f"\nvalidation BLEU {row['bleu']:.2f} at step {row['step']:,} after {seconds / 60:.1f} minutes",
        end="",
    )
    print(f", {steps_seconds / 60:.1f} of them in training steps" if steps_seconds else "")
    named = [part for name in options.test for part in ("--test", name)]
    subprocess.run([*TFCLI, "eval", str(options.out), *named], check=True)


def train(recipe: str, out: Path, settings: list[str], wanted: float) -> tuple[dict[str, Any], float]:
    """Train until a validation has the wanted score; return its row of metrics, and the seconds from the start."""
    command = [*TFCLI, "train", recipe, "--out", str(out)]
    for setting in settings:
        command += ["--set", setting]
    start = time.perf_counter()
    process = subprocess.Popen(command)
    try:
        while True:
            ended = process.poll() is not None  # looked at before the metrics, which may have got a last row
            row = last_row(out, "valid")
            if row.get("bleu", 0.0) >= wanted:
                return row, time.perf_counter() - start
            if ended:
                sys.exit(f"the training ended with status {process.returncode} and without the score")
            time.sleep(LOOK_SECONDS)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)  # it writes a checkpoint and ends
            process.wait()


def last_row(run: Path, kind: str) -> dict[str, Any]:
    """Return the last row of this kind in a run's metrics, an empty one when there is none yet."""
    path = run / "metrics.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    rows = [row for row in map(json.loads, lines) if row["kind"] == kind]
    return rows[-1] if rows else {}


if __name__ == "__main__":
    main()
