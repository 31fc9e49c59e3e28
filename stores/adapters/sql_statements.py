"""The statements of a relational store, built with SQLAlchemy Core for either dialect.

They are compiled once and run by the driver: compiling or binding per call would cost more than SQLite does.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from core.tables import Kind, Law
from stores.adapters.cells import STORED
from stores.adapters.sql_tables import FRONTIER, META, PARKED, REPLICATED, RESULTS
from stores.ports import Scan

Condition = ColumnElement[bool]


class Dialect(Protocol):
    """In what a database differs. Hashable: statements are kept by it."""

    core: Any
    """SQLAlchemy's, with parameters by position."""

    def __hash__(self) -> int: ...

    def insert(self, table: sa.Table) -> Any:
        """An insert that knows `on conflict`."""
        ...

    def new(self, insert: Any) -> Any:
        """The row that is to be inserted."""
        ...

    def on_conflict(self, insert: Any, keys: Sequence[str], sets: Sequence[tuple[str, Any]], changes: Condition) -> Any:
        """Where the key is there already, `sets` instead, in this order; where not `changes`, nothing."""
        ...

    def precedes(self, kind: Kind, old: ColumnElement[Any], new: ColumnElement[Any]) -> Condition:
        """Is the canonical encoding of this text or integer less than that of the other?"""
        ...

    def one_of(self, column: ColumnElement[Any], wanted: Any) -> Condition:
        """Is it one of a parameter's, as `several` gives it?"""
        ...

    def several(self, values: Sequence[Any]) -> Any:
        """The parameter of `one_of`."""
        ...

    def within(self, id: ColumnElement[Any], known: Any) -> Condition:
        """Is this id at or below that of its lane in a parameter, as `cells.json_map` gives it?"""
        ...

    def after(self, keys: Sequence[ColumnElement[Any]], names: Sequence[str]) -> tuple[Condition, list[str]]:
        """Do the keys come after these parameters? And which of them it takes, in order."""
        ...

    def oldest(self, table: sa.Table, column: sa.Column[Any]) -> str:
        """A delete of the rows whose `column` is less than one parameter, the smallest first, up to so many."""
        ...


def text(dialect: Dialect, statement: Any, parameters: Sequence[str]) -> str:
    """The SQL of a statement that takes these parameters in this order, one placeholder each."""
    compiled = statement.compile(dialect=dialect.core)
    assert list(compiled.positiontup) == list(parameters), (compiled.positiontup, parameters)
    return str(compiled)


def _wins(dialect: Dialect, law: Law, kind: Kind, old: ColumnElement[Any], new: ColumnElement[Any]) -> Condition:
    """Does `new` replace `old` by this law (none of them lww)? The order of insert is that of canonical encodings."""
    if law is Law.MIN:
        better = new < old
    elif law is not Law.INSERT or kind is Kind.JSON:
        better = new > old
    else:
        better = dialect.precedes(kind, old, new)
    return sa.or_(old.is_(None), better)


@cache
def upsert(dialect: Dialect, name: str, columns: tuple[str, ...]) -> str:
    """Merges rows that have exactly `columns`, values and stamps, by the law of each.

    A stamp that is not greater changes nothing. A value is set before its stamp: MySQL assigns left to right, and each
    right-hand side sees what was assigned before it.
    """
    table, laws = REPLICATED[name], STORED[name].columns
    keys = list(STORED[name].key)
    written = list(keys)
    insert = dialect.insert(table)
    new = dialect.new(insert)
    sets: list[tuple[str, Any]] = []
    changes: list[Condition] = []
    for column in columns:
        law, kind, _ = laws[column]
        stamp = f"{column}_at" if law is Law.LWW else ""
        wins = new[stamp] > table.c[stamp] if stamp else _wins(dialect, law, kind, table.c[column], new[column])
        for part in (column, stamp) if stamp else (column,):
            written.append(part)
            sets.append((part, sa.case((wins, new[part]), else_=table.c[part])))
        changes.append(wins)
    insert = insert.values({column: sa.bindparam(column) for column in written})
    # A row that would stay as it is, is not written again (most of a replay).
    return text(dialect, dialect.on_conflict(insert, keys, sets, sa.or_(sa.false(), *changes)), written)


