"""How one lane is written, situation by situation. The laws over all situations are in test_lane_writer_laws.py."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from cli.waiting import until
from core import limits
from core.clock import HybridClock
from core.errors import (
    ClockRefused,
    LaneLost,
    LeaseLost,
    LogUnavailable,
    NotServing,
    OutcomeUnknown,
    Overloaded,
    PlanBError,
    StoreUnavailable,
    TooLarge,
    Undecodable,
)
from core.event import Event
from core.ids import make_id, tick_at, tick_of
from core.system import Clock, wall_clock_ms
from events.adapters.memory import MemoryLog
from events.adapters.valkey import ValkeyLog
from events.codec import decode_opened
from events.lane_writer import Entry, LaneWriter, Write
from events.ports import EventLog, Top
from events.record import GENESIS, KIND_OPEN, Record
from events.signing import Signer, Verifier
from tests.support import virtual_time
from tests.support.flaky_log import Fault, FlakyLog
from tests.support.notes import NOTE, NoteArgs, note_codec
from tests.support.valkey import ValkeyFactory

LANE = 2_049
WALL_MS = 1_700_000_000_000
SIGNER = Signer(bytes(32))


def wall() -> int:
    return WALL_MS


class Store:
    """Takes entries when `gate` is open; raises as long as `failing`."""

    def __init__(self) -> None:
        self.calls: list[list[Entry]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failing: Exception | None = None

    async def apply(self, entries: Sequence[Entry]) -> None:
        await self.gate.wait()
        if self.failing is not None:
            raise self.failing
        self.calls.append(list(entries))

    @property
    def seqs(self) -> list[int]:
        return [entry.seq for call in self.calls for entry in call]


class GatedLog(MemoryLog):
    """A memory log whose appends wait for a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.appends: list[list[int]] = []

    async def append(self, lane: int, owner: bytes, records: Sequence[Record]) -> None:
        self.appends.append([record.seq for record in records])
        await self.gate.wait()
        await super().append(lane, owner, records)


class Rig:
    """A started writer over a gated log."""

    def __init__(self, log: EventLog | None = None, owner: bytes = b"one", now: Clock = wall) -> None:
        self.refusal = ""
        self.gated = GatedLog()
        self.log: EventLog = log or self.gated
        self.store = Store()
        self.lost: list[PlanBError] = []
        self.clock = HybridClock(now)
        self.writer = LaneWriter(
            self.log,
            LANE,
            owner,
            self.clock,
            SIGNER,
            self.store.apply,
            now=now,
            process="fra api 1",
            codec=note_codec(),
            on_lost=self.lost.append,
            refusal=lambda: self.refusal,
        )

    def note(self, text: str, args: Any = None) -> "asyncio.Task[Event]":
        """A caller that has come as far as it can in this tick."""
        return asyncio.create_task(
            self.writer.commit(NOTE.name, 1, "Ua", text, b"f" * 8, NoteArgs(text=text) if args is None else args)
        )

    async def records(self) -> list[Record]:
        return await self.log.read(LANE, 0, 10_000)

    async def texts(self) -> list[str]:
        entries = [note_codec().entry(record) for record in await self.records()]
        return [entry.event.args.text for entry in entries if entry.event is not None]


def note(text: Any) -> Write:
    """As `Rig.note` writes it."""
    return Write(NOTE.name, 1, "Ua", "", b"f" * 8, NoteArgs(text=text))


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    await rig.writer.start()
    yield rig
    rig.gated.gate.set()
    rig.store.gate.set()
    rig.store.failing = None
    await rig.writer.close()


async def ticks(count: int = 20) -> None:
    """Lets everything run that can."""
    for _ in range(count):
        await asyncio.sleep(0)


# -- starting


async def test_a_lane_begins_with_an_open_record_that_says_who_writes(rig: Rig) -> None:
    (record,) = await rig.records()
    opened = decode_opened(record.body)
    assert (record.kind, record.seq, opened.process, opened.wall_ms) == (KIND_OPEN, 1, "fra api 1", WALL_MS)
    assert rig.store.calls == [[Entry(LANE, 1, record.id, None)]]
    assert rig.writer.top == Top.of(record)


