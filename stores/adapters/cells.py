"""Effects -> cells: what every relational adapter does before it merges.

Several effects of one batch that hit one row become one row here, by the same `core.tables.merge` that the whole
state is defined by. A column that was never written has no cell; `shown` gives it its default.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from core import limits
from core.errors import Undecodable
from core.tables import TABLES, Cell, Column, Effect, Kind, Law, Table, canonical, merge
from stores.ports import Stamped

INT_MAX = (1 << 63) - 1

OVERWRITES = "overwrites"
OVERWRITES_TABLE = Table(
    {"table": Kind.TEXT, "key": Kind.TEXT, "column": Kind.TEXT, "stamp": Kind.INT},
    {"basis": Column(Law.INSERT, Kind.INT), "value": Column(Law.INSERT, Kind.JSON)},
    by=("stamp",),
)
"""One row per lww write, winners and losers; collected when it is old and everywhere. `key` is the canonical text of
the key parts."""

STORED = TABLES | {OVERWRITES: OVERWRITES_TABLE}
"""The tables an adapter keeps by the laws. `overwrites` does not count in digests."""

DEFAULTS: dict[Kind, Any] = {Kind.TEXT: "", Kind.INT: 0, Kind.JSON: None}

_NUL = canonical("\0")[1:-1]
"""In a key: to MariaDB's collations "" and "\0" are one text."""

Key = tuple[str | int, ...]
Cells = dict[str, Cell]
"""column -> cell, for the columns that were written."""


def table_named(name: str) -> Table:
    """Raises Undecodable for a table that this version does not know."""
    try:
        return STORED[name]
    except KeyError:
        raise Undecodable(f"this version knows no table {name!r}") from None


def plain(kind: Kind, value: Any, where: str) -> Any:
    """`value` in the one form that all adapters store, or Undecodable, naming `where` it was to go.

    JSON goes through its encoding once, so that {1: 2}, a tuple or a struct read the same from every adapter.
    """
    if isinstance(value, str) and not _encodable(value):
        raise Undecodable(f"{where} takes valid Unicode")
    if kind is Kind.TEXT:
        if isinstance(value, str):
            return value
    elif kind is Kind.INT:
        if isinstance(value, int) and -INT_MAX <= value <= INT_MAX:
            return int(value)
    elif value is None or type(value) in (str, int, bool):
        return value
    else:
        try:
            return msgspec.json.decode(msgspec.json.encode(value))
        except (TypeError, ValueError) as cause:
            raise Undecodable(f"{where} takes JSON", private=repr(cause)) from cause
    raise Undecodable(f"{where} takes {kind.value}, not {value!r:.80}")


def _encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def key_of(name: str, parts: Iterable[Any]) -> Key:
    """The key parts in the table's order, checked."""
    table, parts = table_named(name), tuple(parts)
    if len(parts) != len(table.key):
        raise Undecodable(f"the key of {name} has {len(table.key)} parts, not {len(parts)}")
    key = tuple(
        plain(kind, part, f"{name}.{part_name}")
        for (part_name, kind), part in zip(table.key.items(), parts, strict=True)
    )
    if name != OVERWRITES:
        text = canonical(key)
        if len(text) > limits.ROW_KEY_BYTES_MAX or _NUL in text:
            most = limits.ROW_KEY_BYTES_MAX
            raise Undecodable(f"the key of {name} takes {most} bytes without NUL, not {key!r:.80}")
    return key


def found_by(table: Table, column: str) -> bool:
    """Are rows found, or ordered, by this column? Then it is in an index."""
    return column in table.by or any(column in order for order in table.pages)


def checked(name: str, column: str, value: Any) -> Any:
    """A column's value in the form that all adapters store. Undecodable for what it can not be, or no index takes."""
    table = STORED[name]
    kind = table.columns[column].kind
    value = plain(kind, value, f"{name}.{column}")
    if kind is Kind.TEXT and (len(value) > limits.ROW_KEY_BYTES_MAX or "\0" in value) and found_by(table, column):
        most = limits.ROW_KEY_BYTES_MAX
        raise Undecodable(f"{name}.{column} takes {most} characters without NUL, not {value!r:.80}")
    return value


