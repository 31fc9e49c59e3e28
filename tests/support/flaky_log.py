"""An event log whose appends fail in every way that a network allows, as a script says."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from enum import Enum

from core.errors import Corrupt, LaneLost, LogUnavailable, OutcomeUnknown
from events.ports import EventLog, Top
from events.record import Record, encode


class Fault(Enum):
    NONE = "written and answered"
    SLOW = "written and answered after a while"
    REFUSED = "not written, and known not to be"
    DROPPED = "not written, and nobody knows"
    UNANSWERED = "written, and nobody knows"
    LATE = "written long after the caller was told that nobody knows"
    BROKEN = "written, and the driver raises something of its own"


class FlakyLog:
    """Wraps a log. `faults` says what becomes of each append (then none); it notes what may have been written."""

    def __init__(self, inner: EventLog, faults: Iterator[Fault], blind: Iterator[bool]) -> None:
        self._inner = inner
        self._faults = faults
        self._blind = blind
        """Whether the next look at the tops fails."""
        self.possible: dict[tuple[int, int], set[bytes]] = {}
        """(lane, seq) -> all bytes that were sent there and not refused."""
        self.refusals: list[BaseException] = []
        """What the log said to bytes that arrived late."""
        self.appends: list[int] = []
        """Records of each append."""
        self.late: list[asyncio.Task[None]] = []

    async def append(self, lane: int, owner: bytes, records: Sequence[Record]) -> None:
        fault = next(self._faults, Fault.NONE)
        await asyncio.sleep(0)
        if fault is Fault.REFUSED:
            raise LogUnavailable
        self.appends.append(len(records))
        for record in records:
            self.possible.setdefault((lane, record.seq), set()).add(encode(record))
        if fault is Fault.DROPPED:
            raise OutcomeUnknown
        if fault is Fault.LATE:
            self.late.append(asyncio.create_task(self._arrive(lane, owner, records)))
            raise OutcomeUnknown
        if fault is Fault.SLOW:
            await asyncio.sleep(1.5)
        await self._inner.append(lane, owner, records)
        await asyncio.sleep(0)
        if fault is Fault.UNANSWERED:
            raise OutcomeUnknown
        if fault is Fault.BROKEN:
            raise RuntimeError("the driver broke")

    async def _arrive(self, lane: int, owner: bytes, records: Sequence[Record]) -> None:
        await asyncio.sleep(0.3)
        try:
            await self._inner.append(lane, owner, records)
        except (Corrupt, LaneLost) as error:
            self.refusals.append(error)

    async def tops(self) -> dict[int, Top]:
        if next(self._blind, False):
            raise LogUnavailable
        return await self._inner.tops()

    async def open(self, lane: int, owner: bytes) -> Top:
        return await self._inner.open(lane, owner)

    async def store(self, records: Sequence[Record]) -> None:
        await self._inner.store(records)

    async def seed(self, tops: Mapping[int, Top]) -> None:
        await self._inner.seed(tops)

    async def read(self, lane: int, after: int, limit: int) -> list[Record]:
        return await self._inner.read(lane, after, limit)

    def follow(self) -> AsyncIterator[Mapping[int, Top]]:
        return self._inner.follow()

    async def trim(self, lane: int, through: int) -> None:
        await self._inner.trim(lane, through)

    async def close(self) -> None:
        await self._inner.close()
