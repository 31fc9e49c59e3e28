"""`make bench`: what the platform costs on this machine. A table on stderr; with --json one object on stdout."""

import argparse
import asyncio
import json
import sys

import uvloop

from bench import messages
from bench.world import world

SECONDS, SECONDS_QUICK = 6.0, 1.5


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def _messages(names: tuple[str, ...], seconds: float) -> list[messages.Figures]:
    found = []
    async with world(names, max(messages.CLIENTS)) as made:
        for clients in messages.CLIENTS:
            found.append(await messages.measure(made, clients, seconds))
            _say(f"· {clients} clients, {len(names)} DC: done")
        found.append(await messages.measure(made, 16, seconds, batch=messages.BATCH))
    return found


async def run(args: argparse.Namespace) -> dict[str, object]:
    """All phases."""
    seconds = SECONDS_QUICK if args.quick else SECONDS
    found = [*await _messages(("fra",), seconds), *await _messages(("fra", "iad", "nrt"), seconds)]
    _say("\n" + messages.show(found))
    return {"messages": found}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--quick", action="store_true", help="short phases: under a minute")
    args = parser.parse_args()
    found = uvloop.run(run(args)) if sys.platform == "linux" else asyncio.run(run(args))
    if args.json:
        print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
