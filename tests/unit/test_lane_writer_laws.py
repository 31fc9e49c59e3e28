"""Whatever the log and the stores do to a lane's writer, its promises hold. Virtual time, thousands of histories."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import event as note_event
from hypothesis import given, settings
from hypothesis import strategies as st

from core.clock import HybridClock
from core.errors import ClockRefused, LaneLost, LogUnavailable, OutcomeUnknown, PlanBError, StoreUnavailable
from core.event import Event
from events.adapters.memory import MemoryLog
from events.lane_writer import Entry, LaneWriter, Write
from events.record import GENESIS, KIND_OPEN
from events.signing import Signer, Verifier
from tests.support import virtual_time
from tests.support.flaky_log import Fault, FlakyLog
from tests.support.notes import NOTE, NoteArgs, note_codec

LANE = 2_049
SIGNER = Signer(bytes(32))
VERIFIER = Verifier({1: SIGNER.public})
NOTHING_HAPPENED = (LogUnavailable, LaneLost, StoreUnavailable, ClockRefused)


class Call(NamedTuple):
    """One caller: when it comes, how many events it has, after how many ms it goes away (0: stays)."""

    wait_ms: int
    size: int
    patience_ms: int


class Store:
    """Applies entries; some calls fail, some of those after half the work."""

    def __init__(self, failures: list[bool], slow_ms: int) -> None:
        self._failures = iter(failures)
        self._slow_s = slow_ms / 1000
        self.applied: list[Entry] = []

    async def apply(self, entries: Sequence[Entry]) -> None:
        await asyncio.sleep(self._slow_s)
        failing = next(self._failures, False)
        for entry in entries[: len(entries) // 2 if failing else None]:
            assert entry.seq <= len(self.applied) + 1, "a hole"
            if entry.seq == len(self.applied) + 1:
                self.applied.append(entry)
        if failing:
            raise StoreUnavailable


class History:
    """What callers were told."""

    def __init__(self) -> None:
        self.acknowledged: list[Event] = []
        self.unknown: set[str] = set()
        self.nothing: set[str] = set()
        self.gone: set[str] = set()

    async def call(self, writer: LaneWriter, store: Store, number: int, call: Call) -> None:
        await asyncio.sleep(call.wait_ms / 1000)
        texts = [f"{number}.{i}" for i in range(call.size)]
        writes = [Write(NOTE.name, 1, "Ua", text, b"", NoteArgs(text=text)) for text in texts]
        begun = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(call.patience_ms / 1000 or None):
                events = await writer.commit_many(writes)
        except TimeoutError:
            self.gone.update(texts)
        except OutcomeUnknown:
            self.unknown.update(texts)
        except NOTHING_HAPPENED:
            self.nothing.update(texts)
        else:
            assert [event.args.text for event in events] == texts
            done = {entry.event for entry in store.applied}
            assert done.issuperset(events), "acknowledged before it was applied"
            self.acknowledged += events
        # Queued behind one append, then in an append of its own; a refusal may take one more attempt.
        assert asyncio.get_running_loop().time() - begun < 12, "a caller waited without bound"


faults = st.lists(st.sampled_from(Fault), max_size=12)
calls = st.lists(
    st.builds(Call, st.integers(0, 4_000), st.integers(1, 3), st.sampled_from([0, 0, 0, 1, 40])), max_size=25
)


@settings(max_examples=250, deadline=None)
@given(
    faults=faults,
    blind=st.lists(st.booleans(), max_size=6),
    failures=st.lists(st.booleans(), max_size=8),
    slow_ms=st.sampled_from([0, 5, 900]),
    calls=calls,
    takeover_ms=st.sampled_from([0, 0, 700, 2_500]),
)
def test_no_fault_makes_the_writer_break_a_promise(
    faults: list[Fault], blind: list[bool], failures: list[bool], slow_ms: int, calls: list[Call], takeover_ms: int
) -> None:
    async def main() -> None:
        inner = MemoryLog()
        log = FlakyLog(inner, iter(faults), iter(blind))
        store = Store(failures, slow_ms)
        history = History()
        lost: list[PlanBError] = []
        loop = asyncio.get_running_loop()

        def now() -> int:
            return 1_700_000_000_000 + int(loop.time() * 1000)

        clock = HybridClock(now)
        writer = LaneWriter(
            log, LANE, b"one", clock, SIGNER, store.apply, now=now, codec=note_codec(), on_lost=lost.append
        )
        try:
            await writer.start()
        except LogUnavailable:
            assert await inner.tops() == {}
            return
        running = [asyncio.create_task(history.call(writer, store, i, call)) for i, call in enumerate(calls)]
        if takeover_ms:
            await asyncio.sleep(takeover_ms / 1000)
            second = await take_over(inner, now)
        await asyncio.gather(*running)
        # Quiet: the log and the stores are well again, so everything durable gets applied.
        await asyncio.sleep(60)
        await asyncio.gather(*log.late)
        await writer.close()
        if takeover_ms:
            await second.close()
        await check(inner, log, store, history, writer, bool(takeover_ms))
        assert len(lost) == writer.lost

    virtual_time.run(main())


async def take_over(log: MemoryLog, now: object) -> LaneWriter:
    async def apply(entries: Sequence[Entry]) -> None:
        pass

    clock = HybridClock(now)  # type: ignore[arg-type]
    writer = LaneWriter(log, LANE, b"two", clock, SIGNER, apply, now=now, codec=note_codec())  # type: ignore[arg-type]
    await writer.start()
    await writer.commit(NOTE.name, 1, "Ub", "", b"", NoteArgs(text="two"))
    return writer


async def check(
    inner: MemoryLog, log: FlakyLog, store: Store, history: History, writer: LaneWriter, taken_over: bool
) -> None:
    records = await inner.read(LANE, 0, 10_000)
    # Dense, chained, signed to the end, ids increasing, every id of this lane.
    assert VERIFIER.vouched(GENESIS, records) == len(records)
    for place, bytes_sent in log.possible.items():
        assert len(bytes_sent) == 1 or (taken_over and writer.lost), f"two records were sent to {place}"
    # After a takeover late bytes are refused even if they are there already: whoever was fenced stays fenced.
    assert not log.refusals or writer.lost or taken_over, "bytes that came late did not fit"

    entries = [note_codec().entry(record) for record in records]
    events = [entry.event for entry in entries if entry.event is not None]
    texts = [event.args.text for event in events if event.actor == "Ua"]
    assert len(set(texts)) == len(texts), "an event is in the log twice"
    acknowledged = {event.args.text for event in history.acknowledged}
    assert acknowledged <= set(texts), "an acknowledged event is not in the log"
    assert set(history.acknowledged) <= set(events)
    assert not history.nothing & set(texts), "nothing happened, they said"
    assert not set(texts) - acknowledged - history.unknown - history.gone

    if taken_over:
        # Our own process applies what it knows to be durable; the rest is for whoever took the lane over.
        assert store.applied == entries[: len(store.applied)]
        assert len(store.applied) >= len(acknowledged)
        opens = [record.seq for record in records if record.kind == KIND_OPEN]
        assert all(event.actor == "Ub" for event in events[opens[1] - 1 :]), "a zombie wrote behind its successor"
    else:
        assert store.applied == entries, "what is in the log is not applied, or in another order"
        assert not writer.lost
        assert writer.top.seq == len(records)
        assert writer.pending == 0
    note_event(f"acknowledged {bool(acknowledged)} unknown {bool(history.unknown)} nothing {bool(history.nothing)}")
