"""Pulsar's own lag from one cluster to another: a message's way through geo-replication alone, beside other load.

The clusters have to know each other already, by `planb dc add`. Sender and receiver are threads of one process, so
that both read one clock.
"""

import asyncio
import threading
import time
from typing import Any

from bench.load import Summary, summary
from cli import settings as configuration
from cli.planet import Site
from events.adapters.pulsar_admin import Admin
from events.adapters.pulsar_wire import client_of

NAMESPACE, TOPIC = "bench", "probe"
PERIOD_S = 0.02
SIZE_BYTES = 400
"""As a small event's."""
FIRST_S_MAX = 60.0
"""Until the first one is through: a replicator has to be made."""


class Probe:
    """A topic that is replicated from one datacenter's cluster to another's. `open`, then `measure` again and again,
    then `close`."""

    def __init__(self, source: Site, target: Site) -> None:
        self._stores = [configuration.load(site.settings).stores for site in (source, target)]
        self._clients: list[Any] = []

    async def open(self) -> None:
        """Returns when a message has come through. LogUnavailable, or what the driver raises."""
        admins = [Admin(str(one.pulsar.admin_url), one.pulsar.tenant) for one in self._stores]
        names = [await admin.cluster() for admin in admins]
        await admins[1].make_namespace(NAMESPACE, names[1:])
        await admins[0].make_namespace(NAMESPACE, names)
        for admin in admins:
            await admin.close()
        await asyncio.to_thread(self._connect)

    async def measure(self, seconds: float) -> Summary:
        """From a send to its receipt in the other cluster."""
        return await asyncio.to_thread(self._measure, seconds)

    async def close(self) -> None:
        for client in self._clients:
            await asyncio.to_thread(client.close)

    def _connect(self) -> None:
        topic = f"persistent://{self._stores[0].pulsar.tenant}/{NAMESPACE}/{TOPIC}"
        self._clients = [client_of(one.log_url, "", connect_s=5, answer_s=30) for one in self._stores]
        self._consumer = self._clients[1].subscribe(topic, "probe")
        self._producer = self._clients[0].create_producer(topic, batching_enabled=False)
        self._producer.send(b"first")
        self._consumer.acknowledge(self._consumer.receive(round(FIRST_S_MAX * 1000)))

    def _measure(self, seconds: float) -> Summary:
        count = max(1, round(seconds / PERIOD_S))
        sender = threading.Thread(target=self._send, args=(count,))
        sender.start()
        took_s = []
        for _ in range(count):
            message = self._consumer.receive(round(FIRST_S_MAX * 1000))
            took_s.append((time.perf_counter_ns() - int(message.data())) / 1e9)
            self._consumer.acknowledge(message)
        sender.join()
        return summary(took_s)

    def _send(self, count: int) -> None:
        begun_s = time.perf_counter()
        for number in range(count):
            time.sleep(max(0.0, begun_s + number * PERIOD_S - time.perf_counter()))  # a rate
            data = str(time.perf_counter_ns()).encode().rjust(SIZE_BYTES)
            self._producer.send_async(data, lambda result, id: None)
