"""How often somebody may do something: a leaky bucket per key, in a bounded table.

After "GCRA" (ITU-T I.371, 1996): per key only the time at which its bucket would be empty is kept.
"""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable

_ROUNDING_S = 1e-6
"""Sums of refills are floats."""


def loop_s() -> float:
    """The clock of the loop that runs, for buckets."""
    return asyncio.get_running_loop().time()


class Attempts:
    """`burst` attempts at once, one more every `refill_s`. `now_s` is a clock that only goes forward. Of more than
    `keys_max` keys those that were used longest ago are forgotten."""

    def __init__(self, burst: int, refill_s: float, keys_max: int, now_s: Callable[[], float]) -> None:
        self._window_s = burst * refill_s
        self._refill_s = refill_s
        self._keys_max = keys_max
        self._now_s = now_s
        self._empty_s: OrderedDict[str, float] = OrderedDict()

    def wait_s(self, key: str) -> int:
        """Whole seconds until an attempt is allowed; 0 now."""
        return max(0, math.ceil(self._empty_s.get(key, 0.0) + self._refill_s - self._window_s - self._now_s()))

    def take(self, key: str) -> None:
        """Counts one."""
        self._empty_s[key] = max(self._empty_s.get(key, 0.0), self._now_s()) + self._refill_s
        self._empty_s.move_to_end(key)
        if len(self._empty_s) > self._keys_max:
            self._empty_s.popitem(last=False)

    def admit(self, key: str, count: int) -> int:
        """Counts `count` at once, at most `burst`, if they are allowed now: 0. Else none of them: the whole seconds
        until they are."""
        now_s = self._now_s()
        empty_s = max(self._empty_s.get(key, 0.0), now_s) + count * self._refill_s
        if (over_s := empty_s - self._window_s - now_s) > _ROUNDING_S:
            return math.ceil(over_s)
        self._empty_s[key] = empty_s
        self._empty_s.move_to_end(key)
        if len(self._empty_s) > self._keys_max:
            self._empty_s.popitem(last=False)
        return 0

    def give_back(self, key: str) -> None:
        """It was none."""
        empty_s = self._empty_s.get(key)
        if empty_s is None:
            return
        if empty_s - self._refill_s <= self._now_s():
            del self._empty_s[key]
        else:
            self._empty_s[key] = empty_s - self._refill_s
