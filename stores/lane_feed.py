"""Applies the lanes that other processes of this datacenter write: what they hand over, and what they left behind.

Whoever writes a lane appends first and then has it applied. One that died between the two is answered for here: what
stands in the log is applied by whoever applies, without being asked.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from core import limits
from core.errors import Invalid, PlanBError
from events.codec import Codec
from events.ports import LogReader, Top, Trimmed
from events.record import Record
from stores.apply import Applier
from stores.progress import NOWHERE

log = logging.getLogger(__name__)


class LaneFeed:
    """Of the process that applies."""

    def __init__(self, event_log: LogReader, applier: Applier, codec: Codec, others: Callable[[int], bool]) -> None:
        """`others`: may another process of this datacenter write this lane?"""
        self._log = event_log
        self._applier = applier
        self._entry = codec.entry
        self._others = others
        self._seen: Mapping[int, Top] = {}
        self.drained = 0
        """Records that nobody had handed over in time."""

    async def apply(self, lane: int, through: int, records: Sequence[Record]) -> None:
        """Returns when the lane is applied through this seq. `records` end there, and spare reading them from the log;
        they are in it. Repeatable. Invalid for a lane that nobody else writes; otherwise as Applier.apply, and
        LogUnavailable."""
        if not self._others(lane):
            raise Invalid(f"lane {lane} is not written by another process of this datacenter")
        at = self._at(lane)
        if at >= through:
            return
        if records and records[0].seq <= at + 1:
            await self._applier.apply([self._entry(record) for record in records])
        else:
            await self._read(lane, through)

    async def drain(self, lane: int) -> None:
        """Applies what the log holds of the lane now."""
        top = (await self._log.tops()).get(lane)
        if top is not None and top.seq > self._at(lane):
            self.drained += top.seq - self._at(lane)
            await self._read(lane, top.seq)

    async def look(self, tops: Mapping[int, Top]) -> None:
        """Drains the lanes of which something stood in the log at the last look already, and is still not applied.
        Called now and then; `tops` are the log's."""
        seen, self._seen = self._seen, tops
        for lane, top in seen.items():
            if self._others(lane) and top.seq > self._at(lane):
                try:
                    await self.drain(lane)
                except (PlanBError, Trimmed) as error:
                    log.warning("lane %d stands still at %d: %s", lane, self._at(lane), error)

    def _at(self, lane: int) -> int:
        return self._applier.progress.applied.get(lane, NOWHERE).seq

    async def _read(self, lane: int, through: int) -> None:
        while (at := self._at(lane)) < through:
            records = await self._log.read(lane, at, limits.LANE_BATCH_MAX)
            if not records:
                return
            await self._applier.apply([self._entry(record) for record in records])
            await asyncio.sleep(0)
