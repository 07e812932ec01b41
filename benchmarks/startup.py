"""How long tfcli takes to answer: `--help`, a verb's help, and a recipe with a mistake.

    python benchmarks/startup.py [--rounds 15] [--rest 0.5]

Prints median and fastest wall time of each, and of an empty Python program, in turn. Before each there is some rest:
a command is typed on an idle machine, not right behind another one.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--rest", type=float, default=0.5, metavar="SECONDS")
    options = parser.parse_args()
    tfcli = str(Path(sys.executable).with_name("tfcli"))
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder) / "mistaken.yaml"
        recipe.write_text("name: x\nmodle: {preset: small}\n")
        commands = {
            "python -c pass": ([sys.executable, "-c", "pass"], 0),
            "tfcli --help": ([tfcli, "--help"], 0),
            "tfcli train --help": ([tfcli, "train", "--help"], 0),
            "a recipe error": ([tfcli, "train", str(recipe)], 2),
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(options.rounds):
            for name, (command, expected) in commands.items():
                time.sleep(options.rest)
                start = time.perf_counter()
                code = subprocess.run(command, capture_output=True, check=False).returncode
                seconds[name].append(time.perf_counter() - start)
                if code != expected:
                    sys.exit(f"{name}: exit code {code}, expected {expected}")
    for name, found in seconds.items():
        print(f"{name:20} median {statistics.median(found):.3f} s   fastest {min(found):.3f} s")


if __name__ == "__main__":
    main()
