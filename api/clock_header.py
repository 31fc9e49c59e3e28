"""`X-Clock`: the greatest id that a client has seen, signed, `PX1.<id>.<mac>`.

A client sends back the last one that it got, from whatever DC, so that what it writes is stamped after what it has
seen. One that lies beyond the skew bound is refused with Retry-After; it never leads to a smaller id.
"""

from api.signing import Signer
from core import ids
from core.clock import HybridClock
from core.errors import ClockAhead, Invalid
from core.system import Clock
from stores.progress import Progress

HEADER = "X-Clock"
_CHARS_MAX = 64
_KNOWN_MAX = 1_024
"""Headers remembered with their ids: what comes in is mostly what went out a moment ago."""


class ClockHeader:
    def __init__(self, key: bytes, clock: HybridClock, wall: Clock, progress: Progress) -> None:
        self._signer = Signer(key, "PX1", _CHARS_MAX)
        self._clock = clock
        self._wall = wall
        self._progress = progress
        self._known: dict[str, int] = {}
        """Signed by us, or found to be signed by this platform."""
        self._sealed = (0, self._seal(0))

    def _seal(self, id: int) -> str:
        text = self._signer.seal(id.to_bytes(8))
        self._remember(text, id)
        return text

    def _remember(self, text: str, id: int) -> None:
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        self._known[text] = id

    def value(self) -> str:
        """The header of an answer: the greatest id applied here."""
        latest = max(self._progress.v().values(), default=0)
        if latest != self._sealed[0]:
            self._sealed = (latest, self._seal(latest))
        return self._sealed[1]

    def observe(self, text: str) -> int:
        """Moves the clock past the id that the client has seen, and returns it.

        Invalid if it is forged; ClockAhead if it lies further ahead of our wall clock than the bound.
        """
        id = self._known.get(text)
        if id is None:
            id = self._open(text)
            self._remember(text, id)
        if not self._clock.see(id):
            ahead_ms = ids.time_ms_of(id) - self._wall()
            raise ClockAhead(f"X-Clock is {ahead_ms} ms ahead of this datacenter", retry_after_s=ahead_ms / 1000)
        return id

    def _open(self, text: str) -> int:
        payload = self._signer.open(text)
        if payload is None or len(payload) != 8:
            raise Invalid("X-Clock is not valid", errors=[{"field": HEADER, "problem": "not signed by this platform"}])
        return int.from_bytes(payload)
