"""A datacenter whose event log is on Pulsar, beside one whose log is a Valkey: real processes, a real broker."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from cli.planet import Planet, Site
from deploy.local.pulsar import Pulsar, PulsarPair
from events.adapters.pulsar import PulsarLog
from events.record import GENESIS, chain
from tests.support.bad_days import Load, digests, is_read, loaded, planb, user
from tests.support.servers import needs

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]


class World(NamedTuple):
    planet: Planet
    pulsar: Pulsar


def onto_pulsar(site: Site, pulsar: Pulsar, tenant: str = "planb") -> None:
    """Its settings, before a start."""
    text = re.sub(r"stores\.pulsar\..*\n", "", site.settings.read_text())
    where = f'log_url = "{pulsar.broker_url}"\npulsar.admin_url = "{pulsar.admin_url}"\npulsar.tenant = "{tenant}"'
    text = re.sub(r"pulsar\..*\n", "", text)
    text, places = re.subn("log_url = .*", where, text)
    assert places == 1
    site.settings.write_text(text)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """fra is on Pulsar, iad is not."""
    needs("java", "pulsar")
    folder: Path = tmp_path_factory.mktemp("planet")
    pulsar = Pulsar(folder / "pulsar")
    planet = Planet(folder, ("fra", "iad"))
    try:
        await pulsar.start()
        onto_pulsar(planet.site("fra"), pulsar)
        await planet.start()
        yield World(planet, pulsar)
    finally:
        await planet.stop()
        pulsar.kill()


async def check_log(pulsar: Pulsar, tenant: str = "planb", dc: int = 1) -> None:
    """Every lane is dense from its first record, and chained."""
    log = await PulsarLog.connect(pulsar.broker_url, pulsar.admin_url, dc, tenant=tenant)
    try:
        tops = await log.tops()
        assert tops
        for lane, top in tops.items():
            before, seq = GENESIS, 0
            while records := await log.read(lane, seq, 500):
                for record in records:
                    seq += 1
                    assert record.seq == seq
                    assert record.hash == chain(before, lane, record.seq, record.id, record.kind, record.body)
                    before = record.hash
            assert (seq, before) == (top.seq, top.hash)
    finally:
        await log.close()


async def test_a_process_that_is_killed_comes_back_and_nothing_is_lost(world: World) -> None:
    async with loaded(world.planet, "killed", reads_in="iad") as (site, load, _):
        for _ in range(2):
            site.process.kill()
            await site.start()
            await site.ready()
            await load.more(10)
    assert len(await digests(world.planet)) == 1
    await check_log(world.pulsar)


async def test_a_broker_that_is_killed_and_comes_back_costs_nothing_that_was_acknowledged(world: World) -> None:
    async with loaded(world.planet, "broker-killed", reads_in="iad") as (site, load, _):
        world.pulsar.kill()
        await load.hears("log_unavailable")
        assert await is_read(site, load.token), "reads go on"
        await world.pulsar.start()
    assert site.process.running
    assert len(await digests(world.planet)) == 1
    await check_log(world.pulsar)


async def test_a_broker_that_stands_still_leaves_outcomes_unknown_until_it_answers(world: World) -> None:
    async with loaded(world.planet, "broker-hangs") as (site, load, _):
        world.pulsar.pause()
        try:
            await load.hears("outcome_unknown", "log_unavailable")
            assert await is_read(site, load.token), "reads go on"
        finally:
            world.pulsar.resume()
    assert site.process.running
    await check_log(world.pulsar)


async def test_a_datacenter_whose_log_is_lost_is_restored_behind_what_it_had(world: World) -> None:
    planet, site = world.planet, world.planet.site("fra")
    token = await user(planet, "Urestored", "fra")
    await user(planet, "Urestored-1", "fra")
    async with Load(site.url, token, "Urestored-1").running() as load:
        await load.more(30)
    config = ("--config", str(site.settings))
    taken = await planb("snapshot", "create", *config)
    assert taken.code == 0, taken
    assert len(await digests(planet)) == 1
    site.kill()
    site.burn()
    onto_pulsar(site, world.pulsar, "afterwards")
    await site.start_servers()
    restored = await planb("restore", *config, "--json")
    assert (restored.code, restored.json["incarnation"]) == (0, 1), restored
    await site.start()
    await site.ready()
    async with Load(site.url, token, "Urestored-1").running() as load:
        await load.more(20)
    assert len(await digests(planet)) == 1


# -- two datacenters on two clusters


async def test_what_is_written_while_the_link_is_cut_comes_by_way_of_pulsar(tmp_path: Path) -> None:
    needs("java", "pulsar")
    pair = PulsarPair(tmp_path / "pulsars", ("fra", "iad"))
    planet = Planet(tmp_path / "planet", ("fra", "iad"))
    try:
        await pair.start()
        for name, server in zip(("fra", "iad"), pair.members, strict=True):
            onto_pulsar(planet.site(name), server)
        for name, other, server in (("fra", "iad", pair.members[1]), ("iad", "fra", pair.members[0])):
            settings = planet.site(name).settings
            where = f'cluster = "{other}", broker_url = "{server.broker_url}", admin_url = "{server.admin_url}"'
            settings.write_text(
                settings.read_text().replace(f"[peers.{other}]\n", f"[peers.{other}]\npulsar = {{ {where} }}\n")
            )
            added = await planb("dc", "add", other, "--config", str(settings))
            assert added.code == 0, added
        await planet.start()
        async with loaded(planet, "pulsar", reads_in="iad") as (_, load, reader):
            planet.cut("fra", "iad")
            try:
                await load.more(20)
                await reader.got(list(load.acknowledged)[-10:])
            finally:
                planet.heal("fra", "iad")
        assert len(await digests(planet)) == 1
        for server, dc in zip(pair.members, (1, 2), strict=True):
            await check_log(server, dc=dc)
    finally:
        await planet.stop()
        pair.kill()
