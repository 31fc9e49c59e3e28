"""The message store in Cassandra or ScyllaDB, written behind (written_behind.py); a keyspace per datacenter.

A batch goes into several tables, in no order; its frontier follows when all of it is acknowledged. So after a crash in
between, replay from the frontier writes the same rows again, to the same effect: nothing is ever changed or deleted,
and a write that timed out may as well have taken effect.

- `rows_of` lays the unwritten rows over what the database has;
- `page` and `recent` wait for the writer only if this conversation has unwritten rows;
- the others (rebuild, snapshot) wait for the writer.
"""

import logging
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from itertools import islice
from typing import Self

from core import limits
from core.errors import StoreUnavailable
from core.ids import ID_MAX
from core.messages import Row
from core.system import Entropy
from stores.adapters import cassandra_cql as cql
from stores.adapters.cassandra_index import Range
from stores.adapters.cassandra_reads import Reads
from stores.adapters.cassandra_schema import prepare_schema, schema_version
from stores.adapters.cassandra_session import CassandraPlace, CassandraSession, Values, Write
from stores.adapters.cassandra_writes import Parts, writes_of
from stores.adapters.message_rows import sent
from stores.adapters.written_behind import Batch, WriteBehind, rows_over
from stores.ports import Frontier, Mark, Sent

log = logging.getLogger(__name__)


class CassandraMessageStore:
    """stores.ports.MessageStore. Made by `open`, on the running event loop."""

    def __init__(self, session: CassandraSession, entropy: Entropy, generation: int) -> None:
        self._session = session
        self._generation = generation
        """Of the frontier: a restore begins another."""
        self._reads = Reads(session)
        self._parts = Parts(entropy)
        self._left: tuple[Batch, deque[Write]] | None = None
        """What is still to be written of the batch that is being written."""
        self._queue = WriteBehind(str(session.place), self._write)

    @classmethod
    async def open(cls, place: CassandraPlace, entropy: Entropy) -> Self:
        """Connects and brings the keyspace's schema up to date. ConfigError for a place that is not there or is a newer
        program's, StoreUnavailable where nobody answers."""
        session = await CassandraSession.open(place)
        try:
            await prepare_schema(session, entropy(8).hex())
            await _warn_of_losses(session)
            await session.prepare(cql.WRITES | cql.READS)
            rows = await session.read("generation")
        except BaseException:
            await session.close()
            raise
        return cls(session, entropy, rows[0][0] if rows else 0)

    @classmethod
    async def is_there(cls, place: CassandraPlace) -> bool:
        """Whether the keyspace has tables; makes nothing. Errors as of `open`."""
        session = await CassandraSession.open(place)
        try:
            return await schema_version(session) > 0
        finally:
            await session.close()

    # -- writing

    def put(self, rows: Sequence[Row], frontier: Frontier) -> None:
        self._queue.put(rows, frontier)

    async def ready(self) -> None:
        await self._queue.ready()

    async def written(self) -> None:
        await self._queue.drain()

    async def flush(self) -> None:
        await self._queue.drain()

    async def _write(self, batch: Batch) -> None:
        if self._left is None or self._left[0] is not batch:
            self._left = batch, self._writes(batch)
        await self._session.write(self._left[1])
        # Only now: whoever reads it believes that all before is there.
        await self._session.write(_frontier(self._generation, batch.frontier))
        self._left = None

    def _writes(self, batch: Batch) -> deque[Write]:
        return writes_of(((row, batch.encoded[event]) for event, row in batch.rows.rows.items()), self._parts)

    # -- reading

    async def frontier(self) -> Frontier:
        rows = await self._session.read("frontier", self._generation)
        return {lane: Mark(seq, id) for lane, seq, id in rows}

    async def page(
        self,
        conversation: str,
        *,
        before: int | None = None,
        after: int | None = None,
        limit: int,
        known: Mapping[int, int] | None = None,
    ) -> list[int]:
        await self._queue.drain_for(conversation)
        high = ID_MAX if before is None else before - 1
        low = 0 if after is None else after + 1
        return await self._reads.page(Range(conversation, low, high, after is None), limit, known)

    async def recent(self, conversation: str, limit: int, before: int | None = None) -> list[Row]:
        await self._queue.drain_for(conversation)
        return await self._reads.recent(conversation, limit, ID_MAX if before is None else before - 1)

    async def rows_of(self, messages: Iterable[int], known: Mapping[int, int] | None = None) -> list[Row]:
        self._queue.check()
        return await rows_over(self._queue.unwritten(), messages, known, self._reads.about)

    async def tops(self, after: str, limit: int) -> list[tuple[str, int]]:
        await self._queue.drain()
        return await self._reads.tops(after, limit)

    async def sent_since(self, id: int, limit: int) -> list[Sent]:
        await self._queue.drain()
        found: list[Sent] = []
        async for rows in self._reads.rows_after(id):
            sends = (sent(row) for row in rows if row.kind == "send" and row.body.get("key"))
            found += islice(sends, limit - len(found))
            if len(found) == limit:
                break
        return found

    # -- snapshot, restore, end

    async def dump(self) -> AsyncIterator[list[Row]]:
        await self._queue.drain()
        page: list[Row] = []
        async for rows in self._reads.rows_after(-1):
            page += rows
            while len(page) >= limits.CHUNK_ROWS_MAX:
                yield page[: limits.CHUNK_ROWS_MAX]
                del page[: limits.CHUNK_ROWS_MAX]
        if page:
            yield page

    async def load(self, rows: Sequence[Row]) -> None:
        batch = Batch()
        batch.add(rows)
        try:
            await self._session.write(self._writes(batch))
        except BaseException:
            self._parts.forget()
            raise

    async def set_frontier(self, frontier: Frontier) -> None:
        await self._queue.drain()
        generation = self._generation + 1
        await self._session.write(_frontier(generation, frontier))
        await self._session.write(deque([Write("frontier_generations", [(generation,)])]))
        self._generation = generation

    async def close(self) -> None:
        await self._queue.close(self.flush, self._session.close)


def _frontier(generation: int, frontier: Frontier) -> deque[Write]:
    rows: list[Values] = [(generation, lane, mark.seq, mark.id, mark.seq) for lane, mark in frontier.items()]
    return deque([Write("frontiers", rows)] if rows else [])


async def _warn_of_losses(session: CassandraSession) -> None:
    if await loses(session):
        log.warning(
            "%s: commitlog_sync is periodic, so what a node acknowledged last is lost when it is killed: set it to"
            " group or batch on every node",
            session.place,
        )


async def loses(session: CassandraSession) -> bool:
    """Whether the node acknowledges what it has not synced: that is lost when it is killed, and the frontier may be
    elsewhere."""
    try:
        rows = await session.run("SELECT value FROM system_views.settings WHERE name = 'commitlog_sync'")
    except StoreUnavailable:
        return False  # ScyllaDB has no such table
    return bool(rows) and rows[0][0] == "periodic"
