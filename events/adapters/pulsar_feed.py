"""What Pulsar's geo-replication brings of other datacenters' lanes, taken out of this cluster: a transport.

The topics of datacenter K are in the namespace `dc-K` here, too, where its own cluster replicates it to ours. Nobody
ever produces into them here: an exclusive producer would shut out the replicator. What was taken is acknowledged, and
the broker forgets it; what counts as held is the copy in our own log.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pulsar

from core.errors import Corrupt, PlanBError
from core.limits import PULL_BYTES_MAX, PULL_RECORDS_MAX, PULSAR_DISCOVER_MS, PULSAR_QUEUE_MESSAGES
from events.adapters.pulsar_admin import CURSOR, Admin
from events.adapters.pulsar_frame import decode_frame
from events.adapters.pulsar_parts import Part
from events.adapters.pulsar_wire import Wire
from events.record import Record

log = logging.getLogger(__name__)

Take = Callable[[Sequence[Record]], Awaitable[object]]


class _Stream(Part):
    """The topics of one datacenter. Its methods block."""

    def __init__(self, client: Any, tenant: str, namespace: str, topics: Sequence[str]) -> None:
        self.topics = tuple(topics)
        super().__init__(
            client.subscribe(
                [f"persistent://{tenant}/{namespace}/{topic}" for topic in topics],
                CURSOR,
                consumer_type=pulsar.ConsumerType.Failover,
                initial_position=pulsar.InitialPosition.Earliest,
                receiver_queue_size=PULSAR_QUEUE_MESSAGES,
            )
        )

    def connected(self) -> bool:
        return self._use(lambda consumer: bool(consumer.is_connected()))

    def receive(self) -> tuple[list[Any], list[Record]]:
        """Messages, and what is in them: those that are there, or the next one, or none within PULSAR_DISCOVER_MS."""
        return self._use(self._receive)

    def _receive(self, consumer: Any) -> tuple[list[Any], list[Record]]:
        messages: list[Any] = []
        records: list[Record] = []
        wait_ms, size = PULSAR_DISCOVER_MS, 0
        while size < PULL_BYTES_MAX // 2 and len(records) < PULL_RECORDS_MAX:
            try:
                message = consumer.receive(timeout_millis=wait_ms)
            except pulsar.Timeout:
                break
            messages.append(message)
            wait_ms = 1
            data = message.data()
            size += len(data)
            try:
                lane = int(message.topic_name().rpartition("-")[2])
                records += decode_frame(lane, data).records()
            except (Corrupt, ValueError) as error:  # whoever wrote it, the lane is proven without it
                log.warning("%s brought a message that is none of ours: %s", message.topic_name(), error)
        return messages, records

    def done(self, messages: Sequence[Any]) -> None:
        """They need not come again."""

        def acknowledge(consumer: Any) -> None:
            for message in messages:
                consumer.acknowledge(message)

        self._use(acknowledge)


class PulsarFeed:
    """A `replicator.feed.RecordFeed`: a thread for each of the other datacenters."""

    def __init__(self, url: str, admin_url: str, others: Mapping[str, int], *, tenant: str, token: str = "") -> None:
        """`url`, `admin_url`: of our own cluster. `others`: name -> number."""
        self._admin = Admin(admin_url, tenant, token=token)
        self._wire = Wire(url, token=token, connect_s=1.0, answer_s=5.0, threads=max(1, len(others)))
        self._others = dict(others)
        self._errors: dict[str, str] = {}
        self.brought = 0
        """Records, since the start."""

    @property
    def error(self) -> str:
        """Why nothing comes from some of them at present."""
        return "; ".join(f"{name}: {error}" for name, error in self._errors.items() if error)

    async def run(self, take: Take) -> None:
        """Brings what comes to `take`, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for name, number in self._others.items():
                group.create_task(self._follow(name, f"dc-{number}", take), name=f"feed {name}")

    async def close(self) -> None:
        await self._wire.close()
        await self._admin.close()

    async def _follow(self, name: str, namespace: str, take: Take) -> None:
        stream: _Stream | None = None
        try:
            while True:
                try:
                    stream = await self._current(stream, namespace)
                    listed_s = asyncio.get_running_loop().time()
                    while asyncio.get_running_loop().time() < listed_s + PULSAR_DISCOVER_MS / 1000:
                        await self._bring(stream, take)
                    self._errors[name] = ""
                except PlanBError as error:
                    if not self._errors.get(name):
                        log.warning("the feed from %s: %s %s", name, error, error.private)
                    self._errors[name] = str(error)
                    if stream is not None:  # what was not taken comes again
                        await self._wire.end(stream)
                        stream = None
                    await asyncio.sleep(PULSAR_DISCOVER_MS / 1000)
        finally:
            if stream is not None:
                await self._wire.end(stream)  # what it acknowledged is told then

    async def _bring(self, stream: _Stream | None, take: Take) -> None:
        if stream is None:
            await asyncio.sleep(PULSAR_DISCOVER_MS / 1000)  # a period: nothing is replicated to us yet
            return
        messages, records = await self._wire.run(stream.receive)
        if records:
            await take(records)
            self.brought += len(records)
        if messages:
            await self._wire.run(stream.done, messages)

    async def _current(self, stream: _Stream | None, namespace: str) -> _Stream | None:
        """One of all lanes that are there by now. The driver's own pauses before it connects again grow to a minute."""
        topics = sorted(topic for topic in await self._admin.topics(namespace) if topic.startswith("lane-"))
        if stream is not None and stream.topics == tuple(topics) and await self._wire.run(stream.connected):
            return stream
        if stream is not None:
            await self._wire.end(stream)
        if not topics:
            return None
        return await self._wire.make(lambda client: _Stream(client, self._admin.tenant, namespace, topics))
