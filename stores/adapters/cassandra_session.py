"""A session with a Cassandra or ScyllaDB cluster: prepared statements, bounded, its errors translated.

The driver is acsylla, asyncio over the C++ driver: in one run five times the writes of cassandra-driver for a tenth of
the CPU (docs/decisions/0016-messages-in-cassandra.md). Calls go to a replica in the local datacenter; never to another
datacenter, where LOCAL_QUORUM would mean other nodes.

All writes are repeatable, so one whose outcome is not known (a timeout, a node that died) is simply made again.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import acsylla

from core import limits
from core.errors import ConfigError, Overloaded, PlanBError, StoreUnavailable

RECONNECT_MS = 500
HEARTBEAT_S = 2
IDLE_S_MAX = 6
"""A connection whose heartbeats nobody answered for so long is cut: its node may have stopped."""
REASON_CHARS_MAX = 300
SETTING = "stores.cassandra"

Values = Sequence[Any]


@dataclass(frozen=True)
class CassandraPlace:
    """A keyspace of a cluster, and how it is reached."""

    hosts: tuple[str, ...]
    """Some of its nodes, of the local datacenter; the others are found."""
    port: int
    """Of every node."""
    keyspace: str
    local_datacenter: str
    """As the cluster itself calls it."""
    consistency: str = "LOCAL_QUORUM"
    user: str = ""
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"cassandra://{','.join(f'{host}:{self.port}' for host in self.hosts)}/{self.keyspace}"


class Write(NamedTuple):
    """Rows of one partition: one statement with several values."""

    statement: str
    rows: list[Values]


class CassandraSession:
    """Made by `open`, on the running event loop. Statements are named; `prepare` comes before their use."""

    def __init__(self, place: CassandraPlace, session: Any) -> None:
        self.place = place
        self._session = session
        self._prepared: dict[str, Any] = {}
        self._reading = asyncio.Semaphore(limits.CASSANDRA_READS_MAX)
        self._readers = 0
        self._closed = False

    @classmethod
    async def open(cls, place: CassandraPlace) -> Self:
        """ConfigError where the cluster has no such keyspace or datacenter, or does not let us in; StoreUnavailable
        where nobody answers."""
        try:
            session = await _cluster(place, place.local_datacenter).create_session(place.keyspace)
        except acsylla.errors.CassException as cause:
            raise await _why_not(place, cause) from cause
        return cls(place, session)

    async def close(self) -> None:
        """Safe to repeat."""
        if not self._closed:
            self._closed = True
            await self._session.close()

    async def prepare(self, statements: Mapping[str, str]) -> None:
        """name -> CQL."""
        for name, cql in statements.items():
            if name not in self._prepared:
                try:
                    self._prepared[name] = await self._session.create_prepared(cql)
                except acsylla.errors.CassException as cause:
                    raise self._error(name, cause) from cause

    async def run(self, cql: str) -> list[tuple[Any, ...]]:
        """A statement that is used once. A change of the schema is waited for."""
        self._check()
        statement = acsylla.create_statement(cql, timeout=float(limits.CASSANDRA_SCHEMA_S_MAX))
        try:
            return _rows(await self._session.execute(statement))
        except acsylla.errors.CassException as cause:
            raise self._error(cql, cause) from cause

    async def read(self, name: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows in the order of the statement. StoreUnavailable if there is no answer; Overloaded if too many wait."""
        self._check()
        if self._readers >= limits.CASSANDRA_READS_MAX + limits.STORE_QUEUE_MAX:
            raise Overloaded(private=f"{self.place}: {self._readers} reads wait", retry_after_s=1)
        self._readers += 1
        try:
            async with self._reading:
                return _rows(await self._session.execute(self._bound(name, values)))
        except acsylla.errors.CassException as cause:
            raise self._error(name, cause) from cause
        finally:
            self._readers -= 1

    async def write(self, writes: deque[Write]) -> None:
        """Makes these writes, in no order, and takes out what is acknowledged. If one fails the others are not begun,
        and StoreUnavailable says why: what is left is to be written again."""
        self._check()
        failed: list[PlanBError] = []

        async def some() -> None:
            while writes and not failed:
                one = writes.popleft()
                try:
                    await self._write(one)
                except BaseException as cause:
                    writes.append(one)
                    if not isinstance(cause, acsylla.errors.CassException):
                        raise
                    failed.append(self._error(one.statement, cause))

        async with asyncio.TaskGroup() as group:
            for _ in range(min(len(writes), limits.CASSANDRA_WRITES_MAX)):
                group.create_task(some())
        if failed:
            raise failed[0]

    async def _write(self, write: Write) -> None:
        if len(write.rows) == 1:
            await self._session.execute(self._bound(write.statement, write.rows[0]))
            return
        batch = acsylla.create_batch_unlogged()
        batch.set_is_idempotent(True)
        for values in write.rows:
            batch.add_statement(self._bound(write.statement, values))
        await self._session.execute_batch(batch)

    def _bound(self, name: str, values: Values) -> Any:
        statement = self._prepared[name].bind()
        statement.bind_list(list(values))
        statement.set_is_idempotent(True)
        return statement

    def _check(self) -> None:
        if self._closed:
            raise StoreUnavailable(private=f"{self.place}: closed")

    def _error(self, what: str, cause: BaseException) -> StoreUnavailable:
        return StoreUnavailable(private=f"{self.place}: {what}: {_reason(cause)}", retry_after_s=1)


