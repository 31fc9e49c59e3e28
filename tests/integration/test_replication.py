"""Two and three DCs in one process, over real HTTP."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import pytest

from core import limits
from core.errors import LinkFailed, Unavailable
from core.ids import Lane
from events.codec import Codec
from events.ports import Top
from events.record import Record
from replicator.link import HttpLink
from replicator.wire import PullHeader, PullRequest
from tests.support.dc import ACTIONS
from tests.support.replicated import SEEDS, Disks, ReplicatedDc, World, until
from tests.support.signed_lanes import groups, top_of


async def users(dc: ReplicatedDc, first: int, count: int) -> None:
    """Writes `count` users at once: they share group commits."""
    await asyncio.gather(
        *(
            dc.one.do("user.upsert", "sys", user=f"U{dc.name}{number}", name=f"name {number}")
            for number in range(first, first + count)
        )
    )


async def has(dc: ReplicatedDc, user: str) -> bool:
    return await dc.one.view.user(user) is not None


async def status(dc: ReplicatedDc) -> dict[str, Any]:
    code, body = await dc.call("GET", "/sys/v1/status")
    assert code == 200
    found: dict[str, Any] = msgspec.json.decode(body)
    return found


async def test_what_is_written_in_one_dc_is_applied_in_the_other_both_ways() -> None:
    async with World("fra", "ams") as world:
        fra, ams = world["fra"], world["ams"]
        await fra.one.do("user.upsert", "sys", user="Uada", name="Ada")
        await ams.one.do("user.upsert", "sys", user="Ubob", name="Bob")
        await world.settled()
        for dc in (fra, ams):
            for user, name in (("Uada", "Ada"), ("Ubob", "Bob")):
                found = await dc.one.view.user(user)
                assert found is not None
                assert found.name == name
        assert len(await world.totals()) == 1


async def test_an_event_reaches_a_dc_whose_direct_link_is_cut_by_way_of_a_third() -> None:
    world = World("fra", "ams", "nyc")
    world["ams"].wrap_link = Listening
    async with world:
        await users(world["fra"], 0, 3)
        await world.settled()
        asked = world["ams"].links["nyc"].asked
        await until(lambda: world["fra"].number in asked[-1].lazy)
        world.cut("fra", "ams")
        # The poll that waits at nyc is asked anew, long before it would end by itself.
        await until(lambda: world["fra"].number not in asked[-1].lazy, timeout_s=limits.PULL_WAIT_MS_MAX / 2000)
        await users(world["fra"], 3, 3)
        await users(world["ams"], 3, 3)
        await world.settled()
        assert await has(world["ams"], "Ufra5")
        assert await has(world["fra"], "Uams5")
        assert world["ams"].replicator.board.peers["fra"].link == "failed"
        assert world["ams"].replicator.board.peers["nyc"].link == "ok"
        shown = (await status(world["ams"]))["peers"]
        assert shown["fra"]["link"] == "failed"
        assert shown["fra"]["error"]
        assert shown["nyc"]["link"] == "ok"


async def test_a_cut_dc_catches_up_when_the_link_is_back() -> None:
    async with World("fra", "ams") as world:
        fra, ams = world["fra"], world["ams"]
        await world.settled()
        world.cut("fra", "ams")
        await users(fra, 0, 20)
        await users(ams, 0, 20)
        await until(lambda: ams.replicator.board.peers["fra"].link == "failed")
        assert not await has(ams, "Ufra0")
        world.mend("fra", "ams")
        await world.settled()
        assert await has(ams, "Ufra19")
        assert await has(fra, "Uams19")
        await until(lambda: ams.replicator.board.peers["fra"].link == "ok")
        assert len(await world.totals()) == 1


async def test_a_dc_that_restarts_in_the_middle_goes_on_from_what_it_has_applied() -> None:
    async with World("fra", "ams") as world:
        ams = world["ams"]
        await users(world["fra"], 0, 30)
        await until(lambda: ams.progress.applied.get(world["fra"].lane, (0,))[0] > 5)
        replayed = ams.replicator.replayer.replayed
        await users(world["fra"], 30, 30)
        ams = await world.restart("ams")
        await users(world["fra"], 60, 30)
        await world.settled()
        for number in (0, 29, 59, 89):
            assert await has(ams, f"Ufra{number}")
        assert replayed + ams.replicator.replayer.replayed < 2 * 90
        assert len(await world.totals()) == 1


async def test_what_is_durable_and_not_applied_at_a_crash_is_replayed_afterwards() -> None:
    async with World("fra", "ams") as world:
        ams = world["ams"]
        ams.disks.relational.failing = True
        await users(world["fra"], 0, 10)
        lane, top = world["fra"].lane, (await world["fra"].log.tops())[world["fra"].lane].seq
        await until(lambda: ams.replicator.durable().get(lane) == top)
        assert not await has(ams, "Ufra0")
        world.cut("fra", "ams")

        def mended() -> None:
            ams.disks.relational.failing = False

        ams = await world.restart("ams", while_down=mended)
        await ams.reached({lane: top})
        assert await has(ams, "Ufra9")


async def test_a_store_that_fails_for_a_while_blocks_and_then_recovers() -> None:
    async with World("fra", "ams") as world:
        fra, ams = world["fra"], world["ams"]
        await world.settled()
        ams.disks.relational.failing = True
        await users(fra, 0, 5)
        await until(lambda: fra.lane in ams.replicator.replayer.blocked)
        assert "fra/0.0" in (await status(ams))["replication"]["blocked"]
        assert not await has(ams, "Ufra0")
        ams.disks.relational.failing = False
        await world.settled()
        assert await has(ams, "Ufra4")
        await until(lambda: not ams.replicator.replayer.blocked)


async def test_an_event_that_this_version_does_not_know_is_parked_and_the_lane_goes_on() -> None:
    async with World("fra", "ams") as world:
        fra, ams = world["fra"], world["ams"]
        await world.settled()
        old = Codec({name: action for name, action in ACTIONS.items() if name != "user.upsert"})
        new = ams.codec
        ams.replay._entry = old.entry
        ams.one.applier._planner.codec = old
        await users(fra, 0, 1)
        await until(lambda: bool(ams.progress.parked))
        ams.replay._entry = new.entry
        await users(fra, 1, 1)
        await world.settled()
        assert await has(ams, "Ufra1")
        assert not await has(ams, "Ufra0")
        assert ams.progress.v()[fra.lane] < ams.progress.applied[fra.lane].id, "V stands still"

        code, body = await ams.call("GET", "/sys/v1/parked")
        (parked,) = msgspec.json.decode(body)["parked"]
        assert (code, parked["lane"]) == (200, "fra/0.0")
        assert "user.upsert" in parked["reason"]
        assert (await status(ams))["bound"]["fra/0.0"] < parked["seq"]

        code, body = await ams.call("POST", "/sys/v1/parked/retry")
        assert (code, msgspec.json.decode(body)["applied"]) == (200, []), "still unknown"
        ams.one.applier._planner.codec = new
        place = msgspec.json.encode({"lane": "fra/0.0", "seq": parked["seq"]})
        code, body = await ams.call("POST", "/sys/v1/parked/retry", place)
        assert (code, msgspec.json.decode(body)["parked"]) == (200, [])
        assert await has(ams, "Ufra0")
        assert (await status(ams))["parked"] == 0
        assert ams.progress.v()[fra.lane] == ams.progress.applied[fra.lane].id
        assert len(await world.totals()) == 1
        assert (await ams.call("POST", "/sys/v1/parked/retry", place))[0] == 404


class Chaos:
    """A link whose answers are shuffled, thinned, doubled, and sometimes lost."""

    def __init__(self, inner: HttpLink, chance: random.Random) -> None:
        self._inner = inner
        self._chance = chance

    async def pull(self, request: PullRequest) -> tuple[PullHeader, list[Record]]:
        header, records = await self._inner.pull(request)
        chance = self._chance
        if chance.random() < 0.1:
            raise LinkFailed("lost")
        records = [record for record in records for _ in range(chance.choice((0, 1, 1, 1, 2)))]
        if chance.random() < 0.5:
            chance.shuffle(records)
        return header, records

    async def tops(self) -> dict[int, tuple[int, bytes]]:
        return await self._inner.tops()


@pytest.mark.parametrize("seed", range(3))
async def test_loss_doubles_and_disorder_on_the_way_change_nothing(seed: int) -> None:
    world = World("fra", "ams", "nyc")
    chance = random.Random(seed)
    for dc in world.dcs.values():
        dc.wrap_link = lambda link: Chaos(link, chance)
    async with world:
        for turn in range(4):
            for dc in world.dcs.values():
                await users(dc, turn * 20, 20)
        await world.settled()
        assert len(await world.totals()) == 1
        for dc in world.dcs.values():
            assert not any(state.forked for state in dc.replicator.intake.lanes().values())
            for lane, top in (await dc.log.tops()).items():
                origin = next(other for other in world.dcs.values() if other.number == Lane.of(lane).dc)
                assert (await origin.log.tops())[lane] == top


class Shelf:
    """An archive: a list."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records
        self.reads = 0

    async def read(self, lane: int, after: int, limit: int) -> list[Record]:
        self.reads += 1
        return [record for record in self._records if record.lane == lane and record.seq > after][:limit]

    async def tops(self) -> dict[int, Top]:
        return {record.lane: top_of(record) for record in self._records}


