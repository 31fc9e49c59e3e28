"""The relational store in one SQLite file: the embedded default."""

import sqlite3
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec

from core import ids, limits
from core.system import Clock
from core.tables import Law, Table, canonical
from stores.adapters import conflicts as rule
from stores.adapters import sqlite_schema as schema
from stores.adapters.cells import STORED, Fold, loaded, lookup, order_of, part_of_key, table_named, unwritten
from stores.adapters.sqlite_file import ADVANCE, LOCAL_SCHEMA, SqliteFile, check_version, json_map
from stores.ports import Frontier, Mark, Parked, RelationalBatch, Result, Scan

RESULTS_PRUNED_MIN = 64
"""Expired results that a batch with results deletes at least; twice its own if that is more. So the table shrinks
to its day again after any burst, and no batch pays for much."""

INSERT_RESULT = (
    "INSERT OR REPLACE INTO results (event, actor, key, action, fingerprint, answer) VALUES (?, ?, ?, ?, ?, ?)"
)
PRUNE_RESULTS = "DELETE FROM results WHERE event IN (SELECT event FROM results WHERE event < ? ORDER BY event LIMIT ?)"
SELECT_RESULT = """SELECT actor, key, event, action, fingerprint, answer FROM results
    WHERE actor = ? AND key = ? AND event >= ? ORDER BY event LIMIT 1"""
SELECT_RESULTS = """SELECT actor, key, event, action, fingerprint, answer FROM results WHERE event > ?
    ORDER BY event LIMIT ?"""
OLDEST_OVERWRITES = "SELECT stamp FROM overwrites WHERE stamp < ? ORDER BY stamp LIMIT ?"
SELECT_OVERWRITES = (
    'SELECT "table", "key", "column", stamp, basis, value FROM overwrites ORDER BY "table", "key", "column", stamp'
)


