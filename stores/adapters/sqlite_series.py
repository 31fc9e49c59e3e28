"""The SeriesStore in one SQLite file of its own: the embedded default.

Points of a series lie together in the order of time, so a stretch of one is read, and its oldest are forgotten, as
one range. A point is 40 to 60 bytes.
"""

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from core import limits
from core.errors import Corrupt, StoreUnavailable
from core.system import Clock
from stores.adapters.sqlite_file import SqliteFile, check_version
from stores.series import MEASURES, Held, Point, Series, Window, check, check_windows, newest

VERSION = 1
FORGET_INTERVAL_MS = 60_000
FORGOTTEN_SHARE = 16
"""A file beyond its bound loses this part of its time at once, the oldest."""
PAGES_SPARE = 1 / 8
"""So much bigger than its bound the file may be, for what comes before the next look. Then it is full."""

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS series (number INTEGER PRIMARY KEY, measure TEXT NOT NULL, dc TEXT NOT NULL,"
    " service TEXT NOT NULL, kind TEXT NOT NULL, UNIQUE (measure, dc, service, kind))",
    *(
        f"CREATE TABLE IF NOT EXISTS {name} (series INTEGER NOT NULL, at_ms INTEGER NOT NULL,"
        f" {', '.join(f'{column} REAL NOT NULL' for column in measure.columns)},"
        " PRIMARY KEY (series, at_ms)) WITHOUT ROWID"
        for name, measure in MEASURES.items()
    ),
)


class SqliteSeries:
    """Keeps no point older than `kept_ms`, and `bytes_max` bytes at most: then the oldest go earlier. Looked at once a
    minute, by a write."""

    def __init__(self, path: Path, *, now_ms: Clock, kept_ms: int, bytes_max: int = limits.SERIES_BYTES_MAX) -> None:
        self._path = path
        self._now_ms = now_ms
        self._kept_ms = kept_ms
        self._bytes_max = bytes_max
        self._file: SqliteFile | None = None
        self._opening = asyncio.Lock()
        self._closed = False
        self._forgot_ms = 0

    async def write(self, points: Sequence[Point]) -> None:
        check(points)
        file = await self._opened()
        try:
            await file.write(lambda connection: self._write(connection, points))
        except Corrupt:
            await self._give_up(file)
            raise

    async def held(self) -> list[Held]:
        return await (await self._opened()).read(lambda connection: sorted(_held(connection))) if self._there else []

    async def windows(self, measure: str, since_ms: int, until_ms: int, step_ms: int, dc: str = "") -> list[Window]:
        columns = check_windows(measure, since_ms, until_ms, step_ms).columns
        if not self._there:
            return []
        shown = ", ".join([*(f"avg({one})" for one in columns), *(f"max({one})" for one in columns)])
        sql = (
            f"SELECT at_ms / ?3 * ?3, count(*), {shown} FROM {measure} WHERE series = ?4 AND at_ms >= ?1"
            " AND at_ms < ?2 GROUP BY 1 ORDER BY 1"
        )

        def look(connection: sqlite3.Connection) -> list[Window]:
            return [
                Window(series, at_ms, points, tuple(values[: len(columns)]), tuple(values[len(columns) :]))
                for number, series in sorted(_series(connection), key=lambda one: one[1])
                if series.measure == measure and dc in ("", series.dc)
                for at_ms, points, *values in connection.execute(sql, (since_ms, until_ms, step_ms, number))
            ]

        return await (await self._opened()).read(look)

    async def close(self) -> None:
        self._closed = True
        async with self._opening:
            if self._file is not None:
                await self._file.close()

    @property
    def _there(self) -> bool:
        return self._path.exists()

    async def _opened(self) -> SqliteFile:
        async with self._opening:
            if self._closed:
                raise StoreUnavailable(f"{self._path.name} is closed")
            if self._file is None:
                self._file = await SqliteFile.open(self._path, self._prepare)
            return self._file

    async def _give_up(self, file: SqliteFile) -> None:
        """Whoever puts a sound one in its place, or none, needs no restart."""
        async with self._opening:
            if self._file is file:
                self._file = None
        await file.close()

    def _prepare(self, connection: sqlite3.Connection) -> None:
        check_version(connection, self._path, VERSION)
        for statement in SCHEMA:
            connection.execute(statement)
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        connection.execute(f"PRAGMA max_page_count={int(self._bytes_max * (1 + PAGES_SPARE)) // page_bytes}")

    # -- on the file's threads

    def _write(self, connection: sqlite3.Connection, points: Sequence[Point]) -> None:
        now_ms = self._now_ms()
        if not 0 <= now_ms - self._forgot_ms < FORGET_INTERVAL_MS:  # the clock may be set back
            self._forget(connection, now_ms)
            self._forgot_ms = now_ms
        numbers = {series: number for number, series in _series(connection)}
        for point in newest(points).values():
            number = numbers.get(point.series)
            if number is None:
                found = connection.execute(
                    "INSERT INTO series (measure, dc, service, kind) VALUES (?, ?, ?, ?) RETURNING number", point.series
                )
                (number,) = found.fetchone()
                numbers[point.series] = number
            places = ", ".join("?" * len(point.values))
            connection.execute(
                f"INSERT OR REPLACE INTO {point.series.measure} VALUES (?, ?, {places})",
                (number, point.at_ms, *point.values),
            )

    def _forget(self, connection: sqlite3.Connection, now_ms: int) -> None:
        before_ms = now_ms - self._kept_ms
        _forget_before(connection, before_ms)
        while _used_bytes(connection) > self._bytes_max and (held := list(_held(connection))):
            first_ms = min(one.first_ms for one in held)
            length_ms = max(one.last_ms for one in held) - first_ms
            _forget_before(connection, first_ms + length_ms // FORGOTTEN_SHARE + 1)


def _series(connection: sqlite3.Connection) -> Iterator[tuple[int, Series]]:
    for number, *tags in connection.execute("SELECT number, measure, dc, service, kind FROM series").fetchall():
        yield number, Series(*tags)


def _held(connection: sqlite3.Connection) -> Iterator[Held]:
    for number, series in _series(connection):
        sql = f"SELECT min(at_ms), max(at_ms), count(*) FROM {series.measure} WHERE series = ?"
        first_ms, last_ms, points = connection.execute(sql, (number,)).fetchone()
        if points:
            yield Held(series, first_ms, last_ms, points)


def _forget_before(connection: sqlite3.Connection, before_ms: int) -> None:
    for number, series in list(_series(connection)):
        connection.execute(f"DELETE FROM {series.measure} WHERE series = ? AND at_ms < ?", (number, before_ms))
        if not connection.execute(f"SELECT 1 FROM {series.measure} WHERE series = ? LIMIT 1", (number,)).fetchone():
            connection.execute("DELETE FROM series WHERE number = ?", (number,))


def _used_bytes(connection: sqlite3.Connection) -> int:
    """What is in use of the file: pages that were freed are used again."""
    pages, free, page_bytes = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * page_bytes)
