"""What the Cassandra message store promises of its own: bounded partitions, rows that only appear, a schema that two
may apply at once, and settings that are wrong are named."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import acsylla
import pytest

from cli.waiting import until
from core import limits
from core.errors import ConfigError, StoreUnavailable
from core.ids import class_of
from core.messages import Row
from core.system import entropy
from stores.adapters import cassandra_cql, cassandra_schema
from stores.adapters.cassandra_cql import slot_of
from stores.adapters.cassandra_messages import CassandraMessageStore
from stores.adapters.cassandra_session import CassandraPlace, CassandraSession, Write
from stores.ports import Mark
from tests.support.cassandra import asked, empty_place, make_keyspace, place_of, use
from tests.support.shared import CassandraNode
from tests.support.stores import by_event, id_at

DAY = 86_400


@pytest.fixture(autouse=True)
def used(cassandra: CassandraNode) -> None:
    use(cassandra)


@pytest.fixture
async def place() -> AsyncIterator[CassandraPlace]:
    async with empty_place() as found:
        yield found


@pytest.fixture
async def store(place: CassandraPlace) -> AsyncIterator[CassandraMessageStore]:
    opened = await CassandraMessageStore.open(place, entropy)
    yield opened
    await opened.close()


def send(at_s: float, conversation: str = "G1", lane: int = 1) -> Row:
    id = id_at(at_s, lane)
    key = f"k{at_s}"
    body = {"text": "x", "key": key, "fingerprint": "0a" * 8}
    return Row(id, conversation, id, "send", "Ua", class_of("Ua", key, conversation, b""), body)


async def there(place: CassandraPlace, cql: str) -> list[tuple[Any, ...]]:
    async with asked(place) as session:
        return await session.run(cql)


# -- partitions


async def test_no_partition_of_a_conversation_grows_beyond_its_bound(
    place: CassandraPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever writes, one process after the other or several at once, however busy one day of one conversation is."""
    monkeypatch.setattr(limits, "CASSANDRA_PART_ROWS_MAX", 5)
    rows = [send(n / 3) for n in range(120)]
    stores = [await CassandraMessageStore.open(place, entropy) for _ in range(2)]
    for n, row in enumerate(rows):
        stores[n % 2].put([row], {})
    for one in stores:
        await one.close()
    again = await CassandraMessageStore.open(place, entropy)
    again.put(rows, {})
    await again.flush()
    found = await there(place, "SELECT conversation, bucket, part, message FROM places")
    sizes = Counter(tuple(place) for *place, _ in found)
    assert {message for *_, message in found} == {row.event for row in rows}
    assert max(sizes.values()) == 5
    assert await again.page("G1", limit=200) == [row.event for row in reversed(rows)]
    assert await again.page("G1", limit=200, after=rows[59].event) == [row.event for row in rows[60:]]
    await again.close()


async def test_the_rows_of_a_lane_lie_in_partitions_of_seconds(store: CassandraMessageStore) -> None:
    rows = [send(n) for n in range(10)]
    store.put(rows, {})
    await store.flush()
    slots = await there(store._session.place, "SELECT DISTINCT slot FROM message_rows")
    assert sorted(slot for (slot,) in slots) == sorted({slot_of(row.event) for row in rows})
    assert 3 <= len(slots) <= 5
    # By the layout of ids: so many of a lane can be there at all.
    assert len(range(0, 1 << cassandra_cql.SLOT_BITS, 1 << 16)) == 65_536


