"""State as what it is: the fold of effects by the laws of their columns. The reference model of every store.

A store that was given the same effects, in any order, any grouping and any repetition, holds the same rows.
"""

from collections.abc import Mapping
from typing import Any

from core.errors import Undecodable
from core.messages import Row
from core.tables import ALL_TABLES, MESSAGE_ROWS, Cell, Column, Effect, Kind, Law, canonical, merge

Key = tuple[str | int, ...]
Cells = dict[str, Cell]

_EMPTY: dict[Kind, Any] = {Kind.TEXT: "", Kind.INT: 0, Kind.JSON: None}


def empty(column: Column) -> Any:
    """What a column holds that no event has written."""
    return _EMPTY[column.kind]


class State:
    """Rows of all replicated tables in memory. `apply` is commutative, associative and idempotent."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[Key, Cells]] = {name: {} for name in ALL_TABLES}

    def apply(self, stamp: int, effect: Effect) -> None:
        """Merges one effect. Undecodable, and nothing changed, for a table, key or column that there is not."""
        table = ALL_TABLES.get(effect.table)
        if table is None or len(effect.key) != len(table.key) or not effect.columns.keys() <= table.columns.keys():
            raise Undecodable(f"no such row or column: {effect.table} {effect.key} {sorted(effect.columns)}")
        cells = self._tables[effect.table].setdefault(effect.key, {})
        for name, value in effect.columns.items():
            cells[name] = merge(table.columns[name].law, cells.get(name), Cell(value, stamp))

    def absorb(self, other: "State") -> None:
        """Merges another fold, e.g. a snapshot: the same as applying all of its effects."""
        for table, rows in other._tables.items():
            for key, theirs in rows.items():
                cells = self._tables[table].setdefault(key, {})
                for name, cell in theirs.items():
                    cells[name] = merge(ALL_TABLES[table].columns[name].law, cells.get(name), cell)

    def rows(self, table: str, where: Mapping[str, Any]) -> list[dict[str, Any]]:
        """All rows whose key parts or columns equal `where`, by key; lww columns with their stamp `<column>_at`.
        What was never written is empty: "", 0 or None, with stamp 0."""
        found = (_row(table, key, cells) for key, cells in sorted(self._tables[table].items()))
        return [row for row in found if all(row[name] == value for name, value in where.items())]

    def message_rows(self) -> list[Row]:
        """All rows of the message store, by event."""
        return [Row(**row) for row in self.rows(MESSAGE_ROWS, {})]

    def snapshot(self) -> dict[str, dict[Key, dict[str, tuple[bytes, int]]]]:
        """Everything in canonical form: equal states have equal snapshots, and only they."""
        return {
            name: {
                key: {column: (canonical(cell.value), cell.stamp) for column, cell in sorted(cells.items())}
                for key, cells in sorted(rows.items())
            }
            for name, rows in self._tables.items()
        }


def _row(table: str, key: Key, cells: Cells) -> dict[str, Any]:
    shape = ALL_TABLES[table]
    row: dict[str, Any] = dict(zip(shape.key, key, strict=True))
    for name, column in shape.columns.items():
        cell = cells.get(name)
        row[name] = cell.value if cell else empty(column)
        if column.law is Law.LWW:
            row[f"{name}_at"] = cell.stamp if cell else 0
    return row
