"""The Pulsar driver behind few verbs. It blocks, so it runs on a bounded number of threads; sends alone are its own
asynchronous ones. Its exceptions end here: LogUnavailable.

Reconnecting is the driver's business, but its pauses grow to a minute, so whoever is in a hurry makes a new producer.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import pulsar

from core.errors import LogUnavailable
from core.limits import PULSAR_AHEAD_MESSAGES, PULSAR_QUEUE_MESSAGES, PULSAR_THREADS
from events.adapters.pulsar_admin import reachable
from events.adapters.pulsar_places import Place

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_BUSY_AGAIN_S = 0.05


class Sent(NamedTuple):
    """How a send ended."""

    place: Place | None
    """Where the message stands, synced; None: perhaps nowhere."""
    why: str = ""


class Producer:
    """An exclusive producer of one topic: when another one is made, this one can send no more."""

    def __init__(self, wire: "Wire", producer: Any) -> None:
        self._wire = wire
        self._producer = producer

    @property
    def connected(self) -> bool:
        return bool(self._producer.is_connected())

    def send(self, data: bytes) -> "asyncio.Future[Sent]":
        """Begins to send; the future never fails. A message that nobody answered for may still come to stand, as long
        as this producer is open."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Sent] = loop.create_future()

        def settle(sent: Sent) -> None:
            if not future.done():
                future.set_result(sent)

        def answered(result: Any, id: Any) -> None:
            # A message that the broker dropped as a double is answered with Ok, and stands at no place.
            kept = result == pulsar.Result.Ok and id.ledger_id() >= 0
            sent = Sent(Place(id.ledger_id(), id.entry_id()) if kept else None, str(result))
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
                loop.call_soon_threadsafe(settle, sent)

        try:
            self._producer.send_async(data, answered)
        except pulsar.PulsarException as error:
            settle(Sent(None, str(error)))
        return future

    async def close(self) -> None:
        """What is under way then either stands already or never will."""
        await self._wire.quietly(self._producer.close)


class Scan:
    """Reads a topic onwards. Its methods block: call them by `Wire.run`, one at a time."""

    def __init__(self, reader: Any, answer_ms: int) -> None:
        self._reader = reader
        self._answer_ms = answer_ms

    def more(self) -> bool:
        """Whether the topic goes on, asked of the broker."""
        return bool(self._reader.has_message_available())

    def next(self) -> tuple[Place, bytes]:
        """The next message; waits for it."""
        message = self._reader.read_next(self._answer_ms)
        id = message.message_id()
        return Place(id.ledger_id(), id.entry_id()), message.data()

    def close(self) -> None:
        self._reader.close()


def client_of(url: str, token: str, *, connect_s: float, answer_s: float) -> Any:
    """The driver's client."""
    return pulsar.Client(
        url,
        authentication=pulsar.AuthenticationToken(token) if token else None,
        operation_timeout_seconds=max(1, round(answer_s)),
        connection_timeout_ms=max(1, round(connect_s * 1000)),
        # It would go to stdout; what it says comes as an exception, too.
        logger=pulsar.FileLogger(pulsar.LoggerLevel.Error, os.devnull),
    )


class Wire:
    """One process's client of one cluster."""

    def __init__(self, url: str, *, token: str = "", connect_s: float, answer_s: float) -> None:
        """`answer_s` bounds each answer, `connect_s` the look whether anybody listens (seconds)."""
        parts = urlsplit(url)
        hosts = [urlsplit(f"//{host}") for host in parts.netloc.split(",")]
        self._hosts = [(host.hostname or "", host.port or (6651 if "ssl" in parts.scheme else 6650)) for host in hosts]
        self._connect_s = connect_s
        self._answer_s = answer_s
        self._threads = ThreadPoolExecutor(PULSAR_THREADS, thread_name_prefix="pulsar")
        self._client = client_of(url, token, connect_s=connect_s, answer_s=answer_s)

    async def check(self) -> None:
        """LogUnavailable at once where nobody listens: the driver would try for a while."""
        for host, port in self._hosts:
            if await reachable(host, port, self._connect_s):
                return
        raise LogUnavailable(private=f"nobody listens at {self._hosts}")

    async def produce(self, topic: str, name: str) -> Producer:
        """Takes a topic from whoever writes it."""
        await self.check()
        deadline = asyncio.get_running_loop().time() + self._answer_s
        while True:
            try:
                made = await self._call(
                    self._client.create_producer,
                    topic,
                    producer_name=name,
                    access_mode=pulsar.ProducerAccessMode.ExclusiveWithFencing,
                    batching_enabled=False,  # a message is a group already
                    block_if_queue_full=True,
                    max_pending_messages=PULSAR_QUEUE_MESSAGES,
                    send_timeout_millis=0,  # the driver's timeout says nothing about what stands
                )
            except (pulsar.ProducerBusy, pulsar.ProducerFenced) as error:  # two who take it at once
                if asyncio.get_running_loop().time() > deadline:
                    raise LogUnavailable(private=f"{topic} is taken without an end: {error}") from error
                await asyncio.sleep(_BUSY_AGAIN_S)
            except pulsar.PulsarException as error:
                raise LogUnavailable(private=f"{topic}: {error}") from error
            else:
                return Producer(self, made)

    async def scan(self, topic: str, start: Place | None) -> Scan:
        """Reads from that message on, it included; None: from the first that is there."""
        await self.check()
        id = pulsar.MessageId(-1, *start, -1) if start else pulsar.MessageId.earliest

        def make() -> Scan:
            reader = self._client.create_reader(
                topic, id, start_message_id_inclusive=True, receiver_queue_size=PULSAR_AHEAD_MESSAGES
            )
            return Scan(reader, max(1, round(self._answer_s * 1000)))

        return await self.run(make)

    async def run(self, work: Callable[..., _T], *args: Any) -> _T:
        """`work` on a thread."""
        try:
            return await self._call(work, *args)
        except pulsar.PulsarException as error:
            raise LogUnavailable("The event log is not reachable", private=str(error)) from error

    def discard(self, scan: Scan, busy: "asyncio.Future[Any] | None" = None) -> None:
        """Closes it some time, after what still runs on it."""
        if busy is not None and not busy.done():
            busy.add_done_callback(lambda _: self.discard(scan))
        else:
            with contextlib.suppress(RuntimeError):  # the threads have ended, and the client with all it had
                self._threads.submit(self._closed, scan.close)

    async def quietly(self, close: Callable[[], None]) -> None:
        """Closes something that may be broken already."""
        await self._call(self._closed, close)

    def _closed(self, close: Callable[[], None]) -> None:
        try:
            close()
        except pulsar.PulsarException as error:
            log.debug("while closing: %s", error)

    async def _call(self, work: Callable[..., _T], *args: Any, **named: Any) -> _T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: work(*args, **named))

    async def close(self) -> None:
        await self.quietly(self._client.shutdown)
        self._threads.shutdown(wait=False)


async def answers(url: str, token: str, topic: str) -> str:
    """Why brokers do not answer who comes in with this token; "" if they do. `topic` is asked about, and not made."""
    wire = Wire(url, token=token, connect_s=2.0, answer_s=3.0)
    try:
        await wire.check()
        await wire._call(wire._client.get_topic_partitions, topic)
    except LogUnavailable as error:
        return error.private
    except (pulsar.TopicNotFound, pulsar.AuthorizationError) as error:
        return "" if isinstance(error, pulsar.TopicNotFound) else str(error)
    except pulsar.PulsarException as error:
        return str(error) or type(error).__name__
    finally:
        await wire.close()
    return ""
