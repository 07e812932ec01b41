"""Whether memory grows with the input: `tfcli translate` on millions of short lines, from file to file.

    python benchmarks/soak.py [--lines 2000000] [--warm-up 200000] [--seconds 600]

The network is tiny and random (tiny_model.py) and its outputs have three pieces, so that lines pass quickly. The memory
is the resident one of the process; how many lines are done is read from its journal. The slope is that of a straight
line fitted to all that was seen after the warm-up. With --seconds, it is stopped after so many.
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.tiny_model import short_lines, write_model  # noqa: E402
from tfcli.decoding.journal import read_journal  # noqa: E402


def main() -> None:
    """Print lines done and memory now and then, then the slope."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lines", type=int, default=2_000_000)
    parser.add_argument("--warm-up", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tfcli-soak-") as name:
        folder = Path(name)
        write_model(folder / "model")
        with (folder / "in.txt").open("w", encoding="utf-8") as stream:
            stream.writelines(line + "\n" for line in itertools.islice(short_lines(1), args.lines))
        seen = soak(folder, args.lines, args.seconds)
        if (folder / "out.txt").exists():
            with (folder / "out.txt").open("rb") as stream:
                written = sum(1 for _ in stream)
            assert written == args.lines, f"{written} lines came out of {args.lines}"
    late = np.array([row for row in seen if row[0] >= args.warm_up])
    slope, _ = np.polyfit(late[:, 0] / 1e6, late[:, 1], 1)
    print(
        f"{len(late)} times after {args.warm_up:,} lines: {late[:, 1].min():.1f} to {late[:, 1].max():.1f} MiB, "
        f"slope {slope:+.2f} MiB per million lines"
    )


def soak(folder: Path, lines: int, seconds: float) -> list[tuple[int, float]]:
    """Translate, and return lines done and memory in MiB, seen about once a second."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tfcli", "translate", "model", "in.txt", "-o", "out.txt", "-q"]
    seen: list[tuple[int, float]] = []
    shown = 0
    start_time = time.monotonic()
    with subprocess.Popen(command, cwd=folder, env=environment) as process:
        while process.poll() is None:
            time.sleep(1)
            memory, done = resident_mib(process.pid), lines_done(folder / ".out.txt.journal")
            if memory is None or done is None:
                continue
            seen.append((done, memory))
            if time.monotonic() - start_time > seconds:
                process.terminate()
                process.wait()
            if done >= shown:
                elapsed = time.monotonic() - start_time
                print(f"{done:>9,} lines {elapsed:5.0f} s {memory:7.1f} MiB", flush=True)
                shown = done + lines // 20
    assert process.returncode in (0, 143), f"translate ended with {process.returncode}"
    return seen


def resident_mib(pid: int) -> float | None:
    """Return the resident memory of a process, None when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    found = [line.split()[1] for line in status.split("\n") if line.startswith("VmRSS:")]
    return int(found[0]) / 1024 if found else None


def lines_done(journal: Path) -> int | None:
    """Return how many lines a journal says are done."""
    found = read_journal(journal)
    return found[1].counts.lines if found and found[1] else None


if __name__ == "__main__":
    main()
