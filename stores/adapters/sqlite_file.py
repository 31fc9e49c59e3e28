"""One SQLite file: a write thread with the only connection that writes, and a few threads that read.

WAL lets reads and writes go on together. `synchronous=NORMAL` loses the last commits in a power failure but never
tears one: the event log is synced, and the frontier of a batch is in the same transaction as its rows, so what was
lost is replayed from exactly where the file stands. What nothing can replay is written with `durable=True`.
"""

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

from core import limits
from core.errors import ConfigError, Corrupt, Overloaded, StoreUnavailable, Undecodable
from core.ids import LANE_BITS
from core.tables import canonical

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

READERS = 3
BUSY_MS = 5_000
"""Another process may hold the file for a moment (a snapshot tool, a second worker)."""
WRITER_CACHE_KIB = 32_768
READER_CACHE_KIB = 8_192
WAL_PAGES = 4_000
"""Of 4 KiB, in the WAL before they go into the file: a page that is written often goes there once. SQLite's own choice,
1,000, is reached by some batches of messages."""
WAL_BYTES_KEPT = 64 * 1024 * 1024

HEADER_BYTES, VERSION_AT = 100, 60
MAGIC = b"SQLite format 3\0"
"""https://www.sqlite.org/fileformat.html"""
DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """What the driver raises -> the error tree. Corrupt names the file; `private` holds the cause.

    A mistake in our own SQL (ProgrammingError, IntegrityError) stays what it is: no retry would help.
    """
    try:
        yield
    except (sqlite3.ProgrammingError, sqlite3.IntegrityError):
        raise
    except sqlite3.Error as cause:
        private = f"{path}: {getattr(cause, 'sqlite_errorname', '')} {cause}"
        # The low byte is the error, the others say more about it (SQLITE_CORRUPT_VTAB …).
        if getattr(cause, "sqlite_errorcode", 0) & 0xFF in DAMAGED:
            raise Corrupt(f"{path.name} is damaged", private=private) from cause
        raise StoreUnavailable(private=private, retry_after_s=1) from cause
    except (OverflowError, UnicodeEncodeError) as cause:
        raise Undecodable(f"{path.name} can not hold this value", private=str(cause)) from cause


