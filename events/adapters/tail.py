"""The newest records of each lane that were written by way of an adapter, kept for whoever follows close behind.

The archiver, the replayer and other datacenters read what was written a moment ago, all of them the same. A record
never changes once it is in the log, so it can be given from here without asking the server, as long as the log is
looked at now and then: other processes trim it, and it may lose its end.
"""

from collections.abc import Sequence

from core import limits
from events.ports import Top
from events.record import Record


class Tail:
    """Bounded per lane, by LOG_TAIL_BYTES_MAX of bodies and LOG_TAIL_RECORDS_MAX; beyond it the older half goes."""

    def __init__(
        self, bytes_max: int = limits.LOG_TAIL_BYTES_MAX, records_max: int = limits.LOG_TAIL_RECORDS_MAX
    ) -> None:
        self._bytes_max = bytes_max
        self._records_max = records_max
        self._lanes: dict[int, list[Record]] = {}
        self._bytes: dict[int, int] = {}

    def add(self, lane: int, records: Sequence[Record]) -> None:
        """Dense records of a lane that have just become durable. What does not follow begins a new tail."""
        kept = self._lanes.setdefault(lane, [])
        if kept and kept[-1].seq + 1 != records[0].seq:
            kept.clear()
            self._bytes[lane] = 0
        kept.extend(records)
        self._bytes[lane] = self._bytes.get(lane, 0) + _size(records)
        while self._bytes[lane] > self._bytes_max or len(kept) > self._records_max:
            self._drop(lane, (len(kept) + 1) // 2)

    def after(self, lane: int, seq: int, limit: int) -> list[Record]:
        """Up to `limit` records that follow `seq`; [] says nothing."""
        kept = self._lanes.get(lane)
        if not kept or seq + 1 < kept[0].seq:
            return []
        at = seq + 1 - kept[0].seq
        return kept[at : at + limit]

    def forget(self, lane: int, through: int) -> None:
        """They are trimmed from the log."""
        kept = self._lanes.get(lane)
        if kept:
            self._drop(lane, max(0, through + 1 - kept[0].seq))

    def spans(self) -> dict[int, tuple[int, int]]:
        """lane -> first and last seq that are kept."""
        return {lane: (kept[0].seq, kept[-1].seq) for lane, kept in self._lanes.items() if kept}

    def end(self, lane: int, end: Top) -> None:
        """The log ends there: what lies beyond goes, and everything if another record stands at that place."""
        kept = self._lanes.get(lane)
        if not kept or end.seq > kept[-1].seq:
            return
        at = end.seq - kept[0].seq
        if at < 0 or Top.of(kept[at]) != end:
            self.clear(lane)
            return
        self._bytes[lane] -= _size(kept[at + 1 :])
        del kept[at + 1 :]

    def clear(self, lane: int) -> None:
        """Nothing of the lane is kept."""
        self._lanes.pop(lane, None)
        self._bytes.pop(lane, None)

    def _drop(self, lane: int, count: int) -> None:
        kept = self._lanes[lane]
        self._bytes[lane] -= _size(kept[:count])
        del kept[:count]


def _size(records: Sequence[Record]) -> int:
    return sum([len(record.body) for record in records])
