"""All kinds of faults. What a kind takes away it gives back at its end; what died of it the supervisor starts."""

import asyncio
import contextlib
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator

import redis.asyncio as redis

from cli.servers import Child, listening
from cli.waiting import until
from core.errors import Unavailable
from tests.faults.breaking import Kind, NotNow, Place
from tests.faults.toxic_link import BACK, THERE
from tests.support.processes import second_process

STARTS_S_MAX = 20.0
SHORT_OF_BYTES = 4_096
"""No file grows beyond it while there is no space."""
WRONG_MS = (-3_600_000, -30_000, -1_000, 600, 2_000, 30_000, 3_600_000)
"""Clocks that are off: by little more than may be, by less than a signature may be old, by more."""

# -- kill -9


async def process_killed(at: Place) -> None:
    at.site.process.kill()


async def log_killed(at: Place) -> None:
    at.site.log.kill()


async def hot_store_killed(at: Place) -> None:
    at.site.hot.kill()


async def both_stores_killed(at: Place) -> None:
    at.site.log.kill()
    at.site.hot.kill()


async def whole_datacenter_killed(at: Place) -> None:
    for child in at.site.children:
        child.kill()


async def snapshot_killed(at: Place) -> None:
    """The operator's process, in the midst of one."""
    command = (sys.executable, "-m", "cli.main", "snapshot", "create", "--config", str(at.site.settings), "--json")
    snapshot = Child(f"{at.site.name} snapshot", command, at.site.home / "snapshot.log")
    snapshot.start()
    await at.moment()
    snapshot.kill()


async def process_told_to_go(at: Place) -> None:
    """SIGTERM, as an upgrade does it, and kill -9 while it still answers what is under way."""
    pid = _pid(at.site.process)
    os.kill(pid, signal.SIGTERM)
    await asyncio.sleep(at.rng.uniform(0, 0.2))  # somewhere in its end
    at.site.process.kill()


# -- SIGSTOP


async def process_frozen(at: Place) -> None:
    await _frozen(at, at.site.process)


async def log_frozen(at: Place) -> None:
    await _frozen(at, at.site.log)


async def hot_store_frozen(at: Place) -> None:
    await _frozen(at, at.site.hot)


async def process_wakes_up_as_a_zombie(at: Place) -> None:
    """Frozen until another process has taken its lane: there are no leases that it could outlast, the log is the
    fence."""
    pid = _pid(at.site.process)
    second, port = second_process(at.site, at.site.home)
    os.kill(pid, signal.SIGSTOP)
    try:
        second.start()
        try:
            await listening(second, port)
        except Unavailable as error:
            raise NotNow from error
        await at.moment()
    finally:
        with contextlib.suppress(ProcessLookupError):  # the supervisor's, if it was killed while frozen
            os.kill(pid, signal.SIGCONT)
        await asyncio.sleep(at.rng.uniform(0, 1))  # both believe to be the one
        second.kill()


async def _frozen(at: Place, child: Child) -> None:
    pid = _pid(child)
    os.kill(pid, signal.SIGSTOP)
    await at.moment()
    os.kill(pid, signal.SIGCONT)


# -- links


async def link_cut(at: Place) -> None:
    other = at.other
    at.planet.cut(at.site.name, other)
    await at.moment()
    at.planet.heal(at.site.name, other)


async def datacenter_cut_off(at: Place) -> None:
    """From all others."""
    others = at.planet.sites.keys() - {at.site.name}
    for other in others:
        at.planet.cut(at.site.name, other)
    await at.moment()
    for other in others:
        at.planet.heal(at.site.name, other)


async def link_without_a_way_there(at: Place) -> None:
    await _silent(at, THERE)


async def link_without_a_way_back(at: Place) -> None:
    await _silent(at, BACK)


async def _silent(at: Place, way: str) -> None:
    link = at.link
    link.ways[way].clear()
    await at.moment()
    link.ways[way].set()


async def link_slow(at: Place) -> None:
    link = at.link
    link.latency_s = at.rng.uniform(0.05, 1.0)
    await at.moment()
    link.latency_s = 0.0


async def link_narrow(at: Place) -> None:
    link = at.link
    link.bytes_per_s = at.rng.uniform(1_000, 50_000)
    await at.moment()
    link.bytes_per_s = 0.0


async def link_reset(at: Place) -> None:
    await _to_connections(at, at.link.reset)


async def link_half_open(at: Place) -> None:
    """Its connections carry nothing more and are never closed."""
    await _to_connections(at, at.link.half_open)


async def _to_connections(at: Place, fault: Callable[[], int]) -> None:
    """There is one as soon as a pull is under way."""

    async def met() -> bool:
        return fault() > 0

    if not await until(met, STARTS_S_MAX):
        raise NotNow


# -- nothing left


async def no_more_files(at: Place) -> None:
    """The process has as many open as it may have."""
    pid = _pid(at.site.process)
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{pid}/fd")), before[1]))
    await at.moment()
    _give_back(at.site.process, pid, resource.RLIMIT_NOFILE, before)


async def log_without_space(at: Place) -> None:
    """Its small disk is full; where none could be mounted, its file may not grow."""
    disk = at.disks.get(at.site.name)
    if disk is None:
        await _may_not_grow(at, at.site.log)
        return
    filler = disk / "filler"
    try:
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):  # "No space left" ends it
            while True:
                file.write(bytes(1 << 16))
        await at.moment()
    finally:
        filler.unlink()


async def sqlite_without_space(at: Place) -> None:
    await _may_not_grow(at, at.site.process)


async def _may_not_grow(at: Place, child: Child) -> None:
    pid = _pid(child)
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (SHORT_OF_BYTES, before[1]))
    await at.moment()
    _give_back(child, pid, resource.RLIMIT_FSIZE, before)


def _give_back(child: Child, pid: int, what: int, before: tuple[int, int]) -> None:
    if child.pid == pid:  # else it died of it, and what was started since has no such bound
        resource.prlimit(pid, what, before)


async def hot_store_without_memory(at: Place) -> None:
    await _without_memory(at, at.site.ports.hot)


async def log_without_memory(at: Place) -> None:
    await _without_memory(at, at.site.ports.log)


async def _without_memory(at: Place, port: int) -> None:
    """Nothing is evicted, and every write is refused."""
    async with redis.Redis(port=port) as server:
        try:
            await server.config_set("maxmemory", "1mb")
        except redis.ConnectionError as error:
            raise NotNow from error
        await at.moment()
        with contextlib.suppress(redis.ConnectionError):  # it was started again, without the bound
            await server.config_set("maxmemory", "0")


# -- time


async def clock_moved(at: Place) -> None:
    clock = at.clocks[at.site.name]
    clock.set(at.rng.choice(WRONG_MS))
    await at.moment()
    clock.set(0)


def _pid(child: Child) -> int:
    if child.pid is None:
        raise NotNow
    return child.pid


def _all() -> Iterator[Kind]:
    for name, found in globals().items():
        if asyncio.iscoroutinefunction(found) and not name.startswith("_") and found.__module__ == __name__:
            yield found


KINDS: tuple[Kind, ...] = tuple(_all())
"""In the order in which they stand above."""
