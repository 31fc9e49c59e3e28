"""Brings points to their store behind everybody's back: nobody ever waits for it, and what it can't bring is counted.

Points wait in a bounded queue. Where the store is down they wait and are tried again, the same ones first (a point
written twice is one); when too many wait the oldest are dropped, also those under way. What the store refuses for
what it is, is dropped at once. Either way the next points come through when the store does.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from itertools import islice

from core import limits
from core.errors import Invalid, PlanBError
from stores.series import Point, SeriesStore

log = logging.getLogger(__name__)

BACKOFF_S_FIRST, BACKOFF_S_MAX = 1.0, 30.0


class SeriesWriter:
    """One per process; owns the store."""

    def __init__(self, store: SeriesStore) -> None:
        self._store = store
        self._points: deque[Point] = deque()
        self._under_way = 0
        """So many of the oldest are with the store."""
        self._in_doubt = 0
        """Points that left the queue while the store had them."""
        self._more = asyncio.Event()
        self.written = 0
        self.dropped = 0
        """Since the start; points that wait are not among them."""
        self.error = ""
        """Why the last write failed; "" when it did not."""

    @property
    def waiting(self) -> int:
        """At most SERIES_WAITING_MAX."""
        return len(self._points)

    def put(self, points: Sequence[Point]) -> None:
        """Returns at once."""
        self._points.extend(points)
        while len(self._points) > limits.SERIES_WAITING_MAX:
            self._points.popleft()
            if self._under_way:
                self._under_way -= 1
                self._in_doubt += 1
            else:
                self.dropped += 1
        self._more.set()

    async def run(self) -> None:
        """Until cancelled."""
        failures = 0
        while True:
            await self._more.wait()
            failures = 0 if await self._write() else failures + 1
            if failures:
                # A pause between tries; points that come meanwhile wait.
                await asyncio.sleep(min(BACKOFF_S_MAX, BACKOFF_S_FIRST * 2 ** min(failures - 1, 10)))

    async def close(self) -> None:
        """Tries once to bring away what waits, for SERIES_CLOSE_S_MAX, and closes the store. What is left is lost."""
        try:
            async with asyncio.timeout(limits.SERIES_CLOSE_S_MAX):
                while self._points and await self._write():
                    pass
        except TimeoutError:
            log.warning("%d measured points were not written", self.waiting)
        await self._store.close()

    async def _write(self) -> bool:
        """The oldest that wait; whether the queue may go on."""
        batch = list(islice(self._points, limits.SERIES_BATCH_MAX))
        self._under_way = len(batch)
        try:
            await self._store.write(batch)
        except Invalid as error:
            self._note(error.detail)
            self._settle(written=0, gone=len(batch))
        except PlanBError as error:
            self._note(f"{error.detail} {error.private}".strip())
            return False
        except Exception as error:  # a defect of ours must not end what it only watches
            log.exception("measured points can't be written")
            self._note(repr(error))
            self._settle(written=0, gone=len(batch))
        else:
            if self.error:
                log.warning("measured points are written again; %d were dropped so far", self.dropped)
            self.error = ""
            self._settle(written=len(batch), gone=len(batch))
        finally:
            self.dropped += self._in_doubt
            self._under_way = self._in_doubt = 0
        if not self._points:
            self._more.clear()
        return True

    def _settle(self, *, written: int, gone: int) -> None:
        """The store is through with what is under way, and with what left the queue meanwhile."""
        for _ in range(self._under_way):
            self._points.popleft()
        self.written += written
        self.dropped += gone - written
        self._in_doubt = 0

    def _note(self, error: str) -> None:
        if error != self.error:
            log.warning("measured points are not written: %s", error)
        self.error = error
