"""A real Cassandra for tests: one per test process, and keyspaces that are emptied and used again.

A keyspace takes seconds to make, and half a second to empty. With PLANB_TEST_CASSANDRA=host:port/datacenter the tests
run on a cluster that is there, also ScyllaDB; the keyspaces are then left behind.
"""

import asyncio
import atexit
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from core.system import entropy
from stores.adapters.cassandra_messages import CassandraMessageStore
from stores.adapters.cassandra_schema import FILES, statements
from stores.adapters.cassandra_session import CassandraPlace, CassandraSession
from tests.support.servers import needs

GIVEN = "PLANB_TEST_CASSANDRA"
TABLES = [one.split()[2] for path in FILES.values() for one in statements(path) if one.startswith("CREATE TABLE")]
_free: list[str] = []
_made = 0
_server: tuple[str, int, str] | None = None


async def server() -> tuple[str, int, str]:
    """(host, port, datacenter) of the one of this process. Skips where there is none."""
    global _server
    if _server is None:
        _server = await _started()
    return _server


async def _started() -> tuple[str, int, str]:
    given = os.environ.get(GIVEN)
    if given:
        address, _, datacenter = given.partition("/")
        host, _, port = address.partition(":")
        return host, int(port), datacenter
    needs("cassandra", "java")
    from deploy.local.cassandra import Cassandra

    folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    one = Cassandra(Path(folder.name))
    atexit.register(folder.cleanup)
    atexit.register(one.kill)
    await one.start()
    return one.host, one.port, one.datacenter


async def place_of(keyspace: str) -> CassandraPlace:
    """On this process's server."""
    host, port, datacenter = await server()
    return CassandraPlace((host,), port, keyspace, datacenter)


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
        place = await place_of(_free.pop())
        async with asked(place) as session:
            await asyncio.gather(*(session.run(f"TRUNCATE {table}") for table in TABLES))
    else:
        _made += 1
        place = await place_of(f"planb_test_{os.getpid()}_{_made}")
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
