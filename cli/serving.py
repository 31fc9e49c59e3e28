"""Whether this datacenter serves clients, and what is missing if it does not.

After a restore it serves nothing before it has applied F1 on every lane: until then it would show rows that are newer
than the events behind them, and hand out cursors that cover too little.
"""

import asyncio
from collections.abc import Callable, Mapping

from aiohttp import web

from api.guard import Handler
from api.health import Check
from core.clock import HybridClock
from core.errors import NotServing, PlanBError
from events.lane_writer import LaneWriter
from replicator.growth import Growth
from stores.ports import HotStore
from stores.progress import Progress

ALWAYS = frozenset(("/livez", "/readyz", "/metrics"))
HOT_ANSWER_S_MAX = 1.0


class Looks:
    """What every process that serves clients looks at before it does."""

    def __init__(self, hot: HotStore, clock: HybridClock, lease: Callable[[], str]) -> None:
        """`lease`: why this process may not write now; "" if it may."""
        self._hot = hot
        self._clock = clock
        self._refusal = lease
        self._ending = ""

    def ends(self, why: str) -> None:
        """This process is going away; the first reason counts."""
        self._ending = self._ending or why

    async def _hot_state(self) -> str:
        try:
            async with asyncio.timeout(HOT_ANSWER_S_MAX):
                epoch = await self._hot.epoch()
        except (PlanBError, TimeoutError):
            return "the hot store does not answer"
        return "hot state is being rebuilt" if epoch is None else ""

    async def _process(self) -> str:
        return self._ending

    async def _lease(self) -> str:
        return self._refusal()

    async def _wall_clock(self) -> str:
        return self._clock.refusal()


class Serving(Looks):
    """The gate of the public listener."""

    def __init__(
        self,
        progress: Progress,
        serve_after: Mapping[int, int],
        writer: LaneWriter,
        growth: Growth,
        hot: HotStore,
        clock: HybridClock,
        lease: Callable[[], str],
    ) -> None:
        super().__init__(hot, clock, lease)
        self._progress = progress
        self._serve_after = dict(serve_after)
        self._writer = writer
        self._growth = growth
        self._open = False
        self.checks: dict[str, Check] = {
            "recovery": self._recovery,
            "restore": self._restore,
            "lane": self._lane,
            "lease": self._lease,
            "log": self._log,
            "hot": self._hot_state,
            "stores": self._stores,
            "clock": self._wall_clock,
            "process": self._process,
        }

    async def opened(self) -> None:
        """Everything was started; requests are let in as soon as nothing is missing."""
        self._open = True

    @property
    def open(self) -> bool:
        """Whether the gate lets requests in without a further look."""
        return self._open and not self._serve_after

    async def _stores(self) -> str:
        return "a store does not take what is in the log; it is tried again" if self._writer.stumbling else ""

    async def _recovery(self) -> str:
        return "" if self._open else "recovering from the log"

    async def _restore(self) -> str:
        missing = {
            lane: seq
            for lane, seq in self._serve_after.items()
            if (at := self._progress.applied.get(lane)) is None or at.seq < seq
        }
        if not missing:
            self._serve_after.clear()
            return ""
        return f"{len(missing)} lanes are not applied through the end of the snapshot yet"

    async def _lane(self) -> str:
        return "another process writes this lane" if self._writer.lost else ""

    async def _log(self) -> str:
        return self._growth.error

    @web.middleware
    async def gate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """503 `not_serving` for everything but health while something is missing."""
        if (not self._open or self._serve_after) and request.path not in ALWAYS:
            missing = [problem for check in self.checks.values() if (problem := await check())]
            if missing:
                raise NotServing("; ".join(missing), retry_after_s=1)
        return await handler(request)
