"""The one writer of a lane: turns concurrent writes into group commits, then has them applied, in order.

    commit -> queue -> append (one in flight) -> durable -> apply (one in flight) -> the caller's answer

Log first: nothing is applied that is not durable, and what is durable will be applied. A seq is never used for other
bytes unless it is certain that nothing was written there: an append whose outcome is unknown is repeated, byte by
byte, until it is known, and nothing else is written meanwhile. Any conflict ends the writer at once.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from functools import partial
from time import perf_counter
from typing import Any

from core import limits
from core.clock import HybridClock
from core.durations import Durations
from core.errors import (
    Corrupt,
    LaneLost,
    LeaseLost,
    LogUnavailable,
    NotServing,
    OutcomeUnknown,
    Overloaded,
    PlanBError,
    StoreUnavailable,
    TooLarge,
)
from core.event import Event
from core.system import Clock
from events.codec import Codec, Opened, encode_opened
from events.codec import codec as registered_codec
from events.lane_batch import Batch, Cut, Group, Queue, Write, total
from events.ports import EventLog, Top
from events.record import GENESIS, KIND_EVENT, KIND_OPEN, Entry, Record
from events.signing import Signer

__all__ = ["Entry", "LaneWriter", "Write"]

log = logging.getLogger(__name__)

Apply = Callable[[Sequence[Entry]], Awaitable[None]]
"""Brings dense entries into the stores. Repeatable. Whatever it raises, it is called again with the same entries."""


class LaneWriter:
    """Writes one lane for one process. Not thread-safe. Started once; after `start` failed make a new one with a new
    owner, which fences whatever of the old one may still be under way."""

    def __init__(
        self,
        log: EventLog,
        lane: int,
        owner: bytes,
        clock: HybridClock,
        signer: Signer,
        apply: Apply,
        *,
        now: Clock,
        process: str = "",
        codec: Codec | None = None,
        on_lost: Callable[[PlanBError], None] | None = None,
        refusal: Callable[[], str] = str,
    ) -> None:
        """`owner` is unique per process start. `process` is written into the open record. `on_lost` is called once,
        soon after the lane was lost, with the reason. `refusal` is asked before each append why this process may not
        write now; "" if it may."""
        self.lane = lane
        self._log = log
        self._owner = owner
        self._clock = clock
        self._signer = signer
        self._apply = apply
        self._now = now
        self._process = process
        self._codec = codec or registered_codec()
        self._on_lost = on_lost
        self._refusal = refusal
        self._jitter = random.Random(owner)

        self._top = Top(0, 0, GENESIS)
        self._queue = Queue()
        self._sending: Batch | None = None
        self._durable: list[Batch] = []
        """In the log, not applied yet; in order of seq."""
        self._pending = 0
        """Records of callers that are not finished: queued, under way, or durable and not applied."""
        self._work = asyncio.Event()
        self._grown = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

        self._serving = False
        self._closing = False
        self._in_doubt = False
        """The outcome of the append at hand is unknown."""
        self._stumbling = False
        """The last apply failed."""
        self._lost: PlanBError | None = None
        self.append_times = Durations()
        """Of appends that the log took at once: from the call to its answer."""

    @property
    def top(self) -> Top:
        """The durable end of the lane."""
        return self._top

    @property
    def lost(self) -> bool:
        """Another process took the lane, or it is not what we wrote: this writer has stopped for good."""
        return self._lost is not None

    @property
    def stumbling(self) -> bool:
        """What is durable can't be applied at present, and is tried again: a store is down or full."""
        return self._stumbling

    @property
    def pending(self) -> int:
        """Records queued, under way, or durable and not applied yet; at most LANE_QUEUE_MAX."""
        return self._pending

    def unapplied(self, through: int) -> list[Record]:
        """The records that are durable and not applied yet, up to this seq."""
        return [record for batch in self._durable for record in batch.records if record.seq <= through]

    # -- life

    async def start(self, catch_up: Callable[[Top], Awaitable[None]] | None = None) -> None:
        """Takes the lane, and returns when its open record is durable and applied.

        `catch_up` gets the lane's end as soon as no former owner can move it, to apply what is missing up to it.
        Raises LogUnavailable, OutcomeUnknown, LaneLost, LeaseLost, ClockRefused and what `catch_up` raises; waits as
        long as it takes when the outcome of the first append is unknown, or applying fails.
        """
        self._check_lease()
        self._top = await self._log.open(self.lane, self._owner)
        self._clock.resume(self._top.id)
        if catch_up is not None:
            await catch_up(self._top)
        body = encode_opened(Opened(self._process, self._now()))
        group = Group(KIND_OPEN, [self._clock.take(self.lane)], [body], [None], patient=True)
        self._enqueue(group)
        self._tasks = [
            asyncio.create_task(self._write_all(), name=f"lane {self.lane} writer"),
            asyncio.create_task(self._apply_all(), name=f"lane {self.lane} applier"),
        ]
        for task in self._tasks:
            task.add_done_callback(self._ended)
        try:
            await group.done
        except BaseException:
            await self._stop()
            raise
        self._serving = True

    async def close(self) -> None:
        """Takes no more writes and waits for those under way, at most LANE_CLOSE_MS_MAX. Repeatable."""
        self._closing = True
        self._work.set()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=limits.LANE_CLOSE_MS_MAX / 1000)
        await self._stop()

    async def _stop(self) -> None:
        self._closing = True
        self._serving = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for group in self._queue.take_all():
            group.answer(NotServing)
        for batch in [*self._durable, *([self._sending] if self._sending else [])]:
            batch.answer(OutcomeUnknown)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A task that broke must not leave callers waiting."""
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        log.error("lane %d: its writer broke", self.lane, exc_info=error)
        self._give_lane_up(LaneLost(private=repr(error)))
        for batch in [*self._durable, *([self._sending] if self._sending else [])]:
            batch.answer(OutcomeUnknown)

    # -- writing

    async def commit(self, action: str, version: int, actor: str, key: str, fingerprint: bytes, args: Any) -> Event:
        """One write. Returns its event when that is durable and applied. Cancelling the caller stops neither.

        Nothing happened: LogUnavailable, LaneLost, LeaseLost, StoreUnavailable, Overloaded, NotServing, ClockRefused,
        TooLarge, Undecodable (args that are not the action's). The event may be in the log, and then it will be
        applied: OutcomeUnknown, at the latest LANE_ANSWER_MS_MAX after its append began.
        """
        self._admit(1)
        id = self._clock.take(self.lane)
        body, event = self._encoded(Event(id, action, version, actor, key, fingerprint, args))
        await self._group((id,), (body,), (event,))
        return event

    async def commit_many(self, writes: Sequence[Write]) -> list[Event]:
        """Several writes with consecutive ids in one append: all of them or none. Errors as `commit`."""
        if not writes:
            return []
        self._admit(len(writes))
        ids = self._clock.take_many(self.lane, len(writes))
        bodies, events = zip(
            *(self._encoded(write.event(id)) for id, write in zip(ids, writes, strict=True)), strict=True
        )
        await self._group(ids, bodies, events)
        return list(events)

    async def commit_each(self, writes: Sequence[Write]) -> list[Event | PlanBError]:
        """As so many calls of `commit` at one time, in this order: an outcome for each. Raises none of their errors."""
        try:
            self._admit(0)
            ids = self._clock.take_many(self.lane, len(writes))
        except PlanBError as error:
            return [copy(error) for _ in writes]
        outcomes: list[Event | PlanBError] = []
        cut = Cut(limits.LANE_QUEUE_MAX - self._pending)
        for at, (id, write) in enumerate(zip(ids, writes, strict=True)):
            try:
                cut.require_room()
                body, event = self._encoded(write.event(id))
                cut.add(at, body, event)
                outcomes.append(event)
            except PlanBError as error:
                outcomes.append(error)
        groups = cut.groups()
        for group in groups:
            self._enqueue(group)
        answers = await asyncio.gather(*[group.done for group in groups], return_exceptions=True)
        for places, answer in zip(cut.places, answers, strict=True):
            if isinstance(answer, PlanBError):
                for at in places:
                    outcomes[at] = copy(answer)
            elif answer is not None:
                raise answer
        return outcomes

    def _encoded(self, event: Event) -> tuple[bytes, Event]:
        """Its body, and the event as it will be applied: what every other DC will decode. Args that don't survive it
        never get into the log."""
        body = self._codec.encode(event)
        return body, self._codec.decode(body)

    async def _group(self, ids: Sequence[int], bodies: Sequence[bytes], events: Sequence[Event]) -> None:
        """Returns when they are durable and applied."""
        group = Group(KIND_EVENT, ids, bodies, events, patient=False)
        if group.size_bytes > limits.LANE_BATCH_BYTES_MAX:
            raise TooLarge(f"one group of events has at most {limits.LANE_BATCH_BYTES_MAX} bytes")
        self._enqueue(group)
        await group.done

    def _admit(self, count: int) -> None:
        if self._lost is not None:
            raise LaneLost
        if not self._serving or self._closing:
            raise NotServing
        if self._in_doubt:
            raise LogUnavailable(retry_after_s=1)
        if self._stumbling:
            raise StoreUnavailable(retry_after_s=1)
        self._clock.check()
        if count > limits.LANE_BATCH_MAX:
            raise TooLarge(f"one group has at most {limits.LANE_BATCH_MAX} events")
        if self._pending + count > limits.LANE_QUEUE_MAX:
            raise Overloaded(retry_after_s=0.5)

    def _enqueue(self, group: Group) -> None:
        # No await between taking the ids and this: seq order is id order.
        self._queue.put(group)
        self._pending += len(group)
        self._work.set()

    def _refuse_queued(self, error: type[PlanBError]) -> None:
        """Callers whose writes were not sent: nothing happened."""
        for group in self._queue.take_all():
            self._pending -= len(group)
            group.answer(partial(error, retry_after_s=1))

    # -- the log

    async def _write_all(self) -> None:
        """Runs until the lane is lost, or closing and nothing is queued."""
        while self._lost is None:
            groups = self._queue.head()
            if groups:
                self._sending = Batch(self.lane, self._top, groups, self._signer)
                self._queue.drop(groups)
                await self._append(self._sending)
            elif self._closing:
                break
            else:
                self._work.clear()
                await self._work.wait()
        self._closing = True
        self._grown.set()

    async def _append(self, batch: Batch) -> None:
        """Returns when the batch is durable, or certainly not in the log, or the lane is lost."""
        loop = asyncio.get_running_loop()
        batch.timer = loop.call_later(limits.LANE_ANSWER_MS_MAX / 1000, batch.give_up)
        failures = 0
        while True:
            try:
                if not (self._in_doubt and await self._landed(batch)):
                    self._check_lease()
                    began = perf_counter()
                    await self._log.append(self.lane, self._owner, batch.records)
                    self.append_times.note(perf_counter() - began)
                break
            except (LaneLost, Corrupt) as error:
                self._lose(batch, error)
                return
            except (LogUnavailable, LeaseLost) as error:
                if not self._in_doubt:
                    self._abandon(batch, error)
                    return
            except Exception as error:
                if not isinstance(error, OutcomeUnknown):
                    log.exception("lane %d: an append failed in an unexpected way", self.lane)
                self._in_doubt = True
                self._refuse_queued(LogUnavailable)
            log.warning("lane %d: the outcome of seq %d is unknown", self.lane, batch.records[-1].seq)
            failures += 1
            await self._back_off(failures)
        self._in_doubt = False
        self._sending = None
        self._top = Top.of(batch.records[-1])
        self._durable.append(batch)
        if self._stumbling:
            batch.give_up()
        self._grown.set()

    def _check_lease(self) -> None:
        """No round trip: the lease is known to last, or not."""
        refused = self._refusal()
        if refused:
            raise LeaseLost(private=refused)

    async def _landed(self, batch: Batch) -> bool:
        """Whether the lane ends with exactly this batch."""
        return (await self._log.tops()).get(self.lane) == Top.of(batch.records[-1])

    def _abandon(self, batch: Batch, error: LogUnavailable | LeaseLost) -> None:
        """It is certain that nothing was written: the seqs are free again, the ids are not."""
        self._sending = None
        self._pending -= len(batch)
        batch.answer(partial(type(error), private=error.private, retry_after_s=1))

    def _lose(self, batch: Batch, error: PlanBError) -> None:
        log.error("lane %d is lost at seq %d: %s %s", self.lane, batch.records[0].seq, error, error.private)
        self._sending = None
        self._pending -= len(batch)
        # An earlier attempt may have got in before the lane was taken over.
        batch.answer(OutcomeUnknown if self._in_doubt else LaneLost)
        self._give_lane_up(error)

    def _give_lane_up(self, error: PlanBError) -> None:
        self._lost = error
        self._refuse_queued(LaneLost)
        if self._on_lost is not None:
            asyncio.get_running_loop().call_soon(self._on_lost, error)

    # -- the stores

    async def _apply_all(self) -> None:
        """Applies what is durable, in order, until the writer has ended and nothing is left."""
        while True:
            batches = self._next_durable()
            if batches:
                await self._apply_until_done([entry for batch in batches for entry in batch.entries])
                del self._durable[: len(batches)]
                self._pending -= total(batches)
                for batch in batches:
                    batch.answer()
            elif self._closing and self._sending is None and not self._queue:
                return
            else:
                self._grown.clear()
                await self._grown.wait()

    def _next_durable(self) -> list[Batch]:
        """The oldest batches that one apply takes; they stay in the list until they are applied."""
        count = entries = 0
        for batch in self._durable:
            entries += len(batch)
            if count and entries > limits.LANE_BATCH_MAX:
                break
            count += 1
        return self._durable[:count]

    async def _apply_until_done(self, entries: Sequence[Entry]) -> None:
        failures = 0
        while True:
            try:
                await self._apply(entries)
            except Exception as error:
                known = isinstance(error, PlanBError)
                why = f"{error} {getattr(error, 'private', '')}".strip()
                at = (self.lane, entries[0].seq, entries[-1].seq)
                log.error("lane %d: applying seq %d to %d failed: %s", *at, why, exc_info=None if known else error)
                self._stumbling = True
                for batch in self._durable:
                    batch.give_up()
                self._refuse_queued(StoreUnavailable)
                failures += 1
                await self._back_off(failures)
            else:
                self._stumbling = False
                return

    async def _back_off(self, failures: int) -> None:
        ceiling_ms = min(limits.BACKOFF_MS_MAX, limits.BACKOFF_MS_FIRST << min(failures, 20))
        await asyncio.sleep(ceiling_ms * self._jitter.uniform(0.5, 1) / 1000)
