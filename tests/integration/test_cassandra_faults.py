"""The message store while its Cassandra has a bad day: a real server that is stopped, and killed with -9."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from cli.waiting import until
from core import limits
from core.errors import StoreUnavailable
from core.ids import class_of
from core.messages import Row
from core.system import entropy
from deploy.local.cassandra import Cassandra
from stores.adapters.cassandra_messages import CassandraMessageStore
from stores.adapters.cassandra_session import IDLE_S_MAX, CassandraPlace
from stores.ports import Frontier, Mark
from tests.support.cassandra import make_keyspace
from tests.support.servers import needs
from tests.support.stores import id_at

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]
STOPPED_S = 2 * IDLE_S_MAX
"""Longer than a call may take, and than a connection lives on which nobody answers."""
RECOVER_S_MAX = 60.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cassandra]:
    needs("cassandra", "java")
    one = Cassandra(tmp_path_factory.mktemp("cassandra"))
    try:
        await one.start()
        yield one
    finally:
        one.kill()


@pytest_asyncio.fixture(loop_scope="module")
async def place(server: Cassandra, request: pytest.FixtureRequest) -> CassandraPlace:
    keyspace = f"planb_{entropy(4).hex()}"
    found = CassandraPlace((server.host,), server.port, keyspace, server.datacenter)
    await make_keyspace(found, durable=True)
    return found


@pytest_asyncio.fixture(loop_scope="module")
async def store(place: CassandraPlace) -> AsyncIterator[CassandraMessageStore]:
    opened = await CassandraMessageStore.open(place, entropy)
    yield opened
    await opened.close()


def send(n: int) -> Row:
    id = id_at(n / 10)
    key = f"k{n}"
    body = {"text": "x" * 50, "key": key, "fingerprint": "0a" * 8}
    return Row(id, f"G{n % 7}", id, "send", "Ua", class_of("Ua", key, f"G{n % 7}", b""), body)


class Writer:
    """Puts rows for ever as `apply` does: `ready` first; each row completes its frontier."""

    def __init__(self, store: CassandraMessageStore) -> None:
        self._store = store
        self.put: list[Row] = []
        self.refused = 0

    async def run(self) -> None:
        while True:
            try:
                await self._store.ready()
            except StoreUnavailable:
                self.refused += 1
                await asyncio.sleep(0.02)  # its client's pause
                continue
            row = send(len(self.put))
            self.put.append(row)
            self._store.put([row], {1: Mark(len(self.put), row.event)})
            await asyncio.sleep(0)

    def covered(self, frontier: Frontier) -> list[Row]:
        """What a frontier says is durable."""
        return self.put[: frontier.get(1, Mark(0, 0)).seq]


async def dumped(store: CassandraMessageStore) -> list[Row]:
    return [row async for page in store.dump() for row in page]


async def grown(writer: Writer, by: int) -> None:
    wanted = len(writer.put) + by

    async def looks() -> bool:
        return len(writer.put) >= wanted

    assert await until(looks, RECOVER_S_MAX)


async def refused(writer: Writer) -> bool:
    return writer.refused > 0


async def well(store: CassandraMessageStore) -> bool:
    return store._queue.failure is None


async def test_a_server_that_stands_still_is_refused_in_time_and_loses_nothing(
    server: Cassandra, store: CassandraMessageStore
) -> None:
    """Some writes were on their way: they time out, and may take effect when it goes on."""
    writer = Writer(store)
    task = asyncio.create_task(writer.run())
    try:
        await grown(writer, 2_000)
        server.pause()
        try:
            assert await until(lambda: refused(writer), limits.CASSANDRA_CALL_S_MAX + 10)
            put = len(writer.put)
            for read in (store.ready(), store.rows_of([1]), store.page("G1", limit=1), store.tops("", 1)):
                with pytest.raises(StoreUnavailable) as failed:
                    await read
            assert str(store._session.place) in failed.value.private
            await asyncio.sleep(STOPPED_S)  # it is the fault
            assert len(writer.put) == put <= put + limits.MESSAGE_QUEUE_ROWS_MAX
        finally:
            server.resume()
        assert await until(lambda: well(store), RECOVER_S_MAX)
        await grown(writer, 500)
    finally:
        task.cancel()
    await store.flush()
    assert await dumped(store) == writer.put
    assert writer.covered(await store.frontier()) == writer.put


async def test_a_server_killed_under_load_has_all_that_its_frontier_covers(
    server: Cassandra, place: CassandraPlace, store: CassandraMessageStore
) -> None:
    """Nobody replays anything here: what was acknowledged before the kill has to be there."""
    writer = Writer(store)
    task = asyncio.create_task(writer.run())
    try:
        await grown(writer, 1_500)
        server.kill()
        assert await until(lambda: refused(writer), limits.CASSANDRA_CALL_S_MAX + 10)
        await server.start()
        assert await until(lambda: well(store), RECOVER_S_MAX)
        await grown(writer, 500)
    finally:
        task.cancel()
    await store.flush()
    assert await dumped(store) == writer.put
    assert writer.covered(await store.frontier()) == writer.put


async def test_what_was_only_queued_when_the_process_ended_is_replayed_from_the_frontier(
    server: Cassandra, place: CassandraPlace
) -> None:
    store = await CassandraMessageStore.open(place, entropy)
    rows = [send(n) for n in range(200)]
    store.put(rows[:100], {1: Mark(100, rows[99].event)})
    await store.flush()
    server.pause()
    try:
        store.put(rows[100:], {1: Mark(200, rows[-1].event)})
        with pytest.raises(StoreUnavailable):
            await store.close()
    finally:
        server.resume()

    async def opened() -> CassandraMessageStore | None:
        try:
            return await CassandraMessageStore.open(place, entropy)
        except StoreUnavailable:
            return None

    again = await until(opened, RECOVER_S_MAX)
    assert again is not None
    frontier = await again.frontier()
    assert frontier[1].seq in (100, 200), "a write that timed out may have taken effect"
    again.put(rows[frontier[1].seq :], {1: Mark(200, rows[-1].event)})
    await again.flush()
    assert await dumped(again) == rows
    await again.close()
