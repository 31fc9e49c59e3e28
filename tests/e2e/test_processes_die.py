"""kill -9 of a datacenter's process at any time, of its servers, of all of it at once."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from cli.planet import Planet, Site
from cli.waiting import until
from core.errors import Conflict, Unavailable
from tests.support.bad_days import RECOVER_S_MAX, check_log, digests, loaded, missing, status

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]
LANE = "fra/0.0"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def planet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Planet]:
    planet = Planet(tmp_path_factory.mktemp("planet"), ("fra", "iad"))
    try:
        await planet.start()
        yield planet
    finally:
        await planet.stop()


async def same_lane(planet: Planet, site: Site) -> None:
    found = await status(planet, site.name)
    assert found["lanes"] == [LANE], "a killed process costs no incarnation"
    assert len(await digests(planet)) == 1
    await check_log(site)


async def test_a_process_killed_at_any_time_under_load_loses_nothing(planet: Planet) -> None:
    rng = random.Random(7)
    async with loaded(planet, "killed") as (site, load, _):
        for _ in range(3):
            await load.more(rng.randrange(5, 80))
            site.process.kill()
            await site.start()
            await site.ready()
    await same_lane(planet, site)


async def test_a_process_killed_while_it_starts_loses_nothing(planet: Planet) -> None:
    rng = random.Random(11)
    async with loaded(planet, "starting") as (site, _load, _):
        site.process.kill()
        for _ in range(3):
            site.process.start()
            await asyncio.sleep(rng.uniform(0.4, 1.5))  # the moment of death
            site.process.kill()
        await site.start()
        await site.ready()
    await same_lane(planet, site)


async def test_a_whole_datacenter_killed_at_once_loses_nothing(planet: Planet) -> None:
    async with loaded(planet, "power") as (site, load, _):
        for _ in range(2):
            await load.more(50)
            site.kill()
            await site.start()
            await site.ready()
    await same_lane(planet, site)


async def test_a_burnt_datacenter_without_a_snapshot_comes_back_from_the_others_lanes(planet: Planet) -> None:
    site = planet.site("iad")
    await digests(planet)  # what only a burnt datacenter held would be lost
    site.kill()
    site.burn()
    with pytest.raises(Conflict, match="no snapshot of iad"):
        await planet.rebuild("iad")
    await site.start()
    await site.ready()
    assert (await status(planet, "iad"))["lanes"] == ["iad/1.0"], "its first lane may have had an end that is lost"
    assert len(await digests(planet)) == 1


async def test_a_new_datacenter_that_fails_to_start_uses_up_no_incarnations(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    alone = Planet(tmp_path_factory.mktemp("alone"), ("fra",))
    site = alone.site("fra")
    try:
        await site.start_servers()
        site.hot.kill()
        for _ in range(2):
            site.process.start()
            with contextlib.suppress(Unavailable):
                await site.ready()

            async def ended() -> bool:
                return not site.process.running

            assert await until(ended, RECOVER_S_MAX)
        await site.start()
        await site.ready()
        assert (await status(alone, "fra"))["lanes"] == [LANE]
        assert not await missing(site)
    finally:
        await alone.stop()