async def test_what_is_missing_is_applied_after_the_fence_and_before_the_first_record() -> None:
    log = MemoryLog()
    old = Rig(log)
    await old.writer.start()
    await old.note("before")
    new = Rig(log, b"two")
    caught_up: list[Top] = []

    async def catch_up(top: Top) -> None:
        caught_up.append(top)
        with pytest.raises(LaneLost):
            await old.note("zombie")
        assert (await log.tops())[LANE] == top

    await new.writer.start(catch_up)
    assert caught_up == [old.writer.top]
    assert new.store.seqs == [3]


async def test_ids_go_on_beyond_the_last_one_although_the_wall_clock_is_behind_it() -> None:
    log = MemoryLog()
    first = Rig(log)
    first.clock.see(make_id(tick_at(WALL_MS + 400), 7))
    await first.writer.start()
    second = Rig(log, b"two")
    await second.writer.start()
    ids = [record.id for record in await second.records()]
    assert ids == sorted(ids)
    assert tick_of(ids[0]) > tick_at(WALL_MS + 400)


async def test_a_writer_that_was_not_started_takes_nothing() -> None:
    with pytest.raises(NotServing):
        await Rig().note("early")


async def test_a_start_that_breaks_does_not_hang() -> None:
    writer = LaneWriter(
        MemoryLog(), 70_000, b"one", HybridClock(wall), SIGNER, Store().apply, now=wall, codec=note_codec()
    )
    with pytest.raises(LaneLost):
        await asyncio.wait_for(writer.start(), 5)


async def test_a_start_without_a_log_says_so() -> None:
    rig = Rig(FlakyLog(MemoryLog(), iter([Fault.REFUSED]), iter(())))
    with pytest.raises(LogUnavailable):
        await rig.writer.start()
    with pytest.raises(NotServing):
        await rig.note("early")


# -- the lease


async def test_without_a_lease_nothing_is_written_and_a_caller_is_told_that_nothing_happened(rig: Rig) -> None:
    rig.refusal = "etcd at 10.0.0.1 does not answer"
    with pytest.raises(LeaseLost) as refused:
        await rig.note("one")
    assert (refused.value.private, refused.value.detail) == (rig.refusal, LeaseLost.title), "where etcd is, is private"
    assert refused.value.retry_after_s == 1
    assert await rig.texts() == []
    rig.refusal = ""
    await rig.note("two")
    assert await rig.texts() == ["two"]
    assert rig.gated.appends == [[1], [2]], "the seq of what was refused is free"
    assert not rig.lost


async def test_the_lease_is_looked_at_before_each_append_and_not_when_a_write_is_queued(rig: Rig) -> None:
    rig.gated.gate.clear()
    first, second = rig.note("first"), None
    await ticks()
    second = rig.note("second")
    await ticks()
    rig.refusal = "it is over"
    rig.gated.gate.set()
    await first
    with pytest.raises(LeaseLost):
        await second
    assert await rig.texts() == ["first"], "what was on its way is answered as it ended"


async def test_an_append_of_unknown_outcome_is_not_repeated_without_a_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LANE_ANSWER_MS_MAX", 300)
    log = MemoryLog()
    rig = Rig(FlakyLog(log, iter([Fault.NONE, Fault.DROPPED]), iter([])))
    await rig.writer.start()
    asked = rig.note("one")
    await ticks(3)
    rig.refusal = "it is over"
    with pytest.raises(OutcomeUnknown):
        await asked
    assert await rig.texts() == []
    rig.refusal = ""

    async def is_there() -> bool:
        return await rig.texts() == ["one"]

    assert await until(is_there, 10), "with a lease again the same bytes are written"
    await rig.writer.close()


async def test_a_lane_is_not_opened_without_a_lease() -> None:
    log = MemoryLog()
    old = Rig(log)
    await old.writer.start()
    new = Rig(log, b"two")
    new.refusal = "it is over"
    with pytest.raises(LeaseLost):
        await new.writer.start()
    await old.note("goes on")
    await old.writer.close()


# -- group commit


