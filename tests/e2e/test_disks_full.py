"""A disk without space: under the log's server, under SQLite."""

import asyncio
import resource
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from cli.planet import Planet, Site
from cli.waiting import until
from tests.support.bad_days import RECOVER_S_MAX, check_log, is_read, loaded, request

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(sys.platform != "linux", reason="prlimit"),
]
DISK_BYTES = 4 << 20


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    """A file system of its own, where we may mount one."""
    folder = tmp_path_factory.mktemp("disk")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    yield folder if mounted else None
    if mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def planet(tmp_path_factory: pytest.TempPathFactory, small_disk: Path | None) -> AsyncIterator[Planet]:
    planet = Planet(tmp_path_factory.mktemp("planet"), ("fra",))
    if small_disk is not None:
        log = planet.site("fra").disks / "log"
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists():
            log.rmdir()
        log.symlink_to(small_disk)
    try:
        await planet.start()
        yield planet
    finally:
        await planet.stop()


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def all_is_well(planet: Planet) -> None:
    await planet.site("fra").start()
    await planet.site("fra").ready()


def limit_files(pid: int | None, size: int) -> Callable[[], None]:
    """No file of the process grows beyond `size` bytes, until the answer is called."""
    assert pid is not None
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, before[1]))
    return lambda: resource.prlimit(pid, resource.RLIMIT_FSIZE, before) and None


async def supervise(site: Site, notes: list[str]) -> None:
    """As the demo does: what ends is named and started again."""
    while True:
        notes.extend(await site.revive())
        await asyncio.sleep(0.1)  # a period, not a condition


async def test_a_log_without_space_is_named_and_comes_back_when_there_is_some(
    planet: Planet, small_disk: Path | None
) -> None:
    if small_disk is None:
        pytest.skip("no file system may be mounted here")
    notes: list[str] = []
    async with loaded(planet, "space") as (site, load, _):
        supervisor = asyncio.create_task(supervise(site, notes))
        filler = small_disk / "filler"
        try:
            with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
                while True:
                    file.write(bytes(4096))
            await load.hears("log_unavailable", "outcome_unknown")

            async def named() -> bool:
                return any("fra log" in note and "AOF write error" in note for note in notes)

            assert await until(named, RECOVER_S_MAX), notes
            assert await is_read(site, load.token), "reads go on"
        finally:
            filler.unlink()
        await load.more()
        supervisor.cancel()
    await check_log(planet.site("fra"))


async def test_a_log_whose_file_may_not_grow_is_named_and_comes_back(planet: Planet) -> None:
    notes: list[str] = []
    async with loaded(planet, "growth") as (site, load, _):
        limit_files(site.log.pid, 4096)
        await load.hears("log_unavailable", "outcome_unknown")

        async def revived() -> bool:
            notes.extend(await site.revive())
            return "fra was started again" in notes

        assert await until(revived, RECOVER_S_MAX)
        assert "fra log ended with" in notes[0]
    await check_log(planet.site("fra"))


async def test_sqlite_without_space_refuses_writes_and_goes_on_when_there_is_some(planet: Planet) -> None:
    async with loaded(planet, "sqlite") as (site, load, _):
        lift = limit_files(site.process.pid, 4096)
        key = str(uuid.uuid4())
        profile = {"about": "something that belongs into the relational store"}
        async with aiohttp.ClientSession() as session:
            told = await request(session, "PATCH", f"{site.url}/v1/me", load.token, profile, key)
            assert told.polite and told.code == "outcome_unknown", told
            await load.hears("store_unavailable")
            lift()

            async def known() -> bool:
                return (await request(session, "PATCH", f"{site.url}/v1/me", load.token, profile, key)).acknowledged

            assert await until(known, RECOVER_S_MAX)
            me = await request(session, "GET", f"{site.url}/v1/me", load.token)
            assert me.body["about"] == profile["about"]
    assert site.process.running


async def test_messages_that_sqlite_could_not_take_survive_a_kill(planet: Planet) -> None:
    async with loaded(planet, "behind") as (site, load, _):
        limit_files(site.process.pid, 4096)
        await load.hears("store_unavailable")  # what was acknowledged last is in the log alone
        site.process.kill()
        await site.start()
        await site.ready()
