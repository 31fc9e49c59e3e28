"""What becomes of a parked event: it is tried again, promised to be dropped, or dropped.

An event that is tried again has no frontier to move: it stays parked until all stores hold it durably. Its place was
passed long ago, so what waited for V to get there (groups whose membership changed behind it) is fed with it.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from core import limits
from core.errors import Conflict, NotFound, PlanBError, StoreUnavailable, Undecodable
from events.ports import LogReader, Trimmed
from stores.announce import Announcer
from stores.drops import Drops
from stores.feeding import changed_groups
from stores.fitness import refusal
from stores.hot_writer import HotWriter
from stores.plan import Planned
from stores.planner import Planner
from stores.progress import NOWHERE, Progress
from stores.row_writer import RowWriter

log = logging.getLogger(__name__)


class Parking:
    """One per Applier, whose parts it uses; `busy` is held by whoever writes."""

    def __init__(
        self,
        *,
        event_log: LogReader,
        planner: Planner,
        drops: Drops,
        rows: RowWriter,
        hot: HotWriter,
        announcer: Announcer,
        progress: Progress,
        busy: asyncio.Lock,
    ) -> None:
        self._log = event_log
        self._planner = planner
        self._drops = drops
        self._rows = rows
        self._hot = hot
        self._announcer = announcer
        self._progress = progress
        self._busy = busy

    async def retry(self, lane: int, seq: int) -> bool:
        """See Applier.retry_parked. False if somebody else was faster."""
        item = await self._parked_event(lane, seq)
        groups, at = await self._groups_behind(lane, seq)
        async with self._busy:
            if not self._progress.is_parked(lane, seq):
                return False
            if self._drops.hold((lane, seq)):
                raise Conflict(f"this datacenter has agreed to drop seq {seq}")
            groups |= (await self._groups_behind(lane, at))[0]
            await self._rows.write_again(item, dict(self._progress.applied))
            await self._unpark(lane, seq, [item], groups)
            return True

    async def promise(self, lane: int, seq: int) -> bool:
        """Is it parked? Then it is not tried again by this process from now on: this DC is about to agree to drop it.
        What stands in its lane decides that afterwards, or `Drops.forgo`."""
        async with self._busy:
            parked = self._progress.is_parked(lane, seq)
            if parked:
                self._drops.promise((lane, seq))
            return parked

    async def hear(self, places: Collection[tuple[Any, ...]]) -> None:
        """Datacenters have said something of these places. Nothing here fails the batch, which is applied: the next
        `forget_dropped` does what was left."""
        try:
            await self._drops.note(places)
            await self.forget_dropped()
        except PlanBError as error:
            log.warning("a dropped event is still parked: %s", error.detail)

    async def forget_dropped(self) -> None:
        """What all datacenters have agreed to drop is parked no more: V moves on, and the collection bound. The caller
        holds `busy`."""
        for lane, seqs in self._progress.parked.items():
            for seq in seqs:
                if (lane, seq) in self._drops.dropped:
                    groups, _ = await self._groups_behind(lane, seq)
                    await self._unpark(lane, seq, [], groups)
                    log.warning("lane %d: the event at seq %d is dropped, as all datacenters agreed", lane, seq)

    async def _parked_event(self, lane: int, seq: int) -> Planned:
        if not self._progress.is_parked(lane, seq):
            raise NotFound(f"seq {seq} is not parked")
        try:
            records = await self._log.read(lane, seq - 1, 1)
        except Trimmed:
            records = []
        if not records:
            raise NotFound(f"neither the log nor the archive gives the record at seq {seq}")
        [entry] = self._planner.entries(records)
        item = self._planner.one(entry)
        reason = refusal(item) if item is not None else entry.problem
        if item is None or reason:
            raise Undecodable(f"it still can't be applied: {reason}")
        return item

    async def _unpark(self, lane: int, seq: int, items: Sequence[Planned], groups: Mapping[str, None]) -> None:
        progress = self._progress
        applied = dict(progress.applied)
        first = progress.parked[lane][0] == seq
        v_after = progress.v_after({}, (), lane) if first else progress.v()
        feeds, pts = await self._hot.write_again(
            items, groups if first else {}, progress.applied, progress.v(), v_after
        )
        await self._rows.unpark(lane, seq, applied)
        progress.unpark(lane, seq)
        await self._announcer.announce(items, feeds, pts)

    async def _groups_behind(self, lane: int, seq: int) -> tuple[dict[str, None], int]:
        """The groups whose membership the lane has changed since `seq` (what knew of that waits for V to get there),
        and through where the lane was looked at."""
        found: dict[str, None] = {}
        while seq < self._progress.applied.get(lane, NOWHERE).seq:
            try:
                records = await self._log.read(lane, seq, limits.LANE_BATCH_MAX)
            except Trimmed as error:
                raise StoreUnavailable("the records behind it can't be read now", private=str(error)) from error
            if not records:
                break
            found |= changed_groups(self._planner.again(records))
            seq = records[-1].seq
        return found, seq
