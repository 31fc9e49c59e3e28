"""The message store of a process that does not apply: it reads what another one writes, once that is written.

The other keeps rows in memory for a moment (written behind). What a client was told of, by an answer or by an update,
has to be in what is read after it: so before a read the other is asked to have them written, unless nothing has moved
since it was asked last.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence

from core.messages import Row
from stores.ports import Frontier, MessageStore, Sent


class ReadElsewhere:
    """stores.ports.MessageStore, to be read. StoreUnavailable where the other can't be asked."""

    def __init__(self, inner: MessageStore, moves: Callable[[], int], written: Callable[[], Awaitable[None]]) -> None:
        """`moves`: Mirror.moves. `written` returns when the rows of all that was applied before can be read."""
        self._inner = inner
        self._moves = moves
        self._ask = written
        self._known = 0
        """The moves of which all is written for sure."""
        self._asking: asyncio.Task[None] | None = None

    async def written(self) -> None:
        wanted = self._moves()
        while self._known < wanted:
            if self._asking is None:
                self._asking = asyncio.create_task(self._have_written(), name="rows are written")
                self._asking.add_done_callback(self._asked)
            await asyncio.shield(self._asking)

    async def _have_written(self) -> None:
        moves = self._moves()
        await self._ask()
        self._known = max(self._known, moves)

    def _asked(self, task: "asyncio.Task[None]") -> None:
        self._asking = None
        if not task.cancelled():
            task.exception()  # told to those who wait; there may be none any more

    async def page(
        self,
        conversation: str,
        *,
        before: int | None = None,
        after: int | None = None,
        limit: int,
        known: Mapping[int, int] | None = None,
    ) -> list[int]:
        await self.written()
        return await self._inner.page(conversation, before=before, after=after, limit=limit, known=known)

    async def rows_of(self, messages: Iterable[int], known: Mapping[int, int] | None = None) -> list[Row]:
        await self.written()
        return await self._inner.rows_of(messages, known)

    async def recent(self, conversation: str, limit: int, before: int | None = None) -> list[Row]:
        await self.written()
        return await self._inner.recent(conversation, limit, before)

    async def tops(self, after: str, limit: int) -> list[tuple[str, int]]:
        await self.written()
        return await self._inner.tops(after, limit)

    async def sent_since(self, id: int, limit: int) -> list[Sent]:
        await self.written()
        return await self._inner.sent_since(id, limit)

    async def frontier(self) -> Frontier:
        return await self._inner.frontier()

    async def close(self) -> None:
        await self._inner.close()

    # -- who does not apply writes nothing

    def put(self, rows: Sequence[Row], frontier: Frontier) -> None:
        raise _NotHere

    async def ready(self) -> None:
        raise _NotHere

    async def flush(self) -> None:
        raise _NotHere

    def dump(self) -> AsyncIterator[list[Row]]:
        raise _NotHere

    async def load(self, rows: Sequence[Row]) -> None:
        raise _NotHere

    async def set_frontier(self, frontier: Frontier) -> None:
        raise _NotHere


class _NotHere(AssertionError):
    """Rows are written by the process that applies."""
