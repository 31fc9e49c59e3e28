"""The archive as a reader sees it: every lane's segments in object storage, from the first to the last.

Segments of a lane may overlap (a merge was interrupted, two archivers ran for a moment): the one that reaches
furthest is read, and the hashes decide whether they agree. What is listed is only a claim; what is read is verified.
The one who writes it is `Archiver` (snapshot/archiver.py).
"""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from core import limits
from core.errors import Corrupt, Forked, NotFound
from events.ports import Top
from events.record import GENESIS, Record
from snapshot.segment import PREFIX, Segment, Span, check_chain, decode_segment, lane_folder
from stores.ports import ObjectStore

EMPTY = Top(0, 0, GENESIS)
_TRIES = 3
"""A merge may replace segments between listing and reading; each try lists again."""


def contiguous(spans: list[Span]) -> list[Span]:
    """The fewest spans that lead from the lowest first seq upwards without a hole."""
    ordered = sorted(spans)
    chosen: list[Span] = []
    reach = ordered[0].first - 1 if ordered else 0
    at = 0
    while True:
        best = None
        while at < len(ordered) and ordered[at].first <= reach + 1:
            if ordered[at].last > (best.last if best else reach):
                best = ordered[at]
            at += 1
        if best is None:
            return chosen
        chosen.append(best)
        reach = best.last


def runs(spans: list[Span]) -> list[list[Span]]:
    """All stretches without a hole, in their order, each as by `contiguous`."""
    found: list[list[Span]] = []
    left = spans
    while run := contiguous(left):
        found.append(run)
        left = [span for span in left if span.first > run[-1].last]
    return found


