"""The archiver: seals all lanes of a DC's event log, its own and the copies of the others', into the archive.

What is archived is derived from the listing alone, so a crash at any point costs nothing: a segment is there or not,
and the next start goes on after the last one. Small segments are merged later: the merged one is put first, then the
small ones are deleted, and readers bear both. A log that contradicts the archive is an alarm (`troubles`); that lane
stands still, the others go on.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping

from core import limits
from core.errors import Corrupt, Forked, Invalid, NotFound, PlanBError, Unavailable
from events.ports import EventLog, Top, Trimmed
from events.record import Record
from snapshot.archive import EMPTY, Archive, contiguous
from snapshot.segment import PREFIX, Segment, Span, decode_segment, encode_segment
from stores.ports import ObjectStore

_log = logging.getLogger(__name__)
_NOT_AS_IT_SHOULD_BE = (Corrupt, NotFound, Invalid)
"""What stops a lane, and no more than it. Invalid: a folder has the place of an object, or the other way round."""


class Archiver:
    """Runs once per DC. Two at a time do no harm but waste.

    `anchors`: where lanes begin that this log never had from seq 1 (a DC that was started from another one's
    snapshot): the place before their first record.
    """

    def __init__(
        self,
        log: EventLog,
        objects: ObjectStore,
        *,
        anchors: Mapping[int, Top] | None = None,
        interval_ms: int = limits.ARCHIVE_INTERVAL_MS,
        records_max: int = limits.SEGMENT_RECORDS_MAX,
        small_max: int = limits.SEGMENTS_SMALL_MAX,
        merged_below: int = limits.SEGMENT_MERGED_BELOW,
    ) -> None:
        """A segment of `merged_below` records is not small."""
        self._log = log
        self._objects = objects
        self._anchors = dict(anchors or {})
        self._interval_s = interval_ms / 1_000
        self._records_max = records_max
        self._small_max = small_max
        self._large = min(records_max, merged_below)
        self._archive = Archive(objects)
        self._busy = asyncio.Lock()
        self._tops: dict[int, Top] = {}
        """Archived through; a lane that is missing here is derived from the listing."""
        self._checked: set[int] = set()
        """Lanes whose log was found to agree with the archive."""
        self._small: dict[int, list[Span]] = {}
        """Per lane the segments at its end that may still be merged."""
        self._ended: dict[int, list[list[Span]]] = {}
        """Per lane those that no more will follow, to be merged now."""
        self._stopped: dict[int, PlanBError] = {}
        self._unmerged: dict[int, PlanBError] = {}
        self._failed: PlanBError | None = None

    @property
    def failed(self) -> PlanBError | None:
        """Why the last attempt could not go on at all: object storage, or the log, does not answer. None when it did.
        It is tried again; as long as it lasts nothing is archived."""
        return self._failed

    @property
    def troubles(self) -> dict[int, PlanBError]:
        """Lanes that can't be archived or merged, and why. Empty when all is well; each is an alarm."""
        return self._unmerged | self._stopped

    def tops(self) -> dict[int, Top]:
        """How far each lane is archived, as far as this archiver knows: never more than the truth."""
        return dict(self._tops)

    async def run(self) -> None:
        """Archives until cancelled: woken by the log, at most once per interval; what failed is tried again."""
        while True:
            try:
                async for _ in self._log.follow():
                    await asyncio.sleep(self._interval_s)  # collect: a segment for each record would be a waste
                    await self.seal()
            except Unavailable as error:
                _log.warning("archiving failed and will be tried again: %s", error.detail)
            await asyncio.sleep(self._interval_s)

    async def seal(self) -> int:
        """Archives everything that the log holds now; the number of records sealed.

        Raises StoreUnavailable or LogUnavailable when it could not go on; repeating it is right. A lane that
        contradicts the archive is not an error here but one of `troubles`.
        """
        async with self._busy:
            try:
                sealed = await self._seal_all()
            except PlanBError as error:
                self._failed = error
                raise
            self._failed = None
            return sealed

    async def _seal_all(self) -> int:
        sealed = 0
        for lane, end in sorted((await self._log.tops()).items()):
            try:
                sealed += await self._guarded(lane, end)
            except BaseException:
                self._tops.pop(lane, None)  # a write may or may not have happened: ask the listing
                raise
        return sealed

    async def _guarded(self, lane: int, end: Top) -> int:
        try:
            sealed = await self._seal_lane(lane, end)
        except _NOT_AS_IT_SHOULD_BE as error:
            if str(self._stopped.get(lane)) != str(error):
                _log.error("lane %d can not be archived: %s", lane, error.detail)
            self._stopped[lane] = error
            return 0
        self._stopped.pop(lane, None)
        try:
            await self._merge(lane)
        except _NOT_AS_IT_SHOULD_BE as error:
            _log.error("segments of lane %d can not be merged: %s", lane, error.detail)
            self._unmerged[lane] = error
            self._small[lane] = []
            self._ended.pop(lane, None)
        return sealed

    # -- sealing

    async def _seal_lane(self, lane: int, end: Top) -> int:
        if lane not in self._tops:
            self._checked.discard(lane)
            self._tops[lane] = await self._derive(lane)
        top = self._tops[lane]
        if lane not in self._checked or end.seq < top.seq:
            await self._check_against_log(top, lane, end)
            self._checked.add(lane)
        sealed = 0
        while top.seq < end.seq and (records := await self._take(lane, top, end)):
            span, data = await asyncio.to_thread(encode_segment, top, records)
            if not await self._objects.put_new(span.key, data):
                await self._check_same(span, records)
            top = self._tops[lane] = Top.of(records[-1])
            sealed += len(records)
            self._note(span)
        return sealed

    async def _take(self, lane: int, top: Top, end: Top) -> list[Record]:
        """The next segment's records: as many as there are and fit, and none beyond the log's `end`. Forked if the log
        gives another record there than its end tells."""
        records: list[Record] = []
        size = 0
        after = top.seq
        while len(records) < self._records_max and size < limits.SEGMENT_BYTES_MAX and after < end.seq:
            want = min(limits.PULL_RECORDS_MAX, self._records_max - len(records), end.seq - after)
            try:
                found = await self._log.read(lane, after, want)
            except Trimmed as error:
                if records:
                    break
                raise Corrupt(
                    f"the archive of lane {lane} ends at seq {top.seq}, but the log begins at seq {error.first}"
                ) from error
            if not found:
                break
            for record in found:
                records.append(record)
                size += len(record.body)
                if size >= limits.SEGMENT_BYTES_MAX:
                    break
            after = records[-1].seq
        if after == end.seq and records[-1].hash != end.hash:
            raise Forked(f"lane {lane}: the log ends with another record at seq {after} than it gives")
        return records

    async def _check_against_log(self, top: Top, lane: int, end: Top) -> None:
        """Forked if log and archive hold different records at the last place that both have."""
        seq = min(top.seq, end.seq)
        if seq == 0:
            return
        if seq == end.seq:
            in_log = end
        else:
            try:
                in_log = Top.of((await self._log.read(lane, seq - 1, 1))[0])
            except Trimmed:
                return  # the next record's hash tells, when it is sealed
        archived = top if seq == top.seq else await self._archive.place(lane, seq)
        if in_log.hash != archived.hash:
            raise Forked(f"lane {lane}: log and archive hold different records at seq {seq}")

    async def _check_same(self, span: Span, records: list[Record]) -> None:
        """A segment of this name was there already: ours, from before a crash, or a contradiction."""
        there = await self._load(span)
        if there.top.hash != records[-1].hash:
            raise Forked(f"{span.key} holds other records than the log")

    # -- what is there

    async def _derive(self, lane: int) -> Top:
        """The end of a lane by the listing. Clears away what an interrupted merge has left."""
        spans = [span async for key in self._objects.list(f"{PREFIX}{lane}/") if (span := Span.of(key))]
        chosen = contiguous(spans)
        self._small[lane] = []
        if not chosen:
            return self._anchors.get(lane, EMPTY)
        for container in chosen:
            covered = [span for span in spans if span != container and container.covers(span)]
            if covered:
                await self._load(container)  # verified before anything that it replaces goes
                await self._delete(covered)
        for span in chosen:
            self._note(span)
        self._ended.pop(lane, None)  # as they were left: a start reads no more of an archive than its end
        return (await self._load(chosen[-1])).top

    async def _load(self, span: Span) -> Segment:
        data = await self._objects.get(span.key)
        return await asyncio.to_thread(decode_segment, span, data)

    async def _delete(self, spans: Iterable[Span]) -> None:
        for span in spans:
            await self._objects.delete(span.key)

    # -- merging

    def _note(self, span: Span) -> None:
        """A new last segment. A large one stays as it is: reading it again costs more than an object less saves."""
        run = self._small.setdefault(span.lane, [])
        if span.size < self._large:
            run.append(span)
            return
        if len(run) > 1:
            self._ended.setdefault(span.lane, []).append(run)
        self._small[span.lane] = []

    async def _merge(self, lane: int) -> None:
        """Merges what small segments stand before a large one, and those at the lane's end if there are too many."""
        for ended in self._ended.pop(lane, ()):
            await self._into_few(ended)
        run = self._small.get(lane, [])
        if len(run) > self._small_max:
            last = await self._into_few(run)
            self._small[lane] = []
            self._note(last)

    async def _into_few(self, run: list[Span]) -> Span:
        """Merges neighbours into as few segments as the bounds allow; the last one."""
        group: list[Segment] = []
        for span in run:
            segment = await self._load(span)
            count = sum(other.span.size for other in group) + span.size
            total_bytes = sum(other.payload_bytes for other in group) + segment.payload_bytes
            if group and (count > self._records_max or total_bytes > limits.SEGMENT_BYTES_MAX):
                await self._replace(group)
                group = []
            group.append(segment)
        return await self._replace(group)

    async def _replace(self, group: list[Segment]) -> Span:
        """One segment instead of several: the new one first, then the old ones go."""
        if len(group) == 1:
            return group[0].span
        records: list[Record] = []
        for segment in group:
            have = records[-1].seq if records else segment.previous.seq
            records += segment.records[have + 1 - segment.span.first :]
        span, data = await asyncio.to_thread(encode_segment, group[0].previous, records)
        if not await self._objects.put_new(span.key, data):
            await self._check_same(span, records)
        await self._delete(segment.span for segment in group if segment.span != span)
        return span
