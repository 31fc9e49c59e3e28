"""Sends messages whose time has come: one per datacenter, in the process that runs it.

What is due is asked of the store each time, so nothing is lost with the process. A message goes out by the same code as
a client's, under a key that follows from it; the event that sends it is the event that says so.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from api.sys_writes import SYSTEM
from api.tokens import Caller
from api.writes import Writes
from core import limits
from core.action import Action
from core.errors import ClockAhead, Conflict, NotYetHere, PlanBError, TooMany
from core.scheduled import Scheduled, key_of
from core.system import Clock
from stores.view import StoreView

log = logging.getLogger(__name__)
_LATER = (NotYetHere, ClockAhead, TooMany)
"""Refusals that say nothing of the message."""


class Scheduler:
    def __init__(
        self,
        dc: str,
        view: StoreView,
        writes: Writes,
        actions: Mapping[str, type[Action]],
        wall: Clock,
        serves: Callable[[], bool],
    ) -> None:
        """`serves`: whether this datacenter has applied all that it knew; before, it may not know what was sent."""
        self._dc = dc
        self._view = view
        self._writes = writes
        self._actions = actions
        self._wall = wall
        self._serves = serves
        self._at_once = asyncio.Semaphore(limits.SCHEDULED_SENDERS_MAX)
        self.sent = 0
        """Messages, by this process."""
        self.failed = 0
        """Given up by it."""

    async def run(self) -> None:
        """For ever. What fails is tried again at the next look."""
        while True:
            done = 0
            try:
                done = await self.look()
            except PlanBError as error:
                log.warning("scheduled messages wait: %s", error)
            if done < limits.PAGE_MAX:
                await asyncio.sleep(limits.SCHEDULED_LOOK_MS / 1_000)  # a period, not a condition

    async def look(self) -> int:
        """Sends what is due here, and takes over what is overdue elsewhere; how many of both. Raises what the store
        raises."""
        if not self._serves():
            return 0
        now_ms = self._wall()
        overdue = await self._view.due("", now_ms - limits.SCHEDULED_TAKEOVER_MS, limits.PAGE_MAX)
        taken = [await self._take(one) for one in overdue if one.home != self._dc]
        by_user: dict[str, list[Scheduled]] = {}
        for one in await self._view.due(self._dc, now_ms, limits.PAGE_MAX):
            by_user.setdefault(one.user, []).append(one)
        sent = await asyncio.gather(*map(self._send_all, by_user.values()))
        return sum(taken) + sum(sent)

    async def _take(self, one: Scheduled) -> bool:
        return await self._done("schedule.take", {"user": one.user, "scheduled": one.scheduled})

    async def _send_all(self, of_one: list[Scheduled]) -> int:
        """In their order, until one has to wait."""
        done = 0
        async with self._at_once:
            for one in of_one:
                if not await self._send(one):
                    break
                done += 1
        return done

    async def _send(self, one: Scheduled) -> bool:
        """False where it has to be tried again."""
        caller = Caller(one.user, "", 0)
        try:
            await self._writes.submit(self._actions["message.send"], one.message, caller, key_of(one.scheduled))
        except PlanBError as error:
            if error.status >= 500 or isinstance(error, _LATER):
                log.warning("scheduled message %s of %s waits: %s", one.scheduled, one.user, error)
                return False
            return await self._fail(one, error)
        self.sent += 1
        return True

    async def _fail(self, one: Scheduled, error: PlanBError) -> bool:
        detail = error.detail[: limits.ERROR_TEXT_CHARS_MAX]
        why = {"user": one.user, "scheduled": one.scheduled, "code": error.code, "detail": detail}
        failed = await self._done("schedule.fail", why)
        self.failed += failed
        return failed

    async def _done(self, action: str, fields: dict[str, Any]) -> bool:
        """Whether it was, or needs not be any more: somebody has sent or unscheduled it meanwhile."""
        try:
            await self._writes.submit(self._actions[action], fields, SYSTEM)
        except Conflict:
            return True
        except PlanBError as error:
            log.warning("%s of %s has to wait: %s", action, fields["scheduled"], error)
            return False
        return True