async def test_what_a_peer_has_trimmed_comes_from_the_archive() -> None:
    world = World("fra", "ams")
    async with world:
        fra, ams = world["fra"], world["ams"]
        await world.settled()
        world.cut("fra", "ams")
        await users(fra, 0, 10)
        await users(fra, 10, 10)
        top = (await fra.log.tops())[fra.lane].seq
        shelf = Shelf(await fra.log.read(fra.lane, 0, 1000))
        await fra.log.trim(fra.lane, top - 3)
        ams.archive = shelf
        ams = await world.restart("ams", archive=shelf)
        world.mend("fra", "ams")
        await world.settled()
        assert shelf.reads
        assert await has(ams, "Ufra0")
        assert await has(ams, "Ufra19")
        assert not ams.replicator.repairer.wanted


class Shut(Shelf):
    """An archive that can't be listed at first."""

    def __init__(self, records: Sequence[Record], fails: int) -> None:
        super().__init__(records)
        self.fails = fails

    async def tops(self) -> dict[int, Top]:
        if self.fails:
            self.fails -= 1
            raise Unavailable("the bucket does not answer")
        return await super().tops()


@pytest.mark.parametrize("fails", [0, 2])
async def test_the_end_of_a_burnt_lane_that_only_the_own_archive_holds_comes_back(fails: int) -> None:
    async with World("fra", "ams") as world:
        fra, ams = world["fra"], world["ams"]
        await users(fra, 0, 5)
        await world.settled()
        world.cut("fra", "ams")
        await users(fra, 5, 5)
        burnt = fra.lane
        top = (await fra.log.tops())[burnt].seq
        shelf = Shut(await fra.log.read(burnt, 0, 1000), fails)
        fra = await world.restart("fra", disks=Disks(), archive=shelf, incarnation=1)
        await fra.reached({burnt: top})
        assert await has(fra, "Ufra9")
        assert not shelf.fails
        world.mend("fra", "ams")
        await world.settled()
        assert await has(ams, "Ufra9")
        assert len(await world.totals()) == 1