def _cluster(place: CassandraPlace, datacenter: str | None) -> Any:
    """None: any datacenter."""
    return acsylla.create_cluster(
        list(place.hosts),
        port=place.port,
        username=place.user or None,
        password=place.password or None,
        connect_timeout=float(limits.CASSANDRA_CONNECT_S_MAX),
        request_timeout=float(limits.CASSANDRA_CALL_S_MAX),
        consistency=place.consistency,
        load_balance_dc_aware=datacenter,
        load_balance_round_robin=datacenter is None,
        token_aware_routing=True,
        constant_reconnect_delay_ms=RECONNECT_MS,
        heartbeat_interval_sec=HEARTBEAT_S,
        idle_timeout_sec=IDLE_S_MAX,
        max_schema_wait_time_ms=limits.CASSANDRA_SCHEMA_S_MAX * 1000,
        queue_size_io=8 * (limits.CASSANDRA_READS_MAX + limits.CASSANDRA_WRITES_MAX),
        application_name="planb",
        log_level="critical",  # a Cassandra that is no ScyllaDB is an error to it,
    )


async def _why_not(place: CassandraPlace, cause: BaseException) -> PlanBError:
    """The error for a session that did not come about: another look, from any datacenter and without the keyspace,
    tells a wrong setting from servers that are down."""
    if isinstance(cause, acsylla.errors.CassErrorServerBadCredentials):
        return ConfigError(f"{SETTING}: {place} refuses the user {place.user!r}: {_reason(cause)}")
    if isinstance(cause, acsylla.errors.CassErrorLibUnableToSetKeyspace):
        return ConfigError(
            f"stores.messages_url: there is no keyspace {place.keyspace!r} at {place}. Make it once:"
            f" CREATE KEYSPACE {place.keyspace} WITH replication ="
            f" {{'class': 'NetworkTopologyStrategy', '{place.local_datacenter}': 3}}"
        )
    down = StoreUnavailable(private=f"{place}: {_reason(cause)}", retry_after_s=1)
    if not isinstance(cause, acsylla.errors.CassErrorLibNoHostsAvailable):
        return down
    try:
        session = await _cluster(place, None).create_session()
    except acsylla.errors.CassErrorServerBadCredentials as refused:
        return await _why_not(place, refused)
    except acsylla.errors.CassException:
        return down
    try:
        found = set()
        for table in ("local", "peers"):
            rows = await session.execute(acsylla.create_statement(f"SELECT data_center FROM system.{table}"))
            found |= {str(name) for (name,) in _rows(rows)}
    except acsylla.errors.CassException:
        return down
    finally:
        await session.close()
    if place.local_datacenter in found:
        return down
    return ConfigError(
        f"{SETTING}.local_datacenter: {place} has no {place.local_datacenter!r}, but {', '.join(sorted(found))}"
    )


def undecided(error: StoreUnavailable) -> bool:
    """A write of which the nodes did not say in time whether it was done: to be asked again."""
    return isinstance(error.__cause__, acsylla.errors.CassErrorServerWriteTimeout)


def refused(error: BaseException) -> bool:
    """Whether the cluster understood what was asked and said no: it has no such table."""
    return isinstance(error.__cause__, acsylla.errors.CassErrorServerInvalidQuery)


def _rows(result: Any) -> list[tuple[Any, ...]]:
    return [row.as_tuple() for row in result] if result is not None and result.count() else []


def _reason(cause: BaseException) -> str:
    return f"{type(cause).__name__.removeprefix('CassError')}: {cause}"[:REASON_CHARS_MAX]
