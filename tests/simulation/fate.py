"""When bad luck strikes, and how it ends. Every fault ends by itself or is ended by `heal`; each is counted by name."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from tests.simulation.datacenter import Home
from tests.simulation.loop import OUTSIDE


class Fate:
    def __init__(self, world: Any) -> None:
        self.world = world
        self.random = Random(f"{world.seed} faults")
        """Of the fault that begins now."""
        self._ending: list[Callable[[], None]] = []
        self._busy: set[str] = set()
        """Datacenters that something long happens to."""
        self.over = False
        self._running: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        plan = self.world.plan
        random = Random(f"{plan.seed} faults")
        for number in range(plan.faults):
            await asyncio.sleep(random.expovariate(plan.faults / plan.lasts_s))
            kind = random.choice(plan.kinds) if plan.kinds else ""
            if self.over or not kind:
                return
            if number not in plan.without_faults:
                self._running.append(self.world.loop.start(OUTSIDE, self._one(kind, number), kind))

    async def _one(self, kind: str, number: int) -> None:
        """What is drawn depends on its number alone."""
        self.random = Random(f"{self.world.seed} fault {number}")
        work: Callable[[], Awaitable[None]] = getattr(self, "_" + kind.replace(" ", "_").replace("-", "_"))
        await work()

    def _fired(self, kind: str, *what: object) -> None:
        self.world.counts[f"fault: {kind}"] += 1
        self.world.note("fault", kind, *what)

    def _home(self) -> Home:
        return self.random.choice(list(self.world.homes.values()))

    def _lasts_s(self) -> float:
        return min(self.random.expovariate(1 / 8), 60.0)

    async def _while(self, begin: Callable[[], None], end: Callable[[], None], lasts_s: float | None = None) -> None:
        """`end` comes after a time, or with `heal`."""
        begin()
        self._ending.append(end)
        await asyncio.sleep(self._lasts_s() if lasts_s is None else lasts_s)
        if end in self._ending:
            self._ending.remove(end)
            end()

    async def heal(self) -> None:
        """No more faults, and everything that is broken is repaired, as operators would."""
        self.over = True
        world = self.world
        world.note("heal")
        while self._ending:
            self._ending.pop()()
        await asyncio.gather(*self._running)
        for name, clock in world.clocks.items():
            clock.drift, clock.since_s = 0.0, world.loop.time()
            # So that none is further from the median than clocks may be.
            clock.skew_ms = max(-90.0, min(90.0, clock.skew_ms))
            del name
        for home in world.homes.values():
            home.trouble.clear()
            home.knows_new = True
            if home.process is not None:
                home.process.fuse = 0
                if home.process.knows_new is False:
                    home.kill()
            if home.process is None or home.process.dead:
                home.boot()
