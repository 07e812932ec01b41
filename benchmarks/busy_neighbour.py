"""How much a busy process on the other core slows training down, on the reference load.

    python benchmarks/busy_neighbour.py [--rounds 2] [--seconds 30]

Round after round, `tfcli train` runs alone, then beside a process that never rests, held to the last core. With two
cores a fair share leaves training a bit more than half of its rate; what goes beyond is lost in waiting. Nothing is
set in the environment but the number of threads: it is the command as users start it that is measured.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from train_cpu import measure, prepare, tfcli_command


def main() -> None:
    """Measure, and print rates and their ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=30.0)
    args = parser.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        prepare(work)
        command = tfcli_command(work, [])
        for number in range(args.rounds):
            alone = measure("tfcli", command, work, args.seconds, spin_count=None)["median_tokens_per_second"]
            neighbour = subprocess.Popen([sys.executable, "-c", HOLD_A_CORE])
            try:
                beside = measure("tfcli", command, work, args.seconds, spin_count=None)[
                    "median_tokens_per_second"
                ]
            finally:
                neighbour.kill()
                neighbour.wait()
            ratios.append(alone / beside)
            print(
                f"round {number + 1}  alone {alone:,.0f}, beside a busy process {beside:,.0f} target tokens/s: "
                f"{ratios[-1]:.2f}x slower",
                flush=True,
            )
    print(f"median {statistics.median(ratios):.2f}x slower")


HOLD_A_CORE = f"""
import os
os.sched_setaffinity(0, {{{max(os.sched_getaffinity(0))}}})
while True:
    pass
"""

if __name__ == "__main__":
    main()
