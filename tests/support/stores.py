"""All adapters of the relational and of the message store, and a reference that knows nothing of either."""

import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from hypothesis import strategies as st

from core.ids import make_id, tick_at
from core.messages import Row
from core.tables import TABLES, Cell, Column, Effect, Kind, Law, Table, merge
from stores.adapters import cells, sql_tables
from stores.adapters.memory_messages import MemoryMessageStore
from stores.adapters.memory_relational import MemoryRelationalStore
from stores.adapters.mysql_relational import MysqlRelationalStore
from stores.adapters.sqlite_messages import SqliteMessageStore
from stores.adapters.sqlite_relational import SqliteRelationalStore
from stores.ports import Frontier, MessageStore, RelationalBatch, RelationalStore, Stamped
from tests.support.mysql import databases, made_probe

if TYPE_CHECKING:
    from tests.support.shared import CassandraNode

ADAPTERS = ("memory", "sqlite")
MESSAGE_ADAPTERS = ("memory", "sqlite", "cassandra")
"""The last one on a real server."""
SERVED = ("memory", "mysql")
"""One more, which needs a server: the fixtures `adapter` and `adapters` of tests/contract/conftest.py start it."""
NOW_MS = 1_700_000_000_000


def id_at(s: float, lane: int = 1) -> int:
    """An id of `s` seconds after NOW_MS."""
    return make_id(tick_at(NOW_MS + round(s * 1000)), lane)


@asynccontextmanager
async def relational_store(adapter: str, folder: Path) -> AsyncIterator[RelationalStore]:
    store: RelationalStore
    if adapter == "mysql":
        async with databases().fresh() as place, made_probe(place):
            store = await MysqlRelationalStore.open(place, clock=lambda: NOW_MS)
            try:
                yield store
            finally:
                await store.close()
        return
    if adapter == "memory":
        store = MemoryRelationalStore(clock=lambda: NOW_MS)
    else:
        store = await SqliteRelationalStore.open(folder / "relational.db", clock=lambda: NOW_MS)
    try:
        yield store
    finally:
        await store.close()


def use_cassandra(node: "CassandraNode") -> None:
    """Before the first `message_store("cassandra", …)`: the fixture `cassandra`."""
    from tests.support import cassandra  # its driver takes a while, and many tests need it not

    cassandra.use(node)


@asynccontextmanager
async def message_store(adapter: str, folder: Path) -> AsyncIterator[MessageStore]:
    if adapter == "cassandra":
        from tests.support.cassandra import cassandra_messages

        async with cassandra_messages() as opened:
            yield opened
        return
    store: MessageStore
    store = (
        MemoryMessageStore()
        if adapter in ("memory", "mysql")
        else await SqliteMessageStore.open(folder / "messages.db")
    )
    try:
        yield store
    finally:
        await store.close()


async def history(store: MessageStore, conversation: str, **where: Any) -> list[Row]:
    """The rows of a page."""
    return await store.rows_of(await store.page(conversation, **where))


@contextmanager
def folder() -> Iterator[Path]:
    """A folder for one example of a property."""
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


def by_event(row: Row) -> int:
    """The order in which rows are read."""
    return row.event


def batch(effects: Iterable[Stamped] = (), frontier: Frontier | None = None) -> RelationalBatch:
    return RelationalBatch(tuple(effects), (), (), (), frontier or {})


def write(stamp: int, table: str, key: Any, columns: dict[str, Any], **basis: int) -> Stamped:
    """An effect with its stamp."""
    return Stamped(stamp, Effect(table, key if isinstance(key, tuple) else (key,), columns, basis))


async def dumped(store: RelationalStore, table: str) -> list[dict[str, Any]]:
    return [row async for page in store.dump(table) for row in page]


# -- the reference

PROBE = "probe"
PROBE_TABLE = Table(
    {"a": Kind.TEXT, "b": Kind.INT},
    {f"{law}_{kind}": Column(law, kind) for law in (Law.LWW, Law.INSERT) for kind in Kind}
    | {f"{law}_int": Column(law, Kind.INT) for law in (Law.MAX, Law.MIN, Law.ONCE)},
)
"""Every law with every kind it takes; the real tables happen to lack some."""


