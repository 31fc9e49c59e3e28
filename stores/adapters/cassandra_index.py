"""A conversation's messages in the order of their ids, out of its buckets, slices and parts (cassandra_writes.py).

Only what the directories name is looked at, so months without a message cost nothing. The first window is small,
because a page mostly ends in it; the next ones grow.
"""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from stores.adapters.cassandra_cql import BUCKET_BITS, SLICE_BITS, SPLIT
from stores.adapters.cassandra_merge import Chain, Merge, Source, stream
from stores.adapters.cassandra_session import CassandraSession
from stores.adapters.cassandra_writes import Place

DIRECTORY_PAGE = 64
WINDOW_MIN = 2
WINDOW_MAX = 32
WINDOW_GROWTH = 4
CHUNK_MIN = 8
CHUNK_MAX = 500

Entry = tuple[Any, ...]
"""(message, class, …) of a send."""


class Range(NamedTuple):
    """Messages of a conversation with ids in [low, high]."""

    conversation: str
    low: int
    high: int
    newest_first: bool = True

    @property
    def order(self) -> str:
        return "newest" if self.newest_first else "oldest"

    def ends(self, bits: int) -> tuple[int, int]:
        """Of a directory's entries: where its reading begins, and where it ends."""
        low, high = self.low >> bits, self.high >> bits
        return (high, low) if self.newest_first else (low, high)


class Index:
    """Reads them."""

    def __init__(self, session: CassandraSession) -> None:
        self._session = session

    def sends(self, asked: Range, limit: int, *, heads: bool = False) -> AsyncIterator[list[Entry]]:
        """In the order asked for, about `limit` at a time. `heads`: with actor and head; newest first only."""
        sign = -1 if asked.newest_first else 1
        chunk = min(max(limit, CHUNK_MIN), CHUNK_MAX)
        name = f"{'heads' if heads else 'sends'}_{asked.order}"

        def part(place: Place) -> Source[Entry]:
            return _Sends(self._session, name, place, asked, chunk)

        def key(entry: Entry) -> int:
            return sign * int(entry[0])

        async def windows() -> AsyncIterator[Source[Entry]]:
            size = WINDOW_MIN
            sources: list[Source[Entry]] = []
            buckets = 0
            async for bucket, parts in self._directory("buckets", (asked.conversation,), asked, BUCKET_BITS):
                sources += [part(Place(asked.conversation, bucket, number)) for number in parts if number != SPLIT]
                if SPLIT in parts:
                    sources.append(Chain(slices(bucket)))
                buckets += 1
                if buckets == size:
                    yield Merge(sources, key)
                    sources, buckets, size = [], 0, min(WINDOW_GROWTH * size, WINDOW_MAX)
            if sources:
                yield Merge(sources, key)

        async def slices(bucket: int) -> AsyncIterator[Source[Entry]]:
            named = self._directory("slices", (asked.conversation, bucket), asked, SLICE_BITS)
            async for slice, parts in named:
                yield Merge([part(Place(asked.conversation, ~slice, number)) for number in parts], key)

        return stream(Chain(windows()))

    async def places(self, asked: Range) -> list[Place]:
        """All partitions that may hold something of the range."""
        found = []
        async for bucket, parts in self._directory("buckets", (asked.conversation,), asked, BUCKET_BITS):
            found += [Place(asked.conversation, bucket, number) for number in parts if number != SPLIT]
            if SPLIT in parts:
                named = self._directory("slices", (asked.conversation, bucket), asked, SLICE_BITS)
                async for slice, sliced in named:
                    found += [Place(asked.conversation, ~slice, number) for number in sliced]
        return found

    async def _directory(
        self, table: str, of: tuple[Any, ...], asked: Range, bits: int
    ) -> AsyncIterator[tuple[int, list[int]]]:
        """(bucket or slice, all its parts), in the order asked for."""
        at, end = asked.ends(bits)
        step = -1 if asked.newest_first else 1
        name = f"{table}_{asked.order}"
        more = True
        while more and step * at <= step * end:
            entries = await self._session.read(name, *of, at, end, DIRECTORY_PAGE)
            more = len(entries) == DIRECTORY_PAGE
            named: dict[int, list[int]] = {}
            for number, part in entries:
                named.setdefault(number, []).append(part)
            if more:
                at = entries[-1][0]
                named[at] += await self._rest(name, (*of, at), entries[-1][1])
                at += step
            for number, parts in named.items():
                yield number, parts

    async def _rest(self, name: str, of: tuple[Any, ...], part: int) -> list[int]:
        """The parts after this one."""
        found: list[int] = []
        more = True
        while more:
            entries = await self._session.read(f"{name}_rest", *of, part, DIRECTORY_PAGE)
            found += [part for _, part in entries]
            more = len(entries) == DIRECTORY_PAGE
            part = found[-1] if found else part
        return found


class _Sends:
    """The sends of one partition."""

    def __init__(self, session: CassandraSession, name: str, place: Place, asked: Range, limit: int) -> None:
        self._session = session
        self._name = name
        self._place = place
        self._newest_first = asked.newest_first
        self._low, self._high = asked.low, asked.high
        self._limit = limit

    async def __call__(self) -> tuple[list[Entry], bool]:
        entries = await self._session.read(self._name, *self._place, self._low, self._high, self._limit)
        if len(entries) < self._limit:
            return entries, False
        if self._newest_first:
            self._high = entries[-1][0] - 1
        else:
            self._low = entries[-1][0] + 1
        return entries, self._low <= self._high
