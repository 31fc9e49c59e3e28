"""Ways to break something of a running planet for a moment, as a seed says. Whatever ends is left to the supervisor."""

import asyncio
import os
import random
import resource
import signal
from collections import Counter
from collections.abc import Awaitable, Callable

import redis.asyncio as redis

from cli.links import CHUNK_BYTES, Link
from cli.planet import Planet, Site
from cli.servers import Child

MOMENT_S = (0.2, 3.0)
"""How long a fault lasts: also longer than the log may take to answer."""
PAUSE_S_MAX = 0.5
"""Between two faults: the next may meet the last one's recovery."""


class OneWayLink(Link):
    """A link of which one direction may be silent: its bytes wait, as those of a network without a way back do."""

    def __init__(self, link: Link) -> None:
        super().__init__(link.source, link.target, link.port, link._target_port)
        self.ways = {"there": asyncio.Event(), "back": asyncio.Event()}
        for way in self.ways.values():
            way.set()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = writer.get_extra_info("peername")[1] == self._target_port
        way = self.ways["there" if there else "back"]
        while data := await reader.read(CHUNK_BYTES):
            await way.wait()
            writer.write(data)
            await writer.drain()


def with_one_way_links(planet: Planet) -> Planet:
    """Before it is started."""
    planet.links = {pair: OneWayLink(link) for pair, link in planet.links.items()}
    return planet


class Breaking:
    """Every kind comes once before any comes again, in an order of the seed's."""

    def __init__(self, planet: Planet, seed: str) -> None:
        self._planet = planet
        self._rng = random.Random(seed)
        self._bag: list[Callable[[Site], Awaitable[None]]] = []
        self.fired: Counter[str] = Counter()
        self.kinds: tuple[Callable[[Site], Awaitable[None]], ...] = (
            self.process_killed,
            self.log_killed,
            self.hot_store_killed,
            self.both_stores_killed,
            self.whole_datacenter_killed,
            self.process_frozen,
            self.log_frozen,
            self.hot_store_frozen,
            self.link_cut,
            self.link_without_a_way_there,
            self.link_without_a_way_back,
            self.no_more_files,
            self.hot_store_without_memory,
            self.log_without_memory,
        )

    async def next(self) -> str:
        """One fault, to its end; what it was."""
        if not self._bag:
            self._bag = list(self.kinds)
            self._rng.shuffle(self._bag)
        kind = self._bag.pop()
        site = self._planet.site(self._rng.choice(sorted(self._planet.sites)))
        await kind(site)
        self.fired[kind.__name__] += 1
        await asyncio.sleep(self._rng.uniform(0, PAUSE_S_MAX))  # between two faults, not a condition
        return f"{kind.__name__} in {site.name}"

    async def _moment(self) -> None:
        await asyncio.sleep(self._rng.uniform(*MOMENT_S))  # the fault itself

    # -- kill -9

    async def process_killed(self, site: Site) -> None:
        site.process.kill()

    async def log_killed(self, site: Site) -> None:
        site.log.kill()

    async def hot_store_killed(self, site: Site) -> None:
        site.hot.kill()

    async def both_stores_killed(self, site: Site) -> None:
        site.log.kill()
        site.hot.kill()

    async def whole_datacenter_killed(self, site: Site) -> None:
        for child in site.children:
            child.kill()

    # -- SIGSTOP

    async def process_frozen(self, site: Site) -> None:
        await self._frozen(site.process)

    async def log_frozen(self, site: Site) -> None:
        await self._frozen(site.log)

    async def hot_store_frozen(self, site: Site) -> None:
        await self._frozen(site.hot)

    async def _frozen(self, child: Child) -> None:
        pid = child.pid
        if pid is not None:
            os.kill(pid, signal.SIGSTOP)
            await self._moment()
            os.kill(pid, signal.SIGCONT)

    # -- links

    async def link_cut(self, site: Site) -> None:
        other = self._other(site)
        self._planet.cut(site.name, other)
        await self._moment()
        self._planet.heal(site.name, other)

    async def link_without_a_way_there(self, site: Site) -> None:
        await self._silent(site, "there")

    async def link_without_a_way_back(self, site: Site) -> None:
        await self._silent(site, "back")

    async def _silent(self, site: Site, way: str) -> None:
        link = self._planet.links[site.name, self._other(site)]
        assert isinstance(link, OneWayLink)
        link.ways[way].clear()
        await self._moment()
        link.ways[way].set()

    def _other(self, site: Site) -> str:
        return self._rng.choice(sorted(self._planet.sites.keys() - {site.name}))

    # -- nothing left

    async def no_more_files(self, site: Site) -> None:
        """The process has as many open as it may have."""
        pid = site.process.pid
        if pid is None:
            return
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{pid}/fd")), before[1]))
        await self._moment()
        if site.process.pid == pid:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)

    async def hot_store_without_memory(self, site: Site) -> None:
        await self._without_memory(site.ports.hot)

    async def log_without_memory(self, site: Site) -> None:
        await self._without_memory(site.ports.log)

    async def _without_memory(self, port: int) -> None:
        """Nothing is evicted, and every write is refused."""
        async with redis.Redis(port=port) as server:
            try:
                await server.config_set("maxmemory", "1mb")
                await self._moment()
                await server.config_set("maxmemory", "0")
            except redis.ConnectionError:
                pass  # it is being started again, without the limit
