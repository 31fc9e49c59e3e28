"""Brings events into the stores of this DC: the one code that own commits, replay and recovery all use.

Per batch, in this order (a crash between any two steps is repaired by applying again from the smallest frontier):

    1. plan       effects, audience, touches: pure; what can't be planned is parked     (planner.py, plan.py)
    2. decide     the hot store's CRDT metadata names the losers of lww columns          (row_writer.py)
    3. relational one guarded transaction, with its frontier                             (row_writer.py)
    4. messages   rows written behind, with their frontier                               (row_writer.py)
    5. hot        updates + pts, dialogs, unread, results: one atomic call with frontier (hot_writer.py, feeding.py)
    6. progress   the applied frontier and V move; only now can a cursor cover the batch (progress.py)
    7. announce   the brokers of this DC are told; may be lost                           (announce.py)

What becomes of what was parked is in parking.py and drops.py.
"""

import asyncio
import logging
from collections.abc import Collection, Container, Mapping, Sequence
from time import perf_counter

from core import limits
from core.action import Action
from core.clock import HybridClock
from core.durations import Durations
from core.errors import Conflict, Corrupt, Overloaded, StoreUnavailable
from core.system import Clock
from events.codec import Codec
from events.ports import LogReader, Top, Trimmed
from events.record import Entry
from stores.announce import Announce, Announcer, Heard
from stores.apply_queue import ApplyQueue
from stores.drops import Drops
from stores.event_finder import EventFinder
from stores.fitness import refusal
from stores.hot_writer import HotWriter
from stores.parking import Parking
from stores.plan import Planned
from stores.planner import Planner
from stores.ports import Frontier, HotStore, Mark, MessageStore, Parked, RelationalStore
from stores.progress import NOWHERE, Progress
from stores.row_writer import RowWriter
from stores.timeline import Timeline
from stores.view import StoreView

log = logging.getLogger(__name__)


class _TooManyParked(StoreUnavailable):
    """The lane stops here until some were retried."""


