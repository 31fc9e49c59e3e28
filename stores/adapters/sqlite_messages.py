"""The message store in one SQLite file, written behind: the embedded default.

What is put goes into an open batch; MESSAGE_LINGER_MS later, or when MESSAGE_WRITE_ROWS are in it, a task writes the
batch in one transaction with the frontier it completes. Reads see what was put:

- `rows_of` (every update that is rendered asks it, mostly for a message of this very moment) lays the unwritten rows
  over what the file has;
- `page` and `recent` wait for the writer only if this conversation has unwritten rows;
- the others (rebuild, snapshot) wait for the writer.

A write that fails is kept and tried again, with a growing pause; meanwhile `ready` and every read raise.
"""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from core import limits
from core.errors import PlanBError, StoreUnavailable
from core.ids import ID_MAX
from core.messages import Row
from stores.adapters import sqlite_message_sql as sql
from stores.adapters.message_rows import MessageRows, checked, shown
from stores.adapters.sqlite_file import ADVANCE, LOCAL_SCHEMA, SqliteFile, check_version
from stores.ports import Frontier, Mark, Sent

RETRY_S_MIN = 0.05
RETRY_S_MAX = 2.0

log = logging.getLogger(__name__)


class Batch:
    """Rows and the frontier that they complete. It stays as it is once it is written, for reads that began before."""

    def __init__(self) -> None:
        self.rows = MessageRows()
        self.frontier: Frontier = {}
        self.written = False
        self._bound: dict[int, tuple[Any, ...]] = {}

    def __len__(self) -> int:
        return len(self.rows.rows)

    @property
    def empty(self) -> bool:
        return not self.rows.rows and not self.frontier

    def touches(self, conversation: str) -> bool:
        """Has it rows of this conversation?"""
        return conversation in self.rows.conversations

    def add(self, rows: Sequence[Row]) -> None:
        """All of them or, if one is refused (Undecodable), none: the writer would retry that one for ever."""
        for row, bound in [(checked(row), sql.bound(row)) for row in rows]:
            again = row.event in self._bound
            self.rows.add(row)
            self._bound[row.event] = sql.bound(self.rows.rows[row.event]) if again else bound

    def read(self, event: int) -> Row:
        """A row as the file will give it back."""
        return sql.row(self._bound[event])

    def insert(self, connection: sqlite3.Connection) -> None:
        """All of it, in the writer's transaction."""
        connection.executemany(sql.INSERT, self._bound.values())
        rows = self.rows.rows.values()
        places = {(row.conversation, row.message >> sql.BUCKET_BITS) for row in rows}
        connection.executemany(sql.INSERT_BUCKET, places)
        connection.executemany(ADVANCE, [(lane, *mark) for lane, mark in self.frontier.items()])


