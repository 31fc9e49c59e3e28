"""Whether a process that serves clients, and does not apply, serves them; and what is missing if it does not."""

import asyncio
from collections.abc import Callable

from aiohttp import web

from api.guard import Handler
from api.health import Check
from api.line import SysLine
from cli.serving import ALWAYS, Looks
from core import limits
from core.clock import HybridClock
from core.errors import NotServing
from events.lane_writer import LaneWriter
from stores.ports import HotStore


class EdgeServing(Looks):
    """The gate of its listener."""

    def __init__(
        self,
        line: SysLine,
        hot: HotStore,
        clock: HybridClock,
        lease: Callable[[], str],
        writer: LaneWriter | None,
    ) -> None:
        """`writer`: of a process that writes."""
        super().__init__(hot, clock, lease)
        self._line = line
        self._writer = writer
        self._time = asyncio.get_running_loop().time
        self._up_at = self._time()
        self.checks: dict[str, Check] = {"sys": self._sys, "hot": self._hot_state, "process": self._process}
        if writer is not None:
            self.checks |= {"lane": self._lane, "lease": self._lease, "clock": self._wall_clock}

    def serves(self) -> bool:
        """Whether the process that applies lets clients in, as it said last."""
        return self._line.pulse is not None and self._line.pulse.serves

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

    async def _lane(self) -> str:
        return "another process writes this lane" if self._writer and self._writer.lost else ""

    @web.middleware
    async def gate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """503 `not_serving` for everything but health while the process that applies lets nobody in."""
        if not self.serves() and request.path not in ALWAYS:
            raise NotServing(await self._sys(), retry_after_s=1)
        return await handler(request)
