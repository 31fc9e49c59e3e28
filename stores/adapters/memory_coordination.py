"""Coordination in memory, for all processes that share the object: tests and models. Its time is a clock that is handed
in, so a session ends when that says so, and not before."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator

from core.errors import LeaseLost
from core.system import Clock
from stores.coordination import Datacenter, Held, Member, View, checked


class MemoryCoordination:
    def __init__(self, steady_ms: Clock) -> None:
        self._steady_ms = steady_ms
        self._ends_ms: dict[str, int] = {}
        """Session -> when it ends."""
        self._lease_ms: dict[str, int] = {}
        self._members: dict[str, Member] = {}
        self._held: dict[str, Held] = {}
        self._datacenters: dict[int, Datacenter] = {}
        self._tokens = itertools.count(1)
        self._changed = asyncio.Event()

    async def open(self, member: Member, lease_ms: int) -> int | None:
        self._members[member.id] = member
        self._lease_ms[member.id] = lease_ms
        self._change()
        return self._extend(member.id)

    async def renew(self, session: str) -> int | None:
        self._living(session)
        return self._extend(session)

    async def end(self, session: str) -> None:
        self._end(session)

    async def announce(self, member: Member) -> None:
        self._living(member.id)
        self._members[member.id] = member
        self._change()

    async def take(self, session: str, name: str) -> Held:
        checked(name)
        self._living(session)
        held = self._held.get(name)
        if held is None:
            held = self._held[name] = Held(name, next(self._tokens), self._members[session])
            self._change()
        return held

    async def give(self, session: str, name: str) -> None:
        checked(name)
        self._expire()
        held = self._held.get(name)
        if held is not None and held.member.id == session:
            del self._held[name]
            self._change()

    async def chart(self, datacenter: Datacenter) -> Datacenter:
        if datacenter.number not in self._datacenters:
            await self.rechart(datacenter)
        return self._datacenters[datacenter.number]

    async def rechart(self, datacenter: Datacenter) -> None:
        self._datacenters[datacenter.number] = datacenter
        self._change()

    async def unchart(self, number: int) -> None:
        if self._datacenters.pop(number, None) is not None:
            self._change()

    async def look(self) -> View:
        self._expire()
        return View(dict(self._held), dict(self._members), dict(self._datacenters))

    async def watch(self) -> AsyncIterator[View]:
        seen: View | None = None
        while True:
            changed, view = self._changed, await self.look()
            if view != seen:
                seen = view
                yield view
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._next_end_s()):
                    await changed.wait()

    async def close(self) -> None:
        """Sessions here end with their time."""

    def _extend(self, session: str) -> int:
        self._ends_ms[session] = self._steady_ms() + self._lease_ms[session]
        return self._lease_ms[session]

    def _living(self, session: str) -> None:
        self._expire()
        if session not in self._ends_ms:
            raise LeaseLost("the session is over")

    def _expire(self) -> None:
        now_ms = self._steady_ms()
        for session in [session for session, end_ms in self._ends_ms.items() if end_ms <= now_ms]:
            self._end(session)

    def _end(self, session: str) -> None:
        if self._ends_ms.pop(session, None) is None:
            return
        del self._members[session]
        self._held = {name: held for name, held in self._held.items() if held.member.id != session}
        self._change()

    def _next_end_s(self) -> float | None:
        if not self._ends_ms:
            return None
        return max(0, min(self._ends_ms.values()) - self._steady_ms()) / 1_000

    def _change(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
