"""Training speed and memory on the reference load, tfcli and peers in turn, in one run.

    python benchmarks/train_cpu.py --hf PYTHON [--rounds 2] [--seconds 60] [--tfcli-set KEY=VALUE]

1. `tfcli tokenize benchmarks/reference.yaml` makes pieces and ids; the peers get the very same ids.
2. Round after round, each program trains for so many seconds after a warm-up of ten updates, two threads each.
3. Before and after each, the machine's own rate of matrix products is measured: it tells how busy the neighbours are.

Rates are in target pieces that are no padding, end marks included. PYTHON is an interpreter whose environment holds
torch and transformers.
"""

import argparse
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
WARM_UP_STEPS = 10
THREADS = "2"
PRODUCT = """
import json, sys, time, torch
torch.set_num_threads(2)
rates = {}
for name, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
    a, b = torch.randn(4096, 256).to(kind), torch.randn(256, 1024).to(kind)
    seconds = []
    for _ in range(25):
        start = time.perf_counter(); a @ b; seconds.append(time.perf_counter() - start)
    rates[name] = 2 * 4096 * 256 * 1024 / sorted(seconds)[12] / 1e9
json.dump(rates, sys.stdout)
"""


def main() -> None:
    """Measure and print a table, then everything as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hf", metavar="PYTHON")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--tfcli-set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        prepare(work)
        commands = {"tfcli": tfcli_command(work, args.tfcli_set)}
        for precision in precisions() if args.hf else ():
            script = HERE / "peers" / "hf_marian.py"
            commands[f"hf {precision}"] = [args.hf, script, work / "ids.json", precision]
        results = []
        for number in range(args.rounds):
            for name, command in commands.items():
                before = products()
                found = measure(name, command, work, args.seconds)
                found |= {"round": number + 1, "gflops_before": before, "gflops_after": products()}
                results.append(found)
                print(row(found), flush=True)
    print(json.dumps(results, indent=1))


def prepare(work: Path) -> None:
    """Encode the reference corpus and write its ids for the peers."""
    subprocess.run(
        [sys.executable, "-m", "tfcli", "tokenize", HERE / "reference.yaml", "--out", work / "run", "-q"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    from tfcli.corpus.shards import ParallelIds

    pairs = ParallelIds.open(work / "run" / "corpus" / "train")
    ids = [[pairs.src(i).tolist(), pairs.tgt(i).tolist()] for i in range(len(pairs))]
    (work / "ids.json").write_text(json.dumps(ids))


def tfcli_command(work: Path, changes: list[str]) -> list[object]:
    """Return the command that trains with tfcli."""
    options = [word for change in changes for word in ("--set", change)]
    return [
        sys.executable,
        "-m",
        "tfcli",
        "train",
        HERE / "reference.yaml",
        "--out",
        work / "run",
        "--fresh",
        "-q",
        *options,
    ]


def precisions() -> tuple[str, ...]:
    """Return what is worth measuring: without products in hardware, bf16 is several times slower than fp32."""
    import torch

    from tfcli.model.precision import has_native_bf16

    return ("fp32", "bf16") if has_native_bf16(torch.device("cpu")) else ("fp32",)


def measure(
    name: str, command: list[object], work: Path, seconds: float, spin_count: str | None = "20000"
) -> dict[str, Any]:
    """Run a program until it has trained for so long after its warm-up, and return what was seen.

    Every program gets the bound on spinning that tfcli sets for itself, unless `spin_count` is None.
    """
    log = work / "steps"
    metrics = work / "run" / "metrics.jsonl" if name == "tfcli" else log
    for path in (metrics, log):
        path.unlink(missing_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": THREADS, "STEPLOG": str(log)}
    environment |= {} if spin_count is None else {"GOMP_SPINCOUNT": spin_count}
    start_time = time.time()
    with subprocess.Popen(
        list(map(str, command)), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        steps: list[tuple[float, int]] = []
        peak = cpu = 0.0
        first = None
        while process.poll() is None:
            time.sleep(0.5)
            steps = read_steps(metrics)
            peak, cpu = usage(process.pid, peak, cpu)
            if steps and first is None:
                first = time.time() - start_time
            if len(steps) > WARM_UP_STEPS and steps[-1][0] - steps[WARM_UP_STEPS - 1][0] >= seconds:
                process.send_signal(signal.SIGTERM)
                process.wait(60)
                break
        else:
            sys.exit(
                f"{name} ended early: {process.stderr.read().decode()[-2000:] if process.stderr else ''}"
            )
    kept = steps[WARM_UP_STEPS - 1 :]
    spans = [(b[0] - a[0], b[1]) for a, b in itertools.pairwise(kept)]
    return {
        "name": name,
        "tokens_per_second": sum(n for _, n in spans) / sum(s for s, _ in spans),
        "median_tokens_per_second": statistics.median(n / s for s, n in spans),
        "updates": len(spans),
        "tokens_per_update": sum(n for _, n in spans) / len(spans),
        "first_update_seconds": first,
        "peak_mib": peak,
        "cpu_seconds_per_wall_second": cpu / (time.time() - start_time),
    }


def read_steps(path: Path) -> list[tuple[float, int]]:
    """Return (time, tokens of the update) of every line that is whole; tfcli logs time and tokens since its start."""
    if not path.is_file():
        return []
    steps: list[tuple[float, int]] = []
    total = 0
    for line in path.read_text().split("\n")[:-1]:
        values = json.loads(line)
        if "elapsed_seconds" in values:
            steps.append((values["elapsed_seconds"], values["tokens"] - total))
            total = values["tokens"]
        else:
            steps.append((values["time"], values["tokens"]))
    return steps


def usage(pid: int, peak: float, cpu: float) -> tuple[float, float]:
    """Return the largest resident size in MiB and the CPU seconds of a process and its children so far."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return peak, cpu
    largest = next((int(line.split()[1]) for line in status.split("\n") if line.startswith("VmHWM")), 0)
    return max(peak, largest / 1024), sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def products() -> dict[str, float]:
    """Return the rate of matrix products of the machine as it is now, in GFLOP/s."""
    done = subprocess.run([sys.executable, "-c", PRODUCT], check=True, capture_output=True, text=True)
    return {name: round(rate) for name, rate in json.loads(done.stdout).items()}


def row(found: dict[str, object]) -> str:
    """Return a line for readers."""
    return (
        f"round {found['round']}  {found['name']:8}  {found['tokens_per_second']:7,.0f} target tokens/s "
        f"(median {found['median_tokens_per_second']:,.0f})  {found['updates']} updates  "
        f"{found['peak_mib']:,.0f} MiB  first update {found['first_update_seconds']:.1f} s  "
        f"products {found['gflops_before']} {found['gflops_after']} GFLOP/s"
    )


if __name__ == "__main__":
    main()
