"""Brings events into the stores of this DC: the one code that own commits, replay and recovery all use.

Per batch, in this order (a crash between any two steps is repaired by applying again from the smallest frontier):

    1. plan      effects, audience, touches: pure; what can't be planned is parked
    2. decide    the hot store's CRDT metadata names the losers of lww columns (counted as conflicts)
    3. relational one guarded transaction, with its frontier
    4. messages  rows written behind, with their frontier
    5. hot       updates + pts, dialog index, unread window, results: one atomic call with its frontier
    6. progress  the applied frontier and V move; only now can a cursor claim to cover the batch
    7. announce  the brokers of this DC are told; may be lost
"""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from core import limits
from core.action import Action
from core.clock import HybridClock
from core.errors import Corrupt, NotFound, Overloaded, PlanBError, StoreUnavailable, Undecodable
from core.system import Clock
from core.tables import Effect
from events.codec import Codec
from events.ports import EventLog, Top, Trimmed
from events.record import Entry
from stores import feeding
from stores.announce import Announcer
from stores.plan import Planned, changes, hot_changes, plan, relational_results, stamped
from stores.ports import (
    EpochLost,
    Frontier,
    HotBatch,
    HotStore,
    Mark,
    MessageStore,
    Parked,
    RelationalBatch,
    RelationalStore,
    Stale,
)
from stores.progress import Progress
from stores.rebuild_hot import rebuild_hot
from stores.view import StoreView

log = logging.getLogger(__name__)

NOWHERE = Mark(0, 0)


class _Job(NamedTuple):
    entries: Sequence[Entry]
    done: "asyncio.Future[None]"
    again: bool = False
    """A parked event tried again: its place was passed long ago, so no frontier moves."""


