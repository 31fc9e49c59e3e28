"""Brings events into the stores of this DC: the one code that own commits, replay and recovery all use.

Per batch, in this order (a crash between any two steps is repaired by applying again from the smallest frontier):

    1. plan      effects, audience, touches: pure; what can't be planned is parked
    2. decide    the hot store's CRDT metadata names the losers of lww columns (counted as conflicts)
    3. relational one guarded transaction, with its frontier
    4. messages  rows written behind, with their frontier
    5. hot       updates + pts, dialog index, unread window, results: one atomic call with its frontier
    6. progress  the applied frontier and V move; only now can a cursor claim to cover the batch
    7. announce  the brokers of this DC are told; may be lost

A parked event that is tried again has no frontier to move: it stays parked until all stores hold it durably.
"""

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from core import limits
from core.action import Action
from core.clock import HybridClock
from core.drops import dropped, given
from core.errors import Conflict, Corrupt, NotFound, Overloaded, PlanBError, StoreUnavailable, Undecodable
from core.system import Clock
from core.tables import Effect
from events.codec import Codec
from events.ports import LogReader, Top, Trimmed
from events.record import Entry, Record
from stores.announce import Announcer, Heard
from stores.apply_queue import ApplyQueue
from stores.feeding import changed_groups
from stores.fitness import reason_of, refusal
from stores.hot_writer import HotWriter
from stores.plan import Planned, changes, plan, relational_results, stamped
from stores.ports import (
    Frontier,
    HotStore,
    Mark,
    MessageStore,
    Parked,
    RelationalBatch,
    RelationalStore,
    Result,
    Stamped,
)
from stores.progress import NOWHERE, Progress
from stores.view import StoreView

log = logging.getLogger(__name__)


