"""A datacenter whose message rows are in Cassandra, beside one that has them in SQLite: real processes and a real
server, which is stopped, killed with -9, and whose keyspace burns with its datacenter."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from cli.planet import Planet, Site
from core.system import entropy
from deploy.local.cassandra import Cassandra
from stores.adapters.cassandra_messages import CassandraMessageStore
from stores.adapters.cassandra_session import IDLE_S_MAX, CassandraPlace
from tests.support.bad_days import Load, digests, loaded, planb, user
from tests.support.cassandra import make_keyspace
from tests.support.servers import needs

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]
STOPPED_S = 2 * IDLE_S_MAX


class World(NamedTuple):
    planet: Planet
    server: Cassandra
    place: CassandraPlace

    @property
    def site(self) -> Site:
        return self.planet.site("fra")


async def into_cassandra(site: Site, place: CassandraPlace) -> None:
    """Its settings, before it starts; an empty keyspace is made."""
    await make_keyspace(place, durable=True)
    lines = site.settings.read_text().splitlines()
    lines = [line for line in lines if not line.startswith(("messages_url", "cassandra."))]
    at = lines.index("[stores]") + 1
    lines[at:at] = [f'messages_url = "{place}"', f'cassandra.local_datacenter = "{place.local_datacenter}"']
    site.settings.write_text("\n".join(lines) + "\n")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    needs("cassandra", "java")
    folder = tmp_path_factory.mktemp("planet")
    server = Cassandra(folder / "cassandra")
    planet = Planet(folder, ("fra", "iad"))
    try:
        await server.start()
        place = CassandraPlace((server.host,), server.port, "planb_fra", server.datacenter)
        await into_cassandra(planet.site("fra"), place)
        await rows_in(place)  # its first start makes the tables, which takes longer than one usually does
        await planet.start()
        yield World(planet, server, place)
    finally:
        await planet.stop()
        server.kill()


async def rows_in(place: CassandraPlace) -> int:
    store = await CassandraMessageStore.open(place, entropy)
    try:
        return sum([len(page) async for page in store.dump()])
    finally:
        await store.close()


async def test_what_is_written_here_is_in_the_keyspace_and_equal_to_sqlite(world: World) -> None:
    async with loaded(world.planet, "written") as (_, load, _):
        await load.more(100)
    assert len(await digests(world.planet)) == 1
    assert await rows_in(world.place) >= 100
    assert not list((world.site.disks / "data").glob("messages.db*"))
    assert list((world.planet.site("iad").disks / "data").glob("messages.db*"))


async def test_a_server_that_stands_still_is_a_refusal_and_no_loss(world: World) -> None:
    async with loaded(world.planet, "stopped") as (_, load, _):
        world.server.pause()
        try:
            await load.hears("outcome_unknown", "store_unavailable", "overloaded")
            await asyncio.sleep(STOPPED_S)  # it is the fault
        finally:
            world.server.resume()
        await load.more(50)
    assert len(await digests(world.planet)) == 1


async def test_server_and_process_killed_at_once_lose_nothing(world: World) -> None:
    async with loaded(world.planet, "killed") as (site, load, _):
        await load.more(50)
        site.process.kill()
        world.server.kill()
        await world.server.start()
        await rows_in(world.place)  # its first answers are slow, and a start is given 20 s
        await site.start()
        await site.ready()
    assert len(await digests(world.planet)) == 1


async def test_a_server_killed_under_a_running_process_loses_nothing(world: World) -> None:
    """What it acknowledged it has; the process connects again by itself."""
    async with loaded(world.planet, "crashed") as (_, load, _):
        await load.more(50)
        world.server.kill()
        await load.hears("outcome_unknown", "store_unavailable", "overloaded")
        await world.server.start()
        await load.more(50)
    assert len(await digests(world.planet)) == 1


async def test_a_wrong_setting_ends_the_start_and_is_named(world: World, tmp_path: Path) -> None:
    text = world.site.settings.read_text()
    for right, wrong, named in (
        (f"/{world.place.keyspace}", "/planb_lost", "there is no keyspace 'planb_lost'"),
        ('local_datacenter = "dc1"', 'local_datacenter = "mars"', "has no 'mars', but dc1"),
    ):
        assert right in text
        settings = tmp_path / "wrong.toml"
        settings.write_text(text.replace(right, wrong))
        found = await planb("snapshot", "create", "--config", str(settings))
        assert found.code == 8, found
        assert named in found.err and "Traceback" not in found.err


async def test_a_datacenter_that_burnt_is_restored_into_an_empty_keyspace_and_equal(world: World) -> None:
    planet, site = world.planet, world.site
    taken = await site.snapshot()
    token, _ = await asyncio.gather(user(planet, "Uburnt"), user(planet, "Uother"))
    async with Load(site.url, token, "Uother").running() as load:
        await load.more(100)
    (before,) = await digests(planet)
    rows = await rows_in(world.place)
    site.kill()
    site.burn()
    await site.start_servers()
    config = ("--config", str(site.settings), "--json")
    refused = await planb("restore", *config)
    assert refused.code == 5 and "the message store has rows" in refused.err, refused
    empty = replace(world.place, keyspace="planb_fra_2")
    await into_cassandra(site, empty)
    planned = await planb("restore", "--dry-run", *config)
    assert planned.code == 0, planned
    assert planned.json["snapshot"] == taken["id"]
    assert not await CassandraMessageStore.is_there(empty), "a dry run makes nothing"
    restored = await planb("restore", *config)
    assert restored.code == 0, restored
    assert restored.json["incarnation"] == 1
    assert restored.json["events_to_replay"] > 0
    await site.start()
    await site.ready()
    assert await digests(planet) == {before}
    assert await rows_in(empty) == rows
    async with loaded(planet, "afterwards") as (_, load, _):
        await load.more(20)
    assert len(await digests(planet)) == 1