async def test_all_that_wait_go_into_one_append_while_one_is_in_flight(rig: Rig) -> None:
    rig.gated.gate.clear()
    first = rig.note("first")
    await ticks()
    others = [rig.note(str(i)) for i in range(limits.LANE_BATCH_MAX + 10)]
    await ticks()
    assert rig.gated.appends == [[1], [2]]
    rig.gated.gate.set()
    events = await asyncio.gather(first, *others)
    assert [len(seqs) for seqs in rig.gated.appends] == [1, 1, limits.LANE_BATCH_MAX, 10]
    assert [event.id for event in events] == sorted(event.id for event in events)
    assert [event.args.text for event in events] == await rig.texts()


async def test_only_the_last_record_of_a_group_commit_is_signed(rig: Rig) -> None:
    rig.gated.gate.clear()
    waiting = [rig.note("a")]
    await ticks()
    waiting += [rig.note("b"), rig.note("c")]
    await ticks()
    rig.gated.gate.set()
    await asyncio.gather(*waiting)
    records = await rig.records()
    assert [bool(record.signature) for record in records] == [True, True, False, True]
    verifier = Verifier({1: SIGNER.public})
    assert verifier.vouched(GENESIS, records) == 4
    assert verifier.vouched(GENESIS, records[:3]) == 2


async def test_the_next_append_does_not_wait_for_apply_but_answers_do(rig: Rig) -> None:
    rig.store.gate.clear()
    waiting = []
    for text in "abc":
        waiting.append(rig.note(text))
        await ticks()
    assert rig.gated.appends == [[1], [2], [3], [4]]
    assert rig.writer.top.seq == 4
    assert not any(caller.done() for caller in waiting)
    rig.store.gate.set()
    await asyncio.gather(*waiting)
    assert [[entry.seq for entry in call] for call in rig.store.calls] == [[1], [2], [3, 4]]


async def test_a_group_has_consecutive_ids_and_is_never_split(rig: Rig) -> None:
    rig.gated.gate.clear()
    first = rig.note("first")
    await ticks()
    sizes = [200, 200, 200, limits.LANE_BATCH_MAX, 1]
    groups = [
        asyncio.create_task(
            rig.writer.commit_many([Write(NOTE.name, 1, "Ua", "", b"", NoteArgs(text=f"{size}")) for _ in range(size)])
        )
        for size in sizes
    ]
    await ticks()
    rig.gated.gate.set()
    await first
    for group in groups:
        group_ticks = [tick_of(event.id) for event in await group]
        assert group_ticks == list(range(group_ticks[0], group_ticks[0] + len(group_ticks)))
    assert [len(seqs) for seqs in rig.gated.appends] == [1, 1, 400, 200, limits.LANE_BATCH_MAX, 1]
    assert await rig.writer.commit_many([]) == []


async def test_writes_of_several_callers_go_into_the_log_together_and_each_has_an_outcome(rig: Rig) -> None:
    rig.gated.gate.clear()
    first = rig.note("first")
    await ticks()
    writes = [note("a"), note(7), note("b"), note("x" * (limits.LANE_BATCH_BYTES_MAX + 1)), note("c")]
    outcomes = asyncio.create_task(rig.writer.commit_each(writes))
    later = rig.note("later")
    await ticks()
    rig.gated.gate.set()
    await asyncio.gather(first, later)
    found = [outcome if isinstance(outcome, Exception) else outcome.args.text for outcome in await outcomes]
    assert [found[0], found[2], found[4]] == ["a", "b", "c"]
    assert (type(found[1]), type(found[3])) == (Undecodable, TooLarge)
    assert rig.gated.appends == [[1], [2], [3, 4, 5, 6]]
    assert await rig.texts() == ["first", "a", "b", "c", "later"]
    assert await rig.writer.commit_each([]) == []


