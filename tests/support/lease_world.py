"""Processes that lease one claim and act under it, in virtual time: they freeze and wake up, their calls are slow or
lost, their clocks run at different speeds. What each act finds when it arrives is written down."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random
from typing import Any, NamedTuple, TypeVar

from core import limits
from core.errors import LeaseLost, StoreUnavailable
from stores.adapters.memory_coordination import MemoryCoordination
from stores.coordination import PROCESS, Coordination, Datacenter, Held, Member, View
from stores.lease import Lease
from tests.simulation.loop import OUTSIDE, Process, SimLoop

T = TypeVar("T")
LEASE_MS = limits.LEASE_MS_MIN
ACT_MS_MAX = 900
"""An act arrives so long after the look at most; LEASE_MARGIN_MS is for it."""


class Arrival(NamedTuple):
    """An act, as what it acts upon sees it."""

    at_s: float
    actor: str
    token: int
    holder: str
    """Who held the claim then; "" nobody."""


class Wire:
    """A Coordination behind a network. What was asked happens also when whoever asked is frozen."""

    def __init__(self, shared: MemoryCoordination, loop: SimLoop, random: Random) -> None:
        self._shared = shared
        self._loop = loop
        self._random = random
        self.cut = False

    async def open(self, member: Member, lease_ms: int) -> int | None:
        return await self._call(lambda: self._shared.open(member, lease_ms))

    async def renew(self, session: str) -> int | None:
        return await self._call(lambda: self._shared.renew(session))

    async def end(self, session: str) -> None:
        await self._call(lambda: self._shared.end(session))

    async def announce(self, member: Member) -> None:
        await self._call(lambda: self._shared.announce(member))

    async def take(self, session: str, name: str) -> Held:
        return await self._call(lambda: self._shared.take(session, name))

    async def give(self, session: str, name: str) -> None:
        await self._call(lambda: self._shared.give(session, name))

    async def chart(self, datacenter: Datacenter) -> Datacenter:
        return await self._call(lambda: self._shared.chart(datacenter))

    async def rechart(self, datacenter: Datacenter) -> None:
        await self._call(lambda: self._shared.rechart(datacenter))

    async def unchart(self, number: int) -> None:
        await self._call(lambda: self._shared.unchart(number))

    async def look(self) -> View:
        return await self._call(self._shared.look)

    async def watch(self) -> AsyncIterator[View]:
        async for view in self._shared.watch():
            await asyncio.sleep(self._delay_s())
            if not self.cut:
                yield view

    async def close(self) -> None:
        pass

    async def _call(self, work: Callable[[], Awaitable[T]]) -> T:
        answer: asyncio.Future[T] = self._loop.create_future()

        async def happen() -> None:
            await asyncio.sleep(self._delay_s())
            if self.cut or self._random.random() < 0.02:
                return
            try:
                found: Any = await work()
            except LeaseLost as error:
                found = error
            await asyncio.sleep(self._delay_s())
            if self.cut or self._random.random() < 0.02 or answer.done():
                return
            if isinstance(found, LeaseLost):
                answer.set_exception(found)
            else:
                answer.set_result(found)

        self._loop.start(OUTSIDE, happen())
        try:
            async with asyncio.timeout(limits.COORDINATION_CALL_MS_MAX / 1_000):
                return await answer
        except TimeoutError:
            raise StoreUnavailable("no answer") from None

    def _delay_s(self) -> float:
        """Mostly quick, and sometimes seconds."""
        return self._random.random() * (0.01 if self._random.random() < 0.9 else 1.5)


class LeaseWorld:
    """`run`, then look at `arrivals` and `taken`."""

    def __init__(self, seed: int, loop: SimLoop) -> None:
        self._random = Random(f"leases {seed}")
        self._loop = loop
        self._shared = MemoryCoordination(lambda: int(loop.time() * 1_000))
        self.arrivals: list[Arrival] = []
        self.taken: list[tuple[str, int]] = []
        """(who, token) of each time that the claim was had."""
        self.refused = 0

    async def run(self, for_s: float, processes: int = 3) -> None:
        for n in range(processes):
            self._start(n)
        await asyncio.sleep(for_s)

    def _start(self, n: int) -> None:
        process = Process(f"p{n}", f"p{n}")
        wire = Wire(self._shared, self._loop, self._random)
        self._loop.start(process, self._lives(process, wire, n))
        self._loop.start(OUTSIDE, self._trouble(process, wire))

    async def _lives(self, process: Process, wire: Coordination, n: int) -> None:
        """Stands by, acts while it may, stands by again when it has lost."""
        ppm = self._random.uniform(-1, 1) * limits.CLOCK_DRIFT_PPM_MAX
        offset_ms = self._random.randrange(10**9)
        life = 0
        while True:
            life += 1
            lost: asyncio.Future[LeaseLost] = self._loop.create_future()
            lease = Lease(
                wire,
                Member(f"{process.name}-{life}"),
                lease_ms=LEASE_MS,
                steady_ms=lambda: offset_ms + int(self._loop.time() * (1 + ppm / 1e6) * 1_000),
                on_lost=lost.set_result,
            )
            try:
                await lease.join()
                held = await lease.wait_for(PROCESS, lambda held: None)
                await self._acts(process.name, lease, held, lost)
                await lease.leave()
            except (StoreUnavailable, LeaseLost):
                await asyncio.gather(lease.leave(), return_exceptions=True)

    async def _acts(self, name: str, lease: Lease, held: Held, lost: "asyncio.Future[LeaseLost]") -> None:
        """Until it has lost, or gives back by itself."""
        end_s = self._loop.time() + self._random.expovariate(1 / 30)
        self.taken.append((name, held.token))
        while self._loop.time() < end_s:
            if lost.done():  # what is still under way in it looks a little longer
                end_s = min(end_s, self._loop.time() + 2 * LEASE_MS / 1_000)
            if lease.refusal():
                self.refused += 1
            else:
                token = lease.held[PROCESS].token if PROCESS in lease.held else held.token
                delay_s = self._random.random() * ACT_MS_MAX / 1_000
                self._loop.call_later(delay_s, self._arrives, name, token, context=OUTSIDE.context())
            await asyncio.sleep(self._random.random() * 0.2)
        await asyncio.sleep(ACT_MS_MAX / 1_000)  # what is under way arrives before it gives back

    def _arrives(self, name: str, token: int) -> None:
        self._shared._expire()
        held = self._shared._held.get(PROCESS)
        holder = held.member.id.rpartition("-")[0] if held else ""
        self.arrivals.append(Arrival(self._loop.time(), name, token, holder))

    async def _trouble(self, process: Process, wire: Wire) -> None:
        while True:
            await asyncio.sleep(self._random.expovariate(1 / 8))
            for_s = self._random.uniform(0.2, 3 * LEASE_MS / 1_000)
            if self._random.random() < 0.6:
                self._loop.freeze(process)
                await asyncio.sleep(for_s)
                self._loop.thaw(process)
            else:
                wire.cut = True
                await asyncio.sleep(for_s)
                wire.cut = False


def overlaps(arrivals: list[Arrival]) -> list[Arrival]:
    """Acts that arrived while somebody else held the claim, or after one under a later token."""
    found = [one for one in arrivals if one.holder not in ("", one.actor)]
    for earlier, later in itertools.pairwise(arrivals):
        if later.token < earlier.token:
            found.append(later)
    return found
