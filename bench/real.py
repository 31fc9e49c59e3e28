"""Two datacenters on real servers: what goes through Pulsar, how fast, and what it costs.

Records get from one to the other by pulling and by Pulsar's replication; where it matters one of the two is cut.
"""

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Any

from bench import event_logs, lag, replay
from bench.load import Load
from bench.pulsar_lag import Probe
from bench.report import number, table
from bench.world import World
from cli import settings as configuration
from cli.planet import FEED, PULL, WAYS

Figures = dict[str, Any]
BY: dict[str, Collection[str]] = {"both ways": WAYS, "Pulsar alone": (FEED,), "pulling alone": (PULL,)}
BATCH, WRITERS = 100, 8
LOAD_S_MAX = 120.0
SETTLE_S_MAX = 180.0


async def measure(world: World, seconds: float, backlog: int, say: Callable[[str], None]) -> Figures:
    """All but what a message costs."""
    say("· the log alone")
    found: Figures = {"log": await _log(world)}
    say("· end to end")
    found["end_to_end"] = await _end_to_end(world, backlog)
    say("· lag")
    found["lag"] = await _lag(world, seconds)
    found["replay"] = {}
    for name, ways in BY.items():
        say(f"· a datacenter is cut off and catches up, {name}")
        found["replay"][name] = await replay.measure(world, backlog, ways)
        await world.settled(SETTLE_S_MAX)
    return found


async def _log(world: World) -> Figures:
    """Of the first datacenter's Pulsar, in a tenant of its own."""
    stores = configuration.load(world.home.settings).stores
    return await event_logs.measure(f"{stores.log_url},{stores.pulsar.admin_url}")


async def _end_to_end(world: World, count: int) -> Figures:
    """From the first request until both datacenters have applied all."""
    load = Load(
        world.home.ports.public, world.pairs(WRITERS), LOAD_S_MAX, warm_s=0, batch=BATCH, messages_max=count
    )  # fmt: skip
    begun_s = time.perf_counter()
    done = await world.load(load)
    await world.settled(SETTLE_S_MAX)
    took_s = time.perf_counter() - begun_s
    return {"messages": done.messages, "accepted_s": done.messages / done.seconds, "rate_s": done.messages / took_s}


async def _lag(world: World, seconds: float) -> Figures:
    """At a modest rate; and Pulsar's own at the same time. In a full run it takes as long as the newest events last
    whose lag a datacenter knows."""
    here, there = world.names
    seconds *= 2
    probe = Probe(world.home, world.planet.site(there))
    await probe.open()
    found: Figures = {}
    try:
        for name, ways in BY.items():
            cut = set(WAYS) - set(ways)
            world.planet.cut(here, there, cut)
            before = (await _status(world, there))["replication"]["came"]
            if FEED in ways:
                load, own = await asyncio.gather(lag.at_rate(world, seconds, lag.RATE_S), probe.measure(seconds))
            else:
                load, own = await lag.at_rate(world, seconds, lag.RATE_S), None
            status = await _status(world, there)
            world.planet.heal(here, there, cut)
            await world.settled(SETTLE_S_MAX)
            applied, came = status["lag_ms"][here], status["replication"]["came"]
            found[name] = {
                "load": load,
                "applied_ms": applied,
                "pulsar_ms": own and {"samples": own.count, "p50_ms": own.p50_ms, "p99_ms": own.p99_ms},
                "ratio_p50": own and applied["p50_ms"] / own.p50_ms,
                "came": {way: came.get(way, 0) - before.get(way, 0) for way in WAYS},
            }
    finally:
        await probe.close()
    return found


async def _status(world: World, name: str) -> dict[str, Any]:
    async with world.sys(name) as sys:
        return await sys.call("GET", "/sys/v1/status")


# -- shown


def show(found: Figures) -> str:
    """The tables."""
    parts = (_show_cpu, _show_log, _show_end_to_end, _show_lag, _show_replay)
    return "\n\n".join(part(found) for part in parts)


def _show_cpu(found: Figures) -> str:
    rows = []
    home = next(iter(found["messages"][0]["cpu_us"])).split()[0]
    columns = [part for part in found["messages"][0]["cpu_us"] if part.startswith(f"{home} ")]
    for one in found["messages"]:
        label = f"{one['clients']} clients" + (f", batches of {one['batch']}" if one["batch"] else "")
        cells = (one["rate_s"], one["p50_ms"], one["p99_ms"], one["home_us"], one["others_us"])
        used = one["cpu_us"]
        rows.append((label, *map(number, cells), *(number(used[part]) for part in (*columns, "load"))))
    names = [part.split()[1] for part in columns]
    head = (
        "message.send",
        "msg/s",
        "p50 ms",
        "p99 ms",
        "DC µs",
        "other DC µs",
        *(f"{name} µs" for name in names),
        "load",
    )
    return table("CPU per message: of all processes of a DC, and of each of the one that is written to", head, rows)


def _show_log(found: Figures) -> str:
    names = ("records_per_s", "p50_ms", "p99_ms", "cpu_us_per_group", "read_per_s")
    rows = [(label, *(number(one[name]) for name in names)) for label, one in found["log"].items()]
    head = ("Pulsar", "produced/s", "p50 ms", "p99 ms", "CPU µs a group", "read back/s")
    return table("Records through Pulsar alone", head, rows)


def _show_end_to_end(found: Figures) -> str:
    one = found["end_to_end"]
    cells = (one["messages"], one["accepted_s"], one["rate_s"])
    row = (f"batches of {BATCH}", *map(number, cells))
    return table("Until both DCs have applied all", ("end to end", "messages", "accepted/s", "msg/s"), [row])


def _show_lag(found: Figures) -> str:
    rows = []
    for name, one in found["lag"].items():
        own, to = one["pulsar_ms"], one["load"]["to"]
        cells = [heard[which] for heard in (*to.values(), one["applied_ms"]) for which in ("p50_ms", "p99_ms")]
        theirs = [number(own["p50_ms"]), number(own["p99_ms"]), number(one["ratio_p50"])] if own else ["", "", ""]
        rows.append(
            (name, number(one["load"]["rate_s"]), *map(number, cells), *theirs, *map(str, one["came"].values()))
        )
    to = next(iter(found["lag"].values()))["load"]["to"]
    heard = [f"{what} {which} ms" for what in (*to, "applied") for which in ("p50", "p99")]
    head = ("lag", "msg/s", *heard, "Pulsar p50 ms", "p99 ms", "ratio p50", *(f"came by {way}" for way in WAYS))
    title = "From a message's request to a websocket; from its event to its being applied; Pulsar's own lag meanwhile"
    return table(title, head, rows)


def _show_replay(found: Figures) -> str:
    columns = list(next(iter(found["replay"].values()))["cpu_us"])
    rows = [
        (name, *(number(one[key]) for key in ("events", "events_s", "caught_up_s")),
         *(number(one["cpu_us"][part]) for part in columns))
        for name, one in found["replay"].items()
    ]  # fmt: skip
    head = ("replay", "events", "events/s", "all after s", *(f"{part.split()[1]} µs" for part in columns))
    return table("A DC that was cut off catches up; CPU of it per event", head, rows)