class SqliteMessageStore:
    """stores.ports.MessageStore. Made by `open`, on the running event loop."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._open = Batch()
        self._writing: Batch | None = None
        self._failure: PlanBError | None = None
        self._put = asyncio.Event()
        self._hurry = asyncio.Event()
        self._moved = asyncio.Event()
        self._closing = asyncio.Event()
        self._commits = 0
        self._commits_synced = 0
        self._task = asyncio.create_task(self._write_behind(), name=f"write {file.path.name}")

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
        if self._closing.is_set():
            raise StoreUnavailable(private=f"{self._file.path}: closed")
        self._open.add(rows)
        for lane, mark in frontier.items():
            if mark.seq > self._open.frontier.get(lane, Mark(0, 0)).seq:
                self._open.frontier[lane] = mark
        self._put.set()
        if len(self._open) >= limits.MESSAGE_WRITE_ROWS:
            self._hurry.set()

    async def ready(self) -> None:
        self._check()
        while self._queued >= limits.MESSAGE_QUEUE_ROWS_MAX:
            await self._moved.wait()
            self._check()

    async def flush(self) -> None:
        await self._drain()
        commits = self._commits
        if self._commits_synced < commits:
            # A transaction that writes nothing syncs nothing; this one takes all earlier ones with it.
            await self._file.write(_touch, durable=True)
            self._commits_synced = max(self._commits_synced, commits)

    @property
    def _queued(self) -> int:
        return len(self._open) + (len(self._writing) if self._writing else 0)

    def _check(self) -> None:
        """Raises while writing fails, and after `close`."""
        if self._failure is not None:
            raise self._failure.__class__(self._failure.detail, private=self._failure.private, retry_after_s=1)
        if self._closing.is_set():
            raise StoreUnavailable(private=f"{self._file.path}: closed")

    def _notify(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    async def _drain(self) -> None:
        """Returns when what was put before is in the file; raises if writing fails."""
        self._check()
        batches = self._unwritten()
        while not all(batch.written for batch in batches):
            self._hurry.set()
            await self._moved.wait()
            self._check()

    def _unwritten(self) -> tuple[Batch, ...]:
        """Oldest first. A read keeps these from before it asks the file, so a row is in one of the two."""
        return tuple(batch for batch in (self._writing, self._open) if batch is not None and not batch.empty)

    async def _write_behind(self) -> None:
        while True:
            await self._put.wait()
            await _until(self._hurry, limits.MESSAGE_LINGER_MS / 1000)
            self._put.clear()
            self._hurry.clear()
            self._writing, self._open = self._open, Batch()
            await self._write(self._writing)
            self._writing = None
            self._notify()

    async def _write(self, batch: Batch) -> None:
        """Until it is written. Anything that fails is taken for a failing disk: rows are never given up."""
        pause_s = RETRY_S_MIN
        while True:
            try:
                await self._file.write(batch.insert)
            except Exception as cause:
                known = cause if isinstance(cause, PlanBError) else None
                self._failure = known or StoreUnavailable(private=repr(cause))
                log.error("message rows wait, writing fails: %s", self._failure.private, exc_info=known is None)
                self._notify()
                await _until(self._closing, pause_s)
                pause_s = min(2 * pause_s, RETRY_S_MAX)
            else:
                batch.written = True
                self._commits += 1
                self._failure = None
                return

    # -- reading

    async def _read(self, work: Callable[[sqlite3.Connection], Any], conversation: str | None = None) -> Any:
        """Runs `work` on the file once it holds what was put before (of one conversation, if given)."""
        self._check()
        batches = self._unwritten()
        if conversation is None or any(batch.touches(conversation) for batch in batches):
            await self._drain()
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
        self._check()
        batches = self._unwritten()
        ids, asked = set(messages), set[int]()
        found: list[Row] = []
        # Twice only where an unwritten copy has an id that the file was not asked for.
        while not ids <= asked:
            asked |= ids
            sends = [batch.rows.rows.get(id) for batch in batches for id in asked]
            classes = {row.class_ for row in sends if row is not None and row.kind == "send"}
            found = await self._about(frozenset(asked), frozenset(classes), known)
            copies = {row.event: row.class_ for row in found if row.kind == "send"}
            asked |= copies.keys()
            for class_ in classes.union(copies.values()):
                for batch in batches:
                    ids |= batch.rows.classes.get(class_, frozenset())
            ids |= asked
        rows = {row.event: row for row in found}
        for batch in batches:
            for id in ids:
                for event in batch.rows.about.get(id, ()):
                    rows[event] = batch.read(event)
        return shown((rows[event] for event in sorted(rows)), known)

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
        await self._drain()
        after = -1
        while True:

            def work(connection: sqlite3.Connection, after: int = after) -> list[Row]:
                return [sql.row(values) for values in connection.execute(sql.PAGE, (after, limits.CHUNK_ROWS_MAX))]

            page = await self._file.read(work)
            if page:
                yield page
            if len(page) < limits.CHUNK_ROWS_MAX:
                return
            after = page[-1].event

    async def load(self, rows: Sequence[Row]) -> None:
        batch = Batch()
        batch.add(rows)
        await self._file.write(batch.insert)

    async def set_frontier(self, frontier: Frontier) -> None:
        await self._drain()

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM frontier")
            connection.executemany(ADVANCE, [(lane, *mark) for lane, mark in frontier.items()])

        await self._file.write(work, durable=True)

    async def close(self) -> None:
        """Writes what was put, then closes. If it can not be written it raises, closed all the same: the frontier
        in the file does not cover those rows, so they are replayed."""
        if self._closing.is_set():
            return
        try:
            await self.flush()
        finally:
            self._closing.set()
            self._notify()
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            await self._file.close()


def _touch(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT OR REPLACE INTO meta (name, value) VALUES ('flushed', '')")


async def _until(event: asyncio.Event, timeout_s: float) -> None:
    """Waits for the event, at most so long."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return
