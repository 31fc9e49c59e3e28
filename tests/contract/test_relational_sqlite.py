"""What only the SQLite relational store promises: indexes, migration, and errors that say what happened."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path

import pytest

from core import limits
from core.errors import ConfigError, Corrupt, Overloaded, StoreUnavailable
from core.tables import TABLES, Effect
from stores.adapters import sql_statements, sqlite_file
from stores.adapters.cells import STORED
from stores.adapters.sqlite_dialect import SQLITE
from stores.adapters.sqlite_relational import SqliteRelationalStore
from stores.ports import Mark, RelationalBatch, Stamped
from tests.support.stores import NOW_MS, batch, dumped, write


async def opened(path: Path) -> SqliteRelationalStore:
    return await SqliteRelationalStore.open(path / "relational.db", clock=lambda: NOW_MS)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteRelationalStore]:
    store = await opened(tmp_path)
    yield store
    await store.close()


async def test_every_lookup_uses_an_index(store: SqliteRelationalStore) -> None:
    for name, table in TABLES.items():
        for by in {next(iter(table.key)), *table.by}:
            sql = "EXPLAIN QUERY PLAN " + sql_statements.select_where(SQLITE, name, (by,), ())
            (plan, *more) = await store._file.read(lambda db, sql=sql: db.execute(sql, ("x",)).fetchall())
            assert plan[3].startswith("SEARCH"), (name, by, plan)
            assert not more, "a sort"


async def test_every_page_reads_in_the_order_of_an_index(store: SqliteRelationalStore) -> None:
    for name, table in STORED.items():
        key = tuple(table.key)
        orders = [(key[:at], key[at]) for at in range(1, len(key))]
        orders += [(order[:-1], order[-1]) for order in table.pages]
        for where, by in orders:
            for newest_first, below in product((True, False), repeat=2):
                shape = sql_statements.Shape(by, not below, below, False, newest_first)
                empty = tuple(one for one in where if one in ("revoked", "ended", "done", "gone"))
                sql = sql_statements.select_scan(SQLITE, name, where, empty, shape)
                values = ("x",) * (len(where) - len(empty)) + (1, 5)
                (plan, *more) = await store._file.read(
                    lambda db, sql=sql, values=values: db.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
                )
                assert plan[3].startswith("SEARCH") and f"{by}{'<' if below else '>'}?" in plan[3], (
                    name,
                    where,
                    shape,
                    plan,
                )
                assert not more, "a sort"
    sql = "EXPLAIN QUERY PLAN " + sql_statements.select_some(SQLITE, "hidden", ("user",), "message")
    plans = await store._file.read(lambda db: [row[3] for row in db.execute(sql, ("Ua", "[1]"))])
    assert plans[0] == "SEARCH hidden USING PRIMARY KEY (user=? AND message=?)"


async def test_a_repeated_batch_writes_no_row(store: SqliteRelationalStore) -> None:
    effects = [
        write(5, "users", "Ua", {"name": "a", "about": "b"}),
        write(5, "sessions", "s", {"user": "Ua", "revoked": 1}),
        write(5, "read_marks", ("Ua", "D1", 7), {"mark": 5}),
    ]
    await store.apply(batch(effects))
    before = await store._file.write(lambda db: db.total_changes)
    await store.apply(batch(effects))
    assert await store._file.write(lambda db: db.total_changes) == before


async def test_an_equal_stamp_with_another_value_does_not_overwrite(store: SqliteRelationalStore) -> None:
    await store.apply(batch([write(5, "users", "Ua", {"name": "a"})]))
    await store.apply(batch([write(5, "users", "Ua", {"name": "z"})]))
    assert (await store.rows("users", {"user": "Ua"}))[0]["name"] == "a"


async def test_what_was_committed_is_there_after_a_restart(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.apply(batch([write(5, "users", "Ua", {"name": "a"})], {7: Mark(1, 5)}))
    await store.set_meta("epoch", "3")
    await store.close()
    store = await opened(tmp_path)
    assert (await store.rows("users", {"user": "Ua"}))[0]["name"] == "a"
    assert await store.frontier() == {7: Mark(1, 5)}
    assert await store.meta("epoch") == "3"
    await store.close()


async def test_columns_that_a_newer_version_brought_are_added(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "relational.db")
    old.execute("CREATE TABLE users (user TEXT PRIMARY KEY NOT NULL, name TEXT NOT NULL DEFAULT '',"
                " name_at INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID")  # fmt: skip
    old.execute("CREATE TABLE chats (chat TEXT PRIMARY KEY NOT NULL) WITHOUT ROWID")
    old.execute("INSERT INTO users VALUES ('Ua', 'a', 5)")
    old.execute("INSERT INTO chats VALUES ('G1')")
    old.commit()
    old.close()
    store = await opened(tmp_path)
    await store.apply(batch([write(6, "users", "Ua", {"about": "x"}), write(6, "chats", "G1", {"kind": "group"})]))
    assert await dumped(store, "users") == [{"user": "Ua", "name": "a", "name_at": 5, "about": "x", "about_at": 6}]
    assert await dumped(store, "chats") == [{"chat": "G1", "kind": "group"}]
    await store.close()


@pytest.mark.parametrize(
    "statement", ["PRAGMA user_version=99", "CREATE TABLE users (id TEXT PRIMARY KEY NOT NULL) WITHOUT ROWID"]
)
async def test_a_file_that_this_version_can_not_migrate_is_refused(tmp_path: Path, statement: str) -> None:
    other = sqlite3.connect(tmp_path / "relational.db")
    other.execute(statement)
    other.commit()
    other.close()
    with pytest.raises(ConfigError):
        await opened(tmp_path)


async def test_a_full_disk_is_an_unavailable_store_and_changes_nothing(store: SqliteRelationalStore) -> None:
    big = batch([write(5, "users", f"U{n}", {"about": "x" * 2000}) for n in range(200)], {7: Mark(1, 5)})
    await store._file.write(lambda db: db.execute("PRAGMA max_page_count=1").fetchall())
    with pytest.raises(StoreUnavailable) as failed:
        await store.apply(big)
    assert "full" in failed.value.private
    assert "full" not in failed.value.detail
    assert await store.frontier() == {}
    assert await dumped(store, "users") == []
    await store._file.write(lambda db: db.execute("PRAGMA max_page_count=1000000").fetchall())
    await store.apply(big)
    assert len(await dumped(store, "users")) == 200


async def test_a_file_that_another_holds_is_an_unavailable_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_MS", 20)
    store = await opened(tmp_path)
    other = sqlite3.connect(tmp_path / "relational.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable) as failed:
        await store.apply(batch([write(5, "users", "Ua", {"name": "a"})]))
    assert "locked" in failed.value.private
    other.execute("ROLLBACK")
    other.close()
    await store.apply(batch([write(5, "users", "Ua", {"name": "a"})]))
    await store.close()


async def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.apply(batch([write(5, "users", f"U{n:03}", {"about": "x" * 2000}) for n in range(200)]))
    await store.close()
    path = tmp_path / "relational.db"
    data = bytearray(path.read_bytes())
    # Page 1 holds the schema; behind it nothing is spared.
    data[4096 * 4 :] = b"\xaa" * (len(data) - 4096 * 4)
    path.write_bytes(data)

    async def look() -> None:
        store = await opened(tmp_path)
        try:
            for name in TABLES:
                await dumped(store, name)
        finally:
            await store.close()

    with pytest.raises(Corrupt, match=r"relational\.db is damaged"):
        await look()
    path.write_bytes(b"no database, but as long as a header of one is. " * 100)
    with pytest.raises(Corrupt, match=r"relational\.db is damaged"):
        await look()


async def test_calls_beyond_the_bound_are_refused(
    store: SqliteRelationalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STORE_QUEUE_MAX", 3)
    calls = [*(store.frontier() for _ in range(5)), store.apply(batch([], {7: Mark(1, 5)}))]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results[:5]] == [dict, dict, dict, Overloaded, Overloaded]
    assert results[5] is None, "readers keep no batch from being applied"
    assert await store.frontier() == {7: Mark(1, 5)}


async def test_a_closed_store_is_unavailable(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.frontier()


async def test_a_secret_column_is_never_listed_among_conflicts(tmp_path: Path) -> None:
    store = await SqliteRelationalStore.open(tmp_path / "relational.db", clock=lambda: NOW_MS)
    effects = [
        Stamped(stamp, Effect("users", ("Uada",), {"password": f"hash {stamp}", "name": f"Ada {stamp}"}))
        for stamp in (10, 20)
    ]
    await store.apply(RelationalBatch(effects, (), (), (), {}))
    listed = await store.conflicts()
    assert [conflict["column"] for conflict in listed] == ["name"]
    assert "hash" not in str(listed)
    await store.close()


async def test_two_writes_of_one_value_are_no_conflict(tmp_path: Path) -> None:
    store = await SqliteRelationalStore.open(tmp_path / "relational.db", clock=lambda: NOW_MS)
    effects = [Stamped(stamp, Effect("users", ("Uada",), {"name": "Ada"})) for stamp in (10, 20)]
    await store.apply(RelationalBatch(effects, (), (), (), {}))
    assert await store.conflicts() == []
    await store.close()
