"""The relational store in a database that speaks SQL; which one is a matter of a `Dialect` and of an `Engine`."""

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from core import ids, limits
from core import rivalry as rule
from core.system import Clock
from core.tables import Law, Table, canonical
from stores.adapters import sql_statements as statements
from stores.adapters.cells import (
    STORED,
    Fold,
    json_map,
    loaded,
    lookup,
    order_of,
    part_of_key,
    table_named,
    unwritten,
)
from stores.adapters.sql_statements import Dialect
from stores.adapters.sql_tables import READERS, bind_row, stored
from stores.ports import Frontier, Mark, Parked, RelationalBatch, Result, Scan

T = TypeVar("T")

RESULTS_PRUNED_MIN = 64
"""Expired results that a batch with results deletes at least; twice its own if that is more. So the table shrinks
to its day again after any burst, and no batch pays for much."""


class Step(NamedTuple):
    """A statement, run once for each of `rows`."""

    sql: str
    rows: Sequence[tuple[Any, ...]]


class Engine(Protocol):
    """Runs statements. Raises StoreUnavailable where the outcome is not certain, Overloaded where too many wait."""

    async def read(self, sql: str, values: Sequence[Any], shown: Callable[[Sequence[Any]], T]) -> list[T]:
        """What `shown` makes of each row. It sees all that was committed before."""
        ...

    async def write(self, steps: Sequence[Step], *, durable: bool = False) -> int:
        """One transaction, after all that were asked for before; how many rows its last step met. With `durable` it is
        on disk on return, with all before it."""
        ...

    async def close(self) -> None: ...