async def test_what_a_peer_has_trimmed_comes_from_another_peer() -> None:
    async with World("fra", "ams", "nyc") as world:
        fra, ams = world["fra"], world["ams"]
        await world.settled()
        world.cut("fra", "ams")
        world.cut("ams", "nyc")
        await users(fra, 0, 10)
        lane, top = fra.lane, (await fra.log.tops())[fra.lane].seq
        await world["nyc"].reached({lane: top})
        await fra.log.trim(lane, top)
        world.mend("fra", "ams")
        await until(lambda: bool(ams.replicator.repairer.wanted))
        assert "fra/0.0" in (await status(ams))["replication"]["holes"]
        world.mend("ams", "nyc")
        await world.settled()
        assert await has(ams, "Ufra9")


async def test_two_histories_of_one_lane_stop_that_lane_alone_and_are_shown() -> None:
    async with World("fra", "ams") as world:
        fra, ams = world["fra"], world["ams"]
        old = Lane(fra.number, 0, 9).number
        tick = 1 << 44
        common = groups([2], lane=old, seed=SEEDS["fra"], tick=tick)
        top = top_of(common[-1])
        await ams.log.store(common + groups([1, 1], after=top, lane=old, seed=SEEDS["fra"], tick=tick))
        await fra.log.store(common + groups([2, 2], after=top, lane=old, seed=SEEDS["fra"], tick=tick, tag="other"))
        await until(lambda: bool(ams.replicator.intake.forked(old)))
        assert "fra/0.9" in (await status(ams))["replication"]["forked"]
        await users(fra, 0, 3)
        await ams.reached({fra.lane: (await fra.log.tops())[fra.lane].seq})
        assert await has(ams, "Ufra2")
        assert (await ams.log.tops())[old].seq == 4


