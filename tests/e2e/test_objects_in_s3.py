"""Datacenters whose archive and snapshots are in S3: real processes, a real S3 server, and a relay that can be cut."""

import asyncio
import dataclasses
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from cli import servers
from cli.links import Link
from cli.planet import Planet, Site
from cli.waiting import until
from core.system import entropy
from deploy.local.seaweedfs import SeaweedFS
from snapshot.archive import Archive
from stores.adapters.s3_objects import S3Objects
from tests.support.bad_days import (
    RECOVER_S_MAX,
    Load,
    digests,
    finished,
    planb,
    planb_process,
    status,
    user,
)
from tests.support.s3 import BUCKET, credentials_of, fresh_place

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]
PEOPLE = 10


class World(NamedTuple):
    planet: Planet
    link: Link
    """Between iad and S3."""
    snapshot: str
    server: SeaweedFS
    folder: Path


def into_s3(site: Site, url: str, credentials: Path) -> None:
    """Its settings, before its first start."""
    text = site.settings.read_text()
    where = f'objects_url = "s3://{BUCKET}/{site.name}"\ns3.endpoint_url = "{url}"\ns3.region = "us-east-1"'
    text, places = re.subn("objects_dir = .*", where, text)
    assert places == 1
    text = text.replace("[secrets]\n", f'[secrets]\ns3_credentials_file = "{credentials}"\n')
    site.settings.write_text(text)


async def archived(world: World, name: str) -> bool:
    """Whether all that a datacenter's log holds is in its bucket."""
    store = S3Objects(dataclasses.replace(fresh_place(world.server, world.folder), prefix=name), entropy)
    try:
        spans = await Archive(store).lanes()
    finally:
        await store.close()
    return sum(end for _, end in spans.values()) == sum((await status(world.planet, name))["durable"].values())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory, seaweedfs: SeaweedFS) -> AsyncIterator[World]:
    """Two datacenters, a snapshot of iad, and events after it."""
    folder = tmp_path_factory.mktemp("planet")
    (port,) = servers.free_ports(1)
    link = Link("iad", "s3", port, seaweedfs.port)
    await link.start()  # before others choose their ports
    planet = Planet(folder, ("fra", "iad"))
    credentials = credentials_of(seaweedfs, folder)
    into_s3(planet.site("fra"), seaweedfs.url, credentials)
    into_s3(planet.site("iad"), f"http://127.0.0.1:{port}", credentials)
    try:
        await planet.start()
        made = World(planet, link, "", seaweedfs, folder)
        for part in ("before", "after"):
            site = planet.site("iad")
            tokens = await asyncio.gather(*(user(planet, f"U{part}-{n}", "iad") for n in range(PEOPLE)))
            async with Load(site.url, tokens[0], f"U{part}-1").running() as load:
                await load.more(50)
            if part == "before":
                taken = await planb("snapshot", "create", "--config", str(site.settings))
                assert taken.code == 0, taken
                made = made._replace(snapshot=taken.json["id"])
        assert await until(lambda: archived(made, "iad"), RECOVER_S_MAX)
        yield made
    finally:
        await planet.stop()
        await link.stop()


async def test_snapshots_are_listed_shown_and_verified(world: World) -> None:
    site = world.planet.site("iad")
    assert not site.objects.exists()
    config = ("--config", str(site.settings))
    listed = await planb("snapshot", "list", *config)
    assert [one["id"] for one in listed.json["snapshots"]] == [world.snapshot]
    assert listed.json["objects"] == f"s3://{BUCKET}/iad"
    assert (await planb("snapshot", "show", *config)).json["id"] == world.snapshot
    verified = await planb("snapshot", "verify", *config)
    assert (verified.code, verified.json["ok"]) == (0, True)


