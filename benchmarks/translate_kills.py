"""Whether a killed translation ends with the bytes of one that was left alone.

    python benchmarks/translate_kills.py [--kills 50] [--lines 20000] [--seed 1] [--gz] [--exec]

`tfcli translate model big.txt -o out.txt` is started again and again, and each process is killed (SIGKILL) at a random
instant, until so many have been killed: every fifth one before it has done a window, the others in the time that
the next two take. When one gets to its end, its output is compared with that of an undisturbed run, and removed. Also
counted: outputs that were there under their name and not whole, and times that work which was done was lost.

The processes are forked from this one, which has imported all they need; with --exec they are started from scratch.
"""

import argparse
import itertools
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
ROOT = Path(__file__).resolve().parents[1]
os.environ["PYTHONPATH"] = str(ROOT)
sys.path.insert(0, str(ROOT))
import tfcli.decoding.loading  # noqa: E402
from benchmarks.tiny_model import short_lines, write_model  # noqa: E402
from tfcli.app import main as tfcli  # noqa: E402
from tfcli.decoding.journal import journal_of, read_journal  # noqa: E402


def main() -> None:
    """Kill, and print what came of it; end with 1 if anything was wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--lines", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--gz", action="store_true", help="write out.txt.gz")
    parser.add_argument("--exec", action="store_true", help="start every process from scratch")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tfcli-kills-") as name:
        os.chdir(name)
        write_model(Path("model"))
        with Path("big.txt").open("w", encoding="utf-8") as stream:
            stream.writelines(line + "\n" for line in itertools.islice(short_lines(1), args.lines))
        suffix = ".gz" if args.gz else ""
        whole, target = Path(f"whole.txt{suffix}"), Path(f"out.txt{suffix}")
        pid = start(whole, args.exec)
        first = wait_for_more(pid, whole, 0)
        status = os.waitpid(pid, 0)[1]
        assert status == 0, f"translate ended with {status}"
        wrong = kill(whole, target, args, first)
    sys.exit(1 if wrong else 0)


def start(target: Path, from_scratch: bool) -> int:
    """Start to translate; return the number of the process."""
    command = ["translate", "model", "big.txt", "-o", str(target), "-q"]
    if pid := os.fork():
        return pid
    if from_scratch:
        os.execv(sys.executable, [sys.executable, "-m", "tfcli", *command])
    os._exit(tfcli(command))


def wait_for_more(pid: int, target: Path, done: int) -> float:
    """Wait until more lines are done or the process has ended; return how many seconds it took."""
    start_time = time.monotonic()
    while lines_done(target) <= done and not has_ended(pid):
        time.sleep(0.01)
    return time.monotonic() - start_time


def has_ended(pid: int) -> bool:
    """Tell whether a process has ended, leaving its status to be asked for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def kill(whole: Path, target: Path, args: argparse.Namespace, first: float) -> int:
    """Kill so often; return how many things went wrong. `first` is how long a first window takes."""
    rng = random.Random(args.seed)
    killed = finished = mismatches = half_written = lost = 0
    window_seconds = first / 2
    while killed < args.kills or not finished or target.exists():
        done = lines_done(target)
        pid = start(target, args.exec)
        if killed >= args.kills:
            pass  # this one may end
        elif rng.randrange(5) == 0:
            time.sleep(rng.uniform(0, first))
        else:
            first = wait_for_more(pid, target, done)
            time.sleep(rng.uniform(0, 2 * window_seconds))
        if killed < args.kills and not has_ended(pid):
            os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        lost += lines_done(target) < done
        if os.WIFSIGNALED(status):
            killed += 1
            half_written += target.exists() and target.read_bytes() != whole.read_bytes()
            print(f"kill {killed}: {lines_done(target):,} lines done", flush=True)
            continue
        finished += 1
        mismatches += status != 0 or target.read_bytes() != whole.read_bytes()
        target.unlink(missing_ok=True)
        journal_of(target).unlink(missing_ok=True)
    print(
        f"{killed} kills, {finished} outputs: {mismatches} mismatches, {half_written} half-written under their name, "
        f"{lost} times work was lost"
    )
    return mismatches + half_written + lost


def lines_done(target: Path) -> int:
    """Return how many lines of an output a journal says are done."""
    found = read_journal(journal_of(target))
    return found[1].counts.lines if found and found[1] else 0


if __name__ == "__main__":
    main()
