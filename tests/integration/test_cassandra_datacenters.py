"""One Cassandra cluster over two datacenters of it: each side asks its own nodes only, and of these the one that has
the partition. A real cluster of three nodes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from cli.servers import free_ports
from cli.waiting import until
from core import limits
from core.errors import StoreUnavailable
from core.ids import class_of
from core.messages import Row
from core.system import entropy
from deploy.local.cassandra import Cassandra
from deploy.local.starting import Group
from stores.adapters.cassandra_messages import CassandraMessageStore
from stores.adapters.cassandra_session import CassandraPlace, CassandraSession
from stores.ports import Mark
from tests.support.cassandra import asked, make_keyspace
from tests.support.servers import needs
from tests.support.stores import id_at

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]
DATACENTERS = ("dc1", "dc1", "dc2")
TOKENS = (-(1 << 62), 1 << 62, 0)
"""Each of dc1 owns half of its ring."""
RECOVER_S_MAX = 90.0


class World(NamedTuple):
    servers: Group[Cassandra]
    place: CassandraPlace
    """As dc1 sees it."""
    far: CassandraPlace
    """As dc2 sees it."""


async def started(nodes: Sequence[Cassandra], port: int) -> None:
    """The first is the seed: the others ask it, when its port for nodes is open; it is ready when it has them."""
    seed, *others = nodes

    async def asked_at() -> bool:
        try:
            _, writer = await asyncio.open_connection(seed.host, port)
        except OSError:
            return False
        writer.close()
        return True

    async with asyncio.TaskGroup() as group:
        group.create_task(seed.start())
        assert await until(asked_at, RECOVER_S_MAX)
        for node in others:
            group.create_task(node.start())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    needs("cassandra", "java")
    folder, ports = tmp_path_factory.mktemp("cassandra"), tuple(free_ports(2))
    servers = Group(
        [
            Cassandra(
                folder / f"node{at}", f"cassandra-{at}", datacenter=datacenter, host=f"127.0.0.{at}",
                ports=(ports[0], ports[1]), nodes=len(DATACENTERS), token=token,
            )
            for at, (datacenter, token) in enumerate(zip(DATACENTERS, TOKENS, strict=True), 1)
        ]
    )  # fmt: skip
    try:
        await started(servers.members, ports[1])
        near, _, far = servers.members
        place = CassandraPlace((near.host,), near.port, "planb_two", "dc1")
        await make_keyspace(place, "'dc1': 1, 'dc2': 1", durable=True)
        yield World(servers, place, replace(place, hosts=(far.host,), local_datacenter="dc2"))
    finally:
        servers.kill()


def send(n: int) -> Row:
    id = id_at(n * 10)
    key = f"k{n}"
    body = {"text": "x", "key": key, "fingerprint": "0a" * 8}
    return Row(id, f"G{n}", id, "send", "Ua", class_of("Ua", key, f"G{n}", b""), body)


async def traced(session: CassandraSession, place: CassandraPlace, name: str, *values: Any) -> tuple[str, set[str]]:
    """(the node that was asked, all nodes that did something) for one read."""
    statement = session._bound(name, values)
    statement.set_tracing(True)
    id = (await session._session.execute(statement)).tracing_id
    async with asked(replace(place, consistency="LOCAL_ONE")) as other:

        async def look() -> list[tuple[Any, ...]]:
            return await other.run(f"SELECT coordinator, duration FROM system_traces.sessions WHERE session_id = {id}")

        async def ended() -> bool:
            return any(duration is not None for _, duration in await look())

        assert await until(ended, 20)
        ((coordinator, _),) = await look()
        sources = await other.run(f"SELECT source FROM system_traces.events WHERE session_id = {id}")
    return str(coordinator), {str(source) for (source,) in sources}


async def test_each_partition_is_asked_of_a_local_node_that_has_it(world: World) -> None:
    store = await CassandraMessageStore.open(world.place, entropy)
    rows = [send(n) for n in range(12)]
    store.put(rows, {1: Mark(12, rows[-1].event)})
    await store.flush()
    coordinators = set()
    for row in rows:
        coordinator, sources = await traced(
            store._session, world.place, "buckets_newest", row.conversation, 1 << 20, 0, 9
        )
        assert sources == {coordinator}, "it had to ask no other"
        coordinators.add(coordinator)
    assert coordinators == {"127.0.0.1", "127.0.0.2"}, "both nodes of dc1, none of dc2"
    await store.close()


async def dumped(store: CassandraMessageStore) -> list[Row]:
    return [row async for page in store.dump() for row in page]


async def test_with_a_datacenter_of_the_cluster_gone_the_other_answers(world: World) -> None:
    """A quorum is one of the local nodes: dc1 writes on while dc2 is killed, which has it all when it is back; then dc2
    answers while dc1 is killed, and nobody asks across."""
    near_a, near_b, far = world.servers.members
    store = await CassandraMessageStore.open(world.place, entropy)
    there = await CassandraMessageStore.open(world.far, entropy)
    before = await dumped(store)

    async def same() -> bool:
        return await dumped(there) == await dumped(store)

    assert await until(same, RECOVER_S_MAX)
    far.kill()
    rows = [send(n) for n in range(100, 140)]
    store.put(rows, {1: Mark(60, rows[-1].event)})
    await store.flush()
    assert await dumped(store) == [*before, *rows]

    async def unreachable() -> bool:
        there.put([], {7: Mark(1, 10)})
        try:
            await there.flush()
        except StoreUnavailable:
            return True
        return False

    assert await until(unreachable, limits.CASSANDRA_CALL_S_MAX + 10), "though dc1 would answer"
    await far.start()

    async def well() -> bool:
        return there._queue.failure is None

    assert await until(well, RECOVER_S_MAX)
    await there.flush()
    assert await until(same, RECOVER_S_MAX), "hints were kept for it"
    near_a.kill()
    near_b.kill()
    assert await dumped(there) == [*before, *rows]
    more = [send(n) for n in range(200, 210)]
    there.put(more, {2: Mark(10, more[-1].event)})
    await there.flush()
    assert await dumped(there) == [*before, *rows, *more]
    await there.close()
    await near_a.start()  # the seed first
    await near_b.start()
    await store.close()
