"""Streams of ordered entries that lie in several partitions: merged, or one after the other.

A source is called for its next entries, and says whether there may be more; entries grow from one to the next. An
entry may be in several partitions (a row that was written again by another process): it comes once.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Source = Callable[[], Awaitable[tuple[list[T], bool]]]
Key = Callable[[T], Any]


class Merge(Generic[T]):
    """A source of several that may lie anywhere: asks them together, gives what none of them can still be before."""

    def __init__(self, sources: Sequence[Source[T]], key: Key[T]) -> None:
        self._live = dict(enumerate(sources))
        self._buffers: list[list[T]] = [[] for _ in sources]
        self._key = key

    async def __call__(self) -> tuple[list[T], bool]:
        key = self._key
        hungry = [at for at in self._live if not self._buffers[at]]
        for at, (entries, more) in zip(hungry, await asyncio.gather(*(self._live[at]() for at in hungry)), strict=True):
            self._buffers[at] = list(entries)
            if not more:
                del self._live[at]
        if any(not self._buffers[at] for at in self._live):
            return [], True
        bound = min((key(self._buffers[at][-1]) for at in self._live), default=None)
        found: dict[Any, T] = {}
        for buffer in self._buffers:
            ready = [entry for entry in buffer if bound is None or key(entry) <= bound]
            del buffer[: len(ready)]
            found.update((key(entry), entry) for entry in ready)
        return [found[at] for at in sorted(found)], bool(self._live) or any(self._buffers)


class Chain(Generic[T]):
    """A source of several, each of which lies behind the one before."""

    def __init__(self, sources: AsyncIterator[Source[T]]) -> None:
        self._sources = sources
        self._now: Source[T] | None = None

    async def __call__(self) -> tuple[list[T], bool]:
        if self._now is None:
            self._now = await anext(self._sources, None)
            if self._now is None:
                return [], False
        entries, more = await self._now()
        if not more:
            self._now = None
        return entries, True


async def stream(source: Source[T]) -> AsyncIterator[list[T]]:
    """All of it; never an empty list."""
    more = True
    while more:
        entries, more = await source()
        if entries:
            yield entries
