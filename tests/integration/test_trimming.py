"""The log is trimmed, and nobody misses anything: peers that were away, a DC that burnt, one that dies any time."""

import asyncio
from random import Random
from typing import Any

import pytest

from core.ids import Lane
from events.adapters.memory import MemoryLog
from events.adapters.valkey import ValkeyLog
from events.ports import Top
from events.record import GENESIS, Record
from snapshot.archive import Archive
from snapshot.archiver import Archiver
from snapshot.past import LogWithPast
from snapshot.trimmer import Trimmer
from stores.adapters.memory_objects import MemoryObjects
from stores.adapters.memory_relational import MemoryRelationalStore
from tests.support.dc import OneDc
from tests.support.objects import Crash, Crashes
from tests.support.replicated import Disks, ReplicatedDc, World, until
from tests.support.signed_lanes import groups, top_of
from tests.support.valkey import ValkeyFactory

LANE = Lane(1, 0, 0).number


async def users(dc: ReplicatedDc, first: int, count: int) -> None:
    names = range(first, first + count)
    await asyncio.gather(*(dc.one.do("user.upsert", "sys", user=f"U{dc.name}{n}", name=f"name {n}") for n in names))


async def all_of(past: LogWithPast) -> list[Record]:
    found: list[Record] = []
    while records := await past.read(LANE, len(found), 2_000):
        found += records
    return found


async def first_kept(dc: ReplicatedDc) -> int:
    log = dc.log
    assert isinstance(log, MemoryLog)
    return min(log._lanes[dc.lane].records)


@pytest.mark.integration
async def test_the_memory_of_a_real_log_stays_flat(valkey_server: ValkeyFactory) -> None:
    server = valkey_server("always")
    log, objects = await ValkeyLog.connect(server.url), MemoryObjects()
    archiver = Archiver(log, objects)

    async def stored() -> dict[int, int]:
        return {lane: top.seq for lane, top in (await log.tops()).items()}

    trimmer = Trimmer(
        log, archived=archiver.tops, stored=stored, bound=dict, kept=1_000, refed=500, step=100
    )  # `bound`: a peer that was never heard of

    def used() -> int:
        return int(server.ask(f"MEMORY USAGE {log._lane}{LANE} SAMPLES 0")[1:])

    sizes, top, everything = [], Top(0, 0, GENESIS), []
    for _ in range(12):
        records = groups([500, 500], after=top)
        everything += records
        top = top_of(records[-1])
        await log.store(records)
        await archiver.seal()
        await trimmer.trim()
        sizes.append(used())
    assert max(sizes[2:]) < 1.2 * min(sizes[2:]), sizes
    assert trimmer.records <= 1_500 + 100
    past = LogWithPast(log, Archive(objects))
    assert await all_of(past) == everything
    grown = await ValkeyLog.connect(valkey_server("always").url)
    await grown.store(everything)
    assert (await Trimmer(grown, archived=dict, stored=stored, bound=dict, kept=0, refed=0, step=1).trim()) == 0, (
        "nothing is archived there"
    )
    await log.close()
    await grown.close()


async def test_a_dc_that_was_cut_off_for_long_gets_all_of_it_from_the_archive_of_its_peer() -> None:
    async with World("fra", "ams", "nyc") as world:
        fra, ams = world["fra"], world["ams"]
        await world.settled()
        for other in ("fra", "nyc"):
            world.cut("ams", other)
        for batch in range(6):
            await users(fra, 20 * batch, 20)
        await world["nyc"].reached({fra.lane: (await fra.log.tops())[fra.lane].seq})
        for dc in (fra, world["nyc"]):
            assert await dc.seal_and_trim(kept=30, refed=10)
        assert await first_kept(fra) > 80, "ams has confirmed none of it"
        for other in ("fra", "nyc"):
            world.mend("ams", other)
        await world.settled()
        assert await ams.one.view.user("Ufra0") is not None
        assert fra.past.served + world["nyc"].past.served >= 80
        assert not ams.replicator.repairer.wanted
        assert len(await world.totals()) == 1


