"""`python -m tests.fuzz`: hostile clients against whole datacenters, then the decoders under a coverage-guided fuzzer.

Exit code 0 only if nothing was found. Standard output is the report, unless `--report` names a file for it.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

import uvloop

from tests.fuzz import decoding
from tests.fuzz.campaign import Campaign
from tests.fuzz.report import Report


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000, help="hostile requests (20,000)")
    parser.add_argument("--seconds", type=float, default=600.0, help="for them, at most (600)")
    parser.add_argument("--decoder-seconds", type=int, default=2, help="for each decoder; 0 leaves them out (2)")
    parser.add_argument("--jobs", type=int, default=2, help="decoders at a time (2)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, help="a file for the report, JSON")
    args = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="planb-fuzz-") as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        report = runner.run(run(Path(folder), args))
    text = json.dumps(report.document(), indent=1)
    if args.report:
        args.report.write_text(text + "\n")
    else:
        print(text)
    found, inputs = len(report.findings), sum(report.decoders.values())
    print(
        f"{report.requests} requests in {report.seconds:.0f} s, {inputs} inputs of decoders: {found} findings",
        file=sys.stderr,
    )
    return int(found > 0)


async def run(folder: Path, args: argparse.Namespace) -> Report:
    report = await Campaign(folder / "planet", args.seed, args.requests, args.seconds).run()
    if args.decoder_seconds and decoding.GUIDED:
        told = await decoding.run(folder / "decoders", args.decoder_seconds, args.jobs, args.seed)
        for name, one in told.items():
            report.decoders[name] = one["executed"]
            if one["broken"]:
                report.found(f"the decoder {name}: {one['broken']['said']}", bytes.fromhex(one["broken"]["input"]))
    return report


if __name__ == "__main__":
    sys.exit(main())
