"""The replayer against a syssvc that is written down here: what it sends, and what it makes of each answer."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from core import limits
from core.errors import BadSignature, LaneForked, LaneGap, LinkFailed, PlanBError
from core.ids import Lane
from events.adapters.memory import MemoryLog
from events.record import Record
from replicator.growth import Growth
from replicator.lag import LagMeter
from replicator.names import DcNames
from replicator.replayer import Replayer
from tests.support.replicated import until
from tests.support.signed_lanes import LANE, groups

OTHER = Lane(1, 0, 1).number


class Syssvc:
    """Applies what follows; raises what `script` says for a lane first."""

    def __init__(self) -> None:
        self.at: dict[int, int] = {}
        self.batches: list[tuple[str, list[Record]]] = []
        self.script: dict[int, list[PlanBError]] = {}

    async def applied(self) -> dict[int, int]:
        return dict(self.at)

    async def replay(self, dc: str, records: Sequence[Record]) -> dict[int, int]:
        lane = records[0].lane
        if self.script.get(lane):
            raise self.script[lane].pop(0)
        if records[0].seq > self.at.get(lane, 0) + 1:
            raise LaneGap("a gap")
        self.batches.append((dc, list(records)))
        self.at[lane] = max(self.at.get(lane, 0), records[-1].seq)
        return {lane: self.at[lane]}


class World:
    def __init__(self) -> None:
        self.log = MemoryLog()
        self.syssvc = Syssvc()
        self.live: set[int] = set()
        self.growth = Growth(self.log, bytes)
        self.replayer = Replayer(
            event_log=self.log,
            growth=self.growth,
            target=self.syssvc,
            names=DcNames({"ams": 1}),
            live=lambda: frozenset(self.live),
            lag=LagMeter(),
            now_ms=lambda: 0,
            entropy=bytes,
        )
        self.tasks: list[asyncio.Task[None]] = []

    def run(self) -> None:
        self.tasks = [asyncio.create_task(self.growth.run()), asyncio.create_task(self.replayer.run())]

    async def reached(self, lane: int, seq: int) -> None:
        await until(lambda: self.replayer.applied.get(lane, 0) == seq)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    for task in world.tasks:
        task.cancel()
    await asyncio.gather(*world.tasks, return_exceptions=True)


async def test_batches_name_their_origin_are_bounded_and_end_with_a_signature(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REPLAY_RECORDS_MAX", 7)
    lane = groups([5, 5, 1, 1, 1, 5])
    await world.log.store(lane)
    world.run()
    await world.reached(LANE, len(lane))
    sent = [batch for dc, batch in world.syssvc.batches if dc == "ams"]
    assert [record for batch in sent for record in batch] == lane
    assert all(batch[-1].signature and len(batch) <= 7 for batch in sent)
    assert world.replayer.replayed == len(lane)


async def test_a_group_larger_than_the_bound_on_bytes_still_goes_whole(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REPLAY_BYTES_MAX", 300)
    lane = groups([4, 1, 1])
    await world.log.store(lane)
    world.run()
    await world.reached(LANE, len(lane))
    assert [len(batch) for _, batch in world.syssvc.batches] == [4, 2]


async def test_it_begins_behind_what_is_applied_and_goes_on_with_the_log(world: World) -> None:
    await world.log.store(groups([3, 3]))
    world.syssvc.at[LANE] = 3
    world.run()
    await world.reached(LANE, 6)
    await world.log.store(groups([3, 3, 2])[6:])
    await world.reached(LANE, 8)
    assert [batch[0].seq for _, batch in world.syssvc.batches] == [4, 7]


async def test_a_live_lane_is_not_replayed(world: World) -> None:
    world.live.add(LANE)
    await world.log.store(groups([2]))
    await world.log.store(groups([2], lane=OTHER))
    world.run()
    await world.reached(OTHER, 2)
    assert LANE not in world.replayer.applied
    assert world.replayer.behind() == {}


@pytest.mark.parametrize("error", [LinkFailed("down"), LaneForked("forked")])
async def test_a_lane_that_is_refused_waits_and_the_others_go_on(world: World, error: PlanBError) -> None:
    world.syssvc.script[LANE] = [error] * 3
    await world.log.store(groups([2]))
    await world.log.store(groups([2], lane=OTHER))
    world.run()
    await until(lambda: LANE in world.replayer.blocked)
    assert world.replayer.blocked[LANE].reason == error.detail
    await world.reached(OTHER, 2)
    await world.reached(LANE, 2)
    await until(lambda: not world.replayer.blocked)
    assert world.syssvc.script[LANE] == []


async def test_a_syssvc_that_went_back_is_followed_back(world: World) -> None:
    await world.log.store(groups([1, 1, 1]))
    world.run()
    await world.reached(LANE, 3)
    world.syssvc.at[LANE] = 1
    await world.log.store(groups([1] * 4)[3:])
    await world.reached(LANE, 4)
    assert [batch[0].seq for _, batch in world.syssvc.batches][-1] == 2


async def test_a_signature_that_is_not_valid_is_made_up_for_by_a_later_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REPLAY_RECORDS_MAX", 2)
    world.syssvc.script[LANE] = [BadSignature("the signature of seq 2 was damaged")]
    lane = groups([2, 2])
    await world.log.store(lane)
    world.run()
    await world.reached(LANE, 4)
    assert [len(batch) for _, batch in world.syssvc.batches] == [4]