async def test_writes_of_several_callers_are_cut_into_as_many_groups_as_appends_take(rig: Rig) -> None:
    half = "x" * (limits.LANE_BATCH_BYTES_MAX // 2 - 200)
    writes = [note(str(n)) for n in range(limits.LANE_BATCH_MAX + 3)] + [note(half)] * 5
    outcomes = await rig.writer.commit_each(writes)
    assert [outcome.args.text for outcome in outcomes if isinstance(outcome, Event)] == [
        one.args.text for one in writes
    ]
    assert [len(seqs) for seqs in rig.gated.appends] == [1, limits.LANE_BATCH_MAX, 3 + 2, 2, 1]


async def test_of_several_callers_those_beyond_the_queue_s_bound_are_refused(rig: Rig) -> None:
    rig.gated.gate.clear()
    waiting = [rig.note(str(i)) for i in range(limits.LANE_QUEUE_MAX - 2)]
    await ticks()
    outcomes = asyncio.create_task(rig.writer.commit_each([note(text) for text in "abcd"]))
    await ticks()
    assert rig.writer.pending == limits.LANE_QUEUE_MAX
    rig.gated.gate.set()
    await asyncio.gather(*waiting)
    assert [type(outcome) for outcome in await outcomes] == [Event, Event, Overloaded, Overloaded]
    assert rig.writer.pending == 0


async def test_of_several_callers_each_gets_an_error_of_his_own(rig: Rig) -> None:
    await rig.writer.close()
    refused = await rig.writer.commit_each([note("a"), note("b")])
    assert [type(error) for error in refused] == [NotServing] * 2
    assert refused[0] is not refused[1], "raising writes into an error"


async def test_a_cancelled_caller_neither_cancels_nor_reorders_the_batch(rig: Rig) -> None:
    rig.gated.gate.clear()
    waiting = [rig.note("a")]
    await ticks()
    waiting += [rig.note("b"), rig.note("c"), rig.note("d")]
    await ticks()
    waiting[0].cancel()
    waiting[2].cancel()
    await ticks()
    rig.gated.gate.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result).__name__ for result in results] == ["CancelledError", "Event", "CancelledError", "Event"]
    assert await rig.texts() == ["a", "b", "c", "d"]
    assert rig.store.seqs == [1, 2, 3, 4, 5]


# -- bounds


async def test_beyond_the_queues_bound_writes_are_refused_with_a_time_to_come_back(rig: Rig) -> None:
    rig.gated.gate.clear()
    waiting = [rig.note(str(i)) for i in range(limits.LANE_QUEUE_MAX)]
    await ticks()
    assert rig.writer.pending == limits.LANE_QUEUE_MAX
    with pytest.raises(Overloaded) as refused:
        await rig.note("too many")
    assert refused.value.retry_after_s
    rig.gated.gate.set()
    await asyncio.gather(*waiting)
    assert rig.writer.pending == 0
    await rig.note("again")


async def test_too_large_a_group_is_refused_before_it_can_block_the_log(rig: Rig) -> None:
    small = Write(NOTE.name, 1, "Ua", "", b"", NoteArgs(text=""))
    with pytest.raises(TooLarge):
        await rig.writer.commit_many([small] * (limits.LANE_BATCH_MAX + 1))
    with pytest.raises(TooLarge):
        await rig.note("", NoteArgs(text="x" * (limits.LANE_BATCH_BYTES_MAX + 1)))
    assert rig.writer.pending == 0


