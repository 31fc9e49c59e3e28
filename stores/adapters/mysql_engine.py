"""The connections of one process to MySQL or MariaDB: one that writes, and a few that read.

One writer: a process's batches come in order, and never meet one another. Reads go on beside it. A connection on which
anything went wrong is closed; the next call makes another one.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from asyncmy.cursors import SSCursor

from core import limits
from core.errors import ConfigError, Overloaded, StoreUnavailable
from stores.adapters.mysql_errors import Gone, MetAnother, driver_errors, store_errors
from stores.adapters.mysql_session import MysqlPlace, connected
from stores.adapters.sql_relational import Step

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[Any], Awaitable[T]]
"""What is done on a connection."""

ROWS_AT_A_TIME = 1_000
"""Of a result that is read in parts. What is made of more than these rows is made beside the loop."""


class Connections:
    """Up to `size` connections; each is one caller's at a time."""

    def __init__(self, place: MysqlPlace, size: int, *, autocommit: bool) -> None:
        self._place = place
        self._autocommit = autocommit
        self._free = asyncio.Semaphore(size)
        self._idle: list[Any] = []
        self._waiting = 0
        self._closed = False

    async def run(self, work: Work[T]) -> T:
        """Runs `work` on a connection; again, on a fresh one, if one that had lain idle turned out to be dead (the
        server was started anew). Overloaded where too many wait."""
        if self._waiting >= limits.STORE_QUEUE_MAX:
            raise Overloaded(private=f"{self._place}: {self._waiting} calls wait", retry_after_s=1)
        self._waiting += 1
        try:
            async with self._free:
                with store_errors(self._place.database):
                    return await self._run(work)
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """Waits for what runs. Safe to repeat."""
        self._closed = True
        while self._idle:
            with store_errors(self._place.database):
                await self._idle.pop().ensure_closed()

    async def _run(self, work: Work[T]) -> T:
        if self._closed:
            raise StoreUnavailable(private=f"{self._place}: closed")
        if self._idle:
            try:
                return await self._on(self._idle.pop(), work)
            except Gone as error:
                log.info("%s: a connection was lost: %s", self._place, error)
                while self._idle:
                    self._idle.pop().close()
        return await self._on(await self._made(), work)

    async def _made(self) -> Any:
        try:
            return await connected(self._place, autocommit=self._autocommit)
        except (ConfigError, StoreUnavailable) as error:
            # Not for clients: where it is, and what it says.
            raise StoreUnavailable(private=f"{error.detail} {error.private}", retry_after_s=1) from error

    async def _on(self, connection: Any, work: Work[T]) -> T:
        try:
            async with asyncio.timeout(limits.SQL_ANSWER_S_MAX):
                with driver_errors():
                    found = await work(connection)
        except BaseException:
            connection.close()
            raise
        if self._closed:
            connection.close()
        else:
            self._idle.append(connection)
        return found


class MysqlEngine:
    """sql_relational.Engine. `close` it."""

    def __init__(self, place: MysqlPlace) -> None:
        self._place = place
        self._writer = Connections(place, 1, autocommit=False)
        self._readers = Connections(place, place.connections - 1, autocommit=True)

    async def read(self, sql: str, values: Sequence[Any], shown: Callable[[Sequence[Any]], T]) -> list[T]:
        async def work(connection: Any) -> list[Sequence[Any]]:
            async with connection.cursor() as cursor:
                await cursor.execute(sql, tuple(values))
                return list(await cursor.fetchall())

        rows = await self._readers.run(work)
        if len(rows) <= ROWS_AT_A_TIME:
            return list(map(shown, rows))
        return await asyncio.to_thread(lambda: list(map(shown, rows)))

    async def each(self, sql: str) -> AsyncIterator[list[Sequence[Any]]]:
        """All rows of one statement, in parts: one consistent read, however long it takes. On a connection of its own,
        which is one of those that are left (limits.SQL_CONNECTIONS_LEFT)."""
        with store_errors(self._place.database):
            connection = await connected(self._place, autocommit=True)
            try:
                cursor = connection.cursor(SSCursor)
                rows = await _in_time(cursor.execute(sql))
                while rows := await _in_time(cursor.fetchmany(ROWS_AT_A_TIME)):
                    yield list(rows)
            finally:
                connection.close()

    async def write(self, steps: Sequence[Step], *, durable: bool = False) -> int:
        # `durable` or not: a server that does not sync each commit is refused.
        async def work(connection: Any) -> int:
            for _ in range(limits.SQL_TRIES_MAX - 1):
                try:
                    return await self._transaction(connection, steps)
                except MetAnother as error:
                    log.info("%s: a transaction is done again: %s", self._place, error)
                    await connection.rollback()
            return await self._transaction(connection, steps)

        return await self._writer.run(work)

    async def close(self) -> None:
        """Safe to repeat."""
        await self._readers.close()
        await self._writer.close()

    async def _transaction(self, connection: Any, steps: Sequence[Step]) -> int:
        met = 0
        with driver_errors():
            async with connection.cursor() as cursor:
                for step in steps:
                    met = await _execute(cursor, step)
        try:
            with driver_errors():
                await connection.commit()
        except Gone as error:
            # Not Gone: it would be done again, and it may have been done.
            raise StoreUnavailable(private=f"{self._place}: lost in a commit: {error}", retry_after_s=1) from error
        return met


@asynccontextmanager
async def opened(place: MysqlPlace) -> AsyncIterator[Any]:
    """A connection for something that is done once, and reported to an operator."""
    connection = await connected(place, autocommit=True)
    try:
        with store_errors(str(place)):
            yield connection
    finally:
        connection.close()


async def _execute(cursor: Any, step: Step) -> int:
    """How many rows it met."""
    if len(step.rows) == 1:
        await cursor.execute(step.sql, step.rows[0])
    else:
        await cursor.executemany(step.sql, step.rows)  # many rows to a statement, where it inserts
    return int(cursor.rowcount)


async def _in_time(answer: Awaitable[T]) -> T:
    async with asyncio.timeout(limits.SQL_ANSWER_S_MAX):
        with driver_errors():
            return await answer
