"""The ends of lanes as followers are told them: at once what was written by way of an adapter, and what other
processes wrote when the log is looked at."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from core.limits import FOLLOW_LOOK_MS
from events.ports import Top


class Ends:
    """`tops` may be changed or replaced at any time; followers are told of it once `changed` was called."""

    def __init__(self) -> None:
        self.tops: dict[int, Top] = {}
        self._grown = asyncio.Event()

    def changed(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()

    async def follow(self, look: Callable[[], Awaitable[None]]) -> AsyncIterator[Mapping[int, Top]]:
        """As `EventLog.follow`. `look` brings `tops` up to what the log holds, every FOLLOW_LOOK_MS; its errors end
        this."""
        loop = asyncio.get_running_loop()
        await look()
        look_at = loop.time() + FOLLOW_LOOK_MS / 1000
        yield (seen := dict(self.tops))
        while True:
            if loop.time() >= look_at:
                await look()
                look_at = loop.time() + FOLLOW_LOOK_MS / 1000
            event = self._grown
            if grown := {lane: top for lane, top in self.tops.items() if seen.get(lane) != top}:
                seen |= grown
                yield grown
            else:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(look_at):
                        await event.wait()