class SqlRelationalStore:
    """stores.ports.RelationalStore, but for `conflicts`, which a database has its own way to read."""

    def __init__(self, engine: Engine, dialect: Dialect, clock: Clock) -> None:
        self._engine = engine
        self._dialect = dialect
        self._local = statements.local(dialect)
        self._clock = clock

    async def apply(self, batch: RelationalBatch) -> None:
        local = self._local
        steps = self._merge(Fold().effects(batch.effects))
        if batch.results:
            steps.append(Step(local.put_result, [_result_row(result) for result in batch.results]))
            pruned = max(RESULTS_PRUNED_MIN, 2 * len(batch.results))
            steps.append(Step(local.prune_results, [(self._expired(), pruned)]))
        steps.append(Step(local.park, list(batch.parked)))
        steps.append(Step(local.unpark, list(batch.unparked)))
        steps.append(self._advance(batch.frontier))
        await self._engine.write([step for step in steps if step.rows])

    async def frontier(self) -> Frontier:
        rows = await self._engine.read(self._local.frontier, (), tuple)
        return {lane: Mark(seq, id) for lane, seq, id in rows}

    async def rows(self, table: str, where: Mapping[str, Any]) -> list[dict[str, Any]]:
        law = lookup(table, where)
        names, values = _exact(law, where)
        empty = tuple(name for name in names if unwritten(law, name, where[name]))
        sql = statements.select_where(self._dialect, table, names, empty)
        return await self._engine.read(sql, values, READERS[table].shown)

    async def some(
        self, table: str, where: Mapping[str, Any], part: str, values: Collection[Any]
    ) -> list[dict[str, Any]]:
        names, exact = _exact(part_of_key(table, where, part), where)
        if not values:
            return []
        sql = statements.select_some(self._dialect, table, names, part)
        return await self._engine.read(sql, [*exact, self._dialect.several(sorted(values))], READERS[table].shown)

    async def page(self, table: str, where: Mapping[str, Any], scan: Scan) -> list[dict[str, Any]]:
        law = order_of(table, where, scan.by)
        names, values = _exact(law, where)
        empty = tuple(name for name in names if unwritten(law, name, where[name]) and law.columns[name].law is Law.ONCE)
        values = [value for name, value in zip(names, values, strict=True) if name not in empty]
        sql = statements.select_scan(self._dialect, table, names, empty, statements.Shape.of(scan))
        return await self._engine.read(sql, [*values, *_bounds(scan)], READERS[table].shown)

    async def pages(self, table: str, wheres: Sequence[Mapping[str, Any]], scan: Scan) -> list[list[dict[str, Any]]]:
        assert len(wheres) <= limits.PAGE_MAX
        if not wheres:
            return []
        law = order_of(table, wheres[0], scan.by)
        names = tuple(sorted(wheres[0]))
        wanted = [tuple(_exact(law, where)[1]) for where in wheres]
        # Few statements for any number of them: a database need not read each anew. Nothing equals a null.
        spare = (1 << (len(wanted) - 1).bit_length()) - len(wanted)
        sql = statements.select_scans(self._dialect, table, names, statements.Shape.of(scan), len(wanted) + spare)
        bounds = _bounds(scan)
        given = [one for values in (*wanted, *[(None,) * len(names)] * spare) for one in (*values, *bounds)]
        found: dict[tuple[Any, ...], list[dict[str, Any]]] = {values: [] for values in wanted}
        for row in await self._engine.read(sql, given, READERS[table].shown):
            found[tuple(_exact(law, {name: row[name] for name in names})[1])].append(row)
        for rows in found.values():  # a union promises no order
            rows.sort(key=lambda row: (row[scan.by], *(row[name] for name in law.key)), reverse=scan.newest_first)
        return [found[values] for values in wanted]

    async def result(self, actor: str, key: str) -> Result | None:
        found = await self._engine.read(self._local.result, (actor, key, self._expired(), 1), _result)
        return found[0] if found else None

    async def results(self, since_id: int, limit: int) -> list[Result]:
        return await self._engine.read(self._local.results, (since_id, limit), _result)

    async def parked(self) -> list[Parked]:
        return await self._engine.read(self._local.parked, (), Parked._make)

    async def collect(self, through: Mapping[int, int], before_id: int, limit: int) -> int:
        # Apart from the delete: what comes meanwhile at or below `through` was here before (a replay).
        oldest = await self._engine.read(self._local.oldest_overwrites, (before_id, limit), _first)
        last = rule.collectable(oldest, through, before_id)
        return await self._engine.write([Step(self._local.forget_overwrites, [(last,)])]) if last else 0

    async def meta(self, name: str) -> str | None:
        found = await self._engine.read(self._local.meta, (name,), _first)
        return str(found[0]) if found else None

    async def set_meta(self, name: str, value: str) -> None:
        # No log can replay it, so it is synced.
        await self._engine.write([Step(self._local.put_meta, [(name, value)])], durable=True)

    async def dump(self, table: str) -> AsyncIterator[list[dict[str, Any]]]:
        key = tuple(table_named(table).key)
        bounds = [key[at] for at in statements.page_bounds(self._dialect, table)]
        after: list[Any] | None = None
        while True:
            sql = statements.select_page(self._dialect, table, after is None)
            values = (*(after or ()), limits.CHUNK_ROWS_MAX)
            page = await self._engine.read(sql, values, READERS[table].dumped)
            if page:
                yield page
            if len(page) < limits.CHUNK_ROWS_MAX:
                return
            after = [page[-1][part] for part in bounds]

    async def load(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        fold = Fold()
        for row in rows:
            fold.add(table, *loaded(table, row))
        await self._engine.write(self._merge(fold))

    async def set_frontier(self, frontier: Frontier) -> None:
        steps = [Step(self._local.no_frontier, [()]), self._advance(frontier)]
        await self._engine.write([step for step in steps if step.rows], durable=True)

    async def close(self) -> None:
        await self._engine.close()

    def _expired(self) -> int:
        """Results of smaller ids are kept no longer."""
        return ids.make_id(ids.tick_at(self._clock() - limits.RESULT_KEPT_S * 1000), 0)

    def _merge(self, fold: Fold) -> list[Step]:
        """One statement per table and set of columns; a row is in one of them, once. In key order, so that two
        processes that write the same rows wait for each other instead of meeting."""
        steps = []
        for name in sorted(fold.tables):
            order = tuple(STORED[name].columns)
            groups: dict[frozenset[str], list[Any]] = {}
            for item in sorted(fold.tables[name].items(), key=_first):
                groups.setdefault(frozenset(item[1]), []).append(item)
            for present, items in groups.items():
                columns = tuple(column for column in order if column in present)
                rows = [bind_row(name, columns, key, cells) for key, cells in items]
                steps.append(Step(statements.upsert(self._dialect, name, columns), rows))
        return steps

    def _advance(self, frontier: Frontier) -> Step:
        return Step(statements.advance(self._dialect), list(_places(frontier)))


def _exact(law: Table, where: Mapping[str, Any]) -> tuple[tuple[str, ...], list[Any]]:
    """The names of a `where`, and the values as a database holds them."""
    names = tuple(sorted(where))
    kinds = (law.key[name] if name in law.key else law.columns[name].kind for name in names)
    return names, [stored(kind, where[name]) for name, kind in zip(names, kinds, strict=True)]


def _bounds(scan: Scan) -> list[Any]:
    """The parameters of a scan, as its statement takes them."""
    known = [json_map(scan.known)] if scan.known is not None else []
    return [*(bound for bound in (scan.beyond, scan.below) if bound is not None), *known, scan.limit]


def _first(row: Sequence[Any]) -> Any:
    return row[0]


def _places(frontier: Frontier) -> Iterator[tuple[int, int, int]]:
    return ((lane, mark.seq, mark.id) for lane, mark in sorted(frontier.items()))


def _result(row: Sequence[Any]) -> Result:
    actor, key, event, action, fingerprint, answer = row
    return Result(actor, key, event, action, fingerprint, msgspec.json.decode(answer))


def _result_row(result: Result) -> tuple[Any, ...]:
    answer = canonical(result.answer).decode()
    return result.event, result.actor, result.key, result.action, result.fingerprint, answer
