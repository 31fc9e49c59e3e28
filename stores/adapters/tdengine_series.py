"""The SeriesStore in TDengine, by its REST interface (taospy's `taosrest`): several datacenters may share a database.

A super table per measure, a subtable per series. The driver is synchronous and opens a connection per statement: one
thread does all. What it leaves to whoever uses it: its `execute` ignores parameters, so values are escaped here; its
HTTPError is none of its Errors; a database is named in the URL, because USE does nothing; times go out as integers
and come back in a timezone that is asked for. Some words are refused as names (`user`, `conns`): ours are not among
them, tests/support/tdengine.py refuses them as well.
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, TypeVar
from urllib.parse import urlsplit

import taosrest
from taosrest.errors import Error as DriverError
from taosrest.errors import HTTPError

from core import limits
from core.errors import ConfigError, Invalid, Overloaded, StoreUnavailable
from stores.series import MEASURES, Held, Point, Series, Window, check, check_windows, newest

T = TypeVar("T")

SYNTAX, NO_DATABASE, WRONG_PASSWORD, NOT_READY, UNREACHABLE = 9728, 9750, 855, 820, 11
NO_TABLE = 9731
PASSING = {NO_DATABASE, NO_TABLE, WRONG_PASSWORD, NOT_READY, UNREACHABLE}
"""Refusals that are not about the statement: somebody sets it right, and the same statement works."""
REASON_CHARS_MAX = 300
CALLS_WAITING_MAX = 8


@dataclass(frozen=True)
class TDenginePlace:
    """Where it is, and who we are there."""

    url: str
    """Of its REST interface (taosAdapter)."""
    user: str
    password: str = field(repr=False)
    database: str = "planb"
    kept_days: int = 7
    """What a database that is made anew keeps; one that is there keeps its own."""

    def __post_init__(self) -> None:
        """ConfigError for what would stand in a statement or a message as it is."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.path.strip("/"):
            raise ConfigError("the URL of TDengine is http(s)://host:port; who we are there is set apart from it")
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", self.database):
            raise ConfigError(f"{self.database!r} is no name for a database of TDengine: [a-z][a-z0-9_]*")


class TDengineSeries:
    """One per process."""

    def __init__(self, place: TDenginePlace) -> None:
        self._place = place
        known: dict[str, Any] = {"url": place.url, "user": place.user, "password": place.password}
        known |= {"timeout": limits.SERIES_ANSWER_S_MAX, "timezone": UTC}
        self._server = taosrest.connect(**known)
        self._database = taosrest.connect(**known, database=place.database)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tdengine")
        self._waiting = 0
        self._prepared = False
        self._closed = False

    async def write(self, points: Sequence[Point]) -> None:
        check(points)
        if points:
            await self._run(lambda: self._write(insertion(newest(points).values())))

    async def held(self) -> list[Held]:
        return await self._run(lambda: [held for name in sorted(MEASURES) for held in self._held(name)])

    async def windows(self, measure: str, since_ms: int, until_ms: int, step_ms: int, dc: str = "") -> list[Window]:
        columns = check_windows(measure, since_ms, until_ms, step_ms).columns
        found = await self._run(lambda: self._query(question(measure, since_ms, until_ms, step_ms, dc)))
        return sorted(
            Window(
                Series(measure, *tags),
                _ms(at),
                int(points),
                tuple(map(float, values[: len(columns)])),
                tuple(map(float, values[len(columns) :])),
            )
            for at, *tags, points, values in ((*row[:5], row[5:]) for row in found)
        )

    async def close(self) -> None:
        """The statement at hand ends by itself, SERIES_ANSWER_S_MAX after the last byte that came."""
        self._closed = True
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._closed:
            raise StoreUnavailable("TDengine: closed")
        if self._waiting >= CALLS_WAITING_MAX:
            raise Overloaded(private=f"{self._waiting} calls wait for TDengine", retry_after_s=1)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._waiting -= 1

    # -- on the thread

    def _write(self, statement: str) -> None:
        if not self._prepared:
            self._prepare()
            self._prepared = True
        try:
            self._call(self._database, statement)
        except StoreUnavailable:
            self._prepared = False  # the database may be gone
            raise

    def _prepare(self) -> None:
        """Makes what is missing. The right to make a database is needed only where it is."""
        first, *others = map(super_table, MEASURES)
        try:
            if self._call(self._database, first) is None:
                self._call(self._server, self._creation())
                self._call(self._database, first)
            for statement in others:
                self._call(self._database, statement)
        except Invalid as error:  # it says nothing about the points that wait
            raise StoreUnavailable(error.detail, private=error.private, retry_after_s=1) from error

    def _creation(self) -> str:
        # A data file may span a third of what is kept at most.
        days = self._place.kept_days
        return f"CREATE DATABASE IF NOT EXISTS {self._place.database} KEEP {days}d DURATION {days * 8}h PRECISION 'ms'"

    def _held(self, name: str) -> list[Held]:
        rows = self._query(
            f"SELECT dc, service, kind, first(ts), last(ts), count(*) FROM {name} PARTITION BY dc, service, kind"
        )
        return sorted(
            Held(Series(name, *tags), _ms(first), _ms(last), int(points)) for *tags, first, last, points in rows
        )

    def _query(self, statement: str) -> list[list[Any]]:
        """Its rows; none where nothing was ever written."""
        return self._call(self._database, statement) or []

    def _call(self, connection: Any, statement: str) -> list[list[Any]] | None:
        """The rows of the answer; None where there is nothing of this name yet."""
        try:
            answer = connection.query(statement)
            rows = answer.data
            if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
                raise self._unavailable("it answers what is none of its answers")
            return rows
        except DriverError as error:
            if error.errno in (NO_DATABASE, NO_TABLE) and not statement.startswith("INSERT"):
                return None
            if error.errno not in PASSING:
                raise Invalid(f"{self._named} refuses: {_reason(error)}", private=statement[:200]) from error
            raise self._unavailable(_reason(error)) from error
        except (HTTPError, OSError) as error:  # all of the transport's errors are OSErrors
            raise self._unavailable(_reason(error)) from error
        except (LookupError, TypeError, ValueError, AttributeError) as error:  # the driver trusts what it reads
            raise self._unavailable(f"it answers what is none of its answers: {_reason(error)}") from error

    def _unavailable(self, reason: str) -> StoreUnavailable:
        return StoreUnavailable(f"{self._named}: {reason}", retry_after_s=1)

    @property
    def _named(self) -> str:
        return f"TDengine at {self._place.url}"


