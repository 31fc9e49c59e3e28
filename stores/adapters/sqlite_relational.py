"""The relational store in one SQLite file: the embedded default."""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from core import rivalry as rule
from core.system import Clock
from stores.adapters.sql_relational import SqlRelationalStore, Step
from stores.adapters.sqlite_dialect import SQLITE, VERSION, prepare
from stores.adapters.sqlite_file import LOCAL_SCHEMA, SqliteFile, check_version

T = TypeVar("T")


class SqliteEngine:
    """sql_relational.Engine."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    async def read(self, sql: str, values: Sequence[Any], shown: Callable[[Sequence[Any]], T]) -> list[T]:
        return await self._file.read(lambda connection: [shown(row) for row in connection.execute(sql, values)])

    async def write(self, steps: Sequence[Step], *, durable: bool = False) -> int:
        def work(connection: sqlite3.Connection) -> int:
            met = 0
            for step in steps:
                met = connection.executemany(step.sql, step.rows).rowcount
            return met

        return await self._file.write(work, durable=durable)

    async def close(self) -> None:
        await self._file.close()


class SqliteRelationalStore(SqlRelationalStore):
    """stores.ports.RelationalStore. Made by `open`."""

    def __init__(self, file: SqliteFile, clock: Clock) -> None:
        super().__init__(SqliteEngine(file), SQLITE, clock)
        self._file = file

    @classmethod
    async def open(cls, path: Path, *, clock: Clock) -> Self:
        """Opens or creates the file. ConfigError for a file of a newer program, Corrupt for a damaged one."""

        def fit(connection: sqlite3.Connection) -> None:
            check_version(connection, path, VERSION)
            for statement in LOCAL_SCHEMA:
                connection.execute(statement)
            prepare(connection)

        return cls(await SqliteFile.open(path, fit), clock)

    async def conflicts(self, since_id: int = 0) -> list[dict[str, Any]]:
        def work(connection: sqlite3.Connection) -> list[dict[str, Any]]:
            rows = connection.execute(self._local.overwrites)
            writes = (rule.Write._make((*start, msgspec.json.decode(value))) for *start, value in rows)
            return list(rule.conflicts(writes, since_id))

        return await self._file.read(work)