class Listening:
    """A link that notes what is asked, and may keep lanes of some DCs to itself."""

    def __init__(self, inner: HttpLink) -> None:
        self._inner = inner
        self.asked: list[PullRequest] = []
        self.mute: set[int] = set()

    async def pull(self, request: PullRequest) -> tuple[PullHeader, list[Record]]:
        self.asked.append(request)
        header, records = await self._inner.pull(request)
        return header, [record for record in records if Lane.of(record.lane).dc not in self.mute]

    async def tops(self) -> dict[int, tuple[int, bytes]]:
        return await self._inner.tops()


async def test_records_that_nobody_can_prove_rest_and_hold_nothing_up() -> None:
    world = World("fra", "ams")
    fra, ams = world["fra"], world["ams"]
    ams.wrap_link = Listening
    async with world:
        await world.settled()
        stranger = Lane(9, 0, 0).number
        await fra.log.store(groups([5], lane=stranger))
        await until(lambda: any(stranger in request.skip for request in ams.links["fra"].asked))
        await users(fra, 0, 5)
        await ams.reached({fra.lane: (await fra.log.tops())[fra.lane].seq})
        assert await has(ams, "Ufra4")
        assert stranger not in await ams.log.tops()
        assert ams.replicator.board.peers["fra"].link == "ok"


async def test_a_link_that_works_and_gives_nothing_is_made_up_for_by_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "PULL_WAIT_MS_MAX", 200)
    monkeypatch.setattr(limits, "LAZY_MS_MAX", 200)
    world = World("fra", "ams", "nyc")
    fra, ams = world["fra"], world["ams"]
    ams.wrap_link = Listening
    async with world:
        await world.settled()
        ams.links["fra"].mute.add(fra.number)
        await users(fra, 0, 3)
        await ams.reached({fra.lane: (await fra.log.tops())[fra.lane].seq})
        assert await has(ams, "Ufra2")
        assert ams.replicator.board.peers["fra"].link == "ok"


