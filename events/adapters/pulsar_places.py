"""Where in a lane's topic which seq is: a bounded, sparse index, and the search for what it does not have."""

import bisect
from typing import NamedTuple

from core.limits import PULSAR_PLACES_MAX


class Place(NamedTuple):
    """A message: Pulsar's own order of a topic."""

    ledger: int
    entry: int


class Places:
    """First seq of a group -> its message, for some groups of one lane. Beyond the bound every other one goes."""

    def __init__(self, places_max: int = PULSAR_PLACES_MAX) -> None:
        self._places_max = places_max
        self._seqs: list[int] = []
        self._places: list[Place] = []

    def add(self, first: int, place: Place) -> None:
        """A group that begins with this seq stands there."""
        at = bisect.bisect_left(self._seqs, first)
        if at < len(self._seqs) and self._seqs[at] == first:
            return
        self._seqs.insert(at, first)
        self._places.insert(at, place)
        if len(self._seqs) > self._places_max:
            del self._seqs[1::2], self._places[1::2]

    def before(self, seq: int) -> tuple[int, Place] | None:
        """The last group known that begins at or before `seq`."""
        at = bisect.bisect_right(self._seqs, seq) - 1
        return (self._seqs[at], self._places[at]) if at >= 0 else None

    def forget(self, through: int) -> None:
        """Groups that begin before what holds `through + 1` are trimmed."""
        at = max(0, bisect.bisect_right(self._seqs, through + 1) - 1)
        del self._seqs[:at], self._places[:at]
