"""Whether a training that is killed at random instants comes to the same bytes; exits 1 when it does not.

    python benchmarks/kills.py [--kills 200] [--seed 1]

1. A network of a few thousand weights is trained for 200 steps, with dropout, accumulation, a moving average of the
   weights, validations, and checkpoints that are averaged in the end.
2. The same training is started again and again in another folder, and killed with SIGKILL: in each phase, before
   operations on files, and as the command that users type. When it is nearly done, its end is killed as well.
3. Once it has ended, its weights, random numbers, states and metrics are compared with those of 1. Then the next run.

The instants are drawn from the seed; what they meet depends on the machine as well, and is counted.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.killed_runs import Campaign


def main() -> int:
    """Kill, compare, and print what was hit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    start_time = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="tfcli-kills-") as name:
        campaign = Campaign(Path(name), args.seed)
        campaign.go(args.kills, commands=args.kills // 10)
    for hit, count in campaign.hits.most_common():
        print(f"{hit:24}{count:5}")
    for mismatch in campaign.mismatches:
        print(f"MISMATCH {mismatch}")
    print(
        f"seed {args.seed}: {campaign.kills} kills in {campaign.rounds} runs, {len(campaign.mismatches)} mismatches, "
        f"{time.perf_counter() - start_time:.0f} s"
    )
    return 1 if campaign.mismatches else 0


if __name__ == "__main__":
    sys.exit(main())