async def test_appends_are_bounded_in_bytes(rig: Rig) -> None:
    rig.gated.gate.clear()
    waiting = [rig.note("first")]
    await ticks()
    half = NoteArgs(text="x" * (limits.LANE_BATCH_BYTES_MAX // 2 - 200))
    waiting += [rig.note("", half) for _ in range(5)]
    await ticks()
    rig.gated.gate.set()
    await asyncio.gather(*waiting)
    assert [len(seqs) for seqs in rig.gated.appends] == [1, 1, 2, 2, 1]


@pytest.mark.parametrize("args", [NoteArgs(text=7), NoteArgs(text="x", n=1 << 64), {"text": "x"}])
async def test_arguments_that_nobody_could_decode_do_not_get_into_the_log(rig: Rig, args: Any) -> None:
    with pytest.raises(Undecodable):
        await rig.note("", args)
    await rig.note("fine")
    assert await rig.texts() == ["fine"]


async def test_a_clock_that_is_carried_too_far_refuses_and_writes_nothing(rig: Rig) -> None:
    rig.clock.resume(make_id(tick_at(WALL_MS + 10_000), 7))
    with pytest.raises(ClockRefused):
        await rig.note("late")
    assert rig.writer.pending == 0


async def test_while_the_wall_clock_is_not_trusted_nothing_is_written_and_a_lane_is_opened_all_the_same() -> None:
    rig = Rig()
    doubts = ["an hour ahead"]
    rig.clock = rig.writer._clock = HybridClock(wall, lambda: doubts[0])
    await rig.writer.start()
    with pytest.raises(ClockRefused, match="an hour ahead"):
        await rig.note("refused")
    doubts[0] = ""
    await rig.note("taken")
    assert await rig.texts() == ["taken"]
    await rig.writer.close()


# -- a bad day


def test_a_hanging_append_is_answered_after_a_bounded_time_and_nothing_gets_lost() -> None:
    async def main() -> None:
        rig = Rig()
        await rig.writer.start()
        rig.gated.gate.clear()
        loop = asyncio.get_running_loop()
        begun = loop.time()
        with pytest.raises(OutcomeUnknown):
            await rig.note("slow")
        assert loop.time() - begun == pytest.approx(limits.LANE_ANSWER_MS_MAX / 1000)
        rig.gated.gate.set()
        await rig.note("next")
        assert await rig.texts() == ["slow", "next"]
        assert rig.store.seqs == [1, 2, 3]
        await rig.writer.close()

    virtual_time.run(main())


def test_while_an_outcome_is_unknown_new_writes_are_refused_and_the_same_bytes_repeated() -> None:
    async def main() -> None:
        log = FlakyLog(MemoryLog(), iter([Fault.NONE, *[Fault.DROPPED] * 8]), iter(()))
        rig = Rig(log)
        await rig.writer.start()
        doubtful = rig.note("doubtful")
        await ticks(2)
        queued = rig.note("queued")
        await ticks()
        with pytest.raises(LogUnavailable):
            await queued
        with pytest.raises(LogUnavailable) as refused:
            await rig.note("new")
        assert refused.value.retry_after_s
        with pytest.raises(OutcomeUnknown):
            await doubtful
        await asyncio.sleep(60)
        assert await rig.texts() == ["doubtful"]
        assert rig.store.seqs == [1, 2]
        assert [len(sent) for sent in log.possible.values()] == [1, 1]
        await rig.note("after")
        await rig.writer.close()

    virtual_time.run(main())


def test_a_certain_refusal_frees_the_seq_for_the_next_write() -> None:
    async def main() -> None:
        log = FlakyLog(MemoryLog(), iter([Fault.NONE, Fault.REFUSED]), iter(()))
        rig = Rig(log)
        await rig.writer.start()
        with pytest.raises(LogUnavailable):
            await rig.note("refused")
        await rig.note("taken")
        assert await rig.texts() == ["taken"]
        assert rig.store.seqs == [1, 2]
        await rig.writer.close()

    virtual_time.run(main())


def test_what_is_durable_is_applied_again_until_it_succeeds_and_writes_are_refused_meanwhile(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        rig = Rig()
        await rig.writer.start()
        rig.store.failing = StoreUnavailable(private="rows.db: disk is full")
        with pytest.raises(OutcomeUnknown):
            await rig.note("a")
        with pytest.raises(StoreUnavailable):
            await rig.note("b")
        said = [record for record in caplog.records if "applying seq 2 to 2 failed" in record.getMessage()]
        assert said and all("rows.db: disk is full" in one.getMessage() and not one.exc_info for one in said)
        caplog.clear()
        rig.store.failing = RuntimeError("not even one of ours")
        await asyncio.sleep(60)
        assert all(record.exc_info for record in caplog.records if "applying" in record.getMessage()), "a defect"
        rig.store.failing = None
        await asyncio.sleep(60)
        assert rig.store.seqs == [1, 2]
        await rig.note("c")
        assert await rig.texts() == ["a", "c"]
        await rig.writer.close()

    virtual_time.run(main())


async def test_a_lost_lane_stops_its_writer_for_good_and_says_so_once(rig: Rig) -> None:
    await rig.note("a")
    await rig.log.open(LANE, b"two")
    rig.gated.gate.clear()
    waiting = [rig.note(text) for text in "bcd"]
    await ticks()
    waiting += [rig.note(text) for text in "ef"]
    await ticks()
    rig.gated.gate.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [LaneLost] * 5
    assert rig.writer.lost
    with pytest.raises(LaneLost):
        await rig.note("g")
    assert len(rig.lost) == 1
    assert await rig.texts() == ["a"]
    assert rig.writer.pending == 0


async def test_other_bytes_at_our_seq_stop_the_writer(rig: Rig) -> None:
    record = (await rig.records())[0]
    other = replace(record, seq=2, id=record.id + (1 << 20), hash=b"x" * 32)
    await rig.log.append(LANE, b"one", [other])
    with pytest.raises(LaneLost):
        await rig.note("a")
    assert rig.writer.lost


# -- ending


async def test_closing_finishes_what_was_taken_and_takes_no_more(rig: Rig) -> None:
    rig.gated.gate.clear()
    waiting = [rig.note(text) for text in "abc"]
    await ticks()
    closing = asyncio.create_task(rig.writer.close())
    await ticks()
    with pytest.raises(NotServing):
        await rig.note("late")
    rig.gated.gate.set()
    await closing
    assert [event.args.text for event in await asyncio.gather(*waiting)] == ["a", "b", "c"]
    assert rig.store.seqs == [1, 2, 3, 4]
    await rig.writer.close()


def test_closing_does_not_wait_for_ever_and_tells_everyone() -> None:
    async def main() -> None:
        rig = Rig()
        await rig.writer.start()
        rig.store.gate.clear()
        durable = rig.note("durable")
        await ticks()
        rig.gated.gate.clear()
        sent = rig.note("sent")
        await ticks()
        queued = rig.note("queued")
        await ticks()
        await asyncio.wait_for(rig.writer.close(), limits.LANE_CLOSE_MS_MAX / 1000 + 1)
        results = await asyncio.gather(durable, sent, queued, return_exceptions=True)
        assert [type(result) for result in results] == [OutcomeUnknown, OutcomeUnknown, NotServing]

    virtual_time.run(main())


# -- on the real server


@pytest.mark.integration
async def test_a_zombie_fails_at_its_first_write_on_the_real_server(valkey_server: ValkeyFactory) -> None:
    server = valkey_server("always")
    first_log, second_log = await ValkeyLog.connect(server.url), await ValkeyLog.connect(server.url)
    zombie, successor = Rig(first_log), Rig(second_log, b"two")
    await zombie.writer.start()
    await asyncio.gather(*(zombie.note(str(i)) for i in range(20)))
    await successor.writer.start()
    waiting = [zombie.note(f"zombie {i}") for i in range(20)]
    await successor.note("new")
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(result) for result in results} == {LaneLost}
    assert await successor.texts() == [*(str(i) for i in range(20)), "new"]
    assert zombie.writer.lost
    await asyncio.gather(zombie.writer.close(), successor.writer.close())
    await asyncio.gather(first_log.close(), second_log.close())


@pytest.mark.integration
async def test_through_kill_9_and_restart_of_the_real_server_nothing_acknowledged_is_lost(
    valkey_server: ValkeyFactory, caplog: pytest.LogCaptureFixture
) -> None:
    server = valkey_server("always")
    log = await ValkeyLog.connect(server.url, connect_s=0.3, answer_s=0.5)
    rig = Rig(log, now=wall_clock_ms)
    await rig.writer.start()
    acknowledged: list[Event] = []
    refused: list[PlanBError] = []
    stop = asyncio.Event()

    async def client(number: int) -> None:
        n = 0
        while not stop.is_set():
            n += 1
            try:
                acknowledged.append(await rig.note(f"{number} {n}"))
            except (LogUnavailable, OutcomeUnknown) as error:
                refused.append(error)
                await asyncio.sleep(0.01)

    async def hurt() -> None:
        for _ in range(2):
            await asyncio.sleep(0.15)
            server.kill()
            await asyncio.sleep(0.1)
            await asyncio.to_thread(server.start)
            await asyncio.sleep(0.15)
            server.pause()
            await asyncio.sleep(0.7)
            server.resume()
        await asyncio.sleep(0.3)
        stop.set()

    await asyncio.gather(hurt(), *(client(number) for number in range(20)))
    await rig.writer.close()
    records = await log.read(LANE, 0, 1_000_000)
    assert Verifier({1: SIGNER.public}).vouched(GENESIS, records) == len(records)
    entries = [note_codec().entry(record) for record in records]
    events = [entry.event for entry in entries if entry.event is not None]
    assert refused or "is unknown" in caplog.text, "the server was not hurt while it was needed"
    assert acknowledged
    assert set(acknowledged) <= set(events)
    assert len({event.args.text for event in events}) == len(events)
    assert rig.store.seqs == list(range(1, len(records) + 1))
    await log.close()
