"""Databases of a real MariaDB, for whoever needs an empty one."""

import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncmy
from sqlalchemy.schema import CreateIndex, CreateTable

from deploy.local.mariadb import USER, MariaDB
from stores.adapters import sql_tables
from stores.adapters.mysql_dialect import MYSQL
from stores.adapters.mysql_migrations import VERSION_TABLE
from stores.adapters.mysql_session import MysqlPlace

CONNECTIONS = 4
_shared: list["Databases"] = []


class Databases:
    """Of one server. A database is somebody's at a time, is emptied when he is done, and then another one's: to make
    one takes longer than most tests."""

    def __init__(self, server: MariaDB, folder: Path) -> None:
        self.server = server
        self._password = folder / "password"
        self._password.touch(mode=0o600)
        self._password.write_text(server.password)
        self._numbers = itertools.count()
        self._free: list[str] = []

    def place(self, database: str, **other: Any) -> MysqlPlace:
        values = {"password_file": self._password, "connections": CONNECTIONS} | other
        return MysqlPlace("127.0.0.1", self.server.port, USER, database, **values)

    @contextlib.asynccontextmanager
    async def fresh(self) -> AsyncIterator[MysqlPlace]:
        """An empty one; its tables may be there."""
        if not self._free:
            self._free.append(await self.created())
        name = self._free.pop()
        yield self.place(name)
        await self._empty(name)
        self._free.append(name)

    async def created(self) -> str:
        """A new one, without tables."""
        name = f"planb_{os.getpid()}_{next(self._numbers)}"
        async with raw(self.place("planb")) as cursor:
            await cursor.execute(f"CREATE DATABASE {name}")
        return name

    async def _empty(self, name: str) -> None:
        async with raw(self.place(name)) as cursor:
            await cursor.execute("SHOW TABLES")
            tables = [table for (table,) in await cursor.fetchall() if table != VERSION_TABLE]
            await cursor.execute("BEGIN")
            for table in tables:
                await cursor.execute(f"DELETE FROM `{table}`")
            await cursor.execute("COMMIT")


@contextlib.contextmanager
def shared_databases(server: MariaDB, folder: Path) -> Iterator[Databases]:
    """`databases` gives them meanwhile."""
    _shared.append(Databases(server, folder))
    try:
        yield _shared[-1]
    finally:
        _shared.pop()


def databases() -> Databases:
    """Those of the fixture `mysql_databases`."""
    return _shared[-1]


@contextlib.asynccontextmanager
async def raw(place: MysqlPlace) -> AsyncIterator[Any]:
    """A cursor on a connection of somebody else: with the server's own settings, and all it does committed at once."""
    assert place.password_file is not None
    connection = await asyncmy.connect(
        host=place.host,
        port=place.port,
        user=place.user,
        password=place.password_file.read_text(),
        database=place.database,
        autocommit=True,
    )
    try:
        async with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


@contextlib.asynccontextmanager
async def made_probe(place: MysqlPlace) -> AsyncIterator[None]:
    """The table that `stores.probe_table` adds, if it has: no migration knows it."""
    table = sql_tables.REPLICATED.get("probe")
    if table is None:
        yield
        return
    async with raw(place) as cursor:
        await cursor.execute(f"DROP TABLE IF EXISTS {table.name}")
        for statement in created(table):
            await cursor.execute(statement)
    yield
    async with raw(place) as cursor:
        await cursor.execute(f"DROP TABLE {table.name}")


def created(table: Any) -> list[str]:
    """What makes a table as it is described."""
    parts = [CreateTable(table), *(CreateIndex(index) for index in table.indexes)]
    return [str(part.compile(dialect=MYSQL.core)) for part in parts]
