"""When this process applied what: how far each lane had come at which time, ever more coarsely for what is long ago.

Kept in memory only, at a few bytes for each batch of the last minutes: it answers a person's question about one event.
"""

from bisect import bisect_left
from collections.abc import Mapping
from typing import NamedTuple

from core import limits
from core.system import Clock
from stores.ports import Frontier


class Moment(NamedTuple):
    """Unix milliseconds, by this DC's wall clock."""

    after_ms: int | None
    """It was applied at this time or later; None: nothing is known."""
    by_ms: int | None
    """It was applied by then. None: not yet."""


class _Lane:
    """How far it was (`seqs`) at which time (`times`), both ascending."""

    __slots__ = ("seqs", "times")

    def __init__(self, seq: int, now_ms: int) -> None:
        self.seqs = [seq]
        self.times = [now_ms]


class Timeline:
    """One per Applier."""

    def __init__(self, now_ms: Clock) -> None:
        self._now_ms = now_ms
        self._lanes: dict[int, _Lane] | None = None
        self._began_ms = 0
        self._retried: dict[tuple[int, int], int] = {}

    def begin(self, applied: Frontier) -> None:
        """What is applied by now, was at some time before."""
        self._began_ms = self._now_ms()
        self._lanes = {lane: _Lane(mark.seq, self._began_ms) for lane, mark in applied.items()}

    def note(self, marks: Frontier) -> None:
        """These lanes have come so far just now."""
        if self._lanes is None:
            return  # recovery: it was applied before this process, or is being applied again
        now_ms = self._now_ms()
        for lane, mark in marks.items():
            known = self._lanes.get(lane)
            if known is None:
                known = self._lanes[lane] = _Lane(0, self._began_ms)
            if len(known.times) > 1 and now_ms - known.times[-2] < limits.TIMELINE_STEP_MS:
                known.seqs[-1], known.times[-1] = mark.seq, max(now_ms, known.times[-1])
                continue
            known.seqs.append(mark.seq)
            known.times.append(max(now_ms, known.times[-1]))
            if len(known.times) > limits.TIMELINE_POINTS_MAX:
                _thin(known)

    def retried(self, lane: int, seq: int) -> None:
        """A parked event was applied just now."""
        self._retried[lane, seq] = self._now_ms()
        while len(self._retried) > limits.PARKED_MAX:
            del self._retried[next(iter(self._retried))]

    def of(self, lane: int, seq: int) -> Moment:
        """When the lane was applied through `seq`; of an event that was parked, when it was applied after all."""
        again = self._retried.get((lane, seq))
        if again is not None:
            return Moment(again, again)
        known = (self._lanes or {}).get(lane)
        if known is None or seq > known.seqs[-1]:
            return Moment(None, None)
        at = bisect_left(known.seqs, seq)
        return Moment(known.times[at - 1] if at else None, known.times[at])

    def lanes(self) -> Mapping[int, int]:
        """lane -> points that are kept."""
        return {lane: len(known.times) for lane, known in (self._lanes or {}).items()}


def _thin(lane: _Lane) -> None:
    """Every second point of the older half goes; what is left is as true, only wider."""
    half = len(lane.seqs) // 2
    del lane.seqs[1:half:2]
    del lane.times[1:half:2]
