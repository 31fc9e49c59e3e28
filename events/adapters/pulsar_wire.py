"""The Pulsar driver behind few verbs. It blocks, so it runs on a bounded number of threads; sends alone are its own
asynchronous ones. Its exceptions end here: LogUnavailable.

Reconnecting is the driver's business, but its pauses grow to a minute, so whoever is in a hurry makes a new producer.

What is open (pulsar_parts.py) is closed before the client, and no call is cut off: docs/servers.md tells why.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pulsar

from core.errors import LogUnavailable
from core.limits import PULSAR_AHEAD_MESSAGES, PULSAR_QUEUE_MESSAGES, PULSAR_THREADS
from events.adapters.pulsar_admin import reachable
from events.adapters.pulsar_parts import Part, Producer, Scan
from events.adapters.pulsar_places import Place

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_P = TypeVar("_P", bound="Part")
_BUSY_AGAIN_S = 0.05
_CLOSE_ANSWERS_MAX = 3
"""A call of the driver is a few questions, one after the other: none runs for longer than that many answers take."""


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

    def __init__(
        self, url: str, *, token: str = "", connect_s: float, answer_s: float, threads: int = PULSAR_THREADS
    ) -> None:
        """`answer_s` bounds each answer, `connect_s` the look whether anybody listens (seconds); `threads`: of calls
        that wait at a time."""
        parts = urlsplit(url)
        hosts = [urlsplit(f"//{host}") for host in parts.netloc.split(",")]
        self._hosts = [(host.hostname or "", host.port or (6651 if "ssl" in parts.scheme else 6650)) for host in hosts]
        self._connect_s = connect_s
        self._answer_s = answer_s
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="pulsar")
        self._client = client_of(url, token, connect_s=connect_s, answer_s=answer_s)
        self._closing = False
        self._jobs: set[Future[Any]] = set()
        """What is on the threads."""
        self._parts: set[Part] = set()
        """Those that are open."""

    async def check(self) -> None:
        """LogUnavailable at once where nobody listens: the driver would try for a while."""
        for host, port in self._hosts:
            if await reachable(host, port, self._connect_s):
                return
        raise LogUnavailable(private=f"nobody listens at {self._hosts}")

    async def produce(self, topic: str, name: str) -> Producer:
        """Takes a topic from whoever writes it."""

        def make(client: Any) -> Producer:
            return Producer(
                client.create_producer(
                    topic,
                    producer_name=name,
                    access_mode=pulsar.ProducerAccessMode.ExclusiveWithFencing,
                    batching_enabled=False,  # a message is a group already
                    block_if_queue_full=True,
                    max_pending_messages=PULSAR_QUEUE_MESSAGES,
                    send_timeout_millis=0,  # the driver's timeout says nothing about what stands
                )
            )

        await self.check()
        deadline = asyncio.get_running_loop().time() + self._answer_s
        while True:
            try:
                return await self._made(make)
            except (pulsar.ProducerBusy, pulsar.ProducerFenced) as error:  # two who take it at once
                if asyncio.get_running_loop().time() > deadline:
                    raise LogUnavailable(private=f"{topic} is taken without an end: {error}") from error
                await asyncio.sleep(_BUSY_AGAIN_S)
            except pulsar.PulsarException as error:
                raise LogUnavailable(private=f"{topic}: {error}") from error

    async def scan(self, topic: str, start: Place | None) -> Scan:
        """Reads from that message on, it included; None: from the first that is there."""
        await self.check()
        id = pulsar.MessageId(-1, *start, -1) if start else pulsar.MessageId.earliest

        def make(client: Any) -> Scan:
            reader = client.create_reader(
                topic, id, start_message_id_inclusive=True, receiver_queue_size=PULSAR_AHEAD_MESSAGES
            )
            return Scan(reader, max(1, round(self._answer_s * 1000)))

        return await self.make(make)

    async def make(self, make: Callable[[Any], _P]) -> _P:
        """What `make` makes of the driver's client, on a thread. Open until it is discarded, or the wire is closed."""
        try:
            return await self._made(make)
        except pulsar.PulsarException as error:
            raise LogUnavailable("The event log is not reachable", private=str(error)) from error

    async def run(self, work: Callable[..., _T], *args: Any) -> _T:
        """`work` on a thread. Who is cancelled meanwhile discards what it works on, and it ends soon."""
        try:
            return await asyncio.wrap_future(self._submit(work, *args))
        except pulsar.PulsarException as error:
            raise LogUnavailable("The event log is not reachable", private=str(error)) from error

    def discard(self, part: Part) -> None:
        """Closes it some time, after what still runs on it."""
        if not self._closing:
            self._job(self._leave, part)

    async def end(self, part: Part) -> None:
        """Closes it. What a producer has under way then either stands already or never will."""
        if not self._closing:
            await asyncio.shield(asyncio.wrap_future(self._job(self._leave, part)))

    async def close(self) -> None:
        """Takes no more work, waits for what there is, and closes one thing after the other, the client last. Where a
        call does not end within its time nothing is closed under it: this process had better end."""
        if self._closing:
            return
        self._closing = True
        self._job(self._leave_all)
        ended = await self._rests()
        if ended:
            self._job(self._end)
            ended = await self._rests()
        if not ended:
            log.error("the Pulsar driver does not answer: its client is left open")
        self._threads.shutdown(wait=False)

    async def _rests(self) -> bool:
        """Is nothing on the threads any more, within the time that a call may take?"""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + _CLOSE_ANSWERS_MAX * self._answer_s
        while (jobs := list(self._jobs)) and (left_s := until_s - loop.time()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(_end_of(jobs[0]), left_s)
        return not jobs

    async def _made(self, make: Callable[[Any], _P]) -> _P:
        def made() -> _P:
            part = make(self._client)
            if self._closing:
                part.leave()
                raise LogUnavailable(private="the log was closed")
            self._parts.add(part)
            return part

        job = self._submit(made)
        try:
            return await asyncio.wrap_future(job)
        except asyncio.CancelledError:
            job.add_done_callback(self._unwanted)
            raise

    def _unwanted(self, job: "Future[Any]") -> None:
        if not job.cancelled() and job.exception() is None:
            self.discard(job.result())

    def _submit(self, work: Callable[..., _T], *args: Any) -> "Future[_T]":
        def unless_closing() -> _T:
            if self._closing:
                raise LogUnavailable(private="the log was closed")
            return work(*args)

        if self._closing:
            raise LogUnavailable(private="the log was closed")
        return self._job(unless_closing)

    def _job(self, work: Callable[..., _T], *args: Any) -> "Future[_T]":
        job = self._threads.submit(work, *args)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        return job

    def _leave(self, part: Part) -> None:
        self._parts.discard(part)
        part.leave()

    def _leave_all(self) -> None:
        """Before the client is closed: what it closes it counts on several threads, and may never come to an end. Only
        where the broker does not answer it is left to it, which then waits for all of them at once."""
        while self._parts and self._parts.pop().leave():
            pass

    def _end(self) -> None:
        client, self._client = self._client, None
        try:
            client.close()  # `shutdown` would keep Python's lock, and cut off what waits for an answer
        except pulsar.PulsarException as error:
            log.debug("while closing: %s", error)


async def _end_of(job: "Future[Any]") -> None:
    """However it ends."""
    ended, loop = asyncio.Event(), asyncio.get_running_loop()

    def tell(_: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
            loop.call_soon_threadsafe(ended.set)

    job.add_done_callback(tell)
    await ended.wait()


async def answers(url: str, token: str, topic: str) -> str:
    """Why brokers do not answer who comes in with this token; "" if they do. `topic` is asked about, and not made."""
    wire = Wire(url, token=token, connect_s=2.0, answer_s=3.0)
    try:
        await wire.check()
        await asyncio.wrap_future(wire._submit(wire._client.get_topic_partitions, topic))
    except LogUnavailable as error:
        return error.private
    except (pulsar.TopicNotFound, pulsar.AuthorizationError) as error:
        return "" if isinstance(error, pulsar.TopicNotFound) else str(error)
    except pulsar.PulsarException as error:
        return str(error) or type(error).__name__
    finally:
        await wire.close()
    return ""
