"""`make bench`: what the platform costs on this machine. Tables on stderr; with --json one object on stdout."""

import argparse
import json
import os
import sys
from typing import NamedTuple

import uvloop

from bench import delivery, lag, messages, reads, real, replay, snapshots, stages
from bench.world import World, idle, world
from cli import engines

ONE = ("fra",)
TWO, THREE = ("fra", "iad"), ("fra", "iad", "nrt")
USERS = 200


class Size(NamedTuple):
    """How much is measured."""

    seconds: float
    """Of each phase under load."""
    backlog: int
    """Messages that a DC has missed."""


FULL = Size(6.0, 20_000)
QUICK = Size(0.6, 2_000)

Figures = dict[str, object]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def _messages(made: World, size: Size) -> list[Figures]:
    found = [await messages.measure(made, clients, size.seconds) for clients in messages.CLIENTS]
    return [*found, await messages.measure(made, 16, size.seconds, batch=messages.BATCH)]


async def _one(size: Size) -> Figures:
    async with world(ONE, USERS) as made:
        say("· one datacenter")
        found: Figures = {"idle": await idle(made), "messages": await _messages(made, size)}
        say("· websockets")
        found["delivery"] = await delivery.measure(made, size.seconds)
        say("· snapshot and restore")
        found["snapshot"] = await snapshots.measure(made)
    return found


async def _three(size: Size) -> Figures:
    async with world(THREE, USERS) as made:
        say("· three datacenters")
        found: Figures = {"idle": await idle(made), "messages": await _messages(made, size)}
        await made.settled()
        say("· lag")
        found["lag"] = await lag.measure(made, size.seconds)
        say("· a datacenter is cut off and catches up")
        found["replay"] = await replay.measure(made, size.backlog)
    return found


async def _stages(size: Size) -> Figures:
    found = await stages.measure()
    async with world(ONE, USERS) as made:
        loaded = await messages.measure(made, USERS, size.seconds)
    parts = loaded["cpu_us"]
    assert isinstance(parts, dict)
    say(stages.show(found, {part: parts[f"{ONE[0]} {part}"] for part in ("api", "log", "hot")}))
    return {"stages": found, "message": loaded}


async def _real(size: Size) -> Figures:
    provider = engines.provider("real", 0.0)
    async with world(TWO, USERS, provider) as made:
        say("· two datacenters on real servers")
        found: Figures = {"idle": await idle(made), "messages": await _messages(made, size)}
        found |= await real.measure(made, size.seconds, size.backlog, say)
    say("\n" + real.show(found))
    return {"real": found}


async def _reads(quick: bool) -> Figures:
    async with world(ONE, 2) as made:
        found = await reads.measure(made, reads.QUICK if quick else reads.FULL, say)
    say("\n" + reads.show(found))
    return {"reads": found}


async def run(args: argparse.Namespace) -> Figures:
    """What was asked for."""
    size = QUICK if args.quick else FULL
    found: Figures = {"cores": os.cpu_count(), "quick": args.quick, "load_average_before": os.getloadavg()[0]}
    busy = found["load_average_before"]
    say(f"· {found['cores']} cores, load average {busy:.1f}: what else runs here slows the wall figures down")
    if args.stages:
        return found | await _stages(size)
    if args.reads:
        return found | await _reads(args.quick)
    if args.engines == "real":
        return found | await _real(size)
    one, three = await _one(size), await _three(size)
    shown = (
        messages.show([*one["messages"], *three["messages"]]),  # type: ignore[misc]
        delivery.show(one["delivery"]),  # type: ignore[arg-type]
        lag.show(three["lag"], THREE[0]),  # type: ignore[arg-type]
        replay.show(three["replay"]),  # type: ignore[arg-type]
        snapshots.show(one["snapshot"]),  # type: ignore[arg-type]
    )
    say("\n" + "\n\n".join(shown))
    return found | {"one": one, "three": three}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--quick", action="store_true", help="short phases: a first look")
    parser.add_argument("--stages", action="store_true", help="instead: where a message's CPU goes")
    parser.add_argument("--reads", action="store_true", help="instead: dialogs and history among 10,000,000 messages")
    parser.add_argument("--engines", choices=("own", "real"), default="own", help="real: instead, two DCs on servers")
    args = parser.parse_args()
    found = uvloop.run(run(args))
    if args.json:
        print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