class Fold:
    """The merge of many writes: table -> key -> cells. Order and repetition do not matter."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[Key, Cells]] = {}

    def add(self, name: str, key: Key, cells: Mapping[str, Cell]) -> None:
        """Merges one row's cells in, by the law of each column."""
        columns = STORED[name].columns
        rows = self.tables.setdefault(name, {})
        row = rows.get(key)
        if row is None:
            row = rows[key] = {}
        for column, cell in cells.items():
            row[column] = merge(columns[column].law, row.get(column), cell)

    def effects(self, stamped: Iterable[Stamped]) -> "Fold":
        """Merges effects in, and per lww write a row of `overwrites`."""
        for stamp, effect in stamped:
            self._effect(stamp, effect)
        return self

    def _effect(self, stamp: int, effect: Effect) -> None:
        name = effect.table
        columns = table_named(name).columns
        key = key_of(name, effect.key)
        cells: Cells = {}
        for column_name, value in effect.columns.items():
            column = columns.get(column_name)
            if column is None:
                raise Undecodable(f"this version knows no column {name}.{column_name}")
            lww = column.law is Law.LWW
            cell = Cell(checked(name, column_name, value), stamp if lww else 0)
            cells[column_name] = cell
            if lww and column.listed and contested(name):
                basis = plain(Kind.INT, effect.basis.get(column_name, 0), f"the basis of {name}.{column_name}")
                self.add(
                    OVERWRITES,
                    (name, canonical(key).decode(), column_name, stamp),
                    {"basis": Cell(basis, 0), "value": Cell(cell.value, 0)},
                )
        self.add(name, key, cells)


def contested(name: str) -> bool:
    """Can two DCs write one register of this table at once? Where the lane is part of the key it has one writer."""
    return "lane" not in STORED[name].key


def dumped(table: Table, key: Key, cells: Mapping[str, Cell]) -> dict[str, Any]:
    """A row as `dump` gives it: a column that was never written is left out."""
    row: dict[str, Any] = dict(zip(table.key, key, strict=True))
    for name, column in table.columns.items():
        cell = cells.get(name)
        if cell is not None:
            row[name] = cell.value
            if column.law is Law.LWW:
                row[f"{name}_at"] = cell.stamp
    return row


def shown(table: Table, key: Key, cells: Mapping[str, Cell]) -> dict[str, Any]:
    """A row as `rows` gives it: a column that was never written has its default ('' | 0 | None) and stamp 0."""
    row: dict[str, Any] = dict(zip(table.key, key, strict=True))
    for name, column in table.columns.items():
        cell = cells.get(name)
        row[name] = DEFAULTS[column.kind] if cell is None else cell.value
        if column.law is Law.LWW:
            row[f"{name}_at"] = 0 if cell is None else cell.stamp
    return row


def loaded(name: str, row: Mapping[str, Any]) -> tuple[Key, Cells]:
    """A dumped row -> key and cells. Undecodable for a row with a column that this version does not know."""
    table = table_named(name)
    key = key_of(name, (row.get(part) for part in table.key))
    cells: Cells = {}
    known = set(table.key)
    for column_name, column in table.columns.items():
        known |= {column_name, f"{column_name}_at"}
        if column_name not in row:
            continue
        stamp = row.get(f"{column_name}_at", 0)
        if column.law is not Law.LWW:
            stamp = 0
        elif stamp == 0:
            continue
        cells[column_name] = Cell(checked(name, column_name, row[column_name]), stamp)
    if unknown := set(row) - known:
        raise Undecodable(f"this version knows no column {name}.{min(unknown)}")
    return key, cells


def lookup(name: str, where: Mapping[str, Any]) -> Table:
    """Checks a `where`: it names the first key part or a `by` column, and else only columns and key parts.

    Raises ValueError: a lookup without an index, or of what is not there, is a mistake of the program.
    """
    table = STORED[name]
    known = table.key.keys() | table.columns.keys()
    if not {next(iter(table.key)), *table.by} & where.keys():
        raise ValueError(f"{name} is not looked up by {sorted(where)}")
    if unknown := where.keys() - known:
        raise ValueError(f"{name} has no {min(unknown)}")
    return table


def part_of_key(name: str, where: Mapping[str, Any], part: str) -> Table:
    """Checks what `RelationalStore.some` is asked. Raises ValueError, as `lookup`."""
    table = STORED[name]
    before = list(table.key)[: len(where)]
    if set(before) != set(where) or list(table.key)[len(where) : len(where) + 1] != [part]:
        raise ValueError(f"{name} is not looked up by {sorted(where)} and some {part}")
    return table


def order_of(name: str, where: Mapping[str, Any], by: str) -> Table:
    """Checks what `RelationalStore.page` is asked. Raises ValueError, as `lookup`."""
    table = STORED[name]
    if not where and by in table.by:
        return table
    for order in (tuple(table.key), *table.pages):
        if where and set(order[: len(where)]) == set(where) and order[len(where) : len(where) + 1] == (by,):
            return table
    raise ValueError(f"{name} has no order of {sorted(where)} by {by}")


def unwritten(table: Table, column: str, value: Any) -> bool:
    """Is this what a column of another law than lww shows that was never written?"""
    found = table.columns.get(column)
    return found is not None and value == DEFAULTS[found.kind]


def json_map(known: Mapping[int, int]) -> str:
    """lane -> id, as SQL looks into it."""
    return msgspec.json.encode({str(lane): id for lane, id in known.items()}).decode()
