"""How long a message takes to people in another datacenter: from its request to its frame on their websockets."""

from collections.abc import Sequence

from bench.load import Load
from bench.report import number, table
from bench.world import World

RATE_S = 200
SENDERS = 120
"""So many that the rate is kept although each waits for its answer: 200/s at up to 600 ms."""
LISTENERS = 16
"""Websockets in each DC; both ends of a conversation listen."""

Figures = dict[str, object]


async def measure(world: World, seconds: float) -> list[Figures]:
    """At a modest rate, and with as many messages as the first DC takes from 200 clients."""
    found = []
    for rate in (RATE_S, 0):
        found.append(await at_rate(world, seconds, rate))
        await world.settled()
    return found


async def at_rate(world: World, seconds: float, rate: float) -> Figures:
    """Messages a second; 0: as many as are taken."""
    senders = world.pairs(SENDERS if rate else len(world.tokens))
    listeners = [one for name in world.names for one in world.listeners(name, LISTENERS)]
    load = Load(world.home.ports.public, senders, seconds, rate_s=rate, listeners=listeners)
    done = await world.load(load)
    return {
        "wanted_rate_s": rate,
        "rate_s": done.messages / done.seconds,
        "late": done.late,
        "failures": done.failures,
        "to": {
            name: {"samples": one.count, "p50_ms": one.p50_ms, "p99_ms": one.p99_ms} for name, one in done.heard.items()
        },
    }


def show(found: Sequence[Figures], home: str) -> str:
    """The table."""
    rows = []
    for one in found:
        to = one["to"]
        assert isinstance(to, dict)
        for name, heard in to.items():
            label = f"{home} → {name}, " + (f"{one['wanted_rate_s']}/s" if one["wanted_rate_s"] else "full load")
            cells = (one["rate_s"], one["late"], heard["p50_ms"], heard["p99_ms"], heard["samples"])
            rows.append((label, *(number(float(str(cell))) for cell in cells)))
    return table(
        "From a message's request to a websocket", ("lag", "msg/s", "not sent", "p50 ms", "p99 ms", "samples"), rows
    )
