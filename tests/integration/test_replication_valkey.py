"""Replication between logs on real servers, which die and come back."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from core.ids import Lane
from events.adapters.valkey import ValkeyLog
from tests.support.replicated import SEEDS, Disks, World, until
from tests.support.signed_lanes import groups
from tests.support.valkey import ValkeyFactory, ValkeyServer

pytestmark = pytest.mark.integration


@pytest.fixture
async def servers(valkey_server: ValkeyFactory) -> AsyncIterator[dict[str, ValkeyServer]]:
    yield {name: valkey_server("always") for name in ("fra", "ams")}


@pytest.fixture
async def world(servers: dict[str, ValkeyServer]) -> AsyncIterator[World]:
    logs = {name: await ValkeyLog.connect(server.url) for name, server in servers.items()}
    async with World("fra", "ams", disks={name: Disks(log) for name, log in logs.items()}) as world:
        yield world
    for log in logs.values():
        await log.close()


async def users(world: World, name: str, first: int, count: int) -> None:
    writes = (
        world[name].one.do("user.upsert", "sys", user=f"U{name}{number}", name="n")
        for number in range(first, first + count)
    )
    await asyncio.gather(*writes)


async def test_lanes_travel_between_real_logs_both_ways(world: World) -> None:
    await users(world, "fra", 0, 300)
    await users(world, "ams", 0, 300)
    await world.settled()
    assert len(await world.totals()) == 1
    lane = world["fra"].lane
    top = (await world["fra"].log.tops())[lane]
    assert (await world["ams"].log.tops())[lane] == top
    assert await world["ams"].log.read(lane, 0, 1000) == await world["fra"].log.read(lane, 0, 1000)


async def test_a_log_server_that_dies_holds_replication_up_and_loses_nothing(
    world: World, servers: dict[str, ValkeyServer]
) -> None:
    await users(world, "fra", 0, 20)
    await world.settled()
    servers["ams"].kill()
    await users(world, "fra", 20, 20)
    ams = world["ams"]
    await until(lambda: ams.replicator.growth.error != "")
    servers["ams"].start()
    await world.settled()
    assert await ams.one.view.user("Ufra39") is not None
    assert ams.replicator.growth.error == ""


async def test_an_orphaned_lane_that_a_former_process_owned_gets_its_lost_end_back(world: World) -> None:
    await world.settled()
    fra, ams = world["fra"], world["ams"]
    old = Lane(fra.number, 0, 0).number
    fra = await world.restart("fra", incarnation=1)
    top = (await fra.log.tops())[old]
    lost = groups([2], after=top, lane=old, seed=SEEDS["fra"], tick=(top.id >> 16) + 1)
    await ams.log.store(lost)
    await fra.reached({old: top.seq + 2})
    assert await fra.log.read(old, top.seq, 9) == lost