async def test_a_reader_looks_only_where_something_is(
    store: CassandraMessageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Years without a message cost nothing, and the newest page of a busy day is not all of that day."""
    old = [send(-year * 365 * DAY) for year in (8, 5, 2)]
    store.put(old, {})
    await store.flush()
    reads = await _counted(store, monkeypatch, store.page("G1", limit=10))
    assert reads["sends_newest"] == 3
    assert reads["buckets_newest"] == 1
    reads = await _counted(store, monkeypatch, _all(store))
    assert reads["rows_after"] == 3
    monkeypatch.setattr(limits, "CASSANDRA_PART_ROWS_MAX", 20)
    busy = [send(60 * n, "G2") for n in range(200)]
    store.put(busy, {})
    await store.flush()
    reads = await _counted(store, monkeypatch, store.page("G2", limit=10))
    assert reads["sends_newest"] < 20


async def _all(store: CassandraMessageStore) -> list[list[Row]]:
    return [page async for page in store.dump()]


async def _counted(store: CassandraMessageStore, monkeypatch: pytest.MonkeyPatch, work: Any) -> Counter[str]:
    reads: Counter[str] = Counter()
    true = store._session.read

    async def read(name: str, *values: Any) -> list[tuple[Any, ...]]:
        reads[name] += 1
        return await true(name, *values)

    with monkeypatch.context() as patch:
        patch.setattr(store._session, "read", read)
        await work
    return reads


# -- rows that only appear


def test_no_statement_on_the_path_of_a_message_deletes_counts_or_compares() -> None:
    for name, statement in cassandra_cql.WRITES.items():
        assert statement.startswith("INSERT INTO"), name
        assert "USING TIMESTAMP" in statement, f"{name}: written twice it is to be the same"
        assert " IF " not in statement and "TTL" not in statement, name


async def test_reads_meet_no_tombstone(store: CassandraMessageStore) -> None:
    """An edit has no text beside its message, but no null either."""
    message = send(1)
    rows = [message, *(Row(id_at(at), "G1", message.event, "edit", "Ua", 0, {"text": "y"}) for at in (2, 3))]
    for _ in range(2):
        store.put(rows, {1: Mark(3, rows[-1].event)})
        await store.flush()
    session = store._session
    for name, values in (
        ("about_all", ([message.event],)),
        ("copies", ([message.class_],)),
        ("rows", (slot_of(message.event), [message.event])),
        ("frontier", (0,)),
    ):
        statement = session._bound(name, values)
        statement.set_tracing(True)
        result = await session._session.execute(statement)
        assert result.count()
        said = await _traced(session.place, result.tracing_id)
        assert any(" 0 tombstone cells" in line for line in said), said
        assert not any(" tombstone cells" in line and " 0 tombstone cells" not in line for line in said)


async def _traced(place: CassandraPlace, id: Any) -> list[str]:
    """What the server did; it is written behind, and not to a quorum."""
    async with asked(replace(place, consistency="LOCAL_ONE")) as session:

        async def look() -> list[str]:
            rows = await session.run(f"SELECT activity FROM system_traces.events WHERE session_id = {id}")
            lines = [line for (line,) in rows]
            return lines if any(" tombstone cells" in line for line in lines) else []

        return await until(look, 10)


async def _well(store: CassandraMessageStore) -> bool:
    return store._queue.failure is None


async def test_the_frontier_stands_still_until_all_that_it_covers_is_written(
    store: CassandraMessageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of a batch's writes fails: the others may be there, the frontier is not; then all is made good."""
    true = CassandraSession._write
    failing: set[str] = set()

    async def write(self: CassandraSession, write: Write) -> None:
        if write.statement in failing:
            import acsylla

            raise acsylla.errors.CassErrorServerWriteTimeout("it is said to have timed out")
        await true(self, write)

    monkeypatch.setattr(CassandraSession, "_write", write)
    for n, name in enumerate(sorted(cassandra_cql.WRITES.keys() - {"frontier_generations"}), 1):
        message = send(n * DAY, f"G{n}")
        about = [
            Row(id_at(n * DAY + at), f"G{n}", message.event, kind, "Ua", 0, {"text": ""})
            for at, kind in enumerate(("edit", "recall"), 1)
        ]
        failing.add(name)
        monkeypatch.setattr(limits, "CASSANDRA_PART_ROWS_MAX", 1)
        store.put([message, *about, send(n * DAY + 5, f"G{n}")], {1: Mark(n, message.event)})
        with pytest.raises(StoreUnavailable) as failed:
            await store.flush()
        assert name in failed.value.private
        assert await store.frontier() == ({1: Mark(n - 1, id_at((n - 1) * DAY))} if n > 1 else {}), name
        failing.clear()
        assert await until(lambda: _well(store), 10)
        await store.flush()
        assert await store.frontier() == {1: Mark(n, message.event)}
        assert len(await store.rows_of([message.event])) == 3
        assert await store.page(f"G{n}", limit=5) == [id_at(n * DAY + 5), message.event]


async def test_a_process_that_died_between_the_tables_is_made_good_by_replay(
    place: CassandraPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each write of a batch in turn: the next process finds the old frontier, and writes it all again."""
    message = send(1)
    rows = [message, Row(id_at(2), "G1", message.event, "edit", "Ua", 0, {"text": "new"}), send(1, "G1", lane=2)]
    true = CassandraSession._write
    survived = 0

    class Died(Exception):
        """The process is gone."""

    for left in range(100):
        done = 0

        async def write(self: CassandraSession, write: Write, left: int = left) -> None:
            nonlocal done
            if done == left:
                raise Died
            done += 1
            await true(self, write)

        first = await CassandraMessageStore.open(place, entropy)
        with monkeypatch.context() as patch:
            patch.setattr(CassandraSession, "_write", write)
            patch.setattr(limits, "CASSANDRA_WRITES_MAX", 1)
            first.put(rows, {1: Mark(left + 1, message.event)})
            try:
                await first.flush()
                survived = left
            except StoreUnavailable:
                assert (await first.frontier()).get(1, Mark(0, 0)).seq <= left
            await first._queue._stop()
            await first._session.close()
        second = await CassandraMessageStore.open(place, entropy)
        second.put(rows, {1: Mark(left + 1, message.event)})
        await second.flush()
        assert await second.rows_of([message.event]) == sorted(rows, key=by_event)
        assert await second.page("G1", limit=5) == [message.event]
        assert [row for page in await _all(second) for row in page] == sorted(rows, key=by_event)
        assert await second.tops("", 5) == [("G1", rows[2].event)]
        await second.close()
        if survived:
            break
    assert survived > 5


# -- schema and settings


async def test_two_processes_that_start_at_once_make_one_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    place = place_of(f"planb_test_two_{entropy(4).hex()}")
    await make_keyspace(place)
    stores = await asyncio.gather(*(CassandraMessageStore.open(place, entropy) for _ in range(3)))
    for at, one in enumerate(stores):
        one.put([send(at)], {})
        await one.flush()
    assert await stores[0].page("G1", limit=5) == [send(at).event for at in (2, 1, 0)]
    assert await there(place, "SELECT version FROM schema_versions WHERE one = 0") == [(cassandra_schema.VERSION,)]
    for one in stores:
        await one.close()


@pytest.mark.parametrize("done", [False, True])
async def test_a_turn_of_which_the_nodes_do_not_say_in_time_whose_it_is_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    """As it happens where several ask at once on a busy machine; it may have been done all the same."""
    place = place_of(f"planb_test_turn_{entropy(4).hex()}")
    await make_keyspace(place)
    run, failed = CassandraSession.run, set[str]()

    async def busy(session: CassandraSession, cql: str) -> list[tuple[Any, ...]]:
        if "schema_turn" in cql and " IF " in cql and cql[:6] in ("INSERT", "DELETE") and cql[:6] not in failed:
            failed.add(cql[:6])
            if done:
                await run(session, cql)
            timeout = acsylla.errors.CassErrorServerWriteTimeout("received only 0 responses")
            raise StoreUnavailable(private=cql) from timeout
        return await run(session, cql)

    monkeypatch.setattr(CassandraSession, "run", busy)
    store = await CassandraMessageStore.open(place, entropy)
    assert failed == {"INSERT", "DELETE"}
    assert await store.frontier() == {}
    await store.close()


async def test_a_schema_that_was_begun_is_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process died in the middle, with its turn not given back: the others wait until that is over."""
    place = place_of(f"planb_test_half_{entropy(4).hex()}")
    await make_keyspace(place)
    async with asked(place) as session:
        for create in (*cassandra_schema.GUARD, *cassandra_schema.statements(cassandra_schema.FILES[1])[:3]):
            await session.run(cassandra_schema.with_id(place.keyspace, create))
        await session.run("INSERT INTO schema_turn (one, holder) VALUES (0, 'dead') USING TTL 5")
        assert not await CassandraMessageStore.is_there(place)
        with monkeypatch.context() as patch:
            patch.setattr(cassandra_schema, "TURN_S_MAX", 0.3)
            with pytest.raises(StoreUnavailable) as failed:
                await CassandraMessageStore.open(place, entropy)
            assert "it is dead's turn" in failed.value.private
        store = await CassandraMessageStore.open(place, entropy)
        assert await CassandraMessageStore.is_there(place)
        assert await store.frontier() == {}
        await store.close()


async def test_a_newer_schema_is_refused(place: CassandraPlace) -> None:
    newer = cassandra_schema.VERSION + 1
    await (await CassandraMessageStore.open(place, entropy)).close()
    await there(place, f"INSERT INTO schema_versions (one, version) VALUES (0, {newer})")
    try:
        with pytest.raises(ConfigError, match=f"has schema {newer}; this program knows {cassandra_schema.VERSION}"):
            await CassandraMessageStore.open(place, entropy)
    finally:
        await there(place, f"DELETE FROM schema_versions WHERE one = 0 AND version = {newer}")


async def test_what_is_wrong_with_the_place_is_named(place: CassandraPlace) -> None:
    for wrong, reason in (
        (replace(place, keyspace="not_here"), "there is no keyspace 'not_here'.*CREATE KEYSPACE not_here"),
        (replace(place, local_datacenter="mars"), "stores.cassandra.local_datacenter: .* has no 'mars', but "),
    ):
        with pytest.raises(ConfigError, match=reason):
            await CassandraMessageStore.open(wrong, entropy)
    for wrong in (replace(place, port=1), replace(place, hosts=("no-such-host.invalid",))):
        with pytest.raises(StoreUnavailable) as failed:
            await CassandraMessageStore.open(wrong, entropy)
        assert str(wrong) in failed.value.private


async def test_a_table_that_is_gone_is_named(place: CassandraPlace) -> None:
    """Somebody dropped it under a running process: it says so, and keeps its rows."""
    gone = place_of(f"planb_test_gone_{entropy(4).hex()}")
    await make_keyspace(gone)
    store = await CassandraMessageStore.open(gone, entropy)
    async with asked(gone) as session:
        await session.run("DROP TABLE classes")
    store.put([send(1)], {})
    with pytest.raises(StoreUnavailable) as failed:
        await store.flush()
    assert f"{gone}: classes: " in failed.value.private
    with pytest.raises(StoreUnavailable):
        await store.ready()
    with pytest.raises(StoreUnavailable):
        await store.close()
