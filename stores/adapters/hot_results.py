"""Every write asks for the result of its key: what one tick of the loop asks leaves together."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from copy import copy

from stores.adapters import hot_wire
from stores.ports import Result

Ask = Callable[[Sequence[tuple[str, str]]], Awaitable[Sequence[bytes | None]]]
"""Values of (actor, key)."""
_Asked = tuple[str, str, "asyncio.Future[bytes | None]"]
"""Actor, key, and who waits."""


class Results:
    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._asked: list[_Asked] = []
        """What this tick asks for."""
        self._asking: set[asyncio.Task[None]] = set()

    async def get(self, actor: str, key: str) -> Result | None:
        loop = asyncio.get_running_loop()
        if not self._asked:
            loop.call_soon(self._begin)
        future: asyncio.Future[bytes | None] = loop.create_future()
        self._asked.append((actor, key, future))
        value = await future
        return None if value is None else hot_wire.unpack_result(actor, key, value)

    async def of(self, asked: Sequence[tuple[str, str]]) -> list[Result | None]:
        """Of a caller who has several: nobody else is waited for."""
        if not asked:
            return []
        return [
            None if value is None else hot_wire.unpack_result(actor, key, value)
            for (actor, key), value in zip(asked, await self._ask(asked), strict=True)
        ]

    def _begin(self) -> None:
        asked, self._asked = self._asked, []
        task = asyncio.create_task(self._answer(asked))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _answer(self, asked: Sequence[_Asked]) -> None:
        try:
            values = await self._ask([(actor, key) for actor, key, _ in asked])
        except Exception as error:
            for _, _, future in asked:
                if not future.done():
                    future.set_exception(copy(error))  # each his own: raising writes into it
                    future.exception()  # a caller that is gone need not be told
        else:
            for (_, _, future), value in zip(asked, values, strict=True):
                if not future.done():
                    future.set_result(value)
