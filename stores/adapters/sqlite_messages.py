"""The message store in one SQLite file, written behind (written_behind.py): the embedded default.

A batch is one transaction, with the frontier it completes. Reads see what was put:

- `rows_of` (every update that is rendered asks it, mostly for a message of this very moment) lays the unwritten rows
  over what the file has;
- `page` and `recent` wait for the writer only if this conversation has unwritten rows;
- the others (rebuild, snapshot) wait for the writer.
"""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from core import limits
from core.ids import ID_MAX
from core.messages import Row
from stores.adapters import sqlite_message_sql as sql
from stores.adapters.message_rows import decoded
from stores.adapters.sqlite_file import ADVANCE, LOCAL_SCHEMA, SqliteFile, check_version
from stores.adapters.written_behind import Batch, WriteBehind, rows_over
from stores.ports import Frontier, Mark, Sent


class SqliteMessageStore:
    """stores.ports.MessageStore. Made by `open`, on the running event loop."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._queue = WriteBehind(str(file.path), self._write)
        self._synced = 0
        """Of the batches that are written."""

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Opens or creates the file. ConfigError for a file of a newer program, Corrupt for a damaged one."""

        def prepare(connection: sqlite3.Connection) -> None:
            check_version(connection, path, sql.VERSION)
            for statement in (*LOCAL_SCHEMA, *sql.SCHEMA):
                connection.execute(statement)

        return cls(await SqliteFile.open(path, prepare))

    # -- writing

    def put(self, rows: Sequence[Row], frontier: Frontier) -> None:
        self._queue.put(rows, frontier)

    async def ready(self) -> None:
        await self._queue.ready()

    async def written(self) -> None:
        await self._queue.drain()

    async def flush(self) -> None:
        await self._queue.drain()
        written = self._queue.written
        if self._synced < written:
            # A transaction that writes nothing syncs nothing; this one takes all earlier ones with it.
            await self._file.write(_touch, durable=True)
            self._synced = max(self._synced, written)

    async def _write(self, batch: Batch) -> None:
        await self._file.write(lambda connection: _insert(connection, batch))

    # -- reading

    async def _read(self, work: Callable[[sqlite3.Connection], Any], conversation: str | None = None) -> Any:
        """Runs `work` on the file once it holds what was put before (of one conversation, if given)."""
        if conversation is None:
            await self._queue.drain()
        else:
            await self._queue.drain_for(conversation)
        return await self._file.read(work)

    async def frontier(self) -> Frontier:
        def work(connection: sqlite3.Connection) -> Frontier:
            rows = connection.execute("SELECT lane, seq, id FROM frontier ORDER BY lane")
            return {lane: Mark(seq, id) for lane, seq, id in rows}

        return await self._file.read(work)

    async def page(
        self,
        conversation: str,
        *,
        before: int | None = None,
        after: int | None = None,
        limit: int,
        known: Mapping[int, int] | None = None,
    ) -> list[int]:
        high = ID_MAX if before is None else before - 1
        low = 0 if after is None else after + 1
        found: list[int] = await self._read(
            lambda connection: sql.page(connection, conversation, low, high, after is None, limit, known), conversation
        )
        return found

    async def recent(self, conversation: str, limit: int, before: int | None = None) -> list[Row]:
        high = ID_MAX if before is None else before - 1
        found: list[Row] = await self._read(
            lambda connection: sql.recent(connection, conversation, limit, high), conversation
        )
        return found

    async def rows_of(self, messages: Iterable[int], known: Mapping[int, int] | None = None) -> list[Row]:
        self._queue.check()
        return await rows_over(self._queue.unwritten(), messages, known, self._about)

    async def _about(self, ids: frozenset[int], classes: frozenset[int], known: Mapping[int, int] | None) -> list[Row]:
        return await self._file.read(lambda connection: sql.about(connection, sql.ABOUT, ids, classes, known))

    async def tops(self, after: str, limit: int) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = await self._read(lambda connection: sql.tops(connection, after, limit))
        return found

    async def sent_since(self, id: int, limit: int) -> list[Sent]:
        found: list[Sent] = await self._read(lambda connection: sql.sent_since(connection, id, limit))
        return found

    # -- snapshot, restore, end

    async def dump(self) -> AsyncIterator[list[Row]]:
        await self._queue.drain()
        after = -1
        while True:

            def work(connection: sqlite3.Connection, after: int = after) -> list[Row]:
                return [decoded(values) for values in connection.execute(sql.PAGE, (after, limits.CHUNK_ROWS_MAX))]

            page = await self._file.read(work)
            if page:
                yield page
            if len(page) < limits.CHUNK_ROWS_MAX:
                return
            after = page[-1].event

    async def load(self, rows: Sequence[Row]) -> None:
        batch = Batch()
        batch.add(rows)
        await self._write(batch)

    async def set_frontier(self, frontier: Frontier) -> None:
        await self._queue.drain()

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM frontier")
            connection.executemany(ADVANCE, [(lane, *mark) for lane, mark in frontier.items()])

        await self._file.write(work, durable=True)

    async def close(self) -> None:
        await self._queue.close(self.flush, self._file.close)


def _insert(connection: sqlite3.Connection, batch: Batch) -> None:
    """All of it, in the writer's transaction."""
    connection.executemany(sql.INSERT, batch.encoded.values())
    rows = batch.rows.rows.values()
    places = {(row.conversation, row.message >> sql.BUCKET_BITS) for row in rows}
    connection.executemany(sql.INSERT_BUCKET, places)
    connection.executemany(ADVANCE, [(lane, *mark) for lane, mark in batch.frontier.items()])


def _touch(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT OR REPLACE INTO meta (name, value) VALUES ('flushed', '')")
