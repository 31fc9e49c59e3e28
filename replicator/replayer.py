"""Turns the events of other lanes back into API calls: everything that the local log holds beyond what is applied.

One worker per lane, of every lane but those that this process writes: other DCs' lanes, and orphaned ones of our own.
Lanes do not wait for each other. A failure that may pass blocks its lane and is tried again; an event that can't be
applied is parked by syssvc and the lane goes on. A restart needs nothing: what is applied is asked for.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple

from core import limits
from core.errors import BadSignature, LaneGap, PlanBError
from core.ids import Lane
from core.system import Clock, Entropy
from events.ports import LogReader, Trimmed
from events.record import KIND_EVENT, Record
from replicator.backoff import Backoff
from replicator.growth import Growth
from replicator.lag import LagMeter
from replicator.link import ReplayTarget
from replicator.names import DcNames

_EXTEND_MAX = 8
"""How many batches' worth of records are tried as one when a signature in the middle is not valid."""

log = logging.getLogger(__name__)


class Blocked(NamedTuple):
    """A lane that does not move at present."""

    lane: int
    after: int
    reason: str
    tries: int


class Replayer:
    """One per process."""

    def __init__(
        self,
        *,
        event_log: LogReader,
        growth: Growth,
        target: ReplayTarget,
        names: DcNames,
        live: Callable[[], frozenset[int]],
        lag: LagMeter,
        now_ms: Clock,
        entropy: Entropy,
    ) -> None:
        self._log = event_log
        self._growth = growth
        self._target = target
        self._names = names
        self._live = live
        self._lag = lag
        self._now_ms = now_ms
        self._entropy = entropy
        self._posts = asyncio.Semaphore(limits.REPLAY_POSTS_MAX)
        self.applied: dict[int, int] = {}
        """lane -> seq, as syssvc said last."""
        self.blocked: dict[int, Blocked] = {}
        self.replayed = 0
        """Events."""

    async def run(self) -> None:
        """Replays until cancelled."""
        await self._begin()
        workers: set[int] = set()
        async with asyncio.TaskGroup() as group:
            while True:
                for lane in self._growth.tops.keys() - workers - self._live():
                    workers.add(lane)
                    group.create_task(self._lane(lane), name=f"replay {self._names.lane(lane)}")
                await self._growth.changed()

    def behind(self) -> dict[int, int]:
        """lane -> records that are durable here and not applied yet; only lanes that have any."""
        live = self._live()
        found = {
            lane: top.seq - self.applied.get(lane, 0) for lane, top in self._growth.tops.items() if lane not in live
        }
        return {lane: count for lane, count in found.items() if count > 0}

    async def _begin(self) -> None:
        backoff = Backoff(self._entropy)
        while True:
            try:
                self.applied = await self._target.applied()
                return
            except PlanBError as error:
                log.warning("syssvc does not say what is applied: %s", error.detail)
                await backoff.wait()

    async def _lane(self, lane: int) -> None:
        backoff = Backoff(self._entropy)
        extend = 0
        while True:
            await self._until_grown(lane)
            after = self.applied.get(lane, 0)
            try:
                batch = await self._batch(lane, after, extend)
                if batch:
                    await self._post(lane, batch)
                    self._went_on(lane)
                    backoff.reset()
                    extend = 0
                    continue
                reason = "no signed record follows"
            except LaneGap as error:
                self.applied.update(await self._applied_or(self.applied))
                reason = error.detail
            except BadSignature as error:
                # A later signature of the same origin vouches for these records as well.
                extend = min(extend + 1, _EXTEND_MAX)
                reason = error.detail
            except Trimmed as error:
                reason = f"{error}, and only {after} is applied: this datacenter must be restored"
            except PlanBError as error:
                reason = error.detail
            self._stopped(lane, after, reason, backoff)
            await backoff.wait()

    async def _until_grown(self, lane: int) -> None:
        while True:
            top = self._growth.tops.get(lane)
            if top is not None and top.seq > self.applied.get(lane, 0) and lane not in self._live():
                return
            await self._growth.changed()

    async def _batch(self, lane: int, after: int, extend: int) -> list[Record]:
        """Records after `after` through a signed one, within the bounds. `extend` asks for so many signed ones more
        than fit."""
        records: list[Record] = []
        size = 0
        end = 0
        while len(records) < limits.REPLAY_RECORDS_MAX * (1 + extend):
            chunk = await self._log.read(lane, after, min(limits.LANE_BATCH_MAX, limits.REPLAY_RECORDS_MAX))
            for record in chunk:
                size += len(record.body) + 128
                if size > limits.REPLAY_BYTES_MAX and end:
                    return records[:end]
                records.append(record)
                if record.signature:
                    end = len(records)
            if not chunk:
                break
            after = chunk[-1].seq
        return records[:end]

    async def _post(self, lane: int, batch: list[Record]) -> None:
        origin = self._names.name(Lane.of(lane).dc)
        async with self._posts:
            applied = await self._target.replay(origin, batch)
        self.applied.update(applied)
        if self.applied.get(lane, 0) < batch[-1].seq:
            raise LaneGap(f"syssvc has applied {self.applied.get(lane, 0)} of {batch[-1].seq}")
        now_ms = self._now_ms()
        for record in batch:
            if record.kind == KIND_EVENT:
                self._lag.note(origin, record.id, now_ms)
                self.replayed += 1

    async def _applied_or(self, otherwise: dict[int, int]) -> dict[int, int]:
        try:
            return await self._target.applied()
        except PlanBError:
            return otherwise

    def _stopped(self, lane: int, after: int, reason: str, backoff: Backoff) -> None:
        if lane not in self.blocked:
            log.warning("replay of %s after %d is blocked: %s", self._names.lane(lane), after, reason)
        self.blocked[lane] = Blocked(lane, after, reason, backoff.failures + 1)

    def _went_on(self, lane: int) -> None:
        if self.blocked.pop(lane, None) is not None:
            log.info("replay of %s goes on", self._names.lane(lane))
