"""The relational store in memory: for tests and simulations. It keeps cells and merges them by `core.tables.merge`."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any

from core import ids, limits
from core import rivalry as rule
from core.system import Clock
from core.tables import Kind, Table
from stores.adapters.cells import (
    OVERWRITES,
    STORED,
    Cells,
    Fold,
    Key,
    dumped,
    loaded,
    lookup,
    order_of,
    part_of_key,
    shown,
    table_named,
)
from stores.ports import Frontier, Mark, Parked, RelationalBatch, Result, Scan


class MemoryRelationalStore:
    """stores.ports.RelationalStore. Nothing in it awaits, so every call is atomic."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._fold = Fold()
        self._index: dict[tuple[str, str, Any], dict[Key, None]] = {}
        """(table, key part or column, value) -> keys that have it, or once had it."""
        self._results: dict[int, Result] = {}
        self._parked: dict[tuple[int, int], Parked] = {}
        self._frontier: Frontier = {}
        self._meta: dict[str, str] = {}

    async def apply(self, batch: RelationalBatch) -> None:
        # Folded apart first: a batch with an effect that can not be applied changes nothing.
        self._merge(Fold().effects(batch.effects))
        for result in batch.results:
            self._results[result.event] = result
        if batch.results:
            expired = self._expired()
            self._results = {event: kept for event, kept in self._results.items() if event >= expired}
        for parked in batch.parked:
            self._parked[parked.lane, parked.seq] = parked
        for place in batch.unparked:
            self._parked.pop(place, None)
        for lane, mark in batch.frontier.items():
            if mark.seq > self._frontier.get(lane, Mark(0, 0)).seq:
                self._frontier[lane] = Mark(*mark)

    async def frontier(self) -> Frontier:
        return dict(sorted(self._frontier.items()))

    async def rows(self, table: str, where: Mapping[str, Any]) -> list[dict[str, Any]]:
        return self._found(table, lookup(table, where), where)

    async def some(
        self, table: str, where: Mapping[str, Any], part: str, values: Collection[Any]
    ) -> list[dict[str, Any]]:
        return [row for row in self._found(table, part_of_key(table, where, part), where) if row[part] in values]

    async def page(self, table: str, where: Mapping[str, Any], scan: Scan) -> list[dict[str, Any]]:
        law, by = order_of(table, where, scan.by), scan.by
        found = [
            row
            for row in self._found(table, law, where)
            if (scan.beyond is None or row[by] > scan.beyond)
            and (scan.below is None or row[by] < scan.below)
            and (scan.known is None or row[by] <= scan.known.get(ids.lane_of(row[by]), 0))
        ]
        found.sort(key=lambda row: (row[by], *(row[part] for part in law.key)), reverse=scan.newest_first)
        return found[: scan.limit]

    async def pages(self, table: str, wheres: Sequence[Mapping[str, Any]], scan: Scan) -> list[list[dict[str, Any]]]:
        assert len(wheres) <= limits.PAGE_MAX and len({frozenset(where) for where in wheres}) <= 1
        return [await self.page(table, where, scan) for where in wheres]

    def _expired(self) -> int:
        """Results of smaller ids are kept no longer."""
        return ids.make_id(ids.tick_at(self._clock() - limits.RESULT_KEPT_S * 1000), 0)

    def _found(self, table: str, law: Table, where: Mapping[str, Any]) -> list[dict[str, Any]]:
        by = next((name for name in (next(iter(law.key)), *_indexed(law)) if name in where), None)
        keys = self._index.get((table, by, where[by]), ()) if by else self._fold.tables.get(table, ())
        found = []
        for key in sorted(keys):
            row = shown(law, key, self._fold.tables[table][key])
            if all(row[name] == value for name, value in where.items()):
                found.append(row)
        return found

    async def result(self, actor: str, key: str) -> Result | None:
        expired = self._expired()
        known = [one for one in self._results.values() if (one.actor, one.key) == (actor, key) and one.event >= expired]
        return min(known, key=lambda one: one.event, default=None)

    async def results(self, since_id: int, limit: int) -> list[Result]:
        return [self._results[event] for event in sorted(self._results) if event > since_id][:limit]

    async def parked(self) -> list[Parked]:
        return [self._parked[place] for place in sorted(self._parked)]

    async def conflicts(self, since_id: int = 0) -> list[dict[str, Any]]:
        rows = self._fold.tables.get(OVERWRITES, {})
        writes = []
        for (table, key, column, stamp), cells in sorted(rows.items()):
            basis, value = cells["basis"].value, cells["value"].value
            writes.append(rule.Write(str(table), str(key), str(column), int(stamp), basis, value))
        return list(rule.conflicts(writes, since_id))

    async def collect(self, through: Mapping[int, int], before_id: int, limit: int) -> int:
        rows = self._fold.tables.get(OVERWRITES, {})
        oldest = sorted(int(key[-1]) for key in rows)[:limit]
        last = rule.collectable(oldest, through, before_id)
        gone = [key for key in rows if int(key[-1]) <= last]
        for key in gone:
            del rows[key]
            self._index[OVERWRITES, "table", key[0]].pop(key)
            self._index[OVERWRITES, "stamp", key[-1]].pop(key)
        return len(gone)

    async def meta(self, name: str) -> str | None:
        return self._meta.get(name)

    async def set_meta(self, name: str, value: str) -> None:
        self._meta[name] = value

    async def dump(self, table: str) -> AsyncIterator[list[dict[str, Any]]]:
        law = table_named(table)
        rows = self._fold.tables.get(table, {})
        keys = sorted(rows)
        for at in range(0, len(keys), limits.CHUNK_ROWS_MAX):
            yield [dumped(law, key, rows[key]) for key in keys[at : at + limits.CHUNK_ROWS_MAX]]

    async def load(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        fold = Fold()
        for row in rows:
            fold.add(table, *loaded(table, row))
        self._merge(fold)

    async def set_frontier(self, frontier: Frontier) -> None:
        self._frontier = {lane: Mark(*mark) for lane, mark in frontier.items()}

    async def close(self) -> None:
        """Nothing to close; the state stays, so that a simulation can open it again."""

    def _merge(self, fold: Fold) -> None:
        for name, rows in fold.tables.items():
            law = STORED[name]
            first = next(iter(law.key))
            indexed = _indexed(law)
            places = {part: at for at, part in enumerate(law.key) if part == first or part in indexed}
            columns = [column for column in indexed if column not in law.key]
            for key, cells in rows.items():
                self._fold.add(name, key, cells)
                for part, at in places.items():
                    self._index.setdefault((name, part, key[at]), {})[key] = None
                self._index_columns(name, columns, key)

    def _index_columns(self, name: str, columns: Sequence[str], key: Key) -> None:
        row: Cells = self._fold.tables[name][key]
        for column in columns:
            value = shown(STORED[name], key, row)[column]
            assert STORED[name].columns[column].kind is not Kind.JSON, "a JSON value is not looked up"
            self._index.setdefault((name, column, value), {})[key] = None


def _indexed(law: Table) -> tuple[str, ...]:
    """What rows are looked up by, beside the first part of their key."""
    return (*law.by, *(order[0] for order in law.pages))
