"""The relational schema, generated from `core.tables.TABLES`, and its statements, as SQLAlchemy Core.

An lww column `name` is kept as `name` and `name_at`, both NOT NULL: a comparison with NULL is never true, so a NULL
stamp would lose every later write in silence. Columns of the other laws are NULL until they are written, which no
value could say (0 would win every `min`), and each comparison asks for that first.

Statements are built and compiled by Core once, and run by the driver: compiling or binding per call would cost more
than SQLite does.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable
from sqlalchemy.sql.elements import ColumnElement

from core.errors import ConfigError
from core.tables import Cell, Kind, Law, Table, canonical
from stores.adapters.cells import DEFAULTS, STORED, Key
from stores.adapters.sqlite_file import within

VERSION = 1

METADATA = sa.MetaData()
# No CAST or coercion: values come in the form that `cells.plain` gave them. SQLite's INTEGER holds 64 bits.
TYPES: dict[Kind, sa.types.TypeEngine[Any]] = {Kind.TEXT: sa.Text(), Kind.INT: sa.Integer(), Kind.JSON: sa.Text()}
SERVER_DEFAULTS = {Kind.TEXT: sa.text("''"), Kind.INT: sa.text("0"), Kind.JSON: sa.text("'null'")}
DIALECT = sqlite.dialect(paramstyle="qmark")


def stored(kind: Kind, value: Any) -> Any:
    """A value as SQLite keeps it."""
    return canonical(value).decode() if kind is Kind.JSON else value


def table_of(name: str, table: Table) -> sa.Table:
    """The Core table of a table of `core.tables`."""
    columns = [sa.Column(part, TYPES[kind], primary_key=True, nullable=False) for part, kind in table.key.items()]
    for column_name, column in table.columns.items():
        lww = column.law is Law.LWW
        default = SERVER_DEFAULTS[column.kind] if lww else None
        columns.append(sa.Column(column_name, TYPES[column.kind], nullable=not lww, server_default=default))
        if lww:
            columns.append(sa.Column(f"{column_name}_at", sa.Integer, nullable=False, server_default=sa.text("0")))
    # WITHOUT ROWID: rows lie in key order, so a lookup by the first key parts and a dump read neighbours.
    made = sa.Table(name, METADATA, *columns, sqlite_with_rowid=False)
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
    sa.Column("event", sa.Integer, primary_key=True),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.LargeBinary, nullable=False),
    sa.Column("answer", sa.Text, nullable=False),
    sa.Index("results_by_key", "actor", "key"),
)
PARKED = sa.Table(
    "parked",
    METADATA,
    sa.Column("lane", sa.Integer, primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("id", sa.Integer, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)


def prepare(connection: sqlite3.Connection) -> None:
    """Creates what is missing, and adds columns that a newer version brought. ConfigError if a key has changed."""
    for table in METADATA.sorted_tables:
        connection.execute(str(CreateTable(table, if_not_exists=True).compile(dialect=DIALECT)))
        _add_columns(connection, table)
        for index in sorted(table.indexes, key=lambda each: str(each.name)):
            connection.execute(str(CreateIndex(index, if_not_exists=True).compile(dialect=DIALECT)))


def _add_columns(connection: sqlite3.Connection, table: sa.Table) -> None:
    found = {row[1]: bool(row[5]) for row in connection.execute(f'PRAGMA table_info("{table.name}")')}
    if {name for name, in_key in found.items() if in_key} != {column.name for column in table.primary_key}:
        raise ConfigError(f"the key of table {table.name} is {sorted(found)} in the file; it can not be migrated")
    for column in table.columns:
        if column.name not in found:
            definition = str(CreateColumn(column).compile(dialect=DIALECT))
            connection.execute(f'ALTER TABLE "{table.name}" ADD COLUMN {definition}')


def _sql(statement: Any, parameters: Sequence[str]) -> str:
    """The SQL of a statement that takes these parameters in this order, one `?` each."""
    compiled = statement.compile(dialect=DIALECT)
    assert list(compiled.positiontup) == list(parameters), (compiled.positiontup, parameters)
    return str(compiled)


def _wins(law: Law, kind: Kind, old: ColumnElement[Any], new: ColumnElement[Any]) -> ColumnElement[bool]:
    """Does `new` replace `old` by this law (none of them lww)? The order of insert is that of canonical encodings."""
    if law is Law.MIN:
        better = new < old
    elif law is not Law.INSERT or kind is Kind.JSON:
        better = new > old
    else:
        better = sa.and_(new != old, sa.func.canonical(new) > sa.func.canonical(old))
    return sa.or_(old.is_(None), better)


@cache
def upsert(name: str, columns: tuple[str, ...]) -> str:
    """Merges rows that have exactly `columns`, values and stamps, by the law of each.

    A stamp that is not greater changes nothing. All right-hand sides see the row as it was (in MySQL they would be
    assigned left to right: there the value goes before its stamp).
    """
    table, laws = REPLICATED[name], STORED[name].columns
    written = list(STORED[name].key)
    insert = sqlite.insert(table)
    new = insert.excluded
    sets: dict[str, Any] = {}
    changes: list[ColumnElement[bool]] = []
    for column in columns:
        law, kind, _ = laws[column]
        written.append(column)
        if law is Law.LWW:
            stamp = f"{column}_at"
            written.append(stamp)
            wins: ColumnElement[bool] = new[stamp] > table.c[stamp]
            sets[stamp] = sa.case((wins, new[stamp]), else_=table.c[stamp])
        else:
            wins = _wins(law, kind, table.c[column], new[column])
        sets[column] = sa.case((wins, new[column]), else_=table.c[column])
        changes.append(wins)
    insert = insert.values({column: sa.bindparam(column) for column in written})
    keys = list(STORED[name].key)
    if not columns:
        return _sql(insert.on_conflict_do_nothing(index_elements=keys), written)
    # WHERE: a row that would stay as it is, is not written again (most of a replay).
    guarded = insert.on_conflict_do_update(index_elements=keys, set_=sets, where=sa.or_(*changes))
    return _sql(guarded, written)


def bind_row(name: str, columns: tuple[str, ...], key: Key, cells: dict[str, Cell]) -> tuple[Any, ...]:
    """The parameters of `upsert(name, columns)`; it writes key parts and columns in this order."""
    laws = STORED[name].columns
    bound: list[Any] = list(key)
    for column in columns:
        law, kind, _ = laws[column]
        cell = cells[column]
        bound.append(stored(kind, cell.value))
        if law is Law.LWW:
            bound.append(cell.stamp)
    return tuple(bound)


@cache
def select_where(name: str, exact: tuple[str, ...], unwritten: tuple[str, ...]) -> str:
    """Rows where all these equal their parameter, in key order; those in `unwritten` also where they have no value."""
    table = REPLICATED[name]
    found = sa.select(table).order_by(*table.primary_key)
    for column in exact:
        equal: ColumnElement[bool] = table.c[column] == sa.bindparam(f"where_{column}")
        found = found.where(sa.or_(equal, table.c[column].is_(None)) if column in unwritten else equal)
    return _sql(found, [f"where_{column}" for column in exact])


@cache
def select_some(name: str, exact: tuple[str, ...], part: str) -> str:
    """Rows where all these equal their parameter and `part` is one of the last one, a JSON list; in key order."""
    table = REPLICATED[name]
    wanted: sa.Select[Any] = sa.select(sa.column("value")).select_from(sa.func.json_each(sa.bindparam("wanted")))
    found = sa.select(table).order_by(*table.primary_key).where(*_equal(table, exact), table.c[part].in_(wanted))
    return _sql(found, [*(f"where_{column}" for column in exact), "wanted"])


@cache
def select_scan(
    name: str, exact: tuple[str, ...], empty: tuple[str, ...], by: str, bounded: bool, newest_first: bool, known: bool
) -> str:
    """`RelationalStore.page`: rows where these equal their parameter, or were never written (`empty`), then the bound
    of `by`, what is known, and the limit."""
    table = REPLICATED[name]
    given = [column for column in exact if column not in empty]
    found = sa.select(table).where(*(table.c[column].is_(None) for column in empty), *_equal(table, given))
    parameters = [f"where_{column}" for column in given]
    if bounded:
        found = found.where(table.c[by] > sa.bindparam("beyond"))
        parameters.append("beyond")
    if known:
        found = found.where(sa.text(within(f'"{by}"', ":known")).bindparams(sa.bindparam("known")))
        parameters.append("known")
    order = [table.c[by], *(key for key in table.primary_key if key.name not in (by, *exact))]
    found = found.order_by(*(sa.desc(column) if newest_first else column for column in order))
    # The offset as in `select_page`.
    return _sql(found.limit(sa.bindparam("page")).offset(sa.literal_column("0")), [*parameters, "page"])


def _equal(table: sa.Table, columns: Iterable[str]) -> list[ColumnElement[bool]]:
    return [table.c[column] == sa.bindparam(f"where_{column}") for column in columns]


@cache
def select_page(name: str, first: bool) -> str:
    """A page in key order, after the key given unless it is the first one; the last parameter is the limit."""
    table = REPLICATED[name]
    keys = list(table.primary_key)
    # The offset as a literal: for SQLite, Core renders one in any case, as one more parameter.
    page = sa.select(table).order_by(*keys).limit(sa.bindparam("page")).offset(sa.literal_column("0"))
    if first:
        return _sql(page, ["page"])
    after = [sa.bindparam(f"after_{key.name}", type_=key.type) for key in keys]
    page = page.where(sa.tuple_(*keys) > sa.tuple_(*after))
    return _sql(page, [*(bind.key for bind in after), "page"])


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
