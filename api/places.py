"""The places of a listener: requests in flight, and what has come of their bodies.

A request has no place in flight while its body is on its way: nothing is done for it then, and how long that lasts is
the client's choice. It holds the bytes that came, not those that it announced.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from api.metrics import Metrics
from core.errors import Overloaded


class Places:
    """Of one listener."""

    def __init__(self, metrics: Metrics, in_flight_max: int, bytes_max: int, bytes_of_one_max: int) -> None:
        self.metrics = metrics
        self._in_flight_max = in_flight_max
        self._bytes_max = bytes_max
        self._bytes_of_one_max = bytes_of_one_max
        self._bytes = 0
        self.coming = 0
        """Requests whose bodies are on their way."""
        self._of: Counter[str] = Counter()
        metrics.gauge("planb_http_bodies_bytes", "What has come of bodies of requests.", lambda: self._bytes)
        metrics.gauge("planb_http_bodies_coming", "Requests whose bodies are on their way.", lambda: self.coming)

    @property
    def free(self) -> bool:
        """Whether one more request may be in flight."""
        return self.metrics.in_flight < self._in_flight_max

    def take(self, size: int, who: str) -> None:
        """Overloaded if that is too much for all, or for `who`."""
        if self._bytes + size > self._bytes_max:
            raise Overloaded("too many bytes of request bodies at a time", retry_after_s=1)
        if self._of[who] + size > self._bytes_of_one_max:
            raise Overloaded("too many bytes of your request bodies at a time", retry_after_s=1)
        self._bytes += size
        self._of[who] += size

    def give(self, size: int, who: str) -> None:
        self._bytes -= size
        self._of[who] -= size
        if not self._of[who]:
            del self._of[who]


class Place:
    """Of one request."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._entered = False
        self._held = 0
        self._who = ""

    def enter(self) -> None:
        """Overloaded if too many are in flight."""
        if not self._places.free:
            raise Overloaded("too many requests at a time", retry_after_s=1)
        self._places.metrics.in_flight += 1
        self._entered = True

    @contextmanager
    def left(self) -> Iterator[None]:
        """While the body comes; `enter` again after it."""
        self._leave()
        self._places.coming += 1
        try:
            yield
        finally:
            self._places.coming -= 1

    def hold(self, size: int, who: str) -> None:
        """Bytes that came, until the request is answered. Overloaded if that is too much."""
        self._places.take(size, who)
        self._held += size
        self._who = who

    def close(self) -> None:
        """The request is answered."""
        self._leave()
        self._places.give(self._held, self._who)
        self._held = 0

    def _leave(self) -> None:
        if self._entered:
            self._places.metrics.in_flight -= 1
            self._entered = False


PLACE: web.RequestKey[Place] = web.RequestKey("place", Place)
