"""What is open of the Pulsar driver. It (pulsar-client 3.13.0) may never answer a call on what another thread closes
meanwhile (docs/servers.md): one thread at a time uses a thing here, and nothing is closed under it.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import pulsar

from events.adapters.pulsar_places import Place

log = logging.getLogger(__name__)

_T = TypeVar("_T")


class Sent(NamedTuple):
    """How a send ended."""

    place: Place | None
    """Where the message stands, synced; None: perhaps nowhere."""
    why: str = ""


class Part:
    """Something of the driver's that is open. One thread uses it at a time, and whoever uses it last closes it."""

    def __init__(self, thing: Any) -> None:
        self._thing = thing
        self._lock = threading.Lock()
        self._busy = False
        self._left = False
        self._closed = threading.Event()

    def _use(self, work: Callable[[Any], _T]) -> _T:
        """AlreadyClosed if it was left."""
        with self._lock:
            assert not self._busy, "two threads use one thing of the driver"
            if self._left:
                raise pulsar.AlreadyClosed
            self._busy = True
        try:
            return work(self._thing)
        finally:
            self._used()

    def _used(self) -> None:
        with self._lock:
            self._busy = False
            left = self._left
        if left:
            self._close()

    def leave(self) -> bool:
        """Nobody uses it again. Blocks until whoever still uses it has closed it. False if nobody answered."""
        with self._lock:
            mine = not self._busy and not self._left
            self._left = True
        return self._close() if mine else self._closed.wait()

    def _close(self) -> bool:
        thing, self._thing = self._thing, None  # so it is destroyed here, not by whichever thread collects garbage
        try:
            thing.close()
        except pulsar.PulsarException as error:
            log.debug("while closing: %s", error)
            with contextlib.suppress(pulsar.PulsarException, ValueError):
                thing.close()  # asks nobody again, but then the driver's client forgets it
            return not isinstance(error, pulsar.Timeout)
        finally:
            self._closed.set()
        return True


class Producer(Part):
    """An exclusive producer of one topic: when another one is made, this one can send no more."""

    @property
    def connected(self) -> bool:
        try:
            return self._use(lambda producer: bool(producer.is_connected()))
        except pulsar.AlreadyClosed:
            return False

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
            self._use(lambda producer: producer.send_async(data, answered))
        except pulsar.PulsarException as error:
            settle(Sent(None, str(error) or type(error).__name__))
        return future


class Scan(Part):
    """Reads a topic onwards. Its methods block: call them by `Wire.run`, one at a time."""

    def __init__(self, reader: Any, answer_ms: int) -> None:
        super().__init__(reader)
        self._answer_ms = answer_ms

    def more(self) -> bool:
        """Whether the topic goes on, asked of the broker."""
        return self._use(lambda reader: bool(reader.has_message_available()))

    def next(self) -> tuple[Place, bytes]:
        """The next message; waits for it."""
        message = self._use(lambda reader: reader.read_next(self._answer_ms))
        id = message.message_id()
        return Place(id.ledger_id(), id.entry_id()), message.data()
