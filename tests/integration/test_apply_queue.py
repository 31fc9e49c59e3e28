"""Many callers of one Applier: each gets the outcome of his own entries, whoever else comes, fails, goes or closes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from core import limits
from core.errors import Corrupt, Overloaded, StoreUnavailable
from events.codec import codec
from events.record import Record
from stores.adapters.memory_relational import MemoryRelationalStore
from tests.support.crash_site import Story, random_story
from tests.support.dc import OneDc
from tests.support.mesh import START_MS


class Gate(MemoryRelationalStore):
    """Holds every write until it is opened; can fail the next one; notes how many are inside at once."""

    def __init__(self) -> None:
        super().__init__(clock=lambda: START_MS)
        self.open = asyncio.Event()
        self.open.set()
        self.entered = asyncio.Event()
        self.fails = 0
        self.inside = self.most_inside = self.writes = 0

    async def apply(self, batch: Any) -> None:
        self.writes += 1
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        self.entered.set()
        try:
            await self.open.wait()
            if self.fails:
                self.fails -= 1
                raise StoreUnavailable("scripted")
            await super().apply(batch)
        finally:
            self.inside -= 1

    def close_gate(self) -> None:
        self.open.clear()
        self.entered.clear()


class Three:
    """A DC, and lanes of others to give to it."""

    def __init__(self, dc: OneDc, gate: Gate, story: Story) -> None:
        self.dc = dc
        self.gate = gate
        self.lanes = [records for lane, records in story.lanes.items() if len(records) > 4]

    async def apply(self, records: Sequence[Record]) -> None:
        await self.dc.applier.apply([codec().entry(record) for record in records])

    def soon(self, records: Sequence[Record]) -> "asyncio.Task[None]":
        return asyncio.create_task(self.apply(records))

    def at(self, records: Sequence[Record]) -> int:
        mark = self.dc.applier.progress.applied.get(records[0].lane)
        return mark.seq if mark else 0


@pytest.fixture
async def three() -> AsyncIterator[Three]:
    gate = Gate()
    dc = await OneDc(number=9, relational=gate).start()
    yield Three(dc, gate, random_story(36, 120))
    gate.open.set()
    await dc.stop()


async def test_callers_that_come_meanwhile_form_one_batch(three: Three) -> None:
    first, second, third = three.lanes[:3]
    three.gate.close_gate()
    tasks = [three.soon(first[:3])]
    await three.gate.entered.wait()
    tasks += [three.soon(second[:2]), three.soon(third[:3]), three.soon(second[2:4])]
    writes = three.gate.writes
    await asyncio.sleep(0)
    three.gate.open.set()
    await asyncio.gather(*tasks)
    assert [three.at(lane) for lane in (first, second, third)] == [3, 4, 3]
    assert three.gate.writes <= writes + 1


async def test_a_gap_is_its_callers_own(three: Three) -> None:
    first, second, third = three.lanes[:3]
    three.gate.close_gate()
    held = three.soon(first[:1] + first[1:2])
    await three.gate.entered.wait()
    tasks = [held, three.soon(second[:3]), three.soon(third[1:3]), three.soon(first[2:4])]
    await asyncio.sleep(0)
    three.gate.open.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(outcomes[2], Corrupt)
    assert [outcome for n, outcome in enumerate(outcomes) if n != 2] == [None, None, None]
    assert [three.at(lane) for lane in (first, second, third)] == [4, 3, 0]
    await three.apply(third[:3])
    assert three.at(third) == 3


async def test_a_store_that_fails_is_told_to_all_and_loses_nothing(three: Three) -> None:
    first, second, third = three.lanes[:3]
    three.gate.close_gate()
    three.gate.fails = 2
    tasks = [three.soon(first[:3])]
    await three.gate.entered.wait()
    tasks += [three.soon(second[:3]), three.soon(third[:3])]
    await asyncio.sleep(0)
    three.gate.open.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 3
    assert len({id(outcome) for outcome in outcomes}) == 3
    await asyncio.gather(*(three.apply(lane[:3]) for lane in (first, second, third)))
    assert [three.at(lane) for lane in (first, second, third)] == [3, 3, 3]


@pytest.mark.parametrize("under_way", [True, False], ids=["under way", "waiting"])
async def test_a_caller_that_is_cancelled_does_not_take_its_entries_back(three: Three, under_way: bool) -> None:
    first, second = three.lanes[:2]
    three.gate.close_gate()
    tasks = [three.soon(first[:3])]
    await three.gate.entered.wait()
    tasks.append(three.soon(second[:3]))
    await asyncio.sleep(0)
    gone, stays = tasks if under_way else tasks[::-1]
    gone.cancel()
    await asyncio.sleep(0)
    three.gate.open.set()
    await stays
    await three.apply((first if under_way else second)[3:4])
    assert (three.at(first), three.at(second)) == ((4, 3) if under_way else (3, 4))


async def test_closing_lets_the_batch_at_hand_end_and_refuses_the_rest(three: Three) -> None:
    first, second = three.lanes[:2]
    three.gate.close_gate()
    held = three.soon(first[:3])
    await three.gate.entered.wait()
    waits = three.soon(second[:3])
    await asyncio.sleep(0)
    closing = asyncio.create_task(three.dc.applier.close())
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable):
        await three.apply(second[:3])
    three.gate.open.set()
    await closing
    await held
    with pytest.raises(StoreUnavailable):
        await waits
    assert (three.at(first), three.at(second)) == (3, 0)


async def test_closing_does_not_wait_for_ever(three: Three, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LANE_CLOSE_MS_MAX", 30)
    three.gate.close_gate()
    held = three.soon(three.lanes[0][:3])
    await three.gate.entered.wait()
    await three.dc.applier.close()
    with pytest.raises(StoreUnavailable):
        await held


async def test_beyond_the_bound_one_is_told_to_come_back(three: Three, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "APPLY_QUEUE_MAX", 4)
    first, second, third = three.lanes[:3]
    three.gate.close_gate()
    held = three.soon(first[:3])
    await three.gate.entered.wait()
    waits = three.soon(second[:3])
    await asyncio.sleep(0)
    assert three.dc.applier.queued == 3
    with pytest.raises(Overloaded) as refusal:
        await three.apply(third[:3])
    assert refusal.value.retry_after_s
    three.gate.open.set()
    await asyncio.gather(held, waits)
    assert three.dc.applier.queued == 0


async def test_one_batch_at_a_time_whoever_writes(three: Three) -> None:
    """A lane that is just being taken over, the tick and replay together."""
    first, second = three.lanes[:2]
    await three.dc.log.store(second)
    top = (await three.dc.log.tops())[second[0].lane]
    three.gate.close_gate()
    tasks = [
        three.soon(first[:3]),
        asyncio.create_task(three.dc.applier.catch_up(top)),
        asyncio.create_task(three.dc.applier.tick()),
    ]
    await three.gate.entered.wait()
    for _ in range(5):
        await asyncio.sleep(0)
    three.gate.open.set()
    await asyncio.gather(*tasks)
    assert three.gate.most_inside == 1
    assert (three.at(first), three.at(second)) == (3, len(second))
