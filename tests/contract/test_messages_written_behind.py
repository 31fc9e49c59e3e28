"""What the SQLite message store promises of its own: written behind, bounded, and honest when writing fails."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from core import limits
from core.errors import Corrupt, StoreUnavailable
from core.ids import class_of
from core.messages import Row
from stores.adapters import sqlite_message_sql as sql
from stores.adapters.sqlite_messages import SqliteMessageStore
from stores.ports import Mark
from tests.support.stores import history, id_at


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteMessageStore]:
    store = await SqliteMessageStore.open(tmp_path / "messages.db")
    yield store
    await store.close()


def send(n: int, size: int = 10) -> Row:
    id = id_at(n)
    return Row(id, "G1", id, "send", "Ua", class_of("Ua", f"k{n}", "G1", b""), {"text": "x" * size, "key": f"k{n}"})


async def in_file(path: Path) -> int:
    """How many rows another connection sees."""

    def count() -> int:
        other = sqlite3.connect(path / "messages.db")
        try:
            (rows,) = other.execute("SELECT count(*) FROM rows").fetchone()
            return int(rows)
        finally:
            other.close()

    return await asyncio.to_thread(count)


async def until(condition: Callable[[], Any], timeout_s: float = 5) -> None:
    async with asyncio.timeout(timeout_s):
        # Another connection's view of the file has no event to wait for.
        while not (await condition() if asyncio.iscoroutinefunction(condition) else condition()):  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_rows_are_written_after_the_linger_without_being_asked(store: SqliteMessageStore, tmp_path: Path) -> None:
    store.put([send(1)], {7: Mark(1, 10)})
    assert await in_file(tmp_path) == 0
    assert await store.frontier() == {}, "the frontier is the durable one"

    async def written() -> bool:
        return await in_file(tmp_path) == 1

    await until(written)
    assert await store.frontier() == {7: Mark(1, 10)}


async def test_many_rows_are_written_at_once(
    store: SqliteMessageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MESSAGE_LINGER_MS", 60_000)
    store.put([send(n) for n in range(limits.MESSAGE_WRITE_ROWS)], {})

    async def written() -> bool:
        return await in_file(tmp_path) == limits.MESSAGE_WRITE_ROWS

    await until(written)


async def test_what_was_put_is_written_by_close(tmp_path: Path) -> None:
    store = await SqliteMessageStore.open(tmp_path / "messages.db")
    store.put([send(1)], {7: Mark(1, 10)})
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailable):
        store.put([send(2)], {})
    with pytest.raises(StoreUnavailable):
        await store.rows_of([1])
    store = await SqliteMessageStore.open(tmp_path / "messages.db")
    assert await history(store, "G1", limit=5) == [send(1)]
    assert await store.frontier() == {7: Mark(1, 10)}
    await store.close()


async def limit_pages(store: SqliteMessageStore, pages: int) -> None:
    """A disk that is full, or is no longer."""
    await store._file.write(lambda db: db.execute(f"PRAGMA max_page_count={pages}").fetchall())


async def test_a_failing_write_keeps_its_rows_and_is_retried(store: SqliteMessageStore) -> None:
    await limit_pages(store, 1)
    rows = [send(n, size=5000) for n in range(20)]
    store.put(rows, {7: Mark(1, 10)})
    with pytest.raises(StoreUnavailable) as failed:
        await store.flush()
    assert "full" in failed.value.private
    # More may come meanwhile; ready and every read say so.
    store.put([send(50)], {7: Mark(2, 20)})
    for call in (
        store.ready, store.flush, lambda: store.tops("", 1), lambda: history(store, "G1", limit=1),
        lambda: store.rows_of([1]), lambda: store.recent("G1", 1), lambda: store.sent_since(0, 1),
    ):  # fmt: skip
        with pytest.raises(StoreUnavailable):
            await call()
    assert await store.frontier() == {}
    await limit_pages(store, 1_000_000)
    await until(lambda: store._queue.failure is None)
    await store.ready()
    assert await history(store, "G1", limit=50) == [*rows, send(50)]
    await store.flush()
    assert await store.frontier() == {7: Mark(2, 20)}


async def test_close_raises_what_it_could_not_write(tmp_path: Path) -> None:
    store = await SqliteMessageStore.open(tmp_path / "messages.db")
    await limit_pages(store, 1)
    store.put([send(n, size=5000) for n in range(20)], {7: Mark(1, 10)})
    with pytest.raises(StoreUnavailable):
        await store.close()
    store = await SqliteMessageStore.open(tmp_path / "messages.db")
    assert await store.frontier() == {}, "so they are replayed"
    await store.close()


async def test_ready_waits_while_too_much_is_queued(store: SqliteMessageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MESSAGE_QUEUE_ROWS_MAX", 10)
    monkeypatch.setattr(limits, "MESSAGE_LINGER_MS", 60_000)
    await asyncio.wait_for(store.ready(), 1)
    store.put([send(n) for n in range(10)], {})
    waiting = asyncio.create_task(store.ready())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done()
    await store.flush()
    await asyncio.wait_for(waiting, 1)


async def test_who_waits_is_told_when_the_store_closes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MESSAGE_QUEUE_ROWS_MAX", 1)
    store = await SqliteMessageStore.open(tmp_path / "messages.db")
    await limit_pages(store, 1)
    store.put([send(n, size=5000) for n in range(20)], {})
    waiting = asyncio.create_task(store.ready())
    with pytest.raises(StoreUnavailable):
        await store.close()
    with pytest.raises(StoreUnavailable):
        await asyncio.wait_for(waiting, 1)


async def test_a_message_is_found_by_indexes_alone(store: SqliteMessageStore) -> None:
    statements = [
        *((statement, (1, "G1", 0, 9, 5)) for statement in sql.MESSAGES.values()),
        *((statement, (1, "G1", 0, 9, 5, "{}")) for statement in sql.MESSAGES_KNOWN.values()), (sql.TOP, (1, "G1")),
        (sql.RECALLS, (1, "G1", 0, 9)), (sql.ABOUT, ("[1]", "[]")), (sql.ABOUT_KNOWN, ("[1]", "[]", "{}")),
        (sql.RECENT, ("[1]", "[]")),
        (sql.SENT_SINCE, (1, 1)), (sql.PAGE, (1, 1)), (sql.BUCKETS, ("G1", 0, 9)),
    ]  # fmt: skip
    for statement, values in statements:
        plan = await store._file.read(
            lambda db, statement=statement, values=values: [
                row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {statement}", values)
            ]
        )
        assert not [step for step in plan if step.startswith("SCAN") and step.split()[1] in ("rows", "this", "other")]
        assert "USE TEMP B-TREE FOR ORDER BY" not in plan


async def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "messages.db").write_bytes(b"no database, but as long as a header of one is. " * 100)
    with pytest.raises(Corrupt, match=r"messages\.db is damaged"):
        await SqliteMessageStore.open(tmp_path / "messages.db")


async def test_what_is_called_written_another_process_reads(
    store: SqliteMessageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MESSAGE_LINGER_MS", 60_000)
    store.put([send(1), send(2)], {})
    await store.written()
    assert await in_file(tmp_path) == 2
    await store.written()
