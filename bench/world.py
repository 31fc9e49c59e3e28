"""Datacenters to be measured: real processes (cli/planet.py), with users whose tokens are known."""

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from uuid import uuid4

from bench import cpu
from bench.load import Listener, Load, Loaded, Sender, run
from cli.engines import Provider
from cli.operate import equal_frontiers
from cli.planet import Planet, Site
from cli.sys_client import CALL_S_MAX, SysClient

SETTLE_S_MAX = 60.0
AT_ONCE = 16
IDLE_S = 2.0


class World:
    """A planet with users `Ub0`, `Ub1`, …; the first DC is where they write."""

    def __init__(self, planet: Planet) -> None:
        self.planet = planet
        self.names = tuple(planet.sites)
        self.tokens: list[str] = []

    @property
    def home(self) -> Site:
        return self.planet.sites[self.names[0]]

    def sys(self, name: str, answer_s_max: float = CALL_S_MAX) -> SysClient:
        """The internal listener of a DC."""
        url = f"http://127.0.0.1:{self.planet.site(name).ports.sys}"
        return SysClient(name, url, self.planet.sys_key, answer_s_max=answer_s_max)

    def pids(self, names: Sequence[str] = ()) -> dict[str, int]:
        """ "<dc> api" / "<dc> log" / "<dc> hot", or what else it stands on -> process."""
        found = {}
        for name in names or self.names:
            site = self.planet.sites[name]
            parts = {"api": site.process, "log": site.log, "hot": site.hot}
            for part, child in (parts | dict(site.engines.parts if site.engines else {})).items():
                if child.pid is not None:
                    found[f"{name} {part}"] = child.pid
        return found

    async def users(self, count: int) -> None:
        """Makes users at the first DC; returns when every DC knows them."""
        slots = asyncio.Semaphore(AT_ONCE)
        async with self.sys(self.names[0]) as sys:

            async def one(number: int) -> str:
                async with slots:
                    user = f"Ub{number}"
                    await sys.call("PUT", f"/sys/v1/users/{user}", {"name": user}, key=str(uuid4()))
                    answer = await sys.call(
                        "POST", "/sys/v1/tokens", {"user": user, "device": "bench"}, key=str(uuid4())
                    )
                    return str(answer["token"])

            self.tokens = list(await asyncio.gather(*(one(number) for number in range(count))))
        await self.settled()

    async def settled(self, wait_s: float = SETTLE_S_MAX) -> None:
        """Returns when all DCs have applied the same."""
        async with contextlib.AsyncExitStack() as stack:
            clients = {name: await stack.enter_async_context(self.sys(name)) for name in self.names}
            await equal_frontiers(clients, wait_s)

    def pairs(self, count: int) -> list[Sender]:
        """`count` senders in direct conversations: two and two write to each other, one writes to his neighbour."""
        return [Sender(self.tokens[i], f"Ub{i ^ 1}") for i in range(count)]

    def listeners(self, name: str, count: int) -> list[Listener]:
        """The websockets of the first users at a DC."""
        port = self.planet.sites[name].ports.public
        return [Listener(port, token, name) for token in self.tokens[:count]]

    async def load(self, load: Load) -> Loaded:
        """Runs a phase against it."""
        return await run(load)


@contextlib.asynccontextmanager
async def world(names: tuple[str, ...], users: int, provider: Provider | None = None) -> AsyncIterator[World]:
    """Started and with users; everything is stopped and deleted at the end. `provider`: of what else they stand on."""
    home = Path(tempfile.mkdtemp(prefix="planb-bench-"))
    planet = Planet(home, names, provider, {"rates": {"messages": 0, "writes": 0, "reads": 0}})
    try:
        await planet.start()
        made = World(planet)
        await made.users(users)
        yield made
    finally:
        await planet.stop()
        await asyncio.to_thread(shutil.rmtree, home, True)


async def idle(made: World) -> dict[str, float]:
    """ms of CPU that each process uses in a second without any load."""
    pids = made.pids()
    before, begun = cpu.read(pids), time.perf_counter()
    await asyncio.sleep(IDLE_S)
    seconds = time.perf_counter() - begun
    return {name: 1000 * used / seconds for name, used in cpu.spent(before, cpu.read(pids)).items()}
