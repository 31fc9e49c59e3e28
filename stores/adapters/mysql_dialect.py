"""In what MySQL and MariaDB differ, as a database of the relational store."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.sql.elements import ColumnElement

from core.ids import LANE_BITS
from core.tables import Kind
from stores.adapters.sql_statements import Condition


class MysqlDialect:
    """sql_statements.Dialect."""

    core = mysql.dialect(paramstyle="format")

    def insert(self, table: sa.Table) -> Any:
        return mysql.insert(table)

    def new(self, insert: Any) -> Any:
        return insert.inserted

    def on_conflict(self, insert: Any, keys: Sequence[str], sets: Sequence[tuple[str, Any]], changes: Condition) -> Any:
        # No WHERE is known, and none is needed: a row that is set to what it is, is not written.
        # IGNORE, where there is nothing to set, would also cut a text that is too long.
        table = insert.table
        return insert.on_duplicate_key_update(list(sets) or [(keys[0], table.c[keys[0]])])

    def precedes(self, kind: Kind, old: ColumnElement[Any], new: ColumnElement[Any]) -> Condition:
        # Its digits are upper case in \u001F and ours are not, where only digits stand: the order is the same.
        # As bytes: to a collation "" and "\0" are one text.
        encoded = (lambda value: sa.func.json_quote(value)) if kind is Kind.TEXT else (lambda value: value)
        return sa.cast(encoded(old), sa.BINARY) < sa.cast(encoded(new), sa.BINARY)

    def one_of(self, column: ColumnElement[Any], wanted: Any) -> Condition:
        condition: Any = column.op("IN", is_comparison=True)(wanted)
        return condition  # type: ignore[no-any-return]

    def several(self, values: Sequence[Any]) -> Any:
        return tuple(values)  # the driver writes (1, 2, 3)

    def within(self, id: ColumnElement[Any], known: Any) -> Condition:
        lane = id.op("&")(sa.literal_column(str((1 << LANE_BITS) - 1)))
        place = sa.func.concat(sa.literal_column("'$.\"'"), lane, sa.literal_column("'\"'"))
        # As text it would be compared as a double, which has 53 bits.
        greatest = sa.cast(sa.func.json_value(known, place), mysql.BIGINT)
        return id <= sa.func.coalesce(greatest, sa.literal_column("0"))

    def after(self, keys: Sequence[ColumnElement[Any]], names: Sequence[str]) -> tuple[Condition, list[str]]:
        """(a, b) > (x, y) is not looked up in an index; a > x OR (a = x AND b > y) is, as two ranges."""
        bounds = [sa.bindparam(name, type_=key.type) for key, name in zip(keys, names, strict=True)]
        ways: list[Condition] = []
        taken: list[str] = []
        for at in range(len(keys)):
            same = [key == bound for key, bound in zip(keys[:at], bounds[:at], strict=True)]
            ways.append(sa.and_(*same, keys[at] > bounds[at]))
            taken += names[: at + 1]
        return sa.or_(*ways), taken

    def oldest(self, table: sa.Table, column: sa.Column[Any]) -> str:
        # Core knows no ORDER BY of a delete.
        return f"DELETE FROM {table.name} WHERE {column.name} < %s ORDER BY {column.name} LIMIT %s"


MYSQL = MysqlDialect()
