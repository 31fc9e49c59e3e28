"""The hybrid logical clock that hands out ids.

`next = max(wall clock, greatest id seen) + 1` in the tick part; a full seq carries into time, so no id is ever
waited for. Seeing an id moves the clock, so a cause is always smaller than its effect. After Kulkarni et al.,
"Logical Physical Clocks" (2014), with sonyflake's layout.
"""

from core import ids, limits
from core.errors import ClockRefused
from core.system import Clock


class HybridClock:
    """Ids for one process. Not thread-safe: used from the event loop only."""

    def __init__(self, wall: Clock) -> None:
        self._wall = wall
        self._tick = 0
        self.far_ahead = 0
        """How many ids were seen that lie further ahead than `clock_skew_ms_max`: an alarm, see `see`."""

    def now(self) -> int:
        """The tick of the next id, without taking it."""
        return max(ids.tick_at(self._wall()), self._tick) + 1

    def take(self, lane: int) -> int:
        """A new id on `lane`, greater than every id taken or seen before.

        Raises ClockRefused when the clock has been carried so far ahead of the wall that an id would break the
        bound other DCs rely on (`carry_ms_max` + `clock_error_ms_max`).
        """
        wall = ids.tick_at(self._wall())
        tick = max(wall, self._tick) + 1
        if tick - wall > limits.ticks(limits.CLOCK_SKEW_MS_MAX + limits.CARRY_MS_MAX):
            ahead_ms = ids.UNIT_MS * ((tick - wall) >> ids.SEQ_BITS)
            raise ClockRefused(f"the clock is {ahead_ms} ms ahead of this machine's wall clock")
        self._tick = tick
        return ids.make_id(tick, lane)

    def see(self, id: int) -> bool:
        """Moves the clock beyond `id`. False, and no move, when it lies further ahead than the bound.

        An event beyond the bound is applied like any other (all DCs must agree) but must not drag our clock along.
        """
        tick = ids.tick_of(id)
        if tick - ids.tick_at(self._wall()) > limits.ticks(limits.CLOCK_SKEW_MS_MAX):
            self.far_ahead += 1
            return False
        self._tick = max(self._tick, tick)
        return True

    def resume(self, id: int) -> None:
        """Moves the clock beyond `id`, whatever the bound: our own lane's last id, at start."""
        self._tick = max(self._tick, ids.tick_of(id))