@contextmanager
def probe_table() -> Iterator[None]:
    """The adapters know PROBE meanwhile."""
    cells.STORED[PROBE] = PROBE_TABLE
    table = sql_tables.REPLICATED[PROBE] = sql_tables.table_of(PROBE, PROBE_TABLE)
    sql_tables.READERS[PROBE] = sql_tables.Reader(PROBE)
    try:
        yield
    finally:
        sql_tables.METADATA.remove(table)
        for known in (cells.STORED, sql_tables.REPLICATED, sql_tables.READERS):
            del known[PROBE]


def reference(effects: Iterable[Stamped], tables: Mapping[str, Table] = TABLES) -> dict[str, list[dict[str, Any]]]:
    """The fold of these effects by core.tables.merge, as `dump` gives it: table -> rows in key order."""
    state: dict[str, dict[tuple[Any, ...], dict[str, Cell]]] = {name: {} for name in tables}
    for stamp, effect in effects:
        row = state[effect.table].setdefault(effect.key, {})
        for name, value in effect.columns.items():
            law = tables[effect.table].columns[name].law
            plain = msgspec.json.decode(msgspec.json.encode(value))
            row[name] = merge(law, row.get(name), Cell(plain, stamp if law is Law.LWW else 0))
    return {name: [_row(tables[name], key, rows[key]) for key in sorted(rows)] for name, rows in state.items()}


def _row(table: Table, key: tuple[Any, ...], row: dict[str, Cell]) -> dict[str, Any]:
    found: dict[str, Any] = dict(zip(table.key, key, strict=True))
    for name, cell in row.items():
        found[name] = cell.value
        if table.columns[name].law is Law.LWW:
            found[f"{name}_at"] = cell.stamp
    return found


# -- any effects

# The texts sort differently raw and encoded; ' ' and '!' are encoded below '""', the empty text.
AWKWARD: dict[Kind, list[Any]] = {
    Kind.TEXT: ["", " ", "!", "a", "a!", 'a"', "a\n", "é", "\U0001f600", "\0", "zz"],
    Kind.INT: [0, 1, 9, 10, -1, -10, (1 << 63) - 1, -(1 << 62)],
    Kind.JSON: [None, 0, "x", "", [1], [], {}, {"1": 2}, {"b": 1, "a": [None]}, True],
}
VALUES = {kind: st.sampled_from(values) for kind, values in AWKWARD.items()}
FOUND_BY = st.sampled_from([text for text in AWKWARD[Kind.TEXT] if "\0" not in text])
KEYS = {Kind.TEXT: st.sampled_from(["Ua", "Ub", "é", ""]), Kind.INT: st.sampled_from([0, 7, (1 << 62) + 1])}


def _values_of(table: Table, column: str, kind: Kind) -> st.SearchStrategy[Any]:
    return FOUND_BY if kind is Kind.TEXT and cells.found_by(table, column) else VALUES[kind]


@st.composite
def any_effects(draw: st.DrawFn, tables: Mapping[str, Table] = TABLES, most: int = 14) -> list[Stamped]:
    """Effects of as many events, all stamps different; each names some columns of its row, maybe none."""
    effects = []
    stamps = draw(st.lists(st.integers(1, 1 << 40), min_size=1, max_size=most, unique=True))
    for stamp in stamps:
        name = draw(st.sampled_from(sorted(tables)))
        table = tables[name]
        key = tuple(draw(KEYS[kind]) for kind in table.key.values())
        columns = {
            column: 1 if law is Law.ONCE else draw(_values_of(table, column, kind))
            for column, (law, kind, _) in table.columns.items()
            if draw(st.booleans())
        }
        earlier = [0, *(other for other in stamps if other < stamp)]
        basis = {column: draw(st.sampled_from(earlier)) for column in columns if table.columns[column].law is Law.LWW}
        effects.append(Stamped(stamp, Effect(name, key, columns, basis)))
    return effects


@st.composite
def any_batches(draw: st.DrawFn, effects: list[Stamped]) -> list[list[Stamped]]:
    """The effects in any order, some twice, cut into batches anywhere, some batches twice."""
    order = draw(st.permutations(effects + draw(st.lists(st.sampled_from(effects), max_size=5))))
    cuts = sorted(draw(st.lists(st.integers(0, len(order)), max_size=6)))
    batches = [order[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(order)], strict=True)]
    return batches + draw(st.lists(st.sampled_from(batches), max_size=2))
