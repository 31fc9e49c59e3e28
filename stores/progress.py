"""How far this DC has come on every lane: the applied frontier, V and what is parked.

The applied frontier moves over a parked event; V does not, so a client's coverage never claims what is missing.
"""

import asyncio
from collections.abc import Iterable, Mapping

from core.ids import LANE_BITS
from stores.ports import Frontier, Mark

Place = tuple[int, int, int]
"""A parked event: lane, seq, id."""

NOWHERE = Mark(0, 0)


class Progress:
    """In memory, one per process; rebuilt from the stores' frontiers at start."""

    def __init__(self) -> None:
        self.applied: Frontier = {}
        self._v: dict[int, int] = {}
        self.newest = 0
        """The greatest id in V: kept, because every answer shows it."""
        self._parked: dict[int, dict[int, int]] = {}
        """lane -> seq -> id."""
        self._moved = asyncio.Event()

    def load(self, frontier: Frontier, parked: Iterable[Place]) -> None:
        """Begins at a frontier. What is parked may lie beyond it: then V stops there when the frontier gets there."""
        self.applied = dict(frontier)
        self._parked = {}
        for lane, seq, id in parked:
            self._parked.setdefault(lane, {})[seq] = id
        self._v = {lane: _contiguous(mark, self._parked.get(lane)) for lane, mark in self.applied.items()}
        self.newest = max(self._v.values(), default=0)

    def advance(self, lane: int, mark: Mark) -> None:
        """Everything of the lane through `mark` is applied (or parked)."""
        if mark.seq > self.applied.get(lane, NOWHERE).seq:
            self.applied[lane] = mark
            self._settle(lane)
            self.tell()

    def park(self, lane: int, seq: int, id: int) -> None:
        """The event at `seq` can't be applied: V of the lane stands in front of the first parked one."""
        self._parked.setdefault(lane, {})[seq] = id
        self._settle(lane)

    def unpark(self, lane: int, seq: int) -> None:
        """It was applied or dropped after all."""
        self._parked.get(lane, {}).pop(seq, None)
        self._settle(lane)
        self.tell()

    def tell(self) -> None:
        """Who waits for `moved` looks again."""
        self._moved.set()
        self._moved = asyncio.Event()

    def _settle(self, lane: int) -> None:
        self._v[lane] = _contiguous(self.applied.get(lane, NOWHERE), self._parked.get(lane))
        self.newest = max(self._v.values())

    def v(self) -> dict[int, int]:
        """{lane: id}: the last id applied contiguously per lane. Read it *before* the state it is to cover."""
        return dict(self._v)

    def v_after(
        self, marks: Mapping[int, Mark], parked: Iterable[Place], unparked: int | None = None
    ) -> dict[int, int]:
        """V as it will be once the lanes have reached `marks` and `parked` is parked too; `unparked` names a lane
        whose first parked event will no longer be."""
        if not (parked or self._parked):
            return self._v | {lane: mark.id for lane, mark in marks.items()}
        held = {lane: dict(ids) for lane, ids in self._parked.items()}
        for lane, seq, id in parked:
            held.setdefault(lane, {})[seq] = id
        if unparked is not None:
            del held[unparked][min(held[unparked])]
        reached = {**self.applied, **marks}
        return {lane: _contiguous(mark, held.get(lane)) for lane, mark in reached.items()}

    def covers(self, v: Mapping[int, int]) -> bool:
        """Is everything that `v` covers applied here?"""
        return all(self._v.get(lane, 0) >= id for lane, id in v.items())

    def reached(self, frontier: Mapping[int, int]) -> bool:
        """Is every lane applied through the given seq?"""
        return all(self.applied.get(lane, NOWHERE).seq >= seq for lane, seq in frontier.items())

    async def moved(self) -> None:
        """Returns at the next advance, or when something is parked no more."""
        await self._moved.wait()

    def is_parked(self, lane: int, seq: int) -> bool:
        return seq in self._parked.get(lane, ())

    def places(self) -> list[Place]:
        """All that is parked."""
        return [(lane, seq, id) for lane, ids in self._parked.items() for seq, id in ids.items()]

    @property
    def parked(self) -> dict[int, list[int]]:
        """lane -> parked seqs, for those that have any."""
        return {lane: sorted(seqs) for lane, seqs in self._parked.items() if seqs}


def _contiguous(reached: Mark, parked: Mapping[int, int] | None) -> int:
    """V of a lane: the end of what is applied, or the last id that can stand before the first parked event."""
    if not parked:
        return reached.id
    return min(reached.id, parked[min(parked)] - (1 << LANE_BITS))
