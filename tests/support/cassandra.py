"""Stores on a real Cassandra for tests: on the one that all of a run share (fixture `cassandra`), in keyspaces that are
emptied and used again, for one takes seconds to make, and half a second to empty.

With PLANB_TEST_CASSANDRA=host:port/datacenter they are on a cluster that is there, also ScyllaDB, and left behind.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from core.system import entropy
from stores.adapters.cassandra_messages import CassandraMessageStore
from stores.adapters.cassandra_schema import FILES, statements
from stores.adapters.cassandra_session import CassandraPlace, CassandraSession
from tests.support.shared import CassandraNode

GIVEN = "PLANB_TEST_CASSANDRA"
TABLES = [one.split()[2] for path in FILES.values() for one in statements(path) if one.startswith("CREATE TABLE")]
_free: list[str] = []
_made = 0
_node: CassandraNode | None = None


def use(node: CassandraNode) -> None:
    """From now on this process's stores are on this one, or on the one that is given."""
    global _node
    given = os.environ.get(GIVEN)
    if given:
        address, _, datacenter = given.partition("/")
        host, _, port = address.partition(":")
        node = CassandraNode(host, int(port), datacenter)
    _node = node


def place_of(keyspace: str) -> CassandraPlace:
    """After `use`."""
    assert _node is not None
    return CassandraPlace((_node.host,), _node.port, keyspace, _node.datacenter)


@asynccontextmanager
async def asked(place: CassandraPlace) -> AsyncIterator[CassandraSession]:
    """A session for who looks at what is really there, or changes it."""
    session = await CassandraSession.open(place)
    try:
        yield session
    finally:
        await session.close()


async def make_keyspace(place: CassandraPlace, copies: str = "", *, durable: bool = False) -> None:
    """`copies`: datacenter -> how many, as CQL; one in the local datacenter by default. `durable`: its writes outlive
    the server."""
    copies = copies or f"'{place.local_datacenter}': 1"
    async with asked(replace(place, keyspace="system")) as session:  # this one is not there yet
        await session.run(
            f"CREATE KEYSPACE {place.keyspace} WITH replication = {{'class': 'NetworkTopologyStrategy', {copies}}}"
            f" AND durable_writes = {str(durable).lower()}"
        )


@asynccontextmanager
async def empty_place() -> AsyncIterator[CassandraPlace]:
    """A keyspace that holds nothing."""
    global _made
    if _free:
        place = place_of(_free.pop())
        async with asked(place) as session:
            await asyncio.gather(*(session.run(f"TRUNCATE {table}") for table in TABLES))
    else:
        _made += 1
        place = place_of(f"planb_test_{os.getpid()}_{_made}")
        await make_keyspace(place)
    try:
        yield place
    finally:
        _free.append(place.keyspace)


@asynccontextmanager
async def cassandra_messages() -> AsyncIterator[CassandraMessageStore]:
    """An empty store."""
    async with empty_place() as place:
        store = await CassandraMessageStore.open(place, entropy)
        try:
            yield store
        finally:
            await store.close()
