"""The hybrid logical clock that hands out ids.

`next = max(wall clock, greatest id seen) + 1` in the tick part; a full seq carries into time, so no id is ever
waited for. Seeing an id moves the clock, so a cause is always smaller than its effect. After Kulkarni et al.,
"Logical Physical Clocks" (2014), with sonyflake's layout.
"""

from collections.abc import Callable

from core import ids, limits
from core.errors import ClockRefused
from core.system import Clock

_SKEW = limits.ticks(limits.CLOCK_SKEW_MS_MAX)


class HybridClock:
    """Ids for one process. Not thread-safe: used from the event loop only."""

    def __init__(self, wall: Clock, doubt: Callable[[], str] = lambda: "") -> None:
        """`doubt`: why the wall clock is not to be trusted; "" if it is (core/clock_error.py)."""
        self._wall = wall
        self._doubt = doubt
        self._tick = 0

    def now(self) -> int:
        """The tick of the next id, without taking it."""
        return max(ids.tick_at(self._wall()), self._tick) + 1

    def take(self, lane: int) -> int:
        """A new id on `lane`, greater than every id taken or seen before.

        Raises ClockRefused when the clock has been carried so far ahead of the wall that an id would break the
        bound other DCs rely on (`clock_skew_ms_max` + `carry_ms_max`). Whether the wall clock is trusted is for
        `check` to say: a lane is opened all the same.
        """
        return self.take_many(lane, 1)[0]

    def take_many(self, lane: int, count: int) -> list[int]:
        """As `take` so many times at one moment: consecutive ids, or none."""
        if not count:
            return []
        wall = ids.tick_at(self._wall())
        first = max(wall, self._tick) + 1
        last = first + count - 1
        if last - wall > limits.ticks(limits.CLOCK_SKEW_MS_MAX + limits.CARRY_MS_MAX):
            raise ClockRefused(_carried(_ms(last - wall)))
        self._tick = last
        return [ids.make_id(tick, lane) for tick in range(first, last + 1)]

    def see(self, id: int) -> bool:
        """Moves the clock beyond `id`. False, and no move, when it lies further ahead than the bound.

        An event beyond the bound is applied like any other (all DCs must agree) but must not drag our clock along.
        """
        tick = ids.tick_of(id)
        if tick > self.bound():
            return False
        self._tick = max(self._tick, tick)
        return True

    def resume(self, id: int) -> None:
        """Moves the clock beyond `id`, whatever the bound: our own lane's last id, at start."""
        self._tick = max(self._tick, ids.tick_of(id))

    def bound(self) -> int:
        """The greatest tick that moves the clock."""
        return ids.tick_at(self._wall()) + _SKEW

    def reached(self) -> int:
        """The greatest tick taken or seen, but never beyond the bound: what others need to know of it."""
        return min(self._tick, self.bound())

    def ahead_ms(self) -> int:
        """How far the clock is ahead of the wall; 0 if it is not."""
        return _ms(max(0, self._tick - ids.tick_at(self._wall())))

    def can_follow(self, id: int) -> bool:
        """Could an id after `id` be taken now? So a lane that ends with it can be written on."""
        ahead = ids.tick_of(id) + 1 - ids.tick_at(self._wall())
        return ahead <= limits.ticks(limits.CLOCK_SKEW_MS_MAX + limits.CARRY_MS_MAX)

    def refusal(self) -> str:
        """Why no id may be given to a write now; "" if one may."""
        doubt = self._doubt()
        if doubt:
            return doubt
        ahead_ms = self.ahead_ms()
        return _carried(ahead_ms) if ahead_ms > limits.CLOCK_SKEW_MS_MAX + limits.CARRY_MS_MAX else ""

    def check(self) -> None:
        """ClockRefused while the wall clock is not to be trusted."""
        doubt = self._doubt()
        if doubt:
            raise ClockRefused(doubt)


def _ms(ticks: int) -> int:
    return ids.UNIT_MS * (ticks >> ids.SEQ_BITS)


def _carried(ahead_ms: int) -> str:
    return f"the ids given out here are {ahead_ms} ms ahead of this machine's wall clock"
