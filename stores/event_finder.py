"""Events by their ids: an id names its lane, and ids of one lane grow with its seq, so a record is found by halving."""

from typing import NamedTuple

from core.event import Event
from core.ids import lane_of
from events.codec import Codec
from events.ports import LogReader, Trimmed
from events.record import KIND_OPEN, Record
from stores.ports import Mark
from stores.progress import NOWHERE, Progress


class Found(NamedTuple):
    """What log and archive say of an id. `state`:

    "here"        `record` is the one
    "ahead"       the lane is held through `end` only: it has not come, or never was
    "nothing"     the lane goes on beyond it, and there is no such record
    "unreadable"  neither log nor archive gives the records of that time any more; `end` is the first that is left
    """

    state: str
    end: Mark
    record: Record | None = None


class EventFinder:
    """One per Applier. Reads only; raises what the log raises."""

    def __init__(self, log: LogReader, codec: Codec, progress: Progress) -> None:
        """`log`: with its past, where there is one."""
        self._log = log
        self._codec = codec
        self._progress = progress

    async def find(self, id: int) -> Found:
        """About log2 of the lane's length reads; of an old event from the archive."""
        lane = lane_of(id)
        top = (await self._log.tops()).get(lane)
        if top is None or id > top.id:
            return Found("ahead", NOWHERE if top is None else Mark(top.seq, top.id))
        low, high = 1, top.seq
        while low <= high:
            seq = (low + high) // 2
            try:
                record = (await self._log.read(lane, seq - 1, 1))[0]
            except Trimmed as trimmed:
                # What is looked for is among what can be read again from `first` on, or can't be read.
                low = max(trimmed.first, seq + 1)
                if not trimmed.first or low > high or await self._begins_after(lane, low, id):
                    return Found("unreadable", Mark(trimmed.first, 0))
                continue
            if record.id == id:
                return Found("here", Mark(top.seq, top.id), record)
            low, high = (seq + 1, high) if record.id < id else (low, seq - 1)
        return Found("nothing", Mark(top.seq, top.id))

    async def _begins_after(self, lane: int, seq: int, id: int) -> bool:
        return (await self._log.read(lane, seq - 1, 1))[0].id > id

    def event_of(self, record: Record) -> tuple[Event | None, str]:
        """The event of a record, and why there is none."""
        entry = self._codec.entry(record)
        return entry.event, "" if record.kind == KIND_OPEN else entry.problem

    async def applied(self, id: int) -> Event | None:
        """See core.action.View.event."""
        record = (await self.find(id)).record
        if record is None or record.seq > self._progress.applied.get(record.lane, NOWHERE).seq:
            return None
        if self._progress.is_parked(record.lane, record.seq):
            return None
        return self.event_of(record)[0]