class Applier:
    """Applies entries of all lanes, one batch at a time; callers that wait meanwhile form the next batch."""

    def __init__(
        self,
        *,
        event_log: EventLog,
        relational: RelationalStore,
        messages: MessageStore,
        hot: HotStore,
        view: StoreView,
        actions: Mapping[str, type[Action]],
        codec: Codec,
        clock: HybridClock,
        now_ms: Clock,
        own_lanes: Collection[int],
    ) -> None:
        self._log = event_log
        self._relational = relational
        self._messages = messages
        self._hot = hot
        self._view = view
        self._actions = actions
        self._codec = codec
        self._clock = clock
        self._now_ms = now_ms
        self._announcer = Announcer(hot, view, own_lanes)
        self.progress = Progress()
        self.epoch = 0
        self.applied_events = 0
        self.lost_writes = 0
        """lww writes that were older than what stood there when they came."""
        self._jobs: list[_Job] = []
        self._queued = 0
        self._work = asyncio.Event()
        self._look_at_hot = False
        self._task: asyncio.Task[None] | None = None
        self._relational_at: Frontier = {}
        self._messages_at: Frontier = {}
        self._hot_at: Frontier = {}

    # -- life

    async def start(self) -> None:
        """Recovery: brings every store up to what the log holds durably, then takes new work."""
        self._relational_at = await self._relational.frontier()
        self._messages_at = await self._messages.frontier()
        parked = await self._relational.parked()
        tops = await self._log.tops()
        lanes = set(tops) | set(self._relational_at) | set(self._messages_at)
        cold = {
            lane: min(self._relational_at.get(lane, NOWHERE), self._messages_at.get(lane, NOWHERE)) for lane in lanes
        }
        await self._open_hot(cold)
        start = {lane: min(mark, self._hot_at.get(lane, NOWHERE)) for lane, mark in cold.items()}
        self.progress.load(
            {lane: mark for lane, mark in start.items() if mark.seq},
            [(item.lane, item.seq, before) for item in parked if (before := await self._before(item)) is not None],
        )
        for lane, top in tops.items():
            await self._catch_up(lane, top)
        self._task = asyncio.create_task(self._run(), name="applier")

    async def close(self) -> None:
        """Stops after the batch at hand; what waits is refused with StoreUnavailable."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for job in self._jobs:
            if not job.done.done():
                job.done.set_exception(StoreUnavailable("stopping"))
        self._jobs.clear()

    @property
    def queued(self) -> int:
        """Entries that wait to be applied."""
        return self._queued

    # -- work

    async def apply(self, entries: Sequence[Entry]) -> None:
        """Returns when relational and hot state hold the entries and their message rows are queued.

        Entries are dense per lane; those at or below the applied frontier are skipped. Raises StoreUnavailable
        (nothing is lost: apply the same entries again), Corrupt for a gap, Overloaded when too much waits.
        """
        if not entries:
            return
        if self._queued + len(entries) > limits.APPLY_QUEUE_MAX and self._jobs:
            raise Overloaded("too many events wait to be applied", retry_after_s=0.2)
        await self._submit(_Job(entries, asyncio.get_running_loop().create_future()))

    async def retry_parked(self, lane: int, seq: int) -> None:
        """Tries a parked event again, exactly where it stands. Undecodable if it still can't be applied."""
        records = await self._log.read(lane, seq - 1, 1)
        if not records or records[0].seq != seq:
            raise NotFound(f"no record at seq {seq}")
        entry = self._codec.entry(records[0])
        if entry.event is None:
            raise Undecodable("this version still can't read it")
        await self._submit(_Job([entry], asyncio.get_running_loop().create_future(), again=True))

    async def catch_up(self, own: Top) -> None:
        """What a lane writer calls when it has taken its lane: applies what stands between us and its end. Records
        that a former owner appended after `start` had looked are found here."""
        for lane, top in (await self._log.tops()).items():
            if top == own:
                await self._catch_up(lane, top)

    async def tick(self) -> None:
        """Has hot state rebuilt if it was lost while nothing came to be applied, and moves the frontiers of stores
        that had nothing to write lately, so that recovery and snapshots begin near the present. Called now and then."""
        self._look_at_hot = True
        self._work.set()
        applied = dict(self.progress.applied)
        if self._relational_at != applied:
            await self._relational.apply(RelationalBatch((), (), (), (), applied))
            self._relational_at = applied
        if self._messages_at != applied:
            await self._messages.ready()
            self._messages.put((), applied)
            self._messages_at = applied

    async def _submit(self, job: _Job) -> None:
        self._jobs.append(job)
        self._queued += len(job.entries)
        self._work.set()
        await asyncio.shield(job.done)

    async def _run(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            if self._look_at_hot:
                self._look_at_hot = False
                await self._mend_hot()
            jobs, self._jobs, self._queued = self._jobs, [], 0
            if not jobs:
                continue
            try:
                await self._settle(jobs)
            except asyncio.CancelledError:
                for job in jobs:
                    if not job.done.done():
                        job.done.set_exception(StoreUnavailable("stopping"))
                raise

    async def _settle(self, jobs: Sequence[_Job]) -> None:
        """One batch of all jobs; should it fail, one each, so that nobody gets his neighbour's outcome."""
        if len(jobs) > 1 and not any(job.again for job in jobs):
            try:
                await self._batch([entry for job in jobs for entry in job.entries])
            except Exception:
                log.info("a batch of %d jobs failed; each is tried alone", len(jobs))
            else:
                for job in jobs:
                    _settled(job.done, None)
                return
        for job in jobs:
            try:
                await self._batch(job.entries, again=job.again)
            except Exception as error:
                if not isinstance(error, StoreUnavailable | Corrupt | Undecodable):
                    log.exception("apply failed")
                _settled(job.done, error)
            else:
                _settled(job.done, None)

    async def _batch(self, entries: Sequence[Entry], *, announce: bool = True, again: bool = False) -> None:
        fresh, marks = (list(entries), {}) if again else self._fresh(entries)
        planned, parked = self._plan(fresh)
        if not marks and not planned:
            return
        await self._decide(planned)
        unparked = [(item.entry.lane, item.entry.seq) for item in planned] if again else []
        await self._write_relational(planned, parked, unparked, marks)
        rows = [row for item in planned for row in item.rows]
        if rows:
            await self._messages.ready()
            self._messages.put(rows, self._reached(marks))
            self._messages_at = self._reached(marks)
        feeds = await self._write_hot(planned, marks, parked, again)
        for item in parked:
            self.progress.park(item.lane, item.seq, self.progress.v().get(item.lane, 0))
        for lane, mark in marks.items():
            self.progress.advance(lane, mark)
            self._clock.see(mark.id)
        self.applied_events += len(planned)
        if announce:
            await self._announcer.announce(planned, *feeds)

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
        planned: list[Planned] = []
        parked: list[Parked] = []
        for entry in entries:
            if entry.event is None:
                if entry.problem:
                    parked.append(Parked(entry.lane, entry.seq, entry.id, entry.problem))
                continue
            try:
                planned.append(plan(entry, entry.event, self._actions[entry.event.action]))
            except Exception as error:  # whatever an action raises here, it raises in every DC: never block the lane
                log.exception("event %s (%s) can't be applied: parked", entry.id, entry.event.action)
                parked.append(Parked(entry.lane, entry.seq, entry.id, f"{type(error).__name__}: {error}"))
        return planned, parked

    async def _decide(self, planned: Sequence[Planned]) -> None:
        wanted = changes(stamped(planned))
        if wanted:
            self.lost_writes += sum(await self._hot.decide(wanted))

    async def _write_relational(
        self,
        planned: Sequence[Planned],
        parked: Sequence[Parked],
        unparked: Sequence[tuple[int, int]],
        marks: Mapping[int, Mark],
    ) -> None:
        effects = [item for item in stamped(planned) if not await self._is_known(item.effect)]
        results = relational_results(planned)
        if not (effects or results or parked or unparked):
            return
        reached = self._reached(marks)
        await self._relational.apply(RelationalBatch(effects, results, parked, unparked, reached))
        self._relational_at = reached
        self._view.invalidate(item.effect for item in effects)
        for lane, seq in unparked:
            self.progress.unpark(lane, seq)

    async def _is_known(self, effect: Effect) -> bool:
        """Every message to a direct names its two users again: no reason for a transaction each."""
        return effect.table == "directs" and await self._view.direct(str(effect.key[0])) is not None

    async def _write_hot(
        self, planned: Sequence[Planned], marks: Mapping[int, Mark], parked: Sequence[Parked], again: bool
    ) -> tuple[feeding.Feeds, dict[str, int]]:
        for _ in range(3):
            items = [item for item in planned if again or item.entry.seq > self._hot_seq(item.entry.lane)]
            moves = {
                lane: (self._hot_seq(lane), mark) for lane, mark in marks.items() if mark.seq > self._hot_seq(lane)
            }
            feeds = await feeding.feeds_of(
                items, self._view, self._messages, self._v_after(marks, parked), limits.RECENT_KEPT_MAX
            )
            found = hot_changes(items)
            found.tops.extend(feeds.tops)
            batch = HotBatch(self.epoch, moves, feeds.feeds, feeds.back_feeds, **found._asdict())
            try:
                pts = await self._hot.apply(batch)
            except Stale as stale:  # an earlier call got through though its answer did not
                self._hot_at = stale.frontier
            except EpochLost:
                await self._rebuild(self.progress.applied)
            else:
                self._hot_at.update(marks)
                return feeds, pts
        raise StoreUnavailable("the hot store does not settle")

    def _hot_seq(self, lane: int) -> int:
        return self._hot_at.get(lane, NOWHERE).seq

    def _v_after(self, marks: Mapping[int, Mark], parked: Sequence[Parked]) -> dict[int, int]:
        held = self.progress.parked.keys() | {item.lane for item in parked}
        return self.progress.v() | {lane: mark.id for lane, mark in marks.items() if lane not in held}

    def _reached(self, marks: Mapping[int, Mark]) -> Frontier:
        return {**self.progress.applied, **marks}

    # -- recovery

    async def _open_hot(self, cold: Frontier) -> None:
        """Takes the hot store as it is, or, after a loss, rebuilds it through the other stores' frontier."""
        wanted = int(await self._relational.meta("epoch") or "0")
        if wanted and await self._hot.epoch() == wanted:
            self._set_epoch(wanted)
            self._hot_at = await self._hot.frontier()
        else:
            await self._rebuild(cold)

    async def _mend_hot(self) -> None:
        """Without hot state no write gets as far as a batch that would notice the loss."""
        try:
            if await self._hot.epoch() != self.epoch:
                await self._rebuild(self.progress.applied)
        except (PlanBError, EpochLost) as error:
            log.warning("hot state can't be rebuilt yet: %r", error)  # the next tick looks again

    async def _rebuild(self, through: Frontier) -> None:
        """Derives all hot state from the other stores and the log, as a new epoch."""
        before = int(await self._relational.meta("epoch") or "0")
        # Empty disks do not know the epochs of whoever was here before a fire; his clients still hold positions in them.
        epoch = before + 1 if before else max(1, self._now_ms())
        await self._relational.set_meta("epoch", str(epoch))
        log.warning("hot state is rebuilt: epoch %d", epoch)
        await self._messages.flush()
        await rebuild_hot(
            epoch=epoch,
            through=through,
            event_log=self._log,
            relational=self._relational,
            messages=self._messages,
            hot=self._hot,
            view=self._view,
            planner=lambda records: self._plan([self._codec.entry(record) for record in records])[0],
            since_ms=self._now_ms() - limits.RESULT_KEPT_S * 1000,
        )
        self._hot_at = dict(through)
        self._set_epoch(epoch)

    def _set_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        self._view.epoch = epoch

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

    async def _before(self, parked: Parked) -> int | None:
        """The id in front of a parked event: where V of its lane stands."""
        if parked.seq == 1:
            return 0
        records = await self._log.read(parked.lane, parked.seq - 2, 1)
        return records[0].id if records else 0


def _settled(done: "asyncio.Future[None]", error: Exception | None) -> None:
    """The caller may have gone away meanwhile."""
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