class SqliteFile:
    """Made by `open`. Its methods are for the event loop; `Work` runs in a thread and keeps no connection."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer = ThreadPoolExecutor(1, thread_name_prefix=f"{path.name}-write")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix=f"{path.name}-read")
        self._own = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._waiting = {self._writer: 0, self._readers: 0}
        self._closed = False

    @classmethod
    async def open(cls, path: Path, prepare: Work[None]) -> Self:
        """Opens or creates the file; `prepare` brings its schema up to date, in one transaction."""
        file = cls(path)
        try:
            await file.write(prepare, durable=True)
        except BaseException:
            await file.close()
            raise
        return file

    async def write(self, work: Work[T], *, durable: bool = False) -> T:
        """Runs `work` in one transaction, after all writes asked for before. With `durable` it is synced on return."""
        return await self._run(self._writer, self._transaction, work, durable)

    async def read(self, work: Work[T]) -> T:
        """Runs `work` on a reader. Each statement sees all that was committed before."""
        return await self._run(self._readers, self._look, work, False)

    async def close(self) -> None:
        """Waits for what runs, then closes all connections. Safe to repeat."""
        self._closed = True
        await asyncio.to_thread(self._shut)

    def _shut(self) -> None:
        self._readers.shutdown()
        self._writer.shutdown()
        # The writer's was opened first: closed last, it takes the WAL with it.
        while self._connections:
            self._connections.pop().close()

    async def _run(
        self, pool: ThreadPoolExecutor, run: Callable[[Work[T], bool], T], work: Work[T], durable: bool
    ) -> T:
        if self._closed:
            raise StoreUnavailable(private=f"{self.path}: closed")
        # Apart, so that a crowd of readers never keeps a batch from being applied.
        if self._waiting[pool] >= limits.STORE_QUEUE_MAX:
            raise Overloaded(private=f"{self.path}: {self._waiting[pool]} calls wait", retry_after_s=1)
        self._waiting[pool] += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, run, work, durable)
        finally:
            self._waiting[pool] -= 1

    def _transaction(self, work: Work[T], durable: bool) -> T:
        with store_errors(self.path):
            connection = self._connection(writes=True)
            if durable:
                connection.execute("PRAGMA synchronous=FULL")
            try:
                # IMMEDIATE: a second process waits here, instead of failing half-way at its first write.
                connection.execute("BEGIN IMMEDIATE")
                result = work(connection)
                connection.execute("COMMIT")
                return result
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            finally:
                if durable:
                    connection.execute("PRAGMA synchronous=NORMAL")

    def _look(self, work: Work[T], _: bool) -> T:
        with store_errors(self.path):
            return work(self._connection(writes=False))

    def _connection(self, *, writes: bool) -> sqlite3.Connection:
        """This thread's connection."""
        found: sqlite3.Connection | None = getattr(self._own, "connection", None)
        if found is None:
            found = sqlite3.connect(
                self.path,
                timeout=BUSY_MS / 1000,
                isolation_level=None,
                check_same_thread=False,  # `close` closes it, after its thread has ended
                cached_statements=256,
            )
            self._connections.append(found)
            self._own.connection = found
            found.execute(f"PRAGMA cache_size=-{WRITER_CACHE_KIB if writes else READER_CACHE_KIB}")
            if writes:
                found.execute("PRAGMA journal_mode=WAL")
                found.execute("PRAGMA synchronous=NORMAL")
                found.execute("PRAGMA secure_delete=OFF")
                found.execute(f"PRAGMA wal_autocheckpoint={WAL_PAGES}")
                found.execute(f"PRAGMA journal_size_limit={WAL_BYTES_KEPT}")
                found.create_function("canonical", 1, canonical_text, deterministic=True)
            else:
                found.execute("PRAGMA query_only=ON")
        return found


def canonical_text(value: str | int) -> bytes:
    """core.tables.canonical in SQL: the order of the insert law. Called only where two writers differ."""
    return canonical(value)


def within(id: str, known: str) -> str:
    """SQL: is this id at or below that of its lane in `cells.json_map`?"""
    return f"{id} <= coalesce(json_extract({known}, '$.\"' || ({id} & {(1 << LANE_BITS) - 1}) || '\"'), 0)"


LOCAL_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS frontier (lane INTEGER PRIMARY KEY, seq INTEGER NOT NULL, id INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
)
"""What every file has: how far it has come, and small local facts."""

ADVANCE = (
    "INSERT INTO frontier (lane, seq, id) VALUES (?, ?, ?) ON CONFLICT (lane) DO UPDATE"
    " SET seq = excluded.seq, id = excluded.id WHERE excluded.seq > frontier.seq"
)
"""Moves only forward: (lane, seq, id)."""


def check_version(connection: sqlite3.Connection, path: Path, version: int) -> None:
    """Refuses (ConfigError) a file that a newer program wrote; marks the file with this version."""
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > version:
        raise ConfigError(f"{path.name} has schema {found}; this program knows {version}")
    connection.execute(f"PRAGMA user_version={version}")


class Header(NamedTuple):
    """What the first bytes of a file say."""

    sound: bool
    """It is one of SQLite's; an empty one is, too."""
    version: int
    bytes: int
    """Of the file and its WAL."""


def header_of(path: Path) -> Header | None:
    """Read without a connection, which would write. None where there is no file; OSError where it can't be read. What
    is only in the WAL is not seen."""
    try:
        with path.open("rb") as file:
            first = file.read(HEADER_BYTES)
        size = path.stat().st_size
    except FileNotFoundError:
        return None
    with contextlib.suppress(FileNotFoundError):
        size += path.with_name(f"{path.name}-wal").stat().st_size
    if not first:
        return Header(True, 0, size)
    sound = len(first) == HEADER_BYTES and first.startswith(MAGIC)
    return Header(sound, int.from_bytes(first[VERSION_AT : VERSION_AT + 4]) if sound else 0, size)