async def test_an_orphaned_lane_of_our_own_comes_back_from_a_peer_and_is_replayed() -> None:
    async with World("fra", "ams") as world:
        fra, ams = world["fra"], world["ams"]
        await users(fra, 0, 5)
        source = await fra.log.read(fra.lane, 0, 100)
        old = Lane(fra.number, 0, 5).number
        orphan = groups([2, 1], lane=old, seed=SEEDS["fra"])
        await ams.log.store(orphan)
        await fra.reached({old: 3})
        assert await fra.log.read(old, 0, 10) == orphan
        assert await fra.log.read(fra.lane, 0, len(source)) == source


async def test_a_peer_that_knows_more_of_our_live_lane_than_we_do_is_told_to_the_process() -> None:
    async with World("fra", "ams") as world:
        fra, ams = world["fra"], world["ams"]
        await users(fra, 0, 5)
        await ams.reached({fra.lane: (await fra.log.tops())[fra.lane].seq})
        assert fra.conflicts == []
        fra = await world.restart("fra", disks=Disks())
        await until(lambda: bool(fra.conflicts))
        assert fra.conflicts[0][0] == fra.lane


async def test_a_log_that_lost_its_end_gets_it_back_under_a_new_incarnation() -> None:
    async with World("fra", "ams") as world:
        fra, ams = world["fra"], world["ams"]
        await users(fra, 0, 5)
        earlier = Disks()
        lane = fra.lane
        await earlier.log.open(lane, b"the process before")
        await earlier.log.append(lane, b"the process before", await fra.log.read(lane, 0, 3))
        await ams.reached({lane: (await fra.log.tops())[lane].seq})
        whole = await fra.log.read(lane, 0, 100)
        fra = await world.restart("fra", disks=earlier, incarnation=1)
        await users(fra, 5, 2)
        await world.settled()
        assert await fra.log.read(lane, 0, 100) == whole
        assert await has(fra, "Ufra4")
        assert await has(ams, "Ufra6")
        assert fra.conflicts == []
        assert len(await world.totals()) == 1


async def test_remote_durability_is_reached_in_a_moment_and_refused_where_all_is_cut() -> None:
    async with World("fra", "ams") as world:
        fra = world["fra"]
        await world.settled()
        await users(fra, 0, 1)
        top = (await fra.log.tops())[fra.lane].seq
        assert await fra.remote.wait(fra.lane, top, 4)
        world.cut("fra", "ams")
        await until(lambda: fra.replicator.board.peers["ams"].link == "failed")
        await users(fra, 1, 1)
        assert not await fra.remote.wait(fra.lane, top + 1, 0.05)


async def test_while_direct_links_work_a_record_travels_once() -> None:
    async with World("fra", "ams", "nyc") as world:
        await world.settled()
        for dc in world.dcs.values():
            dc.replicator.pulls.served = 0
        for turn in range(5):
            for dc in world.dcs.values():
                await users(dc, turn * 10, 10)
            await world.settled()
        served = sum(dc.replicator.pulls.served for dc in world.dcs.values())
        assert served <= 1.2 * 5 * 3 * 10 * 2


@pytest.mark.parametrize("times", [1, 9])
async def test_a_digest_that_is_read_while_events_are_applied_is_read_again_or_says_so(times: int) -> None:
    async with World("fra") as world:
        fra = world["fra"]
        await users(fra, 0, 3)
        dump, left = fra.disks.relational.dump, times

        async def dumped(table: str, **where: Any) -> AsyncIterator[Any]:
            nonlocal left
            if table == "users" and left:
                left -= 1
                await users(fra, 100 + left, 1)  # behind the page that shows it, or before: nobody knows
            async for page in dump(table, **where):
                yield page

        fra.disks.relational.dump = dumped  # type: ignore[method-assign, assignment]
        code, body = await fra.call("GET", "/sys/v1/digest")
        answer = msgspec.json.decode(body)
        assert code == 200
        assert answer["moved"] == (times > 3)
        if not answer["moved"]:
            assert answer["applied"] == (await status(fra))["applied"]
            assert answer["digest"]["total"] == await fra.total()
