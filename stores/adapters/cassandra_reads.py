"""What is read from the tables, apart from a conversation's index: rows by message, by event, and what is listed."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

import msgspec

from core import limits
from core.ids import ID_MAX, lane_of
from core.messages import Row
from stores.adapters import cassandra_cql as cql
from stores.adapters.cassandra_index import Index, Range
from stores.adapters.cassandra_merge import Chain, Merge, Source, stream
from stores.adapters.cassandra_session import CassandraSession
from stores.adapters.cassandra_writes import Place
from stores.adapters.message_rows import without_text

T = TypeVar("T")

SLOTS_AT_ONCE = 32
ROWS_AT_ONCE = 256
LISTED_AT_ONCE = 500
CONVERSATIONS_AT_ONCE = 64


class Reads:
    """Each method reads what is in the database."""

    def __init__(self, session: CassandraSession) -> None:
        self._session = session
        self._index = Index(session)

    async def page(self, asked: Range, limit: int, known: Mapping[int, int] | None) -> list[int]:
        """The first `limit` canonical ids."""
        found: list[int] = []
        async for entries in self._index.sends(asked, limit):
            wanted = [one for one in entries if known is None or one[0] <= known.get(lane_of(one[0]), 0)]
            for some in _parts(wanted, limit):
                copies = await self._copies({class_ for _, class_ in some})
                found += [id for id, class_ in some if min(copies[class_]) == id]
                if len(found) >= limit:
                    return found[:limit]
        return found

    async def recent(self, conversation: str, limit: int, high: int) -> list[Row]:
        """See `MessageStore.recent`."""
        newest: list[int] = []
        ids: set[int] = set()
        sends: dict[int, Row] = {}
        async for entries in self._index.sends(Range(conversation, 0, high), limit, heads=True):
            copies = await self._copies({entry[1] for entry in entries})
            for id, class_, actor, head in entries:
                sends[id] = Row(id, conversation, id, "send", actor, class_, msgspec.json.decode(head))
                if len(newest) < limit and min(copies[class_]) == id:
                    newest.append(id)
                    ids |= copies[class_]
            if len(newest) >= limit:
                break
        low = newest[-1] if len(newest) == limit else 0
        elsewhere = ids - sends.keys()
        further, about, between = await asyncio.gather(
            self._rows_at(elsewhere),
            self._others(elsewhere),
            self._recalls(Range(conversation, low, high)),
        )
        rows = {id: sends[id] for id in ids & sends.keys()}
        rows |= {row.event: row for row in further if row.kind == "send"}
        rows |= {row.event: row for row in (*about, *between) if row.kind == "recall"}
        return [without_text(rows[event]) for event in sorted(rows)]

    async def about(self, ids: frozenset[int], classes: frozenset[int], known: Mapping[int, int] | None) -> list[Row]:
        """The rows about these ids, about the other ids of their classes, and about all ids of these classes."""
        sends, others, copies = await asyncio.gather(self._rows_at(ids), self._others(ids), self._copies(classes))
        sends = [row for row in sends if row.kind == "send"]
        copies |= await self._copies({row.class_ for row in sends} - copies.keys())
        further = frozenset[int]().union(*copies.values()) - ids
        if further:
            rows, more = await asyncio.gather(self._rows_at(further), self._others(further))
            sends += [row for row in rows if row.kind == "send"]
            others += more
        return sends + await self._with_texts(others, known)

    async def tops(self, after: str, limit: int) -> list[tuple[str, int]]:
        """See `MessageStore.tops`."""
        names = await self._conversations(after, limit)
        found: list[int] = []
        for some in _parts(names, CONVERSATIONS_AT_ONCE):
            found += await asyncio.gather(*(self._top(name) for name in some))
        return list(zip(names, found, strict=True))

    async def rows_after(self, after: int) -> AsyncIterator[list[Row]]:
        """All rows of events beyond this id, ascending."""
        session = self._session

        def slot(number: int) -> Source[Row]:
            last = after

            async def more() -> tuple[list[Row], bool]:
                nonlocal last
                rows = [cql.row(one) for one in await session.read("rows_after", number, last, ROWS_AT_ONCE)]
                last = rows[-1].event if rows else last
                return rows, len(rows) == ROWS_AT_ONCE

            return more

        async def windows() -> AsyncIterator[Source[Row]]:
            window: list[int] = []
            async for number in self._slots(after):
                # Those of one time lie beside each other, a lane each, and are read together.
                if len(window) >= SLOTS_AT_ONCE and number >> 16 != window[-1] >> 16:
                    yield Merge([slot(one) for one in window], lambda row: row.event)
                    window = []
                window.append(number)
            if window:
                yield Merge([slot(one) for one in window], lambda row: row.event)

        async for rows in stream(Chain(windows())):
            yield rows

    # -- parts of these

    async def _slots(self, after: int) -> AsyncIterator[int]:
        """Those that may hold events beyond this id, in the order of their time."""
        first = (after >> cql.SLOT_BITS) << 16
        async for hour in self._listed("hours_after", (), (after >> cql.HOUR_BITS) - 1):
            async for number in self._listed("slots_after", (hour,), first - 1):
                yield number

    async def _listed(self, name: str, of: tuple[Any, ...], last: Any) -> AsyncIterator[Any]:
        """The entries of a directory after `last`."""
        more = True
        while more:
            entries = await self._session.read(name, *of, last, LISTED_AT_ONCE)
            for (last,) in entries:
                yield last
            more = len(entries) == LISTED_AT_ONCE

    async def _conversations(self, after: str, limit: int) -> list[str]:
        """The first names after this one."""
        found: list[str] = []
        async for prefixes in self._prefixes(after[: cql.PREFIX_CHARS]):
            reads = [self._session.read("conversations_after", one, after, limit) for one in prefixes]
            found += [name for rows in await asyncio.gather(*reads) for (name,) in rows]
            if len(found) >= limit:
                break
        return found[:limit]

    async def _prefixes(self, first: str) -> AsyncIterator[list[str]]:
        entries = [one for (one,) in await self._session.read("prefixes_from", first, CONVERSATIONS_AT_ONCE)]
        while entries:
            yield entries
            more = await self._session.read("prefixes_from", entries[-1], CONVERSATIONS_AT_ONCE + 1)
            entries = [one for (one,) in more[1:]]

    async def _top(self, conversation: str) -> int:
        async for entries in self._index.sends(Range(conversation, 0, ID_MAX), 1):
            return int(entries[0][0])
        return 0

    async def _recalls(self, asked: Range) -> list[Row]:
        """Of messages in the range, whether those are here or not."""

        async def of(place: Place) -> list[Row]:
            rows = await self._session.read("recalls", *place, asked.low, asked.high)
            return [
                Row(event, asked.conversation, message, "recall", actor, class_, msgspec.json.decode(head))
                for event, message, actor, class_, head in rows
            ]

        found: list[Row] = []
        for some in _parts(await self._index.places(asked), CONVERSATIONS_AT_ONCE):
            for rows in await asyncio.gather(*(of(place) for place in some)):
                found += rows
        return found

    async def _rows_at(self, events: Collection[int]) -> list[Row]:
        """The rows of these events."""
        slots: dict[int, list[int]] = defaultdict(list)
        for event in events:
            slots[cql.slot_of(event)].append(event)
        reads = [
            self._session.read("rows", slot, list(some))
            for slot, those in slots.items()
            for some in _parts(those, limits.CASSANDRA_KEYS_MAX)
        ]
        return [cql.row(values) for rows in await asyncio.gather(*reads) for values in rows]

    async def _others(self, messages: Collection[int]) -> list[Row]:
        """What is about these messages and no send; of edits no texts."""
        reads = [self._session.read("about_all", list(some)) for some in _parts(messages, limits.CASSANDRA_KEYS_MAX)]
        return [cql.row_about(values) for rows in await asyncio.gather(*reads) for values in rows]

    async def _with_texts(self, others: Sequence[Row], known: Mapping[int, int] | None) -> list[Row]:
        """Of the newest edit of each message the text, too."""
        newest: dict[int, int] = {}
        for row in others:
            if row.kind == "edit" and (known is None or row.event <= known.get(lane_of(row.event), 0)):
                newest[row.message] = max(row.event, newest.get(row.message, 0))
        texts = {row.event: row for row in await self._rows_at(set(newest.values()))}
        return [texts.get(row.event, row) for row in others]

    async def _copies(self, classes: Collection[int]) -> dict[int, set[int]]:
        """class -> its message ids."""
        found: dict[int, set[int]] = {}
        reads = [self._session.read("copies", list(some)) for some in _parts(classes, limits.CASSANDRA_KEYS_MAX)]
        for rows in await asyncio.gather(*reads):
            for class_, event in rows:
                found.setdefault(class_, set()).add(event)
        return found


def _parts(items: Iterable[T], size: int) -> Iterable[list[T]]:
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some
