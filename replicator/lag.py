"""Replication lag: for each replayed event the wall time when it was applied here minus the time in its id.

Milliseconds in steps of 10, because that is the unit of time in an id. It compares two machines' clocks, so it is off
by their difference (`clock_error_ms_max` at most), and an id that a burst carried ahead makes it smaller, never less
than 0. The newest LAG_SAMPLES_MAX per origin DC are kept.
"""

from collections import deque
from typing import NamedTuple

from core import limits
from core.ids import time_ms_of


class LagSummary(NamedTuple):
    samples: int
    """Samples that the percentiles are computed over."""
    p50_ms: int
    p99_ms: int
    max_ms: int


class LagMeter:
    """By origin DC."""

    def __init__(self) -> None:
        self._samples: dict[str, deque[int]] = {}

    def note(self, dc: str, id: int, now_ms: int) -> None:
        """An event of `dc` was applied now."""
        samples = self._samples.get(dc)
        if samples is None:
            samples = self._samples[dc] = deque(maxlen=limits.LAG_SAMPLES_MAX)
        samples.append(max(0, now_ms - time_ms_of(id)))

    def summary(self) -> dict[str, LagSummary]:
        """Per origin DC that anything came from."""
        found = {}
        for dc, samples in self._samples.items():
            ordered = sorted(samples)
            last = len(ordered) - 1
            found[dc] = LagSummary(
                len(ordered), ordered[last * 50 // 100], ordered[(last * 99 + 99) // 100], ordered[last]
            )
        return found
