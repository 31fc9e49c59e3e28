"""The event log as lists in memory: for unit tests and simulation. It keeps every promise of the port but survival."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from core.errors import Corrupt, Forked, LaneLost, LogUnavailable
from core.ids import earlier_lives
from events.ports import Top, Trimmed
from events.record import GENESIS, Record, check_lane, dense_by_lane

_EMPTY = Top(0, 0, GENESIS)


class _Lane:
    def __init__(self, top: Top) -> None:
        self.top = top
        self.records: dict[int, Record] = {}
        """By seq, dense up to the top; what lies below was trimmed, or never here (seeded)."""
        self.owners: list[bytes] = []
        """All who ever opened it; the last one owns it. Ends with b"" once it is retired."""

    @property
    def owner(self) -> bytes:
        return self.owners[-1] if self.owners else b""


class MemoryLog:
    """An `EventLog` that several writers of one event loop may share."""

    def __init__(self) -> None:
        self._lanes: dict[int, _Lane] = {}
        self._grown = asyncio.Event()
        self._closed = False

    async def open(self, lane: int, owner: bytes) -> Top:
        self._check_open()
        held = self._lanes.setdefault(lane, _Lane(_EMPTY))
        if owner in held.owners[:-1] or held.owners[-1:] == [b""]:
            raise LaneLost(private=f"lane {lane} was taken over from this owner, or retired")
        if owner not in held.owners:
            held.owners.append(owner)
        for earlier in earlier_lives(lane, self._lanes):
            if self._lanes[earlier].owners[-1:] != [b""]:
                self._lanes[earlier].owners.append(b"")
        return held.top

    async def append(self, lane: int, owner: bytes, records: Sequence[Record]) -> None:
        self._check_open()
        if not records:
            return
        check_lane(lane, records)
        held = self._lanes.get(lane)
        if held is None or not owner or held.owner != owner:
            raise LaneLost(private=f"lane {lane} is not held by this owner")
        _check(held, records)
        self._write(held, records)

    async def store(self, records: Sequence[Record]) -> None:
        self._check_open()
        lanes = dense_by_lane(records)
        for lane, group in lanes.items():
            held = self._lanes.get(lane)
            if held is not None and held.owner:
                raise Corrupt(f"lane {lane} is written here", private="store is for foreign lanes")
            _check(held or _Lane(_EMPTY), group)
        for lane, group in lanes.items():
            self._write(self._lanes.setdefault(lane, _Lane(_EMPTY)), group)

    async def seed(self, tops: Mapping[int, Top]) -> None:
        self._check_open()
        for lane, top in tops.items():
            held = self._lanes.setdefault(lane, _Lane(_EMPTY))
            if held.top.seq == 0:
                held.top = top
        self._wake()

    async def read(self, lane: int, after: int, limit: int) -> list[Record]:
        self._check_open()
        held = self._lanes.get(lane)
        if held is None or after >= held.top.seq:
            return []
        if after + 1 not in held.records:
            raise Trimmed(lane, min(held.records, default=0))
        last = min(after + limit, held.top.seq)
        return [held.records[seq] for seq in range(after + 1, last + 1)]

    async def tops(self) -> dict[int, Top]:
        self._check_open()
        return {lane: held.top for lane, held in self._lanes.items() if held.top.seq}

    async def follow(self) -> AsyncIterator[Mapping[int, Top]]:
        self._check_open()
        seen = await self.tops()
        yield seen
        while True:
            # Taken before the look at the tops: growth during the look sets this very event.
            grown = self._grown
            now = await self.tops()
            changed = {lane: top for lane, top in now.items() if seen.get(lane) != top}
            if changed:
                seen = now
                yield changed
            else:
                await grown.wait()

    async def trim(self, lane: int, through: int) -> None:
        self._check_open()
        held = self._lanes.get(lane)
        if held is not None:
            held.records = {seq: record for seq, record in held.records.items() if seq > through}

    async def close(self) -> None:
        self._closed = True
        self._wake()

    def _check_open(self) -> None:
        if self._closed:
            raise LogUnavailable(private="the log was closed")

    def _write(self, held: _Lane, records: Sequence[Record]) -> None:
        fresh = [record for record in records if record.seq > held.top.seq]
        if fresh:
            held.records.update((record.seq, record) for record in fresh)
            held.top = Top.of(fresh[-1])
            self._wake()

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()


def _check(held: _Lane, records: Sequence[Record]) -> None:
    """That these records continue or repeat the lane. Where the bytes were trimmed, the hash of the end still tells."""
    top = held.top
    if records[0].seq > top.seq + 1:
        raise Corrupt(f"lane {records[0].lane} has a gap: seq {records[0].seq} after {top.seq}")
    for record in records:
        kept = held.records.get(record.seq)
        if (kept is not None and kept != record) or (record.seq == top.seq and record.hash != top.hash):
            raise Forked(f"lane {record.lane} has another record at seq {record.seq}")
