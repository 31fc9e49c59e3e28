"""The relational tables, generated from `core.tables.TABLES`, as SQLAlchemy Core: one description for SQLite and for
MySQL/MariaDB.

An lww column `name` is kept as `name` and `name_at`, both NOT NULL: a comparison with NULL is never true, so a NULL
stamp would lose every later write in silence. Columns of the other laws are NULL until they are written, which no
value could say (0 would win every `min`), and each comparison asks for that first.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from core import limits
from core.tables import Cell, Kind, Law, Table, canonical
from stores.adapters.cells import DEFAULTS, STORED, Key, found_by

METADATA = sa.MetaData()
_Type = sa.types.TypeEngine[Any]

# No CAST or coercion: values come in the form that `cells.plain` gave them. SQLite's INTEGER holds 64 bits.
INT: _Type = sa.Integer().with_variant(mysql.BIGINT(), "mysql")
TEXT: _Type = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql")
FOUND_BY: _Type = sa.Text().with_variant(mysql.VARCHAR(limits.ROW_KEY_BYTES_MAX), "mysql")
"""A text in an index: MySQL indexes no more than 3,072 bytes, four to a character."""
TYPES: dict[Kind, _Type] = {Kind.TEXT: TEXT, Kind.INT: INT, Kind.JSON: TEXT}
SERVER_DEFAULTS = {Kind.TEXT: sa.text("''"), Kind.INT: sa.text("0"), Kind.JSON: sa.text("'null'")}

OPTIONS: dict[str, Any] = {
    # Rows lie in key order, as in InnoDB: a lookup by the first key parts and a dump read neighbours.
    "sqlite_with_rowid": False,
    "mysql_engine": "InnoDB",
    "mysql_row_format": "DYNAMIC",
    "mysql_charset": "utf8mb4",
    # By code points, which is the order of UTF-8, of SQLite and of Python; trailing spaces count.
    "mysql_collate": "utf8mb4_nopad_bin",
}


def stored(kind: Kind, value: Any) -> Any:
    """A value as a database keeps it."""
    return canonical(value).decode() if kind is Kind.JSON else value


def table_of(name: str, table: Table) -> sa.Table:
    """The Core table of a table of `core.tables`."""
    columns = [
        sa.Column(part, FOUND_BY if kind is Kind.TEXT else TYPES[kind], primary_key=True, autoincrement=False)
        for part, kind in table.key.items()
    ]
    for column_name, column in table.columns.items():
        lww = column.law is Law.LWW
        default = SERVER_DEFAULTS[column.kind] if lww else None
        indexed = column.kind is Kind.TEXT and found_by(table, column_name)
        columns.append(
            sa.Column(
                column_name, FOUND_BY if indexed else TYPES[column.kind], nullable=not lww, server_default=default
            )
        )
        if lww:
            columns.append(sa.Column(f"{column_name}_at", INT, nullable=False, server_default=sa.text("0")))
    made = sa.Table(name, METADATA, *columns, **OPTIONS)
    for by in table.by:
        if by != next(iter(table.key)):
            sa.Index(f"{name}_by_{by}", made.c[by])
    for order in table.pages:
        sa.Index(f"{name}_by_{'_'.join(order)}", *(made.c[column] for column in order))
    return made


REPLICATED: dict[str, sa.Table] = {name: table_of(name, table) for name, table in STORED.items()}

RESULTS = sa.Table(
    "results",
    METADATA,
    sa.Column("event", INT, primary_key=True, autoincrement=False),
    sa.Column("actor", FOUND_BY, nullable=False),
    sa.Column("key", FOUND_BY, nullable=False),
    sa.Column("action", TEXT, nullable=False),
    sa.Column("fingerprint", sa.LargeBinary, nullable=False),
    sa.Column("answer", TEXT, nullable=False),
    sa.Index("results_by_key", "actor", "key"),
    **OPTIONS | {"sqlite_with_rowid": True},
)
PARKED = sa.Table(
    "parked",
    METADATA,
    sa.Column("lane", INT, primary_key=True, autoincrement=False),
    sa.Column("seq", INT, primary_key=True, autoincrement=False),
    sa.Column("id", INT, nullable=False),
    sa.Column("reason", TEXT, nullable=False),
    **OPTIONS,
)
FRONTIER = sa.Table(
    "frontier",
    METADATA,
    sa.Column("lane", INT, primary_key=True, autoincrement=False),
    sa.Column("seq", INT, nullable=False),
    sa.Column("id", INT, nullable=False),
    **OPTIONS | {"sqlite_with_rowid": True},
)
META = sa.Table(
    "meta",
    METADATA,
    sa.Column("name", FOUND_BY, primary_key=True),
    sa.Column("value", TEXT, nullable=False),
    **OPTIONS,
)


def bind_row(name: str, columns: tuple[str, ...], key: Key, cells: dict[str, Cell]) -> tuple[Any, ...]:
    """The parameters of `Statements.upsert(name, columns)`; it writes key parts and columns in this order."""
    laws = STORED[name].columns
    bound: list[Any] = list(key)
    for column in columns:
        law, kind, _ = laws[column]
        cell = cells[column]
        bound.append(stored(kind, cell.value))
        if law is Law.LWW:
            bound.append(cell.stamp)
    return tuple(bound)


class Reader:
    """Driver rows of one table -> dicts."""

    def __init__(self, name: str) -> None:
        table = STORED[name]
        self.names = tuple(column.name for column in REPLICATED[name].columns)
        self._json = tuple(column for column, (_, kind, _) in table.columns.items() if kind is Kind.JSON)
        self._stamped = tuple(column for column, (law, _, _) in table.columns.items() if law is Law.LWW)
        self._unstamped = tuple(
            (column, DEFAULTS[kind]) for column, (law, kind, _) in table.columns.items() if law is not Law.LWW
        )

    def shown(self, values: Iterable[Any]) -> dict[str, Any]:
        """A row as `RelationalStore.rows` gives it."""
        row = dict(zip(self.names, values, strict=True))
        for column in self._json:
            if row[column] is not None:
                row[column] = msgspec.json.decode(row[column])
        for column, default in self._unstamped:
            if row[column] is None:
                row[column] = default
        return row

    def dumped(self, values: Iterable[Any]) -> dict[str, Any]:
        """A row as `RelationalStore.dump` gives it: what was never written is left out."""
        row = dict(zip(self.names, values, strict=True))
        for column in self._stamped:
            if row[f"{column}_at"] == 0:
                del row[column], row[f"{column}_at"]
        for column, _ in self._unstamped:
            if row[column] is None:
                del row[column]
        for column in self._json:
            if column in row:
                row[column] = msgspec.json.decode(row[column])
        return row


READERS = {name: Reader(name) for name in STORED}
