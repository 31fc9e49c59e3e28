"""The two Valkeys of a datacenter die, hang and come back, under load."""

import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
import pytest_asyncio

from cli.planet import Planet, Site
from cli.servers import Child
from cli.waiting import until
from tests.support.bad_days import RECOVER_S_MAX, Load, is_read, loaded, missing, planb, status

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]
ANSWER_S_MAX = 10.0
HANGS_MAX = 5
HANG_S_MAX = 10.0
"""More than LANE_ANSWER_MS_MAX, after which an outcome is unknown."""
"""No request waits longer for its answer, whatever hangs."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def planet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Planet]:
    planet = Planet(tmp_path_factory.mktemp("planet"), ("fra",))
    try:
        await planet.start()
        yield planet
    finally:
        await planet.stop()


@contextmanager
def hanging(child: Child) -> Iterator[None]:
    pid = child.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def start_again(site: Site, child: Child) -> None:
    assert not child.running
    await site.start_servers()


async def test_a_log_that_is_killed_and_comes_back_costs_nothing_that_was_acknowledged(planet: Planet) -> None:
    async with loaded(planet, "log-killed") as (site, load, _):
        site.log.kill()
        await load.hears("log_unavailable")
        assert await is_read(site, load.token), "reads go on"
        await start_again(site, site.log)
    assert site.process.running


async def is_unknown(load: Load) -> bool:
    return any("outcome_unknown" in words for words in load.said)


async def test_a_log_that_hangs_leaves_outcomes_unknown_until_it_answers(planet: Planet) -> None:
    async with loaded(planet, "log-hangs") as (site, load, _):
        for _ in range(HANGS_MAX):
            with hanging(site.log):
                told = await until(lambda: is_unknown(load), HANG_S_MAX)
                assert await is_read(site, load.token), "reads go on"
            if told:
                break
            await load.more()  # nothing was on its way to it; so nothing was unknown
        assert told, f"nobody was told that an outcome is unknown: {load.said}"
    assert load.slowest_s < ANSWER_S_MAX


async def test_a_hot_store_that_is_killed_is_rebuilt_as_a_new_epoch(planet: Planet) -> None:
    before = (await status(planet, "fra"))["epoch"]
    async with loaded(planet, "hot-killed") as (site, load, reader):
        site.hot.kill()
        await load.hears("store_unavailable", "outcome_unknown")
        await start_again(site, site.hot)
    assert (await status(planet, "fra"))["epoch"] > before
    assert reader.client.stats.resets == 0, "nothing was trimmed: a cursor goes on over a new epoch"


async def test_a_hot_store_that_hangs_is_waited_for(planet: Planet) -> None:
    async with loaded(planet, "hot-hangs") as (site, load, _):
        with hanging(site.hot):
            await load.hears("store_unavailable", "outcome_unknown")
            assert (await status(planet, "fra"))["missing"]["hot"] == "the hot store does not answer"
    assert load.slowest_s < ANSWER_S_MAX


async def test_both_valkeys_at_once(planet: Planet) -> None:
    async with loaded(planet, "both") as (site, load, _):
        site.log.kill()
        await load.hears("log_unavailable")
        site.hot.kill()  # while nothing is on its way to it
        await load.hears("store_unavailable")
        await site.start_servers()


async def test_the_log_dies_again_and_again(planet: Planet) -> None:
    async with loaded(planet, "again") as (site, load, _):
        for _ in range(4):
            site.log.kill()
            await start_again(site, site.log)
            await load.more(5)


async def test_readiness_names_the_valkey_that_is_gone(planet: Planet) -> None:
    site = planet.site("fra")

    async def named(name: str) -> bool:
        return name in await missing(site)

    for name, child in (("log", site.log), ("hot", site.hot)):
        child.kill()
        assert await until(lambda name=name: named(name), RECOVER_S_MAX), f"{name} is not named"
        shown = (await planb("status", "--config", str(site.settings), "--json")).json
        assert any(name in problem for problem in shown["problems"]), shown["problems"]
        await start_again(site, child)
        await site.ready()
