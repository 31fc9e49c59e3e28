"""Processes of one datacenter that find each other in etcd: who dies, freezes or is cut off stops writing before
another one begins, and what was acknowledged stays."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from cli.planet import Planet
from cli.servers import listening
from cli.waiting import until
from deploy.local.etcd import Etcd
from tests.support.bad_days import RECOVER_S_MAX, check_log, digests, finished, loaded, missing, planb_process, status
from tests.support.etcd import etcd_at
from tests.support.processes import log_of, meets_in_etcd, serves, standby, standby_elsewhere, stands_by

pytestmark = [pytest.mark.e2e, pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]
LEASE_S = 3.0
LONG_LEASE_S = 30.0
NOBODY = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def own_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    with etcd_at(tmp_path_factory.mktemp("etcd")) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def planet(own_etcd: Etcd, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Planet]:
    planet = Planet(tmp_path_factory.mktemp("planet"), ("fra", "iad"))
    meets_in_etcd(planet.site("fra"), own_etcd.url, LEASE_S)
    meets_in_etcd(planet.site("iad"), own_etcd.url, LONG_LEASE_S)
    try:
        await planet.start()
        yield planet
    finally:
        await planet.stop()


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def all_is_well(planet: Planet) -> None:
    for site in planet.sites.values():
        await site.start()
        await site.ready()


async def of(planet: Planet) -> dict[str, Any]:
    return dict((await status(planet, "fra"))["coordination"])


async def test_of_a_process_that_was_killed_the_other_one_takes_over_when_its_lease_is_over(
    planet: Planet, tmp_path: Path
) -> None:
    before = (await of(planet))["held"]
    second = standby(planet.site("fra"), tmp_path)
    loop = asyncio.get_running_loop()
    try:
        async with loaded(planet, "killed") as (site, load, _):
            second.start()
            await stands_by(second)
            site.process.kill()
            killed_s = loop.time()
            await load.more()
            assert loop.time() - killed_s > LEASE_S / 2, "nobody may know earlier that it is dead"
            await serves(second, site.ports.sys, planet.sys_key)
        held = (await of(planet))["held"]
        assert held.keys() == before.keys() == {"process", "worker/0", "leader/cron"}
        assert all(held[name] > token for name, token in before.items())
        assert len(await digests(planet)) == 1
        await check_log(site)
        assert (await status(planet, "fra"))["lanes"] == ["fra/0.0"], "it costs no incarnation"
        site.process.start()
        await stands_by(site.process)
        await second.stop()
        await serves(site.process, site.ports.sys, planet.sys_key)
    finally:
        second.kill()


async def test_a_process_frozen_for_longer_than_its_lease_stands_by_when_it_wakes_up(
    planet: Planet, tmp_path: Path
) -> None:
    site = planet.site("fra")
    second, port = standby_elsewhere(site, tmp_path)
    pid = site.process.pid
    assert pid is not None
    try:
        async with loaded(planet, "frozen") as (_, load, _reader):
            second.start()
            await stands_by(second)
            await listening(second, port)
            os.kill(pid, signal.SIGSTOP)
            try:
                load.url = f"http://127.0.0.1:{port}"
                await load.more()
            finally:
                os.kill(pid, signal.SIGCONT)
            await stands_by(site.process)
            assert site.process.pid == pid, "it goes on, as a standby"
            await second.stop()
            load.url = site.url
            await load.more()
            await serves(site.process, site.ports.sys, planet.sys_key)
        assert len(await digests(planet)) == 1
        await check_log(site)
    finally:
        os.kill(pid, signal.SIGCONT)
        second.kill()


async def test_a_process_that_can_not_reach_etcd_stops_writing_and_goes_on_on_its_lane_when_it_can(
    planet: Planet, own_etcd: Etcd
) -> None:
    async with loaded(planet, "alone") as (site, load, _):
        pid = site.process.pid
        own_etcd.pause()
        try:
            await load.hears("lease_lost")
            assert "does not hold its lease: " in (await missing(site))["lease"]
            found = await of(planet)
            assert "does not hold its lease" in found["refuses"]
        finally:
            own_etcd.resume()
        await load.more()
        own_etcd.kill()
        try:
            await load.hears("lease_lost")
        finally:
            await own_etcd.start()
        await load.more()
        assert site.process.pid == pid
    assert (await status(planet, "fra"))["lanes"] == ["fra/0.0"]
    await check_log(site)


async def test_etcd_that_is_away_for_less_than_a_lease_is_not_noticed(planet: Planet, own_etcd: Etcd) -> None:
    async with loaded(planet, "short", "iad") as (_, load, _reader):
        own_etcd.kill()
        await own_etcd.start()
        await load.more(100)
        assert not load.said


async def test_a_process_with_another_map_is_refused_by_name(planet: Planet, tmp_path: Path) -> None:
    site = planet.site("fra")
    text = site.settings.read_text()
    other = tmp_path / "other.toml"
    other.write_text(text.replace("[peers.iad]\nnumber = 2", "[peers.nrt]\nnumber = 2"))
    assert other.read_text() != text
    ran = await finished(await planb_process("serve", "all", "--config", str(other)))
    assert ran.code == 8
    assert f"of process {site.process.pid} on " in ran.err
    assert "number 2 is iad there, nrt in the settings" in ran.err
    assert not (await of(planet))["refuses"]


async def test_etcd_that_is_not_there_is_named(planet: Planet, tmp_path: Path) -> None:
    site = planet.site("fra")
    other = tmp_path / "other.toml"
    named = re.sub(r'etcd_endpoints = \[".*"\]', f'etcd_endpoints = ["{NOBODY}"]', site.settings.read_text())
    other.write_text(named)
    ran = await finished(await planb_process("serve", "all", "--config", str(other)))
    assert ran.code == 6
    assert f"etcd ({NOBODY}): " in ran.err


async def test_status_shows_lease_leader_and_registry(planet: Planet) -> None:
    site = planet.site("fra")
    found = await of(planet)
    assert found["kind"].startswith("etcd http://127.0.0.1:")
    assert 0 < found["left_ms"] <= 1_000 * LEASE_S
    place = f"process {site.process.pid} on {os.uname().nodename}"
    assert found["leaders"] == {"cron": {"process": place, "term": found["held"]["leader/cron"]}}
    assert [(one["pid"], one["state"]) for one in found["processes"]] == [(site.process.pid, "serving")]
    ran = await finished(await planb_process("status", "--config", str(site.settings), "--text"))
    assert ran.code == 0
    for text in (place, "leads cron", "worker/0", "serving"):
        assert text in ran.out, ran.out


async def test_a_lease_is_given_back_at_once_by_a_process_that_is_told_to_go(planet: Planet, tmp_path: Path) -> None:
    site = planet.site("fra")
    second = standby(site, tmp_path)
    second.start()
    try:
        await stands_by(second)
        await site.process.stop()
        stopped_s = asyncio.get_running_loop().time()

        async def took_it() -> bool:
            return "this process runs it now" in log_of(second)

        assert await until(took_it, RECOVER_S_MAX)
        assert asyncio.get_running_loop().time() - stopped_s < LEASE_S / 2
        await serves(second, site.ports.sys, planet.sys_key)
        await second.stop()
    finally:
        second.kill()
