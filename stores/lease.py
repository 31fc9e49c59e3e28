"""A process's lease on what it holds: renewed beside its work, and looked at before each act.

The margin rule: a renewal that was *sent* at t, by the holder's own steady clock, and answered with T, lets it act
before t + T - LEASE_MARGIN_MS. Coordination counts T from a moment after t, so nobody else holds anything before
t + T, and the look costs no round trip; neither clock needs to be right, only to run at about the same speed. A process
that was frozen finds its time over when it looks. After Gray and Cheriton, "Leases" (SOSP 1989).
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable

from core import limits
from core.errors import LeaseLost, StoreUnavailable
from core.system import Clock
from stores.coordination import Coordination, Held, Member, View, leader

log = logging.getLogger(__name__)

LEASE_MS_DEFAULT = 10_000


class Deadline:
    """Until when a holder may act. Nothing was granted yet: not at all."""

    def __init__(self) -> None:
        self._stop_ms: int | None = 0

    def granted(self, sent_ms: int, ttl_ms: int | None) -> None:
        """A request that was sent at `sent_ms` was answered with `ttl_ms`; None: for ever."""
        self._stop_ms = None if ttl_ms is None else sent_ms + ttl_ms - limits.LEASE_MARGIN_MS

    def over(self) -> None:
        """It was lost, or given back."""
        self._stop_ms = 0

    def passed(self, now_ms: int) -> bool:
        return self._stop_ms is not None and now_ms >= self._stop_ms

    def left_ms(self, now_ms: int) -> int | None:
        """None: it has no end."""
        return None if self._stop_ms is None else max(0, self._stop_ms - now_ms)


class Lease:
    """`join`, then `take` or `wait_for` what is needed, then look at `refusal` before each act; `leave` in the end.

    A session that ended is begun anew, and what it held is taken again. Where another process was quicker and the claim
    was vital, `on_lost` is called, once, and nothing more may be done."""

    def __init__(
        self,
        coordination: Coordination,
        member: Member,
        *,
        lease_ms: int,
        steady_ms: Clock,
        on_lost: Callable[[LeaseLost], None],
    ) -> None:
        """`member.id` is unique per process start; sessions after the first are numbered."""
        self._coordination = coordination
        self._first_id = member.id
        self._member = member
        self._lease_ms = lease_ms
        self._steady_ms = steady_ms
        self._on_lost = on_lost
        self._deadline = Deadline()
        self._sessions = 0
        self._vital: dict[str, Held] = {}
        self._missing: set[str] = set()
        """What is vital and was held by a session that is over."""
        self._led: dict[str, Held] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        """Set, and replaced, when something was seen to change."""
        self._lost: LeaseLost | None = None
        self._jitter = random.Random(member.id)
        self.view: View | None = None
        """What was seen last."""
        self.trouble = ""
        """Why the last call failed; "" if it did not."""

    @property
    def member(self) -> Member:
        return self._member

    @property
    def held(self) -> dict[str, Held]:
        """What this process holds, as far as it knows; nothing of it counts while there is a `refusal`."""
        return {**self._vital, **self._led}

    def refusal(self) -> str:
        """Why this process may not act now; "" if it may. Costs a look at the clock."""
        if self._lost is None and not self._deadline.passed(self._steady_ms()):
            return ""
        return f"this process does not hold its lease{': ' if self.trouble else ''}{self.trouble}"

    @property
    def unbroken(self) -> bool:
        """Whether the first session still lasts, as far as this process may count on it."""
        return self._sessions == 1 and not self.refusal()

    def left_ms(self) -> int | None:
        """For how long it may act unless it is renewed; None: as long as it lives."""
        return self._deadline.left_ms(self._steady_ms())

    def term(self, name: str) -> int | None:
        """The fencing token of a leadership that this process holds now; None if it does not."""
        held = self._led.get(leader(name))
        return None if held is None or self.refusal() else held.token

    # -- life

    async def join(self) -> None:
        """Begins a session, and renews it from here on. StoreUnavailable."""
        self._deadline.granted(*await self._begin())
        self._tasks = [
            asyncio.create_task(self._keep(), name="lease"),
            asyncio.create_task(self._follow(), name="watch of coordination"),
        ]
        for task in self._tasks:
            task.add_done_callback(self._ended)

    async def leave(self) -> None:
        """Gives everything back, if coordination can be reached. Repeatable."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        self._deadline.over()
        self._vital, self._led = {}, {}
        await self._coordination.end(self._member.id)

    async def announce(self, state: str) -> None:
        """What the registry shows of this process. Where it can't be told now, the next session tells."""
        self._member = self._member._replace(state=state)
        try:
            await self._coordination.announce(self._member)
        except (LeaseLost, StoreUnavailable) as error:
            log.warning("the registry was not told that this process is %s: %s", state, error)

    # -- claims

    async def take(self, name: str) -> Held:
        """Who holds it now; if it is this process, it is vital to it from here on. LeaseLost, StoreUnavailable."""
        held = await self._take(name)
        if self.mine(held):
            self._vital[name] = held
        return held

    def mine(self, held: Held) -> bool:
        """Whether it is held by the present session."""
        return held.member.id == self._member.id

    async def wait_for(self, name: str, seen: Callable[[Held], None]) -> Held:
        """Takes it as soon as nobody else holds it; `seen` is called with each other holder. LeaseLost when something
        vital was lost meanwhile."""
        told = ""
        while self._lost is None:
            changed = self._changed
            try:
                held = await self.take(name)
            except (LeaseLost, StoreUnavailable) as error:  # the session is begun anew beside this
                log.info("%s can't be taken now: %s", name, error)
                await self._wait(changed, limits.BACKOFF_MS_MAX)
                continue
            if self.mine(held):
                return held
            if held.member.id != told:
                told = held.member.id
                seen(held)
            await self._wait(changed, self._lease_ms)
        raise self._lost

    def campaign(self, name: str) -> None:
        """Leads as soon as nobody else does, and again after it was lost, until `resign` or `leave`. See `term`."""
        task = asyncio.create_task(self._campaign(leader(name)), name=f"campaign for {name}")
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    async def resign(self, name: str) -> None:
        """Leads no more, and does not try to. Repeatable. StoreUnavailable: it will be free when the session ends."""
        for task in self._tasks:
            if task.get_name() == f"campaign for {name}":
                task.cancel()
        self._led.pop(leader(name), None)
        await self._coordination.give(self._member.id, leader(name))

    async def _campaign(self, claim: str) -> None:
        while True:
            changed = self._changed
            if claim not in self._led:
                with contextlib.suppress(LeaseLost, StoreUnavailable):  # the session is begun anew beside this
                    held = await self._take(claim)
                    if self.mine(held):
                        self._led[claim] = held
                        continue
            await self._wait(changed, self._lease_ms)

    async def _take(self, name: str) -> Held:
        session = self._member.id
        held = await self._coordination.take(session, name)
        if held.member.id == session != self._member.id:
            raise LeaseLost(f"{name} was taken with a session that is over")
        return held

    # -- beside the work

    async def _begin(self) -> tuple[int, int | None]:
        """A new session; when it was asked for, and for how long it lasts from then on."""
        self._sessions += 1
        number = f".{self._sessions}" if self._sessions > 1 else ""
        self._member = self._member._replace(id=self._first_id + number)
        sent_ms = self._steady_ms()
        return sent_ms, await self._coordination.open(self._member, self._lease_ms)

    async def _keep(self) -> None:
        period_s = self._lease_ms / limits.LEASE_RENEWALS / 1_000
        wait_s = period_s
        while self._lost is None:
            await asyncio.sleep(wait_s)
            wait_s = limits.BACKOFF_MS_FIRST / 1_000 * self._jitter.uniform(1, 4)
            try:
                async with asyncio.timeout(period_s):
                    await self._renew()
            except (StoreUnavailable, LeaseLost, TimeoutError) as error:
                why = str(error) or "coordination does not answer in time"
                if not self.trouble:
                    log.warning("the lease can't be renewed: %s", why)
                self.trouble = why
            else:
                wait_s = period_s

    async def _renew(self) -> None:
        """Once; what a lost session held is taken again before this process may act again. Whoever held it meanwhile
        is seen at the fence."""
        sent_ms = self._steady_ms()
        try:
            ttl_ms = await self._coordination.renew(self._member.id)
        except LeaseLost as error:
            log.warning("the lease is lost, and a new session begun: %s", error)
            self._deadline.over()
            self._missing, self._led = set(self._vital), {}
            sent_ms, ttl_ms = await self._begin()
        for name in sorted(self._missing):
            held = await self._take(name)
            if not self.mine(held):
                self._lose(LeaseLost(f"{held.member.place} holds {name} now"))
                return
            self._vital[name] = held
            self._missing.discard(name)
        if self._lost is not None:
            return
        if self.trouble:
            log.warning("the lease is renewed again")
            self.trouble = ""
            self._tell()  # those who wait try again
        self._deadline.granted(sent_ms, ttl_ms)

    def _lose(self, error: LeaseLost) -> None:
        if self._lost is None:
            self._lost = error
            self.trouble = error.detail
            self._deadline.over()
            self._vital, self._led = {}, {}
            self._tell()
            self._on_lost(error)

    async def _follow(self) -> None:
        async for view in self._coordination.watch():
            self.view = view
            for name, held in self.held.items():
                now = view.held.get(name)
                if now is None or now.token <= held.token:  # what was seen may be older than what was taken
                    continue
                if name in self._vital and name not in self._missing:
                    self._lose(LeaseLost(f"{now.member.place} holds {name} now"))
                self._led.pop(name, None)
            self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    @staticmethod
    async def _wait(changed: asyncio.Event, ms_max: int) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ms_max / 1_000):
                await changed.wait()

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("%s broke", task.get_name(), exc_info=error)
            self._lose(LeaseLost(f"{task.get_name()} broke", private=repr(error)))