@cache
def put(dialect: Dialect, table: sa.Table) -> str:
    """Writes a row of a local table, whatever was there under its key."""
    keys = [key.name for key in table.primary_key]
    names = [column.name for column in table.columns]
    insert = dialect.insert(table)
    new = dialect.new(insert)
    insert = insert.values({name: sa.bindparam(name) for name in names})
    sets = [(name, new[name]) for name in names if name not in keys]
    return text(dialect, dialect.on_conflict(insert, keys, sets, sa.true()), names)


@cache
def advance(dialect: Dialect) -> str:
    """Moves a lane's place (lane, seq, id), only forward."""
    insert = dialect.insert(FRONTIER)
    new = dialect.new(insert)
    further = new["seq"] > FRONTIER.c["seq"]
    sets = [(name, sa.case((further, new[name]), else_=FRONTIER.c[name])) for name in ("id", "seq")]
    insert = insert.values({name: sa.bindparam(name) for name in ("lane", "seq", "id")})
    return text(dialect, dialect.on_conflict(insert, ["lane"], sets, further), ["lane", "seq", "id"])


@cache
def select_where(dialect: Dialect, name: str, exact: tuple[str, ...], unwritten: tuple[str, ...]) -> str:
    """Rows where all these equal their parameter, in key order; those in `unwritten` also where they have no value."""
    table = REPLICATED[name]
    found = sa.select(table).order_by(*table.primary_key)
    for column in exact:
        equal: Condition = table.c[column] == sa.bindparam(f"where_{column}")
        found = found.where(sa.or_(equal, table.c[column].is_(None)) if column in unwritten else equal)
    return text(dialect, found, [f"where_{column}" for column in exact])


@cache
def select_some(dialect: Dialect, name: str, exact: tuple[str, ...], part: str) -> str:
    """Rows where all these equal their parameter and `part` is one of the last one's; in key order."""
    table = REPLICATED[name]
    found = sa.select(table).order_by(*table.primary_key).where(*_equal(table, exact))
    found = found.where(dialect.one_of(table.c[part], sa.bindparam("wanted")))
    return text(dialect, found, [*(f"where_{column}" for column in exact), "wanted"])


class Shape(NamedTuple):
    """What a statement for a scan depends on."""

    by: str
    beyond: bool
    below: bool
    known: bool
    newest_first: bool

    @classmethod
    def of(cls, scan: Scan) -> "Shape":
        bounds = (scan.beyond is not None, scan.below is not None, scan.known is not None)
        return cls(scan.by, *bounds, scan.newest_first)


@cache
def select_scan(dialect: Dialect, name: str, exact: tuple[str, ...], empty: tuple[str, ...], shape: Shape) -> str:
    """`RelationalStore.page`: rows where these equal their parameter, or were never written (`empty`), then the bounds
    of `by`, what is known, and the limit."""
    return text(dialect, *_scan(dialect, name, exact, empty, shape))


@cache
def select_scans(dialect: Dialect, name: str, exact: tuple[str, ...], shape: Shape, count: int) -> str:
    """`RelationalStore.pages` of so many, one after the other, each with its bounds."""
    arms = [_scan(dialect, name, exact, (), shape, f"_{at}") for at in range(count)]
    # A limit of its own, and with it an order, only a subquery may have.
    selects = [sa.select(arm.subquery(f"arm{at}")) for at, (arm, _) in enumerate(arms)]
    return text(dialect, sa.union_all(*selects), [parameter for _, parameters in arms for parameter in parameters])


