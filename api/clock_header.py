"""`X-Clock`: the greatest id that a client has seen, signed, `PX1.<id>.<mac>`.

A client sends back the last one that it got, from whatever DC, so that what it writes is stamped after what it has
seen. It never shows more than the wall clock here plus the skew bound: an event that lies further ahead has lost its
order, and a header that showed it would be refused by every DC whose clock is right. Then the header holds two ids: how
far this DC's clock has come, and the greatest id below the bound, which tells another DC what the client may know.

One that lies beyond the receiver's bound comes from a DC whose clock is wrong. Where the event that it shows is
applied, its client knows nothing that others here don't know, and is treated as they are. Where it is not, 409 with
Retry-After.
"""

from api.signing import Signer
from core import ids, limits
from core.clock import HybridClock
from core.errors import ClockAhead, Invalid
from core.system import Clock
from stores.progress import Progress

HEADER = "X-Clock"
_CHARS_MAX = 64
_KNOWN_MAX = 1_024
"""Headers remembered with their ids: what comes in is mostly what went out a moment ago."""

Shown = tuple[int, int]
"""What moves a clock, and the greatest id that the client may have seen applied; mostly the same."""


class ClockHeader:
    def __init__(self, key: bytes, clock: HybridClock, wall: Clock, progress: Progress) -> None:
        self._signer = Signer(key, "PX1", _CHARS_MAX)
        self._clock = clock
        self._wall = wall
        self._progress = progress
        self._known: dict[str, Shown] = {}
        """Signed by us, or found to be signed by this platform."""
        self._sealed = ((0, 0), self._seal((0, 0)))
        self._moved = 0
        """The greatest id by which the clock was moved here: it goes on from beyond it."""

    def _seal(self, shown: Shown) -> str:
        moves, seen = shown
        text = self._signer.seal(moves.to_bytes(8) + (seen.to_bytes(8) if seen != moves else b""))
        self._remember(text, shown)
        return text

    def _remember(self, text: str, shown: Shown) -> None:
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        self._known[text] = shown

    def value(self) -> str:
        """The header of an answer: the greatest id applied here, or as far as others will follow."""
        latest = self._progress.newest
        bound = self._clock.bound()
        shown = (latest, latest) if ids.tick_of(latest) <= bound else self._below(bound)
        if shown != self._sealed[0]:
            self._sealed = (shown, self._seal(shown))
        return self._sealed[1]

    def _below(self, bound: int) -> Shown:
        below = [id for id in self._progress.v().values() if ids.tick_of(id) <= bound]
        return ids.make_id(self._clock.reached(), 0), max(below, default=0)

    def observe(self, text: str) -> int:
        """Moves the clock past what the client has seen, and returns the greatest id of it.

        Invalid if it is forged; ClockAhead if it lies further ahead of our wall clock than the bound, our clock has not
        passed it before, and not all of it is applied here.
        """
        shown = self._known.get(text)
        if shown is None:
            shown = self._open(text)
            self._remember(text, shown)
        moves, seen = shown
        if moves <= self._moved:
            return seen
        if self._clock.see(moves):
            self._moved = moves
        elif not self._progress.covers({ids.lane_of(seen): seen}):
            ahead_ms = ids.time_ms_of(moves) - self._wall()
            raise ClockAhead(
                f"X-Clock is {ahead_ms} ms ahead of this datacenter",
                retry_after_s=min(ahead_ms / 1000, limits.CLOCK_AHEAD_RETRY_S_MAX),
            )
        return seen

    def _open(self, text: str) -> Shown:
        payload = self._signer.open(text)
        if payload is None or len(payload) not in (8, 16):
            raise Invalid("X-Clock is not valid", errors=[{"field": HEADER, "problem": "not signed by this platform"}])
        moves = int.from_bytes(payload[:8])
        return moves, int.from_bytes(payload[8:]) if payload[8:] else moves
