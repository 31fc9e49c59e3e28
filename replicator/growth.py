"""The end of every lane of the local log, kept fresh by one follower per process that wakes all who wait.

A long poll, the replayer and a remote wait all need to know when the log has grown; one follower serves them, not one
each.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping

from core.errors import PlanBError
from core.system import Entropy
from events.ports import EventLog, Top
from replicator.backoff import Backoff

log = logging.getLogger(__name__)


class Growth:
    """`run` follows; everyone else waits."""

    def __init__(self, event_log: EventLog, entropy: Entropy) -> None:
        self._log = event_log
        self._backoff = Backoff(entropy)
        self._changed = asyncio.Event()
        self.tops: Mapping[int, Top] = {}
        """The durable frontier as last seen; empty before the first look."""
        self.error = "not started"
        """Why the log can't be followed at present; "" when it can."""

    async def run(self) -> None:
        """Follows until cancelled; a log that is gone is followed again."""
        while True:
            try:
                tops: Mapping[int, Top] = {}
                async for grown in self._log.follow():
                    self.tops = tops = {**tops, **grown}
                    self.error = ""
                    self._backoff.reset()
                    self.wake()
            except PlanBError as error:
                log.warning("the log can't be followed: %s %s", error.detail, error.private)
                self.error = error.detail
            await self._backoff.wait()

    def frontier(self) -> dict[int, int]:
        """lane -> last durable seq."""
        return {lane: top.seq for lane, top in self.tops.items()}

    async def until(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Waits until `done()`, which is asked at every growth; False after the timeout."""
        try:
            async with asyncio.timeout(timeout_s):
                while not done():
                    await self.changed()
        except TimeoutError:
            return done()
        return True

    async def changed(self) -> None:
        """Returns at the next growth."""
        await self._changed.wait()

    def wake(self) -> None:
        """All who wait look again."""
        self._changed.set()
        self._changed = asyncio.Event()
