"""An event that can't be applied is dropped by all datacenters together; the state, V and the bound then go on."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from core.errors import (
    ClockRefused,
    Conflict,
    LogUnavailable,
    NotFound,
    OutcomeUnknown,
    Overloaded,
    PlanBError,
    StoreUnavailable,
)
from core.event import Event
from core.system import wall_clock_ms
from events.lane_writer import LaneWriter
from snapshot import dump, restore
from snapshot.archive import Archive
from snapshot.archiver import Archiver
from snapshot.manifest import Site
from stores.adapters.memory_messages import MemoryMessageStore
from stores.adapters.memory_relational import MemoryRelationalStore
from stores.digest import digest
from tests.support.dc import ACTIONS, OneDc
from tests.support.replicated import Disks, ReplicatedDc, World, until


def forget(dc: ReplicatedDc, *names: str) -> None:
    """It runs a version before these actions."""
    dc.one.applier._planner.actions = {name: action for name, action in ACTIONS.items() if name not in names}


async def parked_everywhere(world: World) -> tuple[int, int]:
    """(lane, seq) of an event of fra that no DC can apply, with others after it."""
    for dc in world.dcs.values():
        forget(dc, "group.dissolve")
    fra = world["fra"]
    for user in ("Ua", "Ub"):
        await fra.one.do("user.upsert", "sys", user=user, name="n")
    made = await fra.one.do("group.create", "Ua", "k", kind="group", title="t", users=["Ub"])
    await fra.one.do("group.dissolve", "Ua", "d", chat=made.args.chat)
    await fra.one.do("user.update", "Ua", name="later")
    await world.settled()
    ((lane, (seq,)),) = fra.progress.parked.items()
    return lane, seq


async def say(dc: ReplicatedDc, place: tuple[int, int]) -> bool:
    lane, seq = place
    return bool((await dc.one.do("parked.drop", "sys", lane=lane, seq=seq)).args.agreed)


async def listed(dc: ReplicatedDc) -> list[Any]:
    _, body = await dc.call("GET", "/sys/v1/parked")
    return list(msgspec.json.decode(body)["parked"])


async def test_it_is_dropped_when_all_have_agreed_and_not_before() -> None:
    async with World("fra", "ams", "nyc") as world:
        lane, seq = place = await parked_everywhere(world)
        fra = world["fra"]
        top = (await fra.log.tops())[lane]
        for name in ("fra", "ams"):
            assert await say(world[name], place)
        await world.settled()
        assert all(dc.progress.parked == {lane: [seq]} for dc in world.dcs.values())
        assert [one["agreed_to_drop"] for one in await listed(world["nyc"])] == [["fra", "ams"]]
        assert fra.progress.v()[lane] < top.id
        assert await say(world["nyc"], place)
        await world.settled()
        await until(lambda: all(not dc.progress.parked for dc in world.dcs.values()))
        assert all(dc.progress.v()[lane] >= top.id for dc in world.dcs.values())
        assert len(await world.totals()) == 1
        for dc in world.dcs.values():
            assert not await dc.disks.relational.parked()
        await until(lambda: fra.replicator.bound()[lane] >= top.seq)


async def test_a_digest_is_of_a_frontier_at_which_the_drop_is_done() -> None:
    """Who compares at equal frontiers is not told of an event that is parked no more."""
    async with World("fra", "ams") as world:
        place = await parked_everywhere(world)
        fra, ams = world["fra"], world["ams"]
        assert await say(fra, place)
        store = fra.disks.relational
        rows, heard, may_go_on = store.rows, asyncio.Event(), asyncio.Event()

        async def slowly(table: str, key: dict[str, Any]) -> Any:
            if table == "drops":
                heard.set()
                await may_go_on.wait()
            return await rows(table, key)

        store.rows = slowly  # type: ignore[method-assign, assignment]
        assert await say(ams, place)
        await heard.wait()
        await until(lambda: fra.progress.applied == ams.progress.applied)
        asked = asyncio.create_task(fra.call("GET", "/sys/v1/digest"))
        await asyncio.wait({asked}, timeout=0.3)  # for the wrong answer to come
        may_go_on.set()
        _, body = await asked
        assert msgspec.json.decode(body)["parked"] == 0


async def test_it_stays_dropped_after_a_restart_and_an_upgrade() -> None:
    async with World("fra", "ams") as world:
        lane, seq = place = await parked_everywhere(world)
        for dc in world.dcs.values():
            assert await say(dc, place)
        await world.settled()
        await until(lambda: all(not dc.progress.parked for dc in world.dcs.values()))
        before = await world.totals()
        ams = await world.restart("ams")  # with all actions
        assert not ams.progress.parked
        assert await world.totals() == before
        with pytest.raises(Conflict):
            await say(ams, place)
        with pytest.raises(NotFound):
            await ams.one.applier.retry_parked(lane, seq)


async def test_whoever_agreed_does_not_apply_it_any_more_until_another_has() -> None:
    async with World("fra", "ams") as world:
        lane, seq = place = await parked_everywhere(world)
        fra, ams = world["fra"], world["ams"]
        assert await say(ams, place)
        forget(ams)
        with pytest.raises(Conflict):
            await ams.one.applier.retry_parked(lane, seq)
        ams = await world.restart("ams")
        with pytest.raises(Conflict):
            await ams.one.applier.retry_parked(lane, seq)
        forget(fra)
        await fra.one.applier.retry_parked(lane, seq)
        assert not await say(fra, place), "it has applied it, and says so"
        await world.settled()
        await ams.one.applier.retry_parked(lane, seq)
        assert len(await world.totals()) == 1
        assert not ams.progress.parked


async def test_a_retry_and_a_word_at_once_never_both_succeed() -> None:
    for turn in range(8):
        async with World("fra", "ams") as world:
            lane, seq = place = await parked_everywhere(world)
            fra = world["fra"]
            forget(fra)
            work = [fra.one.applier.retry_parked(lane, seq), say(fra, place)]
            done = await asyncio.gather(*(work if turn % 2 else reversed(work)), return_exceptions=True)
            retried, word = done if turn % 2 else reversed(done)
            assert (retried is None) != (word is True), (retried, word)


class Failing:
    """A lane writer whose next write ends with this error, and happens when `happen` is called."""

    def __init__(self, inner: LaneWriter, error: PlanBError) -> None:
        self._inner = inner
        self._error: PlanBError | None = error
        self.happen: Callable[[], Awaitable[Event]]
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.reached = asyncio.Event()

    async def commit(self, *write: Any) -> Event:
        error, self._error = self._error, None
        self.reached.set()
        if error is None:
            return await self._inner.commit(*write)
        await self.may_end.wait()
        self.happen = functools.partial(self._inner.commit, *write)
        raise error


async def asked_to_drop(dc: ReplicatedDc, place: tuple[int, int], key: str = "k") -> tuple[int, Any]:
    lane, seq = place
    body = msgspec.json.encode({"lane": lane, "seq": seq})
    status, answer = await dc.call("POST", "/sys/v1/parked/drop", body, **{"Idempotency-Key": key})
    return status, msgspec.json.decode(answer)


def failing(dc: ReplicatedDc, error: PlanBError) -> Failing:
    found = dc.writes.lane_writer = Failing(dc.one.writer, error)
    return found


async def test_a_drop_that_failed_does_not_keep_it_from_being_retried() -> None:
    async with World("fra", "ams") as world:
        lane, seq = place = await parked_everywhere(world)
        fra = world["fra"]
        for error in (LogUnavailable(), StoreUnavailable(), Overloaded(), ClockRefused()):
            failing(fra, error)
            status, answer = await asked_to_drop(fra, place)
            assert (status, answer["code"]) == (503, error.code)
        forget(fra)
        await fra.one.applier.retry_parked(lane, seq)
        assert not fra.progress.parked


async def test_a_word_that_was_given_twice_is_not_taken_back_by_the_refusal_of_the_second() -> None:
    async with World("fra", "ams") as world:
        lane, seq = place = await parked_everywhere(world)
        fra = world["fra"]
        assert await say(fra, place)
        status, answer = await asked_to_drop(fra, place)
        assert (status, answer["code"]) == (409, "conflict")
        forget(fra)
        with pytest.raises(Conflict):
            await fra.one.applier.retry_parked(lane, seq)


async def test_a_drop_that_failed_takes_back_nothing_of_another_that_is_on_its_way() -> None:
    async with World("fra", "ams") as world:
        lane, seq = place = await parked_everywhere(world)
        fra = world["fra"]
        slow = failing(fra, LogUnavailable())
        slow.may_end.clear()
        first = asyncio.create_task(asked_to_drop(fra, place, "k1"))
        await slow.reached.wait()
        failing(fra, Overloaded())
        assert (await asked_to_drop(fra, place, "k2"))[0] == 503
        forget(fra)
        with pytest.raises(Conflict):
            await fra.one.applier.retry_parked(lane, seq)
        slow.may_end.set()
        assert (await first)[0] == 503
        await fra.one.applier.retry_parked(lane, seq)


async def test_a_drop_whose_outcome_is_unknown_holds_until_it_is_known() -> None:
    async with World("fra", "ams") as world:
        lane, seq = place = await parked_everywhere(world)
        fra, ams = world["fra"], world["ams"]
        unknown = failing(fra, OutcomeUnknown())
        assert (await asked_to_drop(fra, place))[1]["code"] == "outcome_unknown"
        forget(fra)
        for happens in (False, True):
            if happens:
                await unknown.happen()
            with pytest.raises(Conflict):
                await fra.one.applier.retry_parked(lane, seq)
        await world.settled()
        assert await say(ams, place)
        await world.settled()
        await until(lambda: not fra.progress.parked)


async def test_what_has_not_come_yet_can_not_be_dropped() -> None:
    async with World("fra", "ams") as world:
        lane, seq = await parked_everywhere(world)
        with pytest.raises(NotFound):
            await say(world["ams"], (lane, seq + 1_000))


async def test_a_burnt_dc_with_a_newer_program_does_not_apply_what_was_dropped() -> None:
    """Its lanes bring the event before the words: what the archive holds of them is looked at first."""
    async with World("fra", "ams") as world:
        place = await parked_everywhere(world)
        fra = world["fra"]
        archiver = Archiver(fra.log, fra.disks.objects)
        manifest = await dump.create(
            relational=MemoryRelationalStore(clock=wall_clock_ms),
            messages=MemoryMessageStore(),
            archive=Archive(fra.disks.objects),
            objects=fra.disks.objects,
            site=Site("w", "fra", 1, 0, 1),
            clock=wall_clock_ms,
        )  # of the very beginning
        for dc in world.dcs.values():
            assert await say(dc, place)
        await world.settled()
        await until(lambda: all(not dc.progress.parked for dc in world.dcs.values()))
        await archiver.seal()
        wanted = await fra.total()
        disks = Disks()
        again = OneDc("fra", 1, log=disks.log, relational=disks.relational, incarnation=1)
        again.view.dcs = frozenset({1, 2})
        await restore.restore(
            manifest.id,
            relational=disks.relational,
            messages=again.messages,
            log=disks.log,
            archive=Archive(fra.disks.objects),
            objects=fra.disks.objects,
            number=1,
            clock=wall_clock_ms,
        )
        await again.applier.start()
        assert (await digest(disks.relational, again.messages)).total == wanted
        assert not again.applier.progress.parked
        await again.applier.close()
