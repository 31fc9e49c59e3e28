"""Stores to which every write is given twice; the second time it has to change nothing, as their ports promise."""

from collections.abc import Sequence
from typing import Any

from core.messages import Row
from events.record import Record
from stores.ports import Frontier, HotBatch, RelationalBatch, Stale


class _Twice:
    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class TwiceHot(_Twice):
    async def apply(self, batch: HotBatch) -> dict[str, int]:
        fed: dict[str, int] = await self.inner.apply(batch)
        if any(end.seq > after for after, end in batch.moves.values()):
            try:
                await self.inner.apply(batch)
            except Stale:
                return fed
            raise AssertionError("the hot store takes a batch that it has")
        return fed


class TwiceRelational(_Twice):
    async def apply(self, batch: RelationalBatch) -> None:
        await self.inner.apply(batch)
        await self.inner.apply(batch)


class TwiceMessages(_Twice):
    def put(self, rows: Sequence[Row], frontier: Frontier) -> None:
        self.inner.put(rows, frontier)
        self.inner.put(rows, frontier)


class TwiceLog(_Twice):
    """What is stored comes together with the record before it, which is there, and then once more."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._last: dict[int, Record] = {}

    async def store(self, records: Sequence[Record]) -> None:
        given: list[Record] = []
        begun: set[int] = set()
        for record in records:
            last = self._last.get(record.lane)
            if record.lane not in begun and last is not None and record.seq == last.seq + 1:
                given.append(last)
            begun.add(record.lane)
            given.append(record)
        await self.inner.store(given)
        await self.inner.store(records)
        self._last |= {record.lane: record for record in records}
