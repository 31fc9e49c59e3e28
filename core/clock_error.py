"""How far this machine's wall clock is off, by comparison with the other datacenters'.

Every answer of a peer says what its wall clock showed when it left, and for how long the request had been held there.
The rest of the time that we waited was the way there and back; where in it the clock was read is unknown, so half of
it is the uncertainty. Time that passes is taken from a steady clock, so that a step of either wall clock during a long
poll does no harm, and a step of our own is seen at once, without another answer. After Mills, RFC 5905 (NTP), section
8, with the smallest round trip kept in place of his filter.

The median of all opinions, our own among them, decides with three or more. With fewer nobody knows who is wrong.
"""

from typing import NamedTuple

from core import limits
from core.system import Clock

_READING_MS = 1.0
"""Both clocks are read in whole milliseconds."""
_STEP_MS = 5
"""Our own two clocks moved apart by more than the time between their readings: one of them was set."""


class Reading(NamedTuple):
    """What a peer's wall clock showed at a moment of our steady clock."""

    at_ms: int
    wall_ms: float
    half_ms: float
    """Half the round trip."""

    def uncertain_ms(self, now_ms: int) -> float:
        """It grows with age: two steady clocks drift apart."""
        return self.half_ms + _READING_MS + (now_ms - self.at_ms) * limits.CLOCK_DRIFT_PPM_MAX / 1e6


class Offset(NamedTuple):
    """A peer's wall clock minus ours."""

    ms: int
    uncertain_ms: int


class ClockError:
    """One per process. Cheap to ask: it is computed anew only when something has changed."""

    def __init__(self, wall: Clock, steady: Clock) -> None:
        """`steady`: milliseconds from anywhere; never set, also counting while the machine sleeps."""
        self.wall = wall
        self.steady = steady
        self._readings: dict[str, Reading] = {}
        self._base = wall() - steady()
        self._compared_ms = 0
        self._error: int | None = None
        self._too_much = 0
        """The error, where it is too great."""

    def note(self, peer: str, *, sent_ms: int, received_ms: int, held_ms: int, wall_ms: int) -> None:
        """An answer of `peer`: sent and received by our steady clock, held there for `held_ms`, and then its wall
        clock showed `wall_ms`. Answers that can't be are ignored."""
        trip_ms = received_ms - sent_ms - held_ms
        if trip_ms < -2 * _READING_MS:
            return
        half_ms = max(0.0, trip_ms / 2)
        fresh = Reading(received_ms, wall_ms + half_ms, half_ms)
        known = self._readings.get(peer)
        if known is None or _better(fresh, known):
            self._readings[peer] = fresh
            self.look()

    def look(self) -> None:
        """Computes the error anew; called now and then, because readings age."""
        self._base = self.wall() - self.steady()
        opinions = sorted([0, *(offset.ms for offset in self.offsets().values())])
        self._error = _error_among(opinions) if len(opinions) >= limits.CLOCK_OPINIONS_MIN else None
        self._too_much = self._error if self._error and abs(self._error) > limits.CLOCK_ERROR_MS_MAX else 0

    def offsets(self) -> dict[str, Offset]:
        """Of the peers whose clocks are known to within the greatest error that a clock may have."""
        wall_ms, steady_ms = self.wall(), self.steady()
        found = {}
        for peer, reading in sorted(self._readings.items()):
            uncertain_ms = reading.uncertain_ms(steady_ms)
            if uncertain_ms <= limits.CLOCK_ERROR_MS_MAX:
                ahead_ms = reading.wall_ms + (steady_ms - reading.at_ms) - wall_ms
                found[peer] = Offset(round(ahead_ms), round(uncertain_ms))
        return found

    def error_ms(self) -> int | None:
        """Our wall clock minus the median of all; None where fewer than three are known."""
        self._read()
        return self._error

    def apart_ms(self) -> int:
        """The greatest difference to a peer. Beyond twice the error, one of the two is surely wrong."""
        return max((abs(offset.ms) for offset in self.offsets().values()), default=0)

    def doubt(self) -> str:
        """Why this machine's wall clock is not to be trusted; "" if it is, or nobody knows."""
        self._read()
        error_ms = self._too_much
        if not error_ms:
            return ""
        side = "ahead of" if error_ms > 0 else "behind"
        return f"this machine's wall clock is {abs(error_ms)} ms {side} the other datacenters'"

    def trusted(self) -> int:
        """The wall clock; put right by its error where that is too great. Milliseconds since 1970."""
        return self._read() - self._too_much

    def _read(self) -> int:
        """The wall clock. Both clocks are compared once a millisecond: each write asks five times."""
        wall_ms = self.wall()
        if wall_ms != self._compared_ms:
            self._compared_ms = wall_ms
            if abs(wall_ms - self.steady() - self._base) > _STEP_MS:
                self.look()
        return wall_ms


def _error_among(opinions: list[int]) -> int:
    """Ours, by the median of all opinions in order. Where two halves disagree, nobody knows which is right: we are
    only as wrong as we surely are."""
    low, high = opinions[(len(opinions) - 1) // 2], opinions[len(opinions) // 2]
    return 0 if low <= 0 <= high else -min(low, high, key=abs)


def _better(fresh: Reading, known: Reading) -> bool:
    """More exact; or it contradicts what is known, because that clock was set since."""
    uncertain_ms = known.uncertain_ms(fresh.at_ms)
    expected_ms = known.wall_ms + (fresh.at_ms - known.at_ms)
    return (
        fresh.half_ms + _READING_MS <= uncertain_ms
        or abs(expected_ms - fresh.wall_ms) > uncertain_ms + fresh.half_ms + _READING_MS
    )
