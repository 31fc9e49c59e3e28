"""How fast a datacenter that was cut off catches up: a backlog through /sys/v1/replay, like every replayed event."""

import asyncio
import time
from collections.abc import Collection

from bench import cpu
from bench.load import Load
from bench.report import number, table
from bench.world import World
from cli.planet import WAYS
from cli.sys_client import SysClient

BATCH = 100
WRITERS = 8
LOAD_S_MAX = 40.0
CATCH_UP_S_MAX = 90.0
POLL_S = 0.02
BEGUN, DONE = 0.1, 0.9
"""The part of the backlog over which the rate is taken: neither finding the link again nor the last bit."""

Figures = dict[str, object]


async def measure(world: World, backlog: int, ways: Collection[str] = WAYS) -> Figures:
    """Cuts the last DC off, writes `backlog` messages at the first, heals, and watches. `ways`: those that are healed
    before it has caught up."""
    home, away = world.names[0], world.names[-1]
    for name in world.names[:-1]:
        world.planet.cut(name, away)
    load = Load(
        world.home.ports.public, world.pairs(WRITERS), LOAD_S_MAX, warm_s=0, batch=BATCH, messages_max=backlog
    )  # fmt: skip
    await world.load(load)
    async with world.sys(home) as sys, world.sys(away) as far:
        status = await sys.call("GET", "/sys/v1/status")
        (lane,) = status["lanes"]
        begin, end = await _applied(far, lane), int(status["durable"][lane])
        pids = world.pids((away,))
        before, healed = cpu.read(pids), time.perf_counter()
        for name in world.names[:-1]:
            world.planet.heal(name, away, ways)
        moments = await _watch(far, lane, begin, end)
        used = cpu.spent(before, cpu.read(pids))
    for name in world.names[:-1]:
        world.planet.heal(name, away)
    count = end - begin
    (first_at, first), (last_at, last) = moments[0], moments[-1]
    return {
        "events": count,
        "events_s": (last - first) / max(last_at - first_at, 1e-9),
        "measured_events": last - first,
        "caught_up_s": last_at - healed,
        "cpu_us": {part: 1e6 * seconds / count for part, seconds in used.items()},
    }


async def _applied(sys: SysClient, lane: str) -> int:
    return int((await sys.call("GET", "/sys/v1/status"))["applied"].get(lane, 0))


async def _watch(sys: SysClient, lane: str, begin: int, end: int) -> list[tuple[float, int]]:
    """(when, applied) at the first look after BEGUN and at the first after DONE, which may be the end itself."""
    deadline = time.perf_counter() + CATCH_UP_S_MAX
    moments: list[tuple[float, int]] = []
    while True:
        at, now = await _applied(sys, lane), time.perf_counter()
        if not moments and at > begin + BEGUN * (end - begin):
            moments.append((now, at))
        if at >= end:
            moments.append((now, at))
            return moments
        if now > deadline:
            raise TimeoutError(f"{at} of {end} events after {CATCH_UP_S_MAX:.0f} s")
        await asyncio.sleep(POLL_S)  # a condition, with a deadline


def show(found: Figures) -> str:
    """The table."""
    used = found["cpu_us"]
    assert isinstance(used, dict)
    cells = [found["events"], found["events_s"], found["caught_up_s"], *used.values()]
    head = ("replay", "events", "events/s", "all after s", *(f"{part} µs" for part in used))
    row = ("a DC that was cut off", *(number(float(str(cell))) for cell in cells))
    return table("Catching up by /sys/v1/replay", head, [row])