_DROP = "parked.drop"
_SILENT: Mapping[str, Any] = {"dcs": None, "agreed": 0, "applied": 0}
_STORED = "stored"
"""Meta: written for its sync, which takes along all that was written before."""


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
        own_lanes: Collection[int],
        heard: Heard = lambda owner: True,
    ) -> None:
        """`heard` says for whom updates are announced."""
        self._log = event_log
        self._relational = relational
        self._messages = messages
        self._hot = hot
        self._view = view
        self._actions = actions
        self._codec = codec
        self._clock = clock
        self._own_lanes = own_lanes
        self._announcer = Announcer(hot, view, own_lanes, heard)
        self._writer = HotWriter(
            event_log=event_log,
            relational=relational,
            messages=messages,
            hot=hot,
            view=view,
            planner=self._planned_again,
            now_ms=now_ms,
        )
        self.progress = Progress()
        self.applied_events = 0
        self.lost_writes = 0
        """lww writes that were older than what stood there when they came."""
        self.far_ahead: dict[int, int] = {}
        """lane -> events of others, since the start, that were stamped too far ahead to move our clock: an alarm."""
        self._promised: set[tuple[int, int]] = set()
        """Places of events that this DC has agreed to drop, or is about to: it does not apply them."""
        self._dropped: set[tuple[int, int]] = set()
        view.promise = self.promise
        view.passed = lambda lane, seq: self.progress.applied.get(lane, NOWHERE).seq >= seq
        self._queue = ApplyQueue(self._batch)
        self._busy = asyncio.Lock()
        """Held by whoever writes: whom a batch feeds depends on what the ones before it have written."""
        self._relational_at: Frontier = {}
        self._messages_at: Frontier = {}

    # -- life

    async def start(self) -> None:
        """Recovery: brings every store up to what the log holds durably, then takes new work."""
        self._relational_at = await self._relational.frontier()
        self._messages_at = await self._messages.frontier()
        parked = [(item.lane, item.seq, item.id) for item in await self._relational.parked()]
        tops = await self._log.tops()
        lanes = set(tops) | set(self._relational_at) | set(self._messages_at)
        cold = {
            lane: mark
            for lane in lanes
            if (mark := min(self._relational_at.get(lane, NOWHERE), self._messages_at.get(lane, NOWHERE))).seq
        }
        self.progress.load(cold, parked)
        await self._recall_drops(tops)
        await self._writer.open(cold, self.progress.v())
        hot = self._writer.frontier
        start = {lane: mark for lane in cold if (mark := min(cold[lane], hot.get(lane, NOWHERE))).seq}
        self.progress.load(start, parked)
        for lane, top in tops.items():
            try:
                await self._catch_up(lane, top)
            except _TooManyParked as error:  # the operator needs a running DC to retry them
                log.error("lane %d stands still: %s", lane, error.detail)
        await self._hear(())
        self._queue.start()

    async def close(self) -> None:
        """Ends after the batch at hand, at most LANE_CLOSE_MS_MAX; what waits is refused with StoreUnavailable."""
        await self._queue.close()

    @property
    def epoch(self) -> int:
        """The hot store's; 0 before `start`."""
        return self._writer.epoch

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
        item = await self._parked_event(lane, seq)
        groups, at = await self._groups_behind(lane, seq)
        async with self._busy:
            if not self.progress.is_parked(lane, seq):
                return  # somebody else was faster
            if (lane, seq) in self._promised | self._dropped:
                raise Conflict(f"this datacenter has agreed to drop seq {seq}")
            groups |= (await self._groups_behind(lane, at))[0]
            await self._write_again(item, groups)

    async def promise(self, lane: int, seq: int) -> bool:
        """Is it parked? Then it is not tried again by this process from now on: this DC is about to agree to drop it.
        What stands in its lane decides that afterwards."""
        async with self._busy:
            parked = self.progress.is_parked(lane, seq)
            if parked:
                self._promised.add((lane, seq))
            return parked

    async def catch_up(self, own: Top) -> None:
        """What a lane writer calls when it has taken its lane: applies what stands between us and its end. Records
        that a former owner appended after `start` had looked are found here."""
        for lane, top in (await self._log.tops()).items():
            if top == own:
                await self._catch_up(lane, top)

    async def stored(self) -> dict[int, int]:
        """lane -> seq: what every store holds, so that no crash and no power failure takes it back. Syncs them."""
        applied = dict(self.progress.applied)  # hot state has it
        frontiers = [await self._relational.frontier(), await self._messages.frontier()]
        await self._relational.set_meta(_STORED, "")
        await self._messages.flush()
        return {lane: min(mark.seq, *(at.get(lane, NOWHERE).seq for at in frontiers)) for lane, mark in applied.items()}

    async def tick(self) -> None:
        """Moves the frontiers of stores that had nothing to write lately, so that recovery and snapshots begin
        near the present, and rebuilds the hot store if it was lost. Called now and then."""
        async with self._busy:
            applied = dict(self.progress.applied)
            if self._relational_at != applied:
                await self._relational.apply(RelationalBatch((), (), (), (), applied))
                self._relational_at = applied
            if self._messages_at != applied:
                await self._messages.ready()
                self._messages.put((), applied)
                self._messages_at = applied
            await self._writer.check(applied, self.progress.v())
            await self._forget_dropped()

    async def _batch(self, entries: Sequence[Entry], *, announce: bool = True) -> None:
        async with self._busy:
            fresh, marks = self._fresh(entries)
            if not marks:
                return
            planned, parked = self._plan(fresh)
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

    def _plan(self, entries: Sequence[Entry]) -> tuple[list[Planned], list[Parked]]:
        """What a store has as parked stays so until it is retried, also if this version could apply it."""
        planned: list[Planned] = []
        parked: list[Parked] = []
        waiting = self.progress.parked
        for entry in entries:
            if waiting and self.progress.is_parked(entry.lane, entry.seq):
                continue
            if self._dropped and (entry.lane, entry.seq) in self._dropped:
                continue
            if self._promised and (entry.lane, entry.seq) in self._promised:
                parked.append(Parked(entry.lane, entry.seq, entry.id, "this datacenter has agreed to drop it"))
                continue
            try:
                item = self._plan_one(entry)
            except Undecodable as error:
                log.error("event %s can't be applied, it is parked: %s", entry.id, error.detail)
                parked.append(Parked(entry.lane, entry.seq, entry.id, error.detail))
            else:
                if item is not None:
                    planned.append(item)
        return planned, parked

    def _plan_one(self, entry: Entry) -> Planned | None:
        """None for a record that holds no event. Undecodable for what this version can't apply."""
        if entry.event is None:
            if entry.problem:
                raise Undecodable(entry.problem)
            return None
        try:
            return plan(entry, entry.event, self._actions[entry.event.action])
        except Exception as error:  # whatever an action raises here, it raises in every DC: never block the lane
            raise Undecodable(reason_of(error)) from error

    def _planned_again(self, records: Sequence[Record]) -> list[Planned]:
        return self._plan([self._codec.entry(record) for record in records])[0]

    async def _write(
        self, planned: Sequence[Planned], parked: Sequence[Parked], marks: Mapping[int, Mark], announce: bool
    ) -> None:
        if parked and sum(map(len, self.progress.parked.values())) + len(parked) > limits.PARKED_MAX:
            raise _TooManyParked(f"more than {limits.PARKED_MAX} events are parked: retry them first")
        reached = {**self.progress.applied, **marks}
        effects = stamped(planned)
        await self._decide(effects)
        await self._write_relational(effects, relational_results(planned), parked, (), reached)
        await self._write_messages(planned, reached)
        places = [(item.lane, item.seq, item.id) for item in parked]
        v_after = self.progress.v_after(marks, places)
        progress = self.progress
        feeds, pts = await self._writer.write(planned, marks, progress.applied, progress.v(), v_after)
        for place in places:
            progress.park(*place)
        ahead = set()
        for lane, mark in marks.items():
            progress.advance(lane, mark)
            if not self._clock.see(mark.id):
                ahead.add(lane)
        if ahead:
            self._see_each(planned, ahead)
        self.applied_events += len(planned)
        if announce:
            await self._announcer.announce(planned, feeds, pts)
        words = {effect.key[:2] for _, effect in effects if effect.table == "drops"}
        if words:
            await self._hear(words)

    async def _hear(self, places: Collection[tuple[Any, ...]]) -> None:
        """Datacenters have said something of these places. Nothing here fails the batch, which is applied: `tick` does
        what was left."""
        try:
            await self._note_drops(places)
            await self._forget_dropped()
        except PlanBError as error:
            log.warning("a dropped event is still parked: %s", error.detail)

    async def _note_drops(self, places: Collection[tuple[Any, ...]]) -> None:
        for lane, seq in places:
            self._weigh((lane, seq), await self._relational.rows("drops", {"lane": lane, "seq": seq}))

    def _weigh(self, place: tuple[int, int], words: Iterable[Mapping[str, Any]]) -> None:
        words = list(words)
        if dropped(words):
            self._dropped.add(place)
        elif given(words, self._view.number):
            self._promised.add(place)
        elif any(row["applied"] and row["dc"] in self._view.dcs for row in words):
            self._promised.discard(place)

    async def _recall_drops(self, tops: Mapping[int, Top]) -> None:
        """What datacenters have said, also in records that are to be applied yet: those of one lane may forbid to apply
        one of another that a newer program than the one that parked it would understand."""
        words: dict[tuple[int, int], list[Mapping[str, Any]]] = {}
        async for rows in self._relational.dump("drops"):
            for row in rows:
                words.setdefault((row["lane"], row["seq"]), []).append({**_SILENT, **row})
        for lane, top in tops.items():
            at = self.progress.applied.get(lane, NOWHERE).seq
            while at < top.seq:
                try:
                    records = await self._log.read(lane, at, limits.LANE_BATCH_MAX)
                except Trimmed:
                    break  # to catch up will fail, and says so
                if not records:
                    break
                at = records[-1].seq
                for item in self._planned_again([one for one in records if _DROP.encode() in one.body]):
                    for effect in item.effects:
                        if effect.table == "drops":
                            row = {**_SILENT, "dc": effect.key[2], **effect.columns}
                            words.setdefault((int(effect.key[0]), int(effect.key[1])), []).append(row)
        for place, said in words.items():
            self._weigh(place, said)

    async def _forget_dropped(self) -> None:
        """What all datacenters have agreed to drop is parked no more: V moves on, and the collection bound."""
        for lane, seqs in self.progress.parked.items():
            for seq in seqs:
                if (lane, seq) in self._dropped:
                    groups, _ = await self._groups_behind(lane, seq)
                    await self._unpark(lane, seq, [], groups)
                    log.warning("lane %d: the event at seq %d is dropped, as all datacenters agreed", lane, seq)

    def _see_each(self, planned: Sequence[Planned], lanes: Collection[int]) -> None:
        """Of lanes that end beyond the clock's bound: what does not moves the clock all the same."""
        for item in planned:
            lane = item.entry.lane
            if lane in lanes and not self._clock.see(item.entry.id) and lane not in self._own_lanes:
                self.far_ahead[lane] = self.far_ahead.get(lane, 0) + 1

    async def _parked_event(self, lane: int, seq: int) -> Planned:
        if not self.progress.is_parked(lane, seq):
            raise NotFound(f"seq {seq} is not parked")
        try:
            records = await self._log.read(lane, seq - 1, 1)
        except Trimmed:
            records = []
        if not records:
            raise NotFound(f"neither the log nor the archive gives the record at seq {seq}")
        entry = self._codec.entry(records[0])
        item = self._plan_one(entry)
        reason = refusal(item) if item is not None else entry.problem
        if item is None or reason:
            raise Undecodable(f"it still can't be applied: {reason}")
        return item

    async def _write_again(self, item: Planned, groups: Mapping[str, None]) -> None:
        lane, seq = item.entry.lane, item.entry.seq
        progress = self.progress
        reached = dict(progress.applied)
        effects = stamped([item])
        await self._decide(effects)
        await self._write_relational(effects, relational_results([item]), (), (), reached)
        await self._write_messages([item], {})
        await self._messages.flush()
        await self._unpark(lane, seq, [item], groups)
        self.applied_events += 1

    async def _unpark(self, lane: int, seq: int, items: Sequence[Planned], groups: Mapping[str, None]) -> None:
        progress = self.progress
        reached = dict(progress.applied)
        first = progress.parked[lane][0] == seq
        v_after = progress.v_after({}, (), lane) if first else progress.v()
        feeds, pts = await self._writer.write_again(
            items, groups if first else {}, progress.applied, progress.v(), v_after
        )
        await self._write_relational((), (), (), [(lane, seq)], reached)
        progress.unpark(lane, seq)
        await self._announcer.announce(items, feeds, pts)

    async def _groups_behind(self, lane: int, seq: int) -> tuple[dict[str, None], int]:
        """The groups whose membership the lane has changed since `seq` (what knew of that waits for V to get there),
        and through where the lane was looked at."""
        found: dict[str, None] = {}
        while seq < self.progress.applied.get(lane, NOWHERE).seq:
            try:
                records = await self._log.read(lane, seq, limits.LANE_BATCH_MAX)
            except Trimmed as error:
                raise StoreUnavailable("the records behind it can't be read now", private=str(error)) from error
            if not records:
                break
            found |= changed_groups(self._planned_again(records))
            seq = records[-1].seq
        return found, seq

    async def _decide(self, effects: Sequence[Stamped]) -> None:
        wanted = changes(effects)
        if wanted:
            self.lost_writes += sum(await self._hot.decide(wanted))

    async def _write_relational(
        self,
        effects: Sequence[Stamped],
        results: Sequence[Result],
        parked: Sequence[Parked],
        unparked: Sequence[tuple[int, int]],
        reached: Frontier,
    ) -> None:
        effects = [item for item in effects if item.effect.table != "directs" or not await self._is_known(item.effect)]
        if not (effects or results or parked or unparked):
            return
        try:
            await self._relational.apply(RelationalBatch(effects, results, parked, unparked, reached))
            self._relational_at = reached
        finally:
            # Also where the outcome is not known.
            self._view.invalidate(item.effect for item in effects)

    async def _is_known(self, effect: Effect) -> bool:
        """Every message to a direct names its two users again: no reason for a transaction each."""
        conversation = str(effect.key[0])
        return self._view.knows_direct(conversation) or await self._view.direct(conversation) is not None

    async def _write_messages(self, planned: Sequence[Planned], reached: Frontier) -> None:
        rows = [row for item in planned for row in item.rows]
        if rows:
            await self._messages.ready()
            self._messages.put(rows, reached)
            if reached:
                self._messages_at = reached

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
            await self._batch([self._codec.entry(record) for record in records], announce=False)
