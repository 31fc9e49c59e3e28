"""One after the other: writes whose limit spans several rows.

Such a limit is looked at when a write is resolved, and what the write adds is seen when it is applied; of two that
come between, both would find room for one. So writes of one name take turns from the one to the other, in the order in
which they come. This holds within a process, and there is one per datacenter; two datacenters may overshoot together.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class _Turn:
    __slots__ = ("lock", "users")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0


class Turns:
    def __init__(self) -> None:
        self.held: dict[str, _Turn] = {}
        """By name, those that somebody has or waits for."""

    @contextlib.asynccontextmanager
    async def of(self, name: str) -> AsyncIterator[None]:
        """Waits for its turn; the turn ends with the block, however that ends."""
        turn = self.held.setdefault(name, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if not turn.users:
                del self.held[name]