class Archive:
    """Reads the archive in `objects`. Safe to share within a process; keeps one decoded segment and the listing."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._runs: dict[int, list[list[Span]]] = {}
        self._last_read: Segment | None = None
        self._ends: dict[int, tuple[Span, Top]] = {}

    async def refresh(self) -> None:
        """Lists the archive again. Everything below that is not found in the last listing does this by itself."""
        found: dict[int, list[Span]] = {}
        async for key in self._objects.list(PREFIX):
            span = Span.of(key)
            if span is not None:
                found.setdefault(span.lane, []).append(span)
        self._runs = {lane: stretches for lane, spans in found.items() if (stretches := runs(spans))}

    async def tops(self) -> dict[int, Top]:
        """How far each lane is archived without a hole, as of now. Corrupt, naming it, for a damaged last segment."""
        await self.refresh()
        return {lane: await self._end(lane) for lane in sorted(self._runs)}

    async def lacking(self, frontier: Mapping[int, int]) -> dict[int, tuple[int, int]]:
        """lane -> (archived through, wanted), where the archive does not reach a wanted seq; as of now."""
        await self.refresh()
        reach = {lane: stretches[0][-1].last for lane, stretches in self._runs.items()}
        return {lane: (reach.get(lane, 0), seq) for lane, seq in frontier.items() if reach.get(lane, 0) < seq}

    async def covers(self, frontier: Mapping[int, int]) -> bool:
        """Whether every lane is archived through the seq that `frontier` gives it."""
        return not await self.lacking(frontier)

    async def lanes(self) -> dict[int, tuple[int, int]]:
        """lane -> (first seq, last seq) of the stretch without a hole that reaches furthest, as of now."""
        await self.refresh()
        return {lane: (last[0].first, last[-1].last) for lane, (*_, last) in self._runs.items()}

    async def holes(self) -> dict[int, Span]:
        """lane -> the last seqs that are missing while later ones are there, as of now."""
        await self.refresh()
        ends = {lane: stretches[-2:] for lane, stretches in self._runs.items() if len(stretches) > 1}
        return {lane: Span(lane, before[-1].last + 1, last[0].first - 1) for lane, (before, last) in ends.items()}

    async def read(self, lane: int, after: int, limit: int) -> list[Record]:
        """Up to `limit` records with seq > `after`, in order; [] at the end, or at a hole. Each record's
        hash is verified within its segment (across segments: `following`). NotFound if the lane begins later; Corrupt
        names what is damaged."""
        records: list[Record] = []
        while len(records) < limit:
            segment = await self._segment(lane, after + 1)
            if segment is None:
                break
            at = after + 1 - segment.span.first
            records += segment.records[at : at + limit - len(records)]
            after = records[-1].seq
        return records

    async def place(self, lane: int, seq: int) -> Top:
        """The id and the hash of the record at `seq`. NotFound where the archive holds neither it nor its successor."""
        if seq == 0:
            return EMPTY
        segment = await self._segment(lane, seq, or_next=True)
        if segment is None:
            stretches = self._runs.get(lane)
            if hole := self._hole(lane, seq):
                what = _missing(hole)
            else:
                what = f"ends at seq {stretches[-1][-1].last}, before seq {seq}" if stretches else "no segment is there"
            raise NotFound(f"{lane_folder(lane)}: {what}", object=lane_folder(lane))
        return segment.place(seq)

    async def following(self, lane: int, top: Top) -> AsyncGenerator[list[Record], None]:
        """All records after `top`, in batches, proven to continue it: the archive's own record at `top` must be
        that very one, and each hash must follow from the last. Corrupt, NotFound or Forked else; Corrupt also where
        records are missing and later ones are there."""
        folder = lane_folder(lane)
        if await self.place(lane, top.seq) != top:
            raise another(lane, top.seq)
        for tried in range(1, _TRIES + 1):  # a listing during a merge may miss both the old and the new ones
            while records := await self.read(lane, top.seq, limits.PULL_RECORDS_MAX):
                top = check_chain(top, records, folder)
                yield records
            hole = self._hole(lane, top.seq + 1)
            if hole is None:
                return
            if tried == _TRIES:
                raise Corrupt(f"{folder}: {_missing(hole)}", object=folder)

    async def prove(self, lane: int, start: Top, end: Top) -> None:
        """Corrupt, Forked or NotFound unless the archive leads from `start` to `end` without a gap; reads it all."""
        async with aclosing(self.following(lane, start)) as batches:
            async for records in batches:
                if records[-1].seq >= end.seq:
                    break
        if await self.place(lane, end.seq) != end:
            raise another(lane, end.seq)

    async def _segment(self, lane: int, seq: int, *, or_next: bool = False) -> Segment | None:
        """The segment that holds `seq`; None in a hole and beyond the end. With `or_next`, the one that begins after it
        will do."""
        last = self._last_read
        if last is not None and last.span.lane == lane and last.span.first <= seq <= last.span.last:
            return last
        for attempt in range(_TRIES):
            span = None if attempt else self._find(lane, seq)
            if span is None:
                await self.refresh()
                span = self._find(lane, seq)
            if span is None:
                return None
            if span.first > seq + or_next:
                if self._hole(lane, seq):
                    return None
                what = f"begins at seq {span.first}; seq {seq} is not in it"
                raise NotFound(f"{lane_folder(lane)}: {what}", object=lane_folder(lane))
            try:
                data = await self._objects.get(span.key)
            except NotFound:
                continue
            # In a thread: a segment is up to 16 MiB, and whoever reads here may serve others meanwhile.
            segment = self._last_read = await asyncio.to_thread(decode_segment, span, data)
            return segment
        raise _vanished(lane)

    def _find(self, lane: int, seq: int) -> Span | None:
        return next((span for run in self._runs.get(lane, ()) for span in run if span.last >= seq), None)

    def _hole(self, lane: int, seq: int) -> Span | None:
        """The missing seqs that `seq` is among, if there are earlier and later ones."""
        for before, after in itertools.pairwise(self._runs.get(lane, ())):
            if before[-1].last < seq < after[0].first:
                return Span(lane, before[-1].last + 1, after[0].first - 1)
        return None

    async def _end(self, lane: int) -> Top:
        for _ in range(_TRIES):
            if lane not in self._runs:
                break
            span = self._runs[lane][0][-1]
            known = self._ends.get(lane)
            if known is not None and known[0] == span:
                return known[1]
            try:
                segment = decode_segment(span, await self._objects.get(span.key))
            except NotFound:
                await self.refresh()
                continue
            self._ends[lane] = (span, segment.top)
            return segment.top
        raise _vanished(lane)


def another(lane: int, seq: int) -> Forked:
    """The archive holds something else there than it should."""
    folder = lane_folder(lane)
    return Forked(f"{folder}: holds another record at seq {seq}", object=folder)


def _missing(hole: Span) -> str:
    return f"seqs {hole.first} to {hole.last} are missing, but later ones are there"


def _vanished(lane: int) -> Corrupt:
    folder = lane_folder(lane)
    return Corrupt(f"{folder}: a segment that is listed is not there", object=folder)
