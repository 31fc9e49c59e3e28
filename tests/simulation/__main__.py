"""`python -m tests.simulation --seeds 200 --jobs 2`: histories from seeds; exit code 1 if an invariant broke."""

import argparse
import os
import sys
import time

if os.environ.get("PYTHONHASHSEED") != "0":
    # The order of sets of strings is part of a history.
    os.execve(
        sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]], os.environ | {"PYTHONHASHSEED": "0"}
    )

from tests.simulation.plan import plan_of
from tests.simulation.world import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="simulate")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--seed")
    parser.add_argument("--kinds", default="")
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()
    kinds = tuple(filter(None, args.kinds.split(",")))
    seeds = [args.seed] if args.seed else [str(n) for n in range(args.first, args.first + args.seeds)]
    failed = 0
    for seed in seeds:
        started = time.perf_counter()
        plan = plan_of(seed, kinds)
        outcome = run(plan)
        took = time.perf_counter() - started
        print(
            f"{seed:>6} {took:6.2f} s  {outcome.simulated_s:8.0f} s simulated {outcome.steps:8} steps {outcome.trace[:8]} "
            f"{'ok' if not outcome.violations else outcome.violations[0][:3000]}",
            flush=True,
        )
        if outcome.violations:
            failed += 1
        if args.seed:
            print(plan)
            print("\n".join(outcome.history))
            print(outcome.counts)
    return 1 if failed else 0


sys.exit(main())