async def test_a_wrong_place_is_named_by_everyone_and_nothing_is_made(world: World) -> None:
    text = world.planet.site("iad").settings.read_text()
    client = world.server.client()
    for wrong, named in ((f"{BUCKET}/lost", "no objects in"), ("absent-bucket", "no bucket absent-bucket")):
        settings = world.folder / "wrong.toml"
        settings.write_text(text.replace(f"s3://{BUCKET}/iad", f"s3://{wrong}"))
        for words in (("snapshot", "list"), ("snapshot", "verify", world.snapshot), ("snapshot", "create")):
            found = await planb(*words, "--config", str(settings))
            assert found.code == 8, (words, found)
            assert named in found.err and "Traceback" not in found.err
    assert client.list_objects_v2(Bucket=BUCKET, Prefix="lost").get("Contents", []) == []


async def test_one_that_burnt_does_not_make_its_objects_anew_where_others_know_it(world: World, tmp_path: Path) -> None:
    """Its disks can't tell that it ever ran: a wrong prefix would be a new, empty bucket."""
    site = world.planet.site("iad")
    public, internal = servers.free_ports(2)
    text = site.settings.read_text()
    for old, new in (
        (f"s3://{BUCKET}/iad", f"s3://{BUCKET}/lost"),
        (str(site.disks / "data"), str(tmp_path / "data")),
        (f"port = {site.ports.public}", f"port = {public}"),
        (f"port = {site.ports.sys}", f"port = {internal}"),
    ):
        assert old in text
        text = text.replace(old, new)
    settings = tmp_path / "burnt.toml"
    settings.write_text(text)
    found = await finished(await planb_process("serve", "all", "--config", str(settings)))
    assert found.code == 8, found
    assert f"no objects in s3://{BUCKET}/lost" in found.err and "fra knows" in found.err
    assert not (tmp_path / "data").exists()
    assert world.server.client().list_objects_v2(Bucket=BUCKET, Prefix="lost").get("Contents", []) == []


async def archive_failing(world: World) -> bool:
    found = (await status(world.planet, "iad"))["stores"]["archive"]
    return found.startswith("nothing is archived: ") and f"s3://{BUCKET}/iad" in found


async def test_without_s3_a_datacenter_serves_and_starts_and_archives_later(world: World) -> None:
    site = world.planet.site("iad")
    token = await user(world.planet, "Uoutage", "iad")
    world.link.cut()
    try:
        async with Load(site.url, token, "Ubefore-1").running() as load:
            await load.more(20)
            assert not load.said, load.said
            assert await until(lambda: archive_failing(world), RECOVER_S_MAX + 30)
        found = await planb("snapshot", "list", "--config", str(site.settings))
        assert found.code == 6, found
        assert "Traceback" not in found.err
        await site.process.stop()
        await site.start()
        await site.ready()
        async with Load(site.url, token, "Ubefore-1").running() as load:
            await load.more(20)
    finally:
        world.link.heal()
    assert await until(lambda: archived(world, "iad"), RECOVER_S_MAX)


async def test_a_datacenter_that_burnt_is_restored_from_s3_and_equal(world: World) -> None:
    planet, site = world.planet, world.planet.site("iad")
    site.kill()
    site.burn()
    assert not site.disks.exists()
    await site.start_servers()
    config = ("--config", str(site.settings))
    planned = await planb("restore", "--dry-run", *config, "--json")
    assert (planned.code, planned.json["snapshot"]) == (0, world.snapshot), planned
    restored = await planb("restore", *config, "--json")
    assert (restored.code, restored.json["incarnation"]) == (0, 1), restored
    assert restored.json["events_to_replay"] > 0
    await site.start()
    await site.ready()
    assert len(await digests(planet)) == 1
    assert not site.objects.exists()
    token = await user(planet, "Uafterwards", "iad")
    async with Load(site.url, token, "Ubefore-1").running() as load:
        await load.more(20)
    assert len(await digests(planet)) == 1
    assert await until(lambda: archived(world, "iad"), RECOVER_S_MAX)
