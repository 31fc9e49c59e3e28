"""Whether a process that serves clients, and does not apply, serves them; and what is missing if it does not."""

import asyncio
from collections.abc import Callable

from aiohttp import web

from api.guard import Handler
from api.health import Check
from api.line import SysLine
from cli.serving import ALWAYS, HOT_ANSWER_S_MAX
from core import limits
from core.clock import HybridClock
from core.errors import NotServing, PlanBError
from events.lane_writer import LaneWriter
from stores.ports import HotStore


class EdgeServing:
    """The gate of its listener."""

    def __init__(
        self,
        line: SysLine,
        hot: HotStore,
        clock: HybridClock,
        lease: Callable[[], str],
        writer: LaneWriter | None,
    ) -> None:
        """`lease`: why this process may not write now; "" if it may. `writer`: of a process that writes."""
        self._line = line
        self._hot = hot
        self._clock = clock
        self._refusal = lease
        self._writer = writer
        self._ending = ""
        self._time = asyncio.get_running_loop().time
        self._up_at = self._time()
        self.checks: dict[str, Check] = {"sys": self._sys, "hot": self._hot_state, "process": self._process}
        if writer is not None:
            self.checks |= {"lane": self._lane, "lease": self._lease, "clock": self._wall_clock}

    def serves(self) -> bool:
        """Whether the process that applies lets clients in, as it said last."""
        return self._line.pulse is not None and self._line.pulse.serves

    def ends(self, why: str) -> None:
        """This process is going away; the first reason counts."""
        self._ending = self._ending or why

    def look(self) -> None:
        """Called about once a second."""
        if not self._line.error:
            self._up_at = self._time()

    async def _sys(self) -> str:
        """A restart of it is no reason to take this one out of service."""
        if self._line.error and self._time() - self._up_at > limits.LANE_ANSWER_MS_MAX / 1_000:
            return f"the process that applies: {self._line.error}"
        pulse = self._line.pulse
        if pulse is None or pulse.serves:
            return ""
        return "; ".join(pulse.missing.values()) or "the process that applies does not serve yet"

    async def _hot_state(self) -> str:
        try:
            async with asyncio.timeout(HOT_ANSWER_S_MAX):
                epoch = await self._hot.epoch()
        except (PlanBError, TimeoutError):
            return "the hot store does not answer"
        return "hot state is being rebuilt" if epoch is None else ""

    async def _process(self) -> str:
        return self._ending

    async def _lane(self) -> str:
        return "another process writes this lane" if self._writer and self._writer.lost else ""

    async def _lease(self) -> str:
        return self._refusal()

    async def _wall_clock(self) -> str:
        return self._clock.refusal()

    @web.middleware
    async def gate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """503 `not_serving` for everything but health while the process that applies lets nobody in."""
        if not self.serves() and request.path not in ALWAYS:
            raise NotServing(await self._sys(), retry_after_s=1)
        return await handler(request)
