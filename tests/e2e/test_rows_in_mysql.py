"""A datacenter whose relational rows are in a real MariaDB, beside one that has them in SQLite: real processes."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest
import pytest_asyncio

from cli.planet import Planet, Site
from cli.waiting import until
from deploy.local.mariadb import USER, MariaDB
from tests.support.bad_days import (
    RECOVER_S_MAX,
    check_log,
    digests,
    finished,
    loaded,
    missing,
    planb,
    planb_process,
    request,
)
from tests.support.mysql import Databases, raw
from tests.support.servers import needs

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]


class World(NamedTuple):
    planet: Planet
    server: MariaDB
    databases: Databases

    @property
    def fra(self) -> Site:
        return self.planet.site("fra")


def into_mysql(site: Site, server: MariaDB, folder: Path, database: str = "planb") -> None:
    """Its settings, before its first start."""
    password = folder / "password"
    text = site.settings.read_text()
    url = f"mysql://{USER}@127.0.0.1:{server.port}/{database}"
    text = text.replace("[stores]\n", f'[stores]\nrelational_url = "{url}"\nmysql.connections = 4\n')
    text = text.replace("[secrets]\n", f'[secrets]\nmysql_password_file = "{password}"\n')
    assert text.count("mysql") == 3
    site.settings.write_text(text)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    needs("mariadb")
    folder = tmp_path_factory.mktemp("planet")
    server = MariaDB(folder / "mariadb")
    planet = Planet(folder, ("fra", "iad"))
    try:
        await server.start()
        databases = Databases(server, folder)
        into_mysql(planet.site("fra"), server, folder)
        await planet.start()
        yield World(planet, server, databases)
    finally:
        await planet.stop()
        server.kill()


async def same_state(world: World) -> None:
    assert len(await digests(world.planet)) == 1
    await check_log(world.fra)
    assert not (world.fra.disks / "data" / "relational.db").exists()


async def test_the_server_killed_under_load_loses_nothing_and_the_datacenter_recovers(world: World) -> None:
    async with loaded(world.planet, "killed") as (site, load, _):
        for _ in range(2):
            await load.more(50)
            world.server.kill()
            await load.more(50)  # messages need no relational row
            async with writing(site, load.token) as first:
                assert await first == 503
                assert site.process.running
                await world.server.start()
            await load.more(50)
    assert await until(lambda: _ready(site), RECOVER_S_MAX)
    await same_state(world)


@contextlib.asynccontextmanager
async def writing(site: Site, token: str) -> AsyncIterator[asyncio.Task[int]]:
    """Writes a relational row, under one key until it is acknowledged: the status of its first try. In the end it is
    there."""
    key, title = str(uuid.uuid4()), "a group"

    async def once() -> int:
        async with aiohttp.ClientSession() as session:
            fields = {"kind": "group", "title": title, "users": []}
            told = await request(session, "POST", f"{site.url}/v1/chats", token, fields, key)
            assert told.acknowledged or told.status <= 0 or told.polite, told
            return told.status

    async def done() -> bool:
        return await once() == 200

    first = asyncio.create_task(once())
    try:
        yield first
        await first
        assert await until(done, RECOVER_S_MAX)
    finally:
        first.cancel()


async def _ready(site: Site) -> bool:
    return not await missing(site)


async def test_a_server_that_stands_still_is_waited_for(world: World) -> None:
    async with loaded(world.planet, "still") as (_, load, _reader):
        await load.more(20)
        world.server.pause()
        async with writing(world.fra, load.token) as first:
            assert await first == 503
            world.server.resume()
        await load.more(50)
    await same_state(world)


async def test_the_process_and_all_servers_killed_at_once_lose_nothing(world: World) -> None:
    async with loaded(world.planet, "power") as (site, load, _):
        await load.more(50)
        site.kill()
        world.server.kill()
        await world.server.start()
        await site.start()
        await site.ready()
    await same_state(world)


async def test_a_start_without_the_server_says_what_is_missing(world: World) -> None:
    site = world.fra
    await site.process.stop()
    world.server.kill()
    try:
        found = await finished(await planb_process("serve", "all", "--config", str(site.settings)))
        assert found.code == 6, found
        assert f"mysql://{USER}@127.0.0.1:{world.server.port}/planb does not answer" in found.err
        assert "Traceback" not in found.err
    finally:
        await world.server.start()
        await site.start()
        await site.ready()
    await same_state(world)


async def test_a_burnt_datacenter_is_restored_into_an_empty_database_and_is_equal(world: World) -> None:
    site = world.fra
    config = ("--config", str(site.settings))
    taken = await planb("snapshot", "create", *config)
    assert taken.code == 0, taken
    async with loaded(world.planet, "after") as (_, load, _reader):
        await load.more(30)
    before = await digests(world.planet)
    site.kill()
    site.burn()
    await site.start_servers()
    refused = await planb("restore", *config)
    assert refused.code == 5 and "the relational store has rows" in refused.err, refused

    database = await world.databases.created()
    site.settings.write_text(site.settings.read_text().replace('/planb"', f'/{database}"'))
    planned = await planb("restore", "--dry-run", *config)
    assert (planned.code, planned.json["snapshot"]) == (0, taken.json["id"]), planned
    async with raw(world.databases.place(database)) as cursor:
        await cursor.execute("SHOW TABLES")
        assert await cursor.fetchall() == (), "a dry run makes nothing"
    restored = await planb("restore", *config)
    assert restored.code == 0, restored
    await site.start()
    await site.ready()
    assert await digests(world.planet) == before
    async with loaded(world.planet, "restored"):
        pass
    await same_state(world)
