"""The relational store in a database of MySQL or MariaDB. Transactions, isolation and keys: docs/decisions/0015."""

from typing import Any, Self

import msgspec

from core import rivalry as rule
from core.system import Clock
from stores.adapters import mysql_migrations as migrations
from stores.adapters.mysql_dialect import MYSQL
from stores.adapters.mysql_engine import MysqlEngine
from stores.adapters.mysql_session import MysqlPlace
from stores.adapters.sql_relational import SqlRelationalStore


class MysqlRelationalStore(SqlRelationalStore):
    """stores.ports.RelationalStore. Made by `open`."""

    def __init__(self, engine: MysqlEngine, clock: Clock) -> None:
        super().__init__(engine, MYSQL, clock)
        self._server = engine

    @classmethod
    async def open(cls, place: MysqlPlace, *, clock: Clock) -> Self:
        """Opens a database that is there, and makes its tables or brings them up to date. ConfigError for tables of a
        newer program, for a server whose settings break a promise of the store, or that does not let us in;
        StoreUnavailable for one that does not answer."""
        await migrations.bring_up(place)
        return cls(MysqlEngine(place), clock)

    @staticmethod
    async def is_there(place: MysqlPlace) -> bool:
        """Whether somebody has opened it before; makes nothing. Raises as `open`."""
        return await migrations.version(place) is not None

    async def conflicts(self, since_id: int = 0) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        left: list[rule.Write] = []
        async for rows in self._server.each(self._local.overwrites):
            writes = [*left, *(rule.Write._make((*start, msgspec.json.decode(value))) for *start, value in rows)]
            # The writes of the last column may go on in the next part.
            last = writes[-1][:3]
            left = [write for write in writes if write[:3] == last]
            found += rule.conflicts(writes[: -len(left)], since_id)
        return found + list(rule.conflicts(left, since_id))
