"""Ways to break something of a running planet for a moment, as a seed says. Whatever ends is left to the supervisor."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from cli.planet import Planet, Site
from tests.faults.toxic_link import ToxicLink
from tests.support.clocks import MovedClock

MOMENT_S = (0.2, 3.0)
"""How long a fault lasts: also longer than the log may take to answer."""
PAUSE_S_MAX = 0.5
"""Between two faults: the next may meet the last one's recovery."""


class NotNow(Exception):
    """This can't be done to the datacenter in the state it is in: something of it is just being started."""


@dataclass(frozen=True)
class Place:
    """Where a fault happens, and by which chance."""

    planet: Planet
    site: Site
    rng: random.Random
    clocks: dict[str, MovedClock]
    disks: dict[str, Path]
    """A datacenter's log lies on this small disk, where one could be mounted."""

    async def moment(self) -> None:
        await asyncio.sleep(self.rng.uniform(*MOMENT_S))  # the fault itself

    @property
    def other(self) -> str:
        return self.rng.choice(sorted(self.planet.sites.keys() - {self.site.name}))

    @property
    def link(self) -> ToxicLink:
        """To some other datacenter."""
        link = self.planet.links[self.site.name, self.other]
        assert isinstance(link, ToxicLink)
        return link


Kind = Callable[[Place], Awaitable[None]]


class Breaking:
    """Every kind comes once before any comes again, in an order of the seed's."""

    def __init__(
        self, planet: Planet, seed: str, kinds: tuple[Kind, ...], clocks: dict[str, MovedClock], disks: dict[str, Path]
    ) -> None:
        self.kinds = kinds
        self.fired: Counter[str] = Counter({kind.__name__: 0 for kind in kinds})
        self._planet = planet
        self._clocks = clocks
        self._disks = disks
        self._rng = random.Random(seed)
        self._bag: list[Kind] = []

    async def next(self) -> str:
        """One fault, to its end; what it was, and where."""
        while True:
            if not self._bag:
                self._bag = list(self.kinds)
                self._rng.shuffle(self._bag)
            kind = self._bag.pop()
            site = self._planet.site(self._rng.choice(sorted(self._planet.sites)))
            try:
                await kind(Place(self._planet, site, self._rng, self._clocks, self._disks))
            except NotNow:
                self._bag.insert(0, kind)
                await asyncio.sleep(PAUSE_S_MAX)  # before the next look
                continue
            self.fired[kind.__name__] += 1
            await asyncio.sleep(self._rng.uniform(0, PAUSE_S_MAX))  # between two faults, not a condition
            return f"{kind.__name__} in {site.name}"