class Applier:
    """Applies entries of all lanes, one batch at a time; callers that wait meanwhile form the next batch."""

    def __init__(
        self,
        *,
        event_log: LogReader,
        relational: RelationalStore,
        messages: MessageStore,
        hot: HotStore,
        view: StoreView,
        actions: Mapping[str, type[Action]],
        codec: Codec,
        clock: HybridClock,
        now_ms: Clock,
        own_lanes: Container[int],
        heard: Heard = lambda owner: True,
        announce: Announce | None = None,
    ) -> None:
        """`own_lanes`: those that this DC writes. `heard` says for whom updates are announced; `announce` tells the
        brokers, through the hot store unless it is given."""
        self._log = event_log
        self._relational = relational
        self._clock = clock
        self._own_lanes = own_lanes
        self.progress = Progress()
        self._drops = Drops(event_log, relational, view)
        self._planner = Planner(actions, codec, self.progress, self._drops)
        self._rows = RowWriter(relational, messages, hot, view)
        self._hot = HotWriter(
            event_log=event_log,
            relational=relational,
            messages=messages,
            hot=hot,
            view=view,
            planner=self._planner.again,
            now_ms=now_ms,
        )
        self._announcer = Announcer(announce or hot.announce, view, own_lanes, heard)
        self._busy = asyncio.Lock()
        """Held by whoever writes: whom a batch feeds depends on what the ones before it have written."""
        self._parking = Parking(
            event_log=event_log,
            planner=self._planner,
            drops=self._drops,
            rows=self._rows,
            hot=self._hot,
            announcer=self._announcer,
            progress=self.progress,
            busy=self._busy,
        )
        self._queue = ApplyQueue(self._batch)
        self.applied_events = 0
        self.row_times, self.hot_times = Durations(), Durations()
        """How long the rows of a batch take, and its hot state."""
        self.far_ahead: dict[int, int] = {}
        """lane -> events of others, since the start, that were stamped too far ahead to move our clock: an alarm."""
        self.finder = EventFinder(event_log, codec, self.progress)
        self.timeline = Timeline(now_ms)
        view.find_event = self.finder.applied
        view.promise = self._parking.promise
        view.forgo = self._drops.forgo
        view.passed = lambda lane, seq: self.progress.applied.get(lane, NOWHERE).seq >= seq

    # -- life

    async def start(self) -> None:
        """Recovery: brings every store up to what the log holds durably, then takes new work."""
        cold = await self._rows.open()
        parked = [(item.lane, item.seq, item.id) for item in await self._relational.parked()]
        tops = await self._log.tops()
        self.progress.load(cold, parked)
        await self._drops.recall(tops, cold, self._planner.again)
        await self._hot.open(cold, self.progress.v())
        hot = self._hot.frontier
        start = {lane: mark for lane in cold if (mark := min(cold[lane], hot.get(lane, NOWHERE))).seq}
        self.progress.load(start, parked)
        for lane, top in tops.items():
            try:
                await self._catch_up(lane, top)
            except _TooManyParked as error:  # the operator needs a running DC to retry them
                log.error("lane %d stands still: %s", lane, error.detail)
        await self._parking.hear(())
        self.timeline.begin(self.progress.applied)
        self._queue.start()

    async def close(self) -> None:
        """Ends after the batch at hand, at most LANE_CLOSE_MS_MAX; what waits is refused with StoreUnavailable."""
        await self._queue.close()

    @property
    def epoch(self) -> int:
        """The hot store's; 0 before `start`."""
        return self._hot.epoch

    @property
    def superseded_writes(self) -> int:
        """lww writes that were older than what stood there when they came: no loss, the newer one counts everywhere."""
        return self._rows.superseded_writes

    @property
    def queued(self) -> int:
        """Entries that wait to be applied."""
        return self._queue.waiting

    # -- work

    async def apply(self, entries: Sequence[Entry]) -> None:
        """Returns when relational and hot state hold the entries and their message rows are queued.

        Entries are dense per lane; those at or below the applied frontier are skipped. Raises StoreUnavailable
        (nothing is lost: apply the same entries again), Corrupt for a gap, Overloaded when too much waits.
        A caller that is cancelled does not take its entries back.
        """
        if entries:
            await self._queue.put(entries)

    async def retry_parked(self, lane: int, seq: int) -> None:
        """Tries a parked event again, exactly where it stands. Conflict if this DC has agreed to drop it; NotFound if
        it is not parked, or neither log nor archive gives its record; Undecodable if it still can't be applied;
        StoreUnavailable: it is still parked, try again."""
        if await self._parking.retry(lane, seq):
            self.applied_events += 1
            self.timeline.retried(lane, seq)

    async def catch_up(self, own: Top) -> None:
        """What a lane writer calls when it has taken its lane: applies what stands between us and its end. Records
        that a former owner appended after `start` had looked are found here."""
        for lane, top in (await self._log.tops()).items():
            if top == own:
                await self._catch_up(lane, top)

    async def stored(self) -> dict[int, int]:
        """lane -> seq: what every store holds, so that no crash and no power failure takes it back. Syncs them."""
        return await self._rows.stored(dict(self.progress.applied))

    async def settled(self) -> None:
        """Returns between two batches: what the frontier covers has had all its effects, also a drop."""
        async with self._busy:
            return

    async def tick(self) -> None:
        """Moves the frontiers of stores that had nothing to write lately, so that recovery and snapshots begin
        near the present, and rebuilds the hot store if it was lost. Called now and then."""
        async with self._busy:
            applied = dict(self.progress.applied)
            await self._rows.move(applied)
            await self._hot.check(applied, self.progress.v())
            await self._parking.forget_dropped()

    async def rebuild_hot(self, epoch: int) -> int:
        """Derives all hot state again from the other stores and the log; the new epoch's number. Conflict if it is not
        in `epoch`: somebody was quicker, or this is a repeat. StoreUnavailable: a batch or a tick makes it good."""
        async with self._busy:
            if epoch != self._hot.epoch:
                raise Conflict(f"hot state is in epoch {self._hot.epoch}, not {epoch}: nothing was done")
            await self._hot.rebuild(dict(self.progress.applied), self.progress.v())
            return self._hot.epoch

    async def _batch(self, entries: Sequence[Entry], *, announce: bool = True) -> None:
        async with self._busy:
            fresh, marks = self._fresh(entries)
            if not marks:
                return
            planned, parked = self._planner.plan(fresh)
            try:
                await self._write(planned, parked, marks, announce)
            except (StoreUnavailable, Overloaded, Corrupt):
                raise
            except Exception:
                refused = {item.event.id: reason for item in planned if (reason := refusal(item))}
                if not refused:
                    raise
                log.exception("%d events can't be held by the stores: parked", len(refused))
                for item in planned:
                    if reason := refused.get(item.event.id, ""):
                        parked.append(Parked(item.entry.lane, item.entry.seq, item.entry.id, reason))
                kept = [item for item in planned if item.event.id not in refused]
                await self._write(kept, parked, marks, announce)

    # -- the steps

    def _fresh(self, entries: Sequence[Entry]) -> tuple[list[Entry], dict[int, Mark]]:
        """Drops what is applied already, refuses gaps; where each lane will stand after the batch."""
        fresh: list[Entry] = []
        marks: dict[int, Mark] = {}
        for entry in entries:
            at = marks.get(entry.lane) or self.progress.applied.get(entry.lane, NOWHERE)
            if entry.seq <= at.seq:
                continue
            if entry.seq != at.seq + 1:
                raise Corrupt(f"lane {entry.lane}: seq {entry.seq} after {at.seq}")
            marks[entry.lane] = Mark(entry.seq, entry.id)
            fresh.append(entry)
        return fresh, marks

    async def _write(
        self, planned: Sequence[Planned], parked: Sequence[Parked], marks: Frontier, announce: bool
    ) -> None:
        if parked and sum(map(len, self.progress.parked.values())) + len(parked) > limits.PARKED_MAX:
            raise _TooManyParked(f"more than {limits.PARKED_MAX} events are parked: retry them first")
        reached = {**self.progress.applied, **marks}
        began = perf_counter()
        effects = await self._rows.write(planned, parked, reached)
        written = perf_counter()
        places = [(item.lane, item.seq, item.id) for item in parked]
        v_after = self.progress.v_after(marks, places)
        progress = self.progress
        feeds, pts = await self._hot.write(planned, marks, progress.applied, progress.v(), v_after)
        self.row_times.note(written - began)
        self.hot_times.note(perf_counter() - written)
        for place in places:
            progress.park(*place)
        ahead = set()
        for lane, mark in marks.items():
            progress.advance(lane, mark)
            if not self._clock.see(mark.id):
                ahead.add(lane)
        if ahead:
            self._see_each(planned, ahead)
        self.timeline.note(marks)
        self.applied_events += len(planned)
        if announce:
            await self._announcer.announce(planned, feeds, pts)
        words = {effect.key[:2] for _, effect in effects if effect.table == "drops"}
        if words:
            await self._parking.hear(words)

    def _see_each(self, planned: Sequence[Planned], lanes: Collection[int]) -> None:
        """Of lanes that end beyond the clock's bound: what does not moves the clock all the same."""
        for item in planned:
            lane = item.entry.lane
            if lane in lanes and not self._clock.see(item.entry.id) and lane not in self._own_lanes:
                self.far_ahead[lane] = self.far_ahead.get(lane, 0) + 1

    # -- recovery

    async def _catch_up(self, lane: int, top: Top) -> None:
        while (at := self.progress.applied.get(lane, NOWHERE)).seq < top.seq:
            try:
                records = await self._log.read(lane, at.seq, limits.LANE_BATCH_MAX)
            except Trimmed as trimmed:
                raise Corrupt(
                    f"lane {lane} is applied through {at.seq} only, and the log begins at {trimmed.first}: restore"
                ) from trimmed
            if not records:
                return
            await self._batch(self._planner.entries(records), announce=False)
