"""Three datacenters under load, and one fault after the other: a seed says which. PLANB_SEED and PLANB_FAULTS change
them."""

import asyncio
import os
import random
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from cli.planet import Planet, Site
from cli.servers import Child
from cli.waiting import until
from tests.support.bad_days import RECOVER_S_MAX, check_log, digests, loaded, status
from tests.support.processes import all_ready, running, supervise

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
SEED = int(os.environ.get("PLANB_SEED", "5"))
FAULTS = int(os.environ.get("PLANB_FAULTS", "10"))
NAMES = ("fra", "iad", "nrt")
HANG_S = (0.2, 2.5)
"""Also longer than the log may take to answer."""
PAUSE_S_MAX = 0.7


class Faults:
    """Breaks something of a planet, as a seed says."""

    def __init__(self, planet: Planet, seed: int) -> None:
        self._planet = planet
        self._rng = random.Random(seed)

    async def next(self) -> str:
        """One fault; what it was. What ended is left to the supervisor."""
        site = self._planet.site(self._rng.choice(NAMES))
        child = self._rng.choice(site.children)
        kind = self._rng.choice((self._kill, self._kill, self._kill_valkeys, self._kill_all, self._hang, self._cut))
        await kind(site, child)
        await asyncio.sleep(self._rng.uniform(0, PAUSE_S_MAX))  # a fault may meet the last one's recovery
        return f"{kind.__name__} {site.name} {child.name}"

    async def _kill(self, site: Site, child: Child) -> None:
        child.kill()

    async def _kill_valkeys(self, site: Site, child: Child) -> None:
        site.log.kill()
        site.hot.kill()

    async def _kill_all(self, site: Site, child: Child) -> None:
        site.kill()
        await site.start()

    async def _hang(self, site: Site, child: Child) -> None:
        pid = child.pid
        if pid is not None:
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(self._rng.uniform(*HANG_S))  # the fault itself
            os.kill(pid, signal.SIGCONT)

    async def _cut(self, site: Site, child: Child) -> None:
        other = self._rng.choice([name for name in NAMES if name != site.name])
        self._planet.cut(site.name, other)
        await asyncio.sleep(self._rng.uniform(*HANG_S))  # the fault itself
        self._planet.heal(site.name, other)


async def test_nothing_acknowledged_is_lost_whatever_fails_where_and_all_agree_afterwards(tmp_path: Path) -> None:
    planet = Planet(tmp_path, NAMES)
    faults = Faults(planet, SEED)
    try:
        await planet.start()
        async with AsyncExitStack() as stack:
            for name, other in zip(NAMES, (*NAMES[1:], NAMES[0]), strict=True):
                await stack.enter_async_context(loaded(planet, f"chaos-{name}", name, reads_in=other))
            supervisor = stack.enter_context(running(supervise(planet)))
            print([await faults.next() for _ in range(FAULTS)])
            assert await until(lambda: all_ready(planet), RECOVER_S_MAX)
            assert not supervisor.done()
        assert len(await digests(planet)) == 1
        for name, site in planet.sites.items():
            assert (await status(planet, name))["lanes"] == [f"{name}/0.0"]
            await check_log(site)
    finally:
        await planet.stop()
