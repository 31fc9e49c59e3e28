"""In what SQLite differs, as a database of the relational store."""

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable
from sqlalchemy.sql.elements import ColumnElement

from core.errors import ConfigError
from core.tables import Kind
from stores.adapters.sql_statements import Condition
from stores.adapters.sql_tables import METADATA
from stores.adapters.sqlite_file import within

VERSION = 1


class SqliteDialect:
    """sql_statements.Dialect."""

    core = sqlite.dialect(paramstyle="qmark")

    def insert(self, table: sa.Table) -> Any:
        return sqlite.insert(table)

    def new(self, insert: Any) -> Any:
        return insert.excluded

    def on_conflict(self, insert: Any, keys: Sequence[str], sets: Sequence[tuple[str, Any]], changes: Condition) -> Any:
        if not sets:
            return insert.on_conflict_do_nothing(index_elements=keys)
        # All right-hand sides see the row as it was.
        return insert.on_conflict_do_update(index_elements=keys, set_=dict(sets), where=changes)

    def precedes(self, kind: Kind, old: ColumnElement[Any], new: ColumnElement[Any]) -> Condition:
        # sqlite_file gives this function to the connection that writes. It is in Python: first, whether it is needed.
        return sa.and_(new != old, sa.func.canonical(old) < sa.func.canonical(new))

    def one_of(self, column: ColumnElement[Any], wanted: Any) -> Condition:
        values: sa.Select[Any] = sa.select(sa.column("value")).select_from(sa.func.json_each(wanted))
        return column.in_(values)

    def several(self, values: Sequence[Any]) -> Any:
        return msgspec.json.encode(values).decode()

    def within(self, id: ColumnElement[Any], known: Any) -> Condition:
        assert isinstance(id, sa.Column)
        condition: Any = sa.text(within(f'"{id.name}"', f":{known.key}")).bindparams(known)
        return condition  # type: ignore[no-any-return]

    def after(self, keys: Sequence[ColumnElement[Any]], names: Sequence[str]) -> tuple[Condition, list[str]]:
        bounds = [sa.bindparam(name, type_=key.type) for key, name in zip(keys, names, strict=True)]
        return sa.tuple_(*keys) > sa.tuple_(*bounds), list(names)

    def oldest(self, table: sa.Table, column: sa.Column[Any]) -> str:
        # Built without LIMIT in deletes, as most are.
        found = f"SELECT {column.name} FROM {table.name} WHERE {column.name} < ? ORDER BY {column.name} LIMIT ?"
        return f"DELETE FROM {table.name} WHERE {column.name} IN ({found})"


SQLITE = SqliteDialect()


def prepare(connection: sqlite3.Connection) -> None:
    """Creates what is missing, and adds columns that a newer version brought. ConfigError if a key has changed."""
    for table in METADATA.sorted_tables:
        connection.execute(str(CreateTable(table, if_not_exists=True).compile(dialect=SQLITE.core)))
        _add_columns(connection, table)
        for index in sorted(table.indexes, key=lambda each: str(each.name)):
            connection.execute(str(CreateIndex(index, if_not_exists=True).compile(dialect=SQLITE.core)))


def _add_columns(connection: sqlite3.Connection, table: sa.Table) -> None:
    found = {row[1]: bool(row[5]) for row in connection.execute(f'PRAGMA table_info("{table.name}")')}
    if {name for name, in_key in found.items() if in_key} != {column.name for column in table.primary_key}:
        raise ConfigError(f"the key of table {table.name} is {sorted(found)} in the file; it can not be migrated")
    for column in table.columns:
        if column.name not in found:
            definition = str(CreateColumn(column).compile(dialect=SQLITE.core))
            connection.execute(f'ALTER TABLE "{table.name}" ADD COLUMN {definition}')
