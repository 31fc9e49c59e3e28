"""A datacenter in several processes: one that applies, two for REST on one port, one for streams."""

import asyncio
import sys
from pathlib import Path

from cli import servers
from cli.planet import READY_S_MAX, Planet, Site
from cli.servers import Child, free_ports
from cli.waiting import until
from core.errors import Unavailable
from tests.support.bad_days import RECOVER_S_MAX, status


class RoleSite(Site):
    """`process` is `planb serve sys`; the others are in `edges`."""

    def __init__(self, site: Site) -> None:
        super().__init__(site.name, site.number, site.home, site.ports)
        self.process = self.serve("sys", "sys")
        (self.broker_port,) = free_ports(1)
        self.edges = {
            "api-1": self.serve("api-1", "api"),
            "api-2": self.serve("api-2", "api"),
            "broker": self.serve("broker", "broker", "--port", str(self.broker_port)),
        }

    def serve(self, name: str, *words: str) -> Child:
        """One more process of this datacenter."""
        command = [sys.executable, "-m", "cli.main", "serve", *words, "--config", str(self.settings)]
        return Child(f"{self.name} {name}", command, self.home / f"{name}.log")

    @property
    def children(self) -> tuple[Child, ...]:
        return (*super().children, *self.edges.values())

    async def start(self) -> None:
        """Starts what does not run, and returns when it serves."""
        await self.start_servers()
        for child in (self.process, *self.edges.values()):
            if not child.running:
                child.start()
        await self.serving()
        self.wanted = True

    async def serving(self) -> None:
        """Returns when the registry has all of them serving."""
        wanted = {child.pid for child in (self.process, *self.edges.values())}

        async def all_serve() -> bool:
            for child in (self.process, *self.edges.values()):
                if not child.running:
                    raise Unavailable(child.why_ended())
            return wanted <= await self.pids()

        assert await until(all_serve, RECOVER_S_MAX), "not all serve"

    async def pids(self) -> set[int]:
        """Of the processes that the registry calls serving; none while nobody can be asked."""
        try:
            found = await status(self.planet, self.name)
        except Unavailable:
            return set()
        return {one["pid"] for one in found["coordination"]["processes"] if one["state"] == "serving"}

    async def restart(self, name: str) -> None:
        """SIGTERM, and again as soon as it has ended; returns when it serves."""
        child = self.edges[name]
        await child.stop()
        assert "ended with 0" in child.why_ended()
        child.start()
        await self.serving()

    def kill(self) -> None:
        for child in self.edges.values():
            child.kill()
        super().kill()

    async def stop(self) -> None:
        await asyncio.gather(*(child.stop() for child in self.edges.values()))
        await super().stop()

    planet: Planet


def planet_with_roles(home: Path, roles: str, others: tuple[str, ...]) -> tuple[Planet, RoleSite]:
    """Datacenters of one process each, and `roles`, which has several."""
    planet = Planet(home, (roles, *others))
    site = RoleSite(planet.site(roles))
    site.planet = planet
    planet.sites[roles] = site
    return planet, site


async def listening(child: Child, port: int) -> None:
    await servers.listening(child, port, READY_S_MAX)
