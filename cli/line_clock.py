"""The wall clock of a process that does not apply, as it compares with that of the one that does.

That one compares its own with the other datacenters' (core/clock_error.py). It read its clock somewhere between
question and answer, so half of that time is the uncertainty; of the last few answers the quickest counts.
"""

from collections import deque
from typing import NamedTuple

from core import limits
from core.system import Clock

_ANSWERS = 5


class _Answer(NamedTuple):
    half_ms: float
    ahead_ms: float
    """Our wall clock minus the other one."""


class LineClock:
    """`note` an answer about once a second."""

    def __init__(self, wall: Clock) -> None:
        self._wall = wall
        self._answers: deque[_Answer] = deque(maxlen=_ANSWERS)
        self._error_ms = 0
        self.told = ""
        """Why the other process doubts its clock; "" if it does not."""

    def note(self, before_ms: int, there_ms: int, after_ms: int) -> None:
        """Our wall clock before and after the question, and what was answered."""
        half_ms = max(0, after_ms - before_ms) / 2
        self._answers.append(_Answer(half_ms, before_ms + half_ms - there_ms))
        best = min(self._answers)
        surely_ms = abs(best.ahead_ms) - best.half_ms
        self._error_ms = round(best.ahead_ms) if surely_ms > limits.CLOCK_ERROR_MS_MAX else 0

    def doubt(self) -> str:
        """Why no write may be stamped by this machine's clock; "" if one may."""
        if self._error_ms:
            side = "ahead of" if self._error_ms > 0 else "behind"
            return f"this machine's wall clock is {abs(self._error_ms)} ms {side} that of the process that applies"
        return self.told

    def trusted(self) -> int:
        """The wall clock, put right where it is surely wrong. Milliseconds since 1970."""
        return self._wall() - self._error_ms
