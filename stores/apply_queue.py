"""What waits to be applied: callers that come while a batch is written form the next one together."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from core import limits
from core.errors import Corrupt, Overloaded, StoreUnavailable
from events.record import Entry

log = logging.getLogger(__name__)


class _Job(NamedTuple):
    entries: Sequence[Entry]
    done: "asyncio.Future[None]"


class ApplyQueue:
    """`write` gets one batch at a time. Nobody gets his neighbour's outcome, and a caller that is cancelled does not
    take his entries back."""

    def __init__(self, write: Callable[[Sequence[Entry]], Awaitable[None]]) -> None:
        self._write = write
        self._jobs: list[_Job] = []
        self._work = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self.waiting = 0
        """Entries that no batch holds yet."""

    def start(self) -> None:
        """Until then, what is put waits."""
        self._task = asyncio.create_task(self._run(), name="applier")

    async def close(self) -> None:
        """Ends after the batch at hand, at most LANE_CLOSE_MS_MAX; what waits is refused with StoreUnavailable."""
        self._closing = True
        self._work.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=limits.LANE_CLOSE_MS_MAX / 1000)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._refuse(self._take())

    async def put(self, entries: Sequence[Entry]) -> None:
        """Returns when `write` has taken them. Raises what it raises for them; StoreUnavailable when stopping,
        Overloaded beyond APPLY_QUEUE_MAX (but one batch of any size may wait)."""
        if self._closing or (self._task is not None and self._task.done()):
            raise StoreUnavailable("stopping")
        if self._jobs and self.waiting + len(entries) > limits.APPLY_QUEUE_MAX:
            raise Overloaded("too many events wait to be applied", retry_after_s=0.2)
        job = _Job(entries, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self.waiting += len(entries)
        self._work.set()
        await job.done

    def _take(self) -> list[_Job]:
        jobs, self._jobs, self.waiting = self._jobs, [], 0
        return jobs

    @staticmethod
    def _refuse(jobs: Sequence[_Job]) -> None:
        for job in jobs:
            _settle(job, StoreUnavailable("stopping"))

    async def _run(self) -> None:
        while not self._closing:
            await self._work.wait()
            self._work.clear()
            jobs = [] if self._closing else self._take()
            if not jobs:
                continue
            try:
                if len(jobs) == 1 or not await self._together(jobs):
                    await self._alone(jobs)
            finally:
                self._refuse(jobs)

    async def _together(self, jobs: Sequence[_Job]) -> bool:
        """One batch of all. False if one of them spoiled it for the others."""
        try:
            await self._write([entry for job in jobs for entry in job.entries])
        except StoreUnavailable as error:
            # It is the store: each alone would only wait for it once more.
            for job in jobs:
                _settle(job, StoreUnavailable(error.detail, private=error.private))
            return True
        except Exception as error:
            log.info("a batch of %d callers failed, each is tried alone: %s", len(jobs), error)
            return False
        for job in jobs:
            _settle(job, None)
        return True

    async def _alone(self, jobs: Sequence[_Job]) -> None:
        for job in jobs:
            try:
                await self._write(job.entries)
            except Exception as error:
                if not isinstance(error, StoreUnavailable | Corrupt):
                    log.exception("apply failed")
                _settle(job, error)
            else:
                _settle(job, None)


def _settle(job: _Job, error: Exception | None) -> None:
    """Tells the caller, who may have been told, or gone away."""
    if job.done.done():
        return
    if error is None:
        job.done.set_result(None)
    else:
        job.done.set_exception(error)
        job.done.exception()  # nobody may be waiting