class SqliteRelationalStore:
    """stores.ports.RelationalStore. Made by `open`."""

    def __init__(self, file: SqliteFile, clock: Clock) -> None:
        self._file = file
        self._clock = clock

    @classmethod
    async def open(cls, path: Path, *, clock: Clock) -> Self:
        """Opens or creates the file. ConfigError for a file of a newer program, Corrupt for a damaged one."""

        def prepare(connection: sqlite3.Connection) -> None:
            check_version(connection, path, schema.VERSION)
            for statement in LOCAL_SCHEMA:
                connection.execute(statement)
            schema.prepare(connection)

        return cls(await SqliteFile.open(path, prepare), clock)

    async def apply(self, batch: RelationalBatch) -> None:
        fold = Fold().effects(batch.effects)
        expired = self._expired()

        def work(connection: sqlite3.Connection) -> None:
            _merge(connection, fold)
            if batch.results:
                connection.executemany(INSERT_RESULT, map(_result_row, batch.results))
                pruned = max(RESULTS_PRUNED_MIN, 2 * len(batch.results))
                connection.execute(PRUNE_RESULTS, (expired, pruned))
            connection.executemany(
                "INSERT OR REPLACE INTO parked (lane, seq, id, reason) VALUES (?, ?, ?, ?)", batch.parked
            )
            connection.executemany("DELETE FROM parked WHERE lane = ? AND seq = ?", batch.unparked)
            connection.executemany(ADVANCE, _frontier_rows(batch.frontier))

        await self._file.write(work)

    async def frontier(self) -> Frontier:
        def work(connection: sqlite3.Connection) -> Frontier:
            rows = connection.execute("SELECT lane, seq, id FROM frontier ORDER BY lane")
            return {lane: Mark(seq, id) for lane, seq, id in rows}

        return await self._file.read(work)

    async def rows(self, table: str, where: Mapping[str, Any]) -> list[dict[str, Any]]:
        law = lookup(table, where)
        names, values = _exact(law, where)
        empty = tuple(name for name in names if unwritten(law, name, where[name]))
        return await self._rows(table, schema.select_where(table, names, empty), values)

    async def some(
        self, table: str, where: Mapping[str, Any], part: str, values: Collection[Any]
    ) -> list[dict[str, Any]]:
        names, exact = _exact(part_of_key(table, where, part), where)
        wanted = msgspec.json.encode(sorted(values)).decode()
        return await self._rows(table, schema.select_some(table, names, part), [*exact, wanted])

    async def page(self, table: str, where: Mapping[str, Any], scan: Scan) -> list[dict[str, Any]]:
        law = order_of(table, where, scan.by)
        names, values = _exact(law, where)
        empty = tuple(name for name in names if unwritten(law, name, where[name]) and law.columns[name].law is Law.ONCE)
        values = [value for name, value in zip(names, values, strict=True) if name not in empty]
        if scan.beyond is not None:
            values.append(scan.beyond)
        if scan.known is not None:
            values.append(json_map(scan.known))
        shape = (scan.by, scan.beyond is not None, scan.newest_first, scan.known is not None)
        return await self._rows(table, schema.select_scan(table, names, empty, *shape), [*values, scan.limit])

    def _expired(self) -> int:
        """Results of smaller ids are kept no longer."""
        return ids.make_id(ids.tick_at(self._clock() - limits.RESULT_KEPT_S * 1000), 0)

    async def _rows(self, table: str, sql: str, values: Sequence[Any]) -> list[dict[str, Any]]:
        shown = schema.READERS[table].shown
        found = await self._file.read(lambda connection: connection.execute(sql, values).fetchall())
        return [shown(row) for row in found]

    async def result(self, actor: str, key: str) -> Result | None:
        expired = self._expired()

        def work(connection: sqlite3.Connection) -> Result | None:
            row = connection.execute(SELECT_RESULT, (actor, key, expired)).fetchone()
            return None if row is None else _result(row)

        return await self._file.read(work)

    async def results(self, since_id: int, limit: int) -> list[Result]:
        def work(connection: sqlite3.Connection) -> list[Result]:
            rows = connection.execute(SELECT_RESULTS, (since_id, limit))
            return [_result(row) for row in rows]

        return await self._file.read(work)

    async def parked(self) -> list[Parked]:
        def work(connection: sqlite3.Connection) -> list[Parked]:
            rows = connection.execute("SELECT lane, seq, id, reason FROM parked ORDER BY lane, seq")
            return [Parked(*row) for row in rows]

        return await self._file.read(work)

    async def conflicts(self, since_id: int = 0) -> list[dict[str, Any]]:
        def work(connection: sqlite3.Connection) -> list[dict[str, Any]]:
            rows = connection.execute(SELECT_OVERWRITES)
            writes = (rule.Write._make((*start, msgspec.json.decode(value))) for *start, value in rows)
            return list(rule.conflicts(writes, since_id))

        return await self._file.read(work)

    async def collect(self, through: Mapping[int, int], before_id: int, limit: int) -> int:
        def work(connection: sqlite3.Connection) -> int:
            stamps = (stamp for (stamp,) in connection.execute(OLDEST_OVERWRITES, (before_id, limit)))
            last = rule.collectable(stamps, through, before_id)
            return connection.execute("DELETE FROM overwrites WHERE stamp <= ?", (last,)).rowcount if last else 0

        return await self._file.write(work)

    async def meta(self, name: str) -> str | None:
        def work(connection: sqlite3.Connection) -> str | None:
            row = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
            return None if row is None else row[0]

        return await self._file.read(work)

    async def set_meta(self, name: str, value: str) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", (name, value))

        # No log can replay it, so it is synced.
        await self._file.write(work, durable=True)

    async def dump(self, table: str) -> AsyncIterator[list[dict[str, Any]]]:
        key = tuple(table_named(table).key)
        dumped = schema.READERS[table].dumped
        after: tuple[Any, ...] | None = None
        while True:
            sql = schema.select_page(table, after is None)
            values = (*(after or ()), limits.CHUNK_ROWS_MAX)

            def work(
                connection: sqlite3.Connection, sql: str = sql, values: tuple[Any, ...] = values
            ) -> list[dict[str, Any]]:
                return [dumped(row) for row in connection.execute(sql, values)]

            page = await self._file.read(work)
            if page:
                yield page
            if len(page) < limits.CHUNK_ROWS_MAX:
                return
            after = tuple(page[-1][part] for part in key)

    async def load(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        fold = Fold()
        for row in rows:
            fold.add(table, *loaded(table, row))
        await self._file.write(lambda connection: _merge(connection, fold))

    async def set_frontier(self, frontier: Frontier) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM frontier")
            connection.executemany(ADVANCE, _frontier_rows(frontier))

        await self._file.write(work, durable=True)

    async def close(self) -> None:
        await self._file.close()


def _exact(law: Table, where: Mapping[str, Any]) -> tuple[tuple[str, ...], list[Any]]:
    """The names of a `where`, and the values as the file holds them."""
    names = tuple(sorted(where))
    kinds = (law.key[name] if name in law.key else law.columns[name].kind for name in names)
    return names, [schema.stored(kind, where[name]) for name, kind in zip(names, kinds, strict=True)]


def _merge(connection: sqlite3.Connection, fold: Fold) -> None:
    """One statement per table and set of columns; a row is in one of them, once."""
    for name, rows in fold.tables.items():
        order = tuple(STORED[name].columns)
        groups: dict[frozenset[str], list[Any]] = {}
        for item in rows.items():
            groups.setdefault(frozenset(item[1]), []).append(item)
        for present, items in groups.items():
            columns = tuple(column for column in order if column in present)
            bound = [schema.bind_row(name, columns, key, cells) for key, cells in items]
            connection.executemany(schema.upsert(name, columns), bound)


def _frontier_rows(frontier: Frontier) -> Iterator[tuple[int, int, int]]:
    return ((lane, mark.seq, mark.id) for lane, mark in frontier.items())


def _result(row: Sequence[Any]) -> Result:
    actor, key, event, action, fingerprint, answer = row
    return Result(actor, key, event, action, fingerprint, msgspec.json.decode(answer))


def _result_row(result: Result) -> tuple[Any, ...]:
    answer = canonical(result.answer).decode()
    return result.event, result.actor, result.key, result.action, result.fingerprint, answer