async def test_a_peer_that_is_a_little_behind_is_served_from_the_log() -> None:
    async with World("fra", "ams") as world:
        fra = world["fra"]
        await world.settled()
        world.cut("fra", "ams")
        await users(fra, 0, 40)
        before = (await fra.log.tops())[fra.lane].seq - 40
        await fra.seal_and_trim(kept=1_000, refed=0)
        assert await first_kept(fra) <= before + 1
        world.mend("fra", "ams")
        await world.settled()
        assert fra.past.served == 0
        await users(fra, 40, 1)  # and what it says of itself then moves the bound
        await world.settled()
        await until(lambda: fra.replicator.bound()[fra.lane] >= before + 40)
        assert await fra.seal_and_trim(kept=1_000, refed=0) >= 40


async def test_a_burnt_dc_comes_back_when_all_logs_are_trimmed() -> None:
    async with World("fra", "ams") as world:
        fra, ams = world["fra"], world["ams"]
        for batch in range(5):
            await users(fra, 20 * batch, 20)
            await users(ams, 20 * batch, 20)
        await world.settled()
        for dc in (fra, ams):
            await dc.seal_and_trim(kept=0, refed=5)
        ams = await world.restart("ams", disks=Disks(), incarnation=1)
        await world.settled()
        assert await ams.one.view.user("Uams0") is not None
        assert await ams.one.view.user("Ufra99") is not None
        assert len(await world.totals()) == 1


async def test_a_parked_event_is_retried_from_the_archive() -> None:
    async with World("fra", "ams") as world:
        fra, ams = world["fra"], world["ams"]
        await world.settled()
        known = ams.one.applier._planner.actions
        ams.one.applier._planner.actions = {name: action for name, action in known.items() if name != "user.update"}
        await users(fra, 0, 3)
        await fra.one.do("user.update", "Ufra0", name="another")
        await users(fra, 3, 30)
        await world.settled()
        parked = ams.progress.parked
        assert list(parked) == [fra.lane]
        assert await ams.seal_and_trim(kept=5, refed=2)
        ams.one.applier._planner.actions = known
        await ams.one.applier.retry_parked(fra.lane, parked[fra.lane][0])
        assert ams.past.served
        assert len(await world.totals()) == 1


async def test_a_store_recovers_from_the_archive_should_it_have_gone_back_before_the_log() -> None:
    dc = await OneDc().start()
    for n in range(30):
        await dc.do("user.upsert", "sys", user=f"U{n}", name="n")
    objects = MemoryObjects()
    await Archiver(dc.log, objects).seal()
    await dc.stop()
    await dc.log.trim(dc.lane, 25)
    back = OneDc(log=dc.log, past=LogWithPast(dc.log, Archive(objects)))
    await back.applier.start()
    assert await back.view.user("U0") is not None
    await back.applier.close()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("after", [False, True])
async def test_whenever_it_dies_every_record_is_in_the_log_or_in_the_archive(seed: int, after: bool) -> None:
    """Writes, stores that catch up, sealing and trimming, killed at each step in turn."""
    random = Random(seed)
    for at in range(1, 400):
        log, objects, relational = MemoryLog(), MemoryObjects(), MemoryRelationalStore(clock=lambda: 0)
        crashes = Crashes(at, after=after)
        records = groups([1] * 30)
        stored = {LANE: 0}

        dying: Any = crashes.around(relational, "set_meta")

        async def synced(stored: dict[int, int] = stored, store: Any = dying) -> dict[int, int]:
            await store.set_meta("stored", "")
            return stored

        archiver = Archiver(
            crashes.around(log, "trim"), crashes.around(objects, "put_new", "delete"), records_max=9, small_max=3
        )
        trimmer = Trimmer(
            crashes.around(log, "trim"),
            archived=archiver.tops,
            stored=synced,
            bound=dict,
            kept=random.randrange(10),
            refed=random.randrange(4),
            step=1,
        )
        written = 0
        try:
            for record in records:
                await log.store([record])
                written += 1
                stored[LANE] = random.randint(stored[LANE], written)
                if random.random() < 0.4:
                    await archiver.seal()
                if random.random() < 0.6:
                    await trimmer.trim()
        except Crash:
            pass
        past = LogWithPast(log, Archive(objects))
        assert await all_of(past) == records[:written]
        first = min(log._lanes[LANE].records, default=written + 1)
        assert first <= stored[LANE] + 1, "recovery begins in the log"
        if not crashes.happened:
            assert first > 1
            break
    else:
        pytest.fail("it never came to an end")