def _reason(error: BaseException) -> str:
    return (str(error) or type(error).__name__)[:REASON_CHARS_MAX]


def _ms(at: datetime) -> int:
    """Exact: a float of seconds is not."""
    return round((at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)


# -- the SQL that is said


def text(value: str) -> str:
    """A string literal."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def subtable(series: Series) -> str:
    """A name of [a-z0-9_] that says what is in it; names that look alike are told apart by a hash."""
    said = re.sub(r"[^a-z0-9]+", "_", f"{series.dc}_{series.service}_{series.kind}".lower())[:60]
    return f"{series.measure}_{said}_{blake2b(chr(0).join(series).encode(), digest_size=8).hexdigest()}"


def super_table(name: str) -> str:
    columns = ", ".join(f"{column} DOUBLE" for column in MEASURES[name].columns)
    tags = ", ".join(f"{tag} VARCHAR({limits.SERIES_TAG_CHARS_MAX})" for tag in ("dc", "service", "kind"))
    return f"CREATE STABLE IF NOT EXISTS {name} (ts TIMESTAMP, {columns}) TAGS ({tags})"


def insertion(points: Iterable[Point]) -> str:
    """All of them in one statement; subtables are made by it."""
    by_series: dict[Series, list[str]] = {}
    for point in points:
        values = ", ".join([str(point.at_ms), *map(repr, map(float, point.values))])
        by_series.setdefault(point.series, []).append(f"({values})")
    parts = (
        f"{subtable(series)} USING {series.measure} TAGS ({', '.join(map(text, series[1:]))}) VALUES {' '.join(rows)}"
        for series, rows in by_series.items()
    )
    return f"INSERT INTO {' '.join(parts)}"


def question(measure: str, since_ms: int, until_ms: int, step_ms: int, dc: str) -> str:
    """For `windows`."""
    columns = MEASURES[measure].columns
    shown = ", ".join([*(f"avg({one})" for one in columns), *(f"max({one})" for one in columns)])
    of = f" AND dc = {text(dc)}" if dc else ""
    return (
        f"SELECT _wstart, dc, service, kind, count(*), {shown} FROM {measure}"
        f" WHERE ts >= {since_ms} AND ts < {until_ms}{of} PARTITION BY dc, service, kind INTERVAL({step_ms}a)"
    )