def _scan(
    dialect: Dialect, name: str, exact: tuple[str, ...], empty: tuple[str, ...], shape: Shape, at: str = ""
) -> tuple[Any, list[str]]:
    """With its parameters, whose names end in `at`."""
    table = REPLICATED[name]
    by = table.c[shape.by]
    given = [column for column in exact if column not in empty]
    found = sa.select(table).where(*(table.c[column].is_(None) for column in empty), *_equal(table, given, at))
    parameters = [f"where_{column}{at}" for column in given]
    if shape.beyond:
        found = found.where(by > sa.bindparam(f"beyond{at}"))
        parameters.append(f"beyond{at}")
    if shape.below:
        found = found.where(by < sa.bindparam(f"below{at}"))
        parameters.append(f"below{at}")
    if shape.known:
        found = found.where(dialect.within(by, sa.bindparam(f"known{at}", type_=sa.Text())))
        parameters.append(f"known{at}")
    order = [by, *(key for key in table.primary_key if key.name not in (shape.by, *exact))]
    found = found.order_by(*(sa.desc(column) if shape.newest_first else column for column in order))
    return _limited(found, at), [*parameters, f"page{at}"]


@cache
def select_page(dialect: Dialect, name: str, first: bool) -> str:
    """A page in key order, after the key given unless it is the first one; the last parameter is the limit."""
    table = REPLICATED[name]
    keys = list(table.primary_key)
    page = _limited(sa.select(table).order_by(*keys))
    if first:
        return text(dialect, page, ["page"])
    after, names = dialect.after(keys, [f"after_{key.name}" for key in keys])
    return text(dialect, page.where(after), [*names, "page"])


@cache
def page_bounds(dialect: Dialect, name: str) -> tuple[int, ...]:
    """Which part of the key each parameter of `select_page` before its limit is."""
    keys = list(REPLICATED[name].primary_key)
    names = [key.name for key in keys]
    _, taken = dialect.after(keys, names)
    return tuple(names.index(one) for one in taken)


@cache
def local(dialect: Dialect) -> "Local":
    """The statements of the local tables."""
    return Local(dialect)


class Local:
    """Results, parked events, the frontier, facts, and what is kept for conflicts."""

    def __init__(self, dialect: Dialect) -> None:
        writes = REPLICATED["overwrites"]
        before: Any = sa.bindparam("before")
        results = sa.select(*(RESULTS.c[name] for name in ("actor", "key", "event", "action", "fingerprint", "answer")))
        one = results.where(
            RESULTS.c["actor"] == sa.bindparam("of"),
            RESULTS.c["key"] == sa.bindparam("under"),
            RESULTS.c["event"] >= sa.bindparam("since"),
        )
        parked = sa.delete(PARKED).where(PARKED.c["lane"] == sa.bindparam("on"), PARKED.c["seq"] == sa.bindparam("at"))
        stamps = sa.select(writes.c["stamp"]).where(writes.c["stamp"] < before).order_by(writes.c["stamp"])
        shown = sa.select(writes).order_by(*writes.primary_key)

        def sql(statement: Any, *parameters: str) -> str:
            return text(dialect, statement, parameters)

        self.result = sql(_limited(one.order_by(RESULTS.c["event"])), "of", "under", "since", "page")
        newer = results.where(RESULTS.c["event"] > sa.bindparam("since")).order_by(RESULTS.c["event"])
        self.results = sql(_limited(newer), "since", "page")
        self.put_result = put(dialect, RESULTS)
        self.prune_results = dialect.oldest(RESULTS, RESULTS.c["event"])
        self.parked = sql(sa.select(PARKED).order_by(*PARKED.primary_key))
        self.park = put(dialect, PARKED)
        self.unpark = sql(parked, "on", "at")
        self.frontier = sql(sa.select(FRONTIER).order_by(FRONTIER.c["lane"]))
        self.no_frontier = sql(sa.delete(FRONTIER))
        self.meta = sql(sa.select(META.c["value"]).where(META.c["name"] == sa.bindparam("of")), "of")
        self.put_meta = put(dialect, META)
        self.overwrites = sql(shown)
        self.oldest_overwrites = sql(_limited(stamps), "before", "page")
        self.forget_overwrites = sql(sa.delete(writes).where(writes.c["stamp"] <= sa.bindparam("last")), "last")


def _equal(table: sa.Table, columns: Iterable[str], at: str = "") -> list[Condition]:
    return [table.c[column] == sa.bindparam(f"where_{column}{at}") for column in columns]


def _limited(select: Any, at: str = "") -> Any:
    # The offset as a literal: for SQLite, Core renders one in any case, as one more parameter.
    return select.limit(sa.bindparam(f"page{at}")).offset(sa.literal_column("0"))
