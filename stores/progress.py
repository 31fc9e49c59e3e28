"""How far this DC has come on every lane: the applied frontier, V and what is parked.

The applied frontier moves over a parked event; V does not, so a client's coverage never claims what is missing.
"""

import asyncio
from collections.abc import Iterable, Mapping

from stores.ports import Frontier, Mark


class Progress:
    """In memory, one per process; rebuilt from the stores' frontiers at start."""

    def __init__(self) -> None:
        self.applied: Frontier = {}
        self._v: dict[int, int] = {}
        self._parked: dict[int, dict[int, int]] = {}
        self._moved = asyncio.Event()

    def load(self, frontier: Frontier, parked: Iterable[tuple[int, int, int]]) -> None:
        """Begins at a frontier with parked (lane, seq, id of the last event *before* it)."""
        self.applied = dict(frontier)
        self._v = {lane: mark.id for lane, mark in frontier.items()}
        for lane, seq, before in parked:
            self.park(lane, seq, before)

    def advance(self, lane: int, mark: Mark) -> None:
        """Everything of the lane through `mark` is applied (or parked)."""
        if mark.seq > self.applied.get(lane, Mark(0, 0)).seq:
            self.applied[lane] = mark
            if not self._parked.get(lane):
                self._v[lane] = mark.id
            self._moved.set()
            self._moved = asyncio.Event()

    def park(self, lane: int, seq: int, before: int) -> None:
        """The event at `seq` can't be applied; V stands at `before`, the id in front of the first parked one."""
        parked = self._parked.setdefault(lane, {})
        parked[seq] = before
        self._v[lane] = parked[min(parked)]

    def unpark(self, lane: int, seq: int) -> None:
        """It was applied or dropped after all."""
        parked = self._parked.get(lane, {})
        parked.pop(seq, None)
        self._v[lane] = parked[min(parked)] if parked else self.applied.get(lane, Mark(0, 0)).id

    def v(self) -> dict[int, int]:
        """{lane: id}: the last id applied contiguously per lane. Read it *before* the state it is to cover."""
        return dict(self._v)

    def covers(self, v: Mapping[int, int]) -> bool:
        """Is everything that `v` covers applied here?"""
        return all(self._v.get(lane, 0) >= id for lane, id in v.items())

    def reached(self, frontier: Mapping[int, int]) -> bool:
        """Is every lane applied through the given seq?"""
        return all(self.applied.get(lane, Mark(0, 0)).seq >= seq for lane, seq in frontier.items())

    async def moved(self) -> None:
        """Returns at the next advance."""
        await self._moved.wait()

    @property
    def parked(self) -> dict[int, list[int]]:
        """lane -> parked seqs, for those that have any."""
        return {lane: sorted(seqs) for lane, seqs in self._parked.items() if seqs}
