"""The proof that two states are equal: sums of row hashes, per table and key range. docs/digest.md has the encoding.

A row's hash is BLAKE2b-128 of the canonical encoding of what merges in it: key, values, and stamps of lww columns.
What was never written, and what equals the default without a stamp, is left out, so it is the same whether a store
keeps an empty column, a default or nothing. Hashes are added modulo 2^128: order does not matter, and unlike with XOR
a pair of equal rows does not cancel. Equal in every DC at equal frontiers.
"""

import asyncio
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from msgspec.structs import asdict

from core.messages import Row
from core.tables import ALL_TABLES, MESSAGE_ROWS, TABLES, Kind, Law, Table, canonical
from stores.ports import MessageStore, RelationalStore

RANGES = 16
"""Key ranges per table: the upper 4 bits of the first byte of BLAKE2b-128 of the key."""
MODULUS = 1 << 128

_DEFAULTS: dict[Kind, Any] = {Kind.TEXT: "", Kind.INT: 0, Kind.JSON: None}


class Range(NamedTuple):
    """The rows of one key range."""

    rows: int = 0
    sum: int = 0


class TableDigest(NamedTuple):
    rows: int
    sum: int
    ranges: tuple[Range, ...]
    """RANGES of them; where two states differ, their rows differ in the ranges that differ."""


class Digest(NamedTuple):
    total: str
    """32 hex digits: the sum of all tables."""
    tables: dict[str, TableDigest]

    def shown(self) -> dict[str, Any]:
        """The JSON form; sums are 32 hex digits."""
        return {
            "total": self.total,
            "tables": {
                name: {
                    "rows": table.rows,
                    "sum": _hex(table.sum),
                    "ranges": [{"rows": part.rows, "sum": _hex(part.sum)} for part in table.ranges],
                }
                for name, table in self.tables.items()
            },
        }

    def differences(self, other: "Digest") -> list[tuple[str, int]]:
        """(table, range) in which two states differ."""
        return [
            (name, at)
            for name in self.tables
            for at in range(RANGES)
            if self.tables[name].ranges[at] != other.tables[name].ranges[at]
        ]


def _hex(sum: int) -> str:
    return f"{sum:032x}"


class _Columns(NamedTuple):
    """What of a table's rows is hashed."""

    key: tuple[str, ...]
    stamped: tuple[tuple[str, str], ...]
    plain: tuple[tuple[str, Any], ...]
    """With their defaults."""

    @classmethod
    def of(cls, table: Table) -> "_Columns":
        laws = table.columns.items()
        return cls(
            tuple(table.key),
            tuple((name, f"{name}_at") for name, column in laws if column.law is Law.LWW),
            tuple((name, _DEFAULTS[column.kind]) for name, column in laws if column.law is not Law.LWW),
        )


_COLUMNS = {name: _Columns.of(table) for name, table in ALL_TABLES.items()}


def encoding(name: str, row: Mapping[str, Any]) -> bytes:
    """The canonical encoding of one row: JSON of [table, [key parts], {column: value | [value, stamp]}]."""
    columns = _COLUMNS[name]
    values: dict[str, Any] = {}
    for column, stamp_column in columns.stamped:
        if stamp := row.get(stamp_column):
            values[column] = (row[column], stamp)
    for column, default in columns.plain:
        value = row.get(column)
        if value is not None and value != default:
            values[column] = value
    return canonical((name, [row[part] for part in columns.key], values))


def key_range(name: str, row: Mapping[str, Any]) -> int:
    """In which of the RANGES a row lies."""
    key = canonical([row[part] for part in _COLUMNS[name].key])
    return hashlib.blake2b(key, digest_size=16).digest()[0] >> 4


class Sums:
    """One table's sums. Rows come in any order, each once."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._rows = [0] * RANGES
        self._sums = [0] * RANGES

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Adds these rows."""
        name, counts, sums = self._name, self._rows, self._sums
        for row in rows:
            at = key_range(name, row)
            counts[at] += 1
            hashed = hashlib.blake2b(encoding(name, row), digest_size=16).digest()
            sums[at] += int.from_bytes(hashed)

    def digest(self) -> TableDigest:
        """Of what was added so far."""
        ranges = tuple(Range(rows, sum % MODULUS) for rows, sum in zip(self._rows, self._sums, strict=True))
        return TableDigest(sum(self._rows), sum(self._sums) % MODULUS, ranges)


def digest_of(tables: Mapping[str, Iterable[Mapping[str, Any]]]) -> Digest:
    """The digest of rows at hand: table -> rows as `dump` gives them. A table that is not named is empty."""
    return _total({name: _summed(name, tables.get(name, ())) for name in ALL_TABLES})


def _summed(name: str, rows: Iterable[Mapping[str, Any]]) -> TableDigest:
    sums = Sums(name)
    sums.add(rows)
    return sums.digest()


def _total(tables: dict[str, TableDigest]) -> Digest:
    return Digest(_hex(sum(table.sum for table in tables.values()) % MODULUS), tables)


def _add_messages(sums: Sums, rows: Iterable[Row]) -> None:
    sums.add(asdict(row) for row in rows)


async def digest(relational: RelationalStore, messages: MessageStore) -> Digest:
    """The digest of all replicated rows, read page by page and hashed in a thread.

    Comparable between DCs if their frontiers are equal and nothing was applied meanwhile: pages are read one after
    the other while writes go on, so under traffic compare the frontiers before and after, or look twice.
    Raises what the stores' dumps raise.
    """
    tables: dict[str, TableDigest] = {}
    for name in TABLES:
        sums = Sums(name)
        async for page in relational.dump(name):
            await asyncio.to_thread(sums.add, page)
        tables[name] = sums.digest()
    sums = Sums(MESSAGE_ROWS)
    async for rows in messages.dump():
        await asyncio.to_thread(_add_messages, sums, rows)
    tables[MESSAGE_ROWS] = sums.digest()
    return _total(tables)
