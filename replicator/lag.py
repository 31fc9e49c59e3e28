"""Replication lag: for each replayed event the wall time when it was applied here minus the time in its id.

Milliseconds in steps of 10, because that is the unit of time in an id. It compares two machines' clocks, so it is off
by their difference (`clock_error_ms_max` at most), and an id that a burst carried ahead makes it smaller, never less
than 0. The newest LAG_SAMPLES_MAX per origin DC are kept; the present lag is that of the last LAG_WINDOW_MS.
"""

from collections import deque
from collections.abc import Collection
from typing import NamedTuple

from core import limits
from core.ids import time_ms_of


class LagSummary(NamedTuple):
    samples: int
    """Samples that the percentiles are computed over."""
    p50_ms: int
    p99_ms: int
    max_ms: int


class _Origin:
    __slots__ = ("noted", "noted_ms", "samples")

    def __init__(self) -> None:
        self.samples: deque[int] = deque(maxlen=limits.LAG_SAMPLES_MAX)
        self.noted_ms: deque[int] = deque(maxlen=limits.LAG_SAMPLES_MAX)
        """When each of them was noted."""
        self.noted = 0
        """Events so far."""


class LagMeter:
    """By origin DC."""

    def __init__(self) -> None:
        self._origins: dict[str, _Origin] = {}

    def note(self, dc: str, id: int, now_ms: int) -> None:
        """An event of `dc` was applied now."""
        origin = self._origins.get(dc)
        if origin is None:
            origin = self._origins[dc] = _Origin()
        origin.samples.append(max(0, now_ms - time_ms_of(id)))
        origin.noted_ms.append(now_ms)
        origin.noted += 1

    def summary(self, now_ms: int) -> dict[str, LagSummary]:
        """Per origin DC that anything came from in the last LAG_WINDOW_MS."""
        since_ms = now_ms - limits.LAG_WINDOW_MS
        recent = {
            dc: [lag for lag, at_ms in zip(origin.samples, origin.noted_ms, strict=True) if at_ms >= since_ms]
            for dc, origin in self._origins.items()
        }
        return {dc: _summary(samples) for dc, samples in recent.items() if samples}

    def noted(self, dc: str) -> int:
        """Events of `dc` so far."""
        origin = self._origins.get(dc)
        return origin.noted if origin else 0

    def since(self, dc: str, noted: int) -> LagSummary:
        """Of the events of `dc` after the first `noted` ones; of the newest LAG_SAMPLES_MAX where they are more."""
        origin = self._origins.get(dc)
        fresh = min(origin.noted - noted, len(origin.samples)) if origin else 0
        if origin is None or fresh <= 0:
            return LagSummary(0, 0, 0, 0)
        return _summary(list(origin.samples)[-fresh:])


def _summary(samples: Collection[int]) -> LagSummary:
    ordered = sorted(samples)
    last = len(ordered) - 1
    return LagSummary(len(ordered), ordered[last * 50 // 100], ordered[(last * 99 + 99) // 100], ordered[last])
