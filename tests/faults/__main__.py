"""`python -m tests.faults --cycles 1000`: cycles of kill, freeze, cut and starve on real datacenters, a new planet
every few of them; exit code 1 if a promise was broken, or something did not come back.

--each 50        cycles in the life of one planet
--first N        the first planet's seed
--cover          exit code 1 as well if a kind of fault never fired
--logs PREFIX    where the processes' logs of a planet that did not come back are kept, by its seed
--report FILE    the figures, as JSON; kept after each planet
"""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.faults.kinds import KINDS
from tests.faults.run import live

SUMMED = ("writes", "tries", "reads", "recalls")


def main(argv: Sequence[str]) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--cycles", type=int, default=30)
    parser.add_argument("--each", type=int, default=50)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--cover", action="store_true")
    parser.add_argument("--report", type=Path)
    parser.add_argument("--logs", default=str(Path(tempfile.gettempdir()) / "planb-faults-logs"))
    args = parser.parse_args(argv)
    sums: Counter[str] = Counter()
    fired: Counter[str] = Counter({kind.__name__: 0 for kind in KINDS})
    failed: dict[str, list[str]] = {}
    left, seed = args.cycles, args.first
    while left > 0:
        faults = min(left, args.each)
        try:
            with tempfile.TemporaryDirectory(prefix="planb-faults-") as folder:
                try:
                    judged = asyncio.run(live(Path(folder), str(seed), faults))
                except BaseException:
                    _keep_logs(Path(folder), Path(f"{args.logs}-{seed}"))
                    raise
        except Exception as error:  # what did not come back is what this looks for; the next planet is another one
            traceback.print_exc()
            failed[str(seed)] = [f"{type(error).__name__}: {error}"]
        else:
            fired.update(judged.fired)
            sums.update({name: getattr(judged, name) for name in SUMMED})
            if judged.violations:
                failed[str(seed)] = judged.violations
        sums["planets"] += 1
        left, seed = left - faults, seed + 1
        print(f"planet {seed - 1}: {'; '.join(failed.get(str(seed - 1), []))[:2_000] or 'ok'}", flush=True)
        if args.report:
            args.report.write_text(json.dumps({"fired": fired, **sums, "failed": failed}))
    silent = [kind for kind, times in fired.items() if not times]
    print(f"{fired.total()} faults, {dict(sums)}; never fired: {', '.join(silent) or 'none'}")
    return 1 if failed or (args.cover and silent) else 0


def _keep_logs(folder: Path, kept: Path) -> None:
    """What its processes had said."""
    kept.mkdir(parents=True, exist_ok=True)
    for log in folder.glob("*/*.log"):
        shutil.copy(log, kept / f"{log.parent.name}-{log.name}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
