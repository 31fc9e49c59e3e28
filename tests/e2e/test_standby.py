"""Two processes of one datacenter on one machine: one runs it, the other stands by, told apart by a folder."""

import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from cli.planet import Planet
from cli.servers import Child, listening
from cli.waiting import until
from tests.support.bad_days import RECOVER_S_MAX, check_log, digests, loaded, status
from tests.support.processes import log_of, serves, standby, standby_elsewhere, stands_by

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def planet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Planet]:
    planet = Planet(tmp_path_factory.mktemp("planet"), ("fra", "iad"))
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


@pytest.fixture
def second(planet: Planet, tmp_path: Path) -> Iterator[Child]:
    """With the settings of the first, its ports too."""
    child = standby(planet.site("fra"), tmp_path)
    yield child
    child.kill()


def opened(child: Child) -> list[str]:
    """What of the datacenter a process has open."""
    folder = Path(f"/proc/{child.pid}/fd")
    files = [os.readlink(path) for path in folder.iterdir() if path.exists()]
    return [file for file in files if ".db" in file]


async def test_a_second_process_stands_by_with_nothing_open_and_says_for_whom(planet: Planet, second: Child) -> None:
    site = planet.site("fra")
    before = await status(planet, "fra")
    second.start()
    await stands_by(second)
    assert f"fra is run by process {site.process.pid} on " in log_of(second)
    assert opened(site.process)
    assert not opened(second)
    found = await status(planet, "fra")
    assert (found["lanes"], found["epoch"], found["durable"]["fra/0.0"]) == (
        before["lanes"],
        before["epoch"],
        before["durable"]["fra/0.0"],
    )

    async def both_are_shown() -> bool:
        processes = (await status(planet, "fra"))["coordination"]["processes"]
        shown = {one["pid"]: one["state"] for one in processes}
        return shown == {site.process.pid: "serving", second.pid: "standby"}

    assert await until(both_are_shown, RECOVER_S_MAX)
    await second.stop()
    assert "ended with 0" in second.why_ended()


async def test_of_a_process_that_was_killed_the_other_one_takes_over_at_once(planet: Planet, second: Child) -> None:
    before = (await status(planet, "fra"))["coordination"]["held"]
    async with loaded(planet, "killed") as (site, load, _):
        second.start()
        await stands_by(second)
        site.process.kill()
        await load.more()
        await serves(second, site.ports.sys, planet.sys_key)
    held = (await status(planet, "fra"))["coordination"]["held"]
    assert held.keys() == before.keys() == {"process", "worker/0", "leader/cron"}
    assert all(held[name] > token for name, token in before.items())
    assert len(await digests(planet)) == 1
    assert (await status(planet, "fra"))["lanes"] == ["fra/0.0"], "it costs no incarnation"
    await check_log(site)
    site.process.start()
    await stands_by(site.process)
    await second.stop()
    await serves(site.process, site.ports.sys, planet.sys_key)


async def test_a_process_that_is_told_to_go_hands_over(planet: Planet, second: Child) -> None:
    async with loaded(planet, "handed") as (site, load, _):
        second.start()
        await stands_by(second)
        await site.process.stop()
        assert "ended with 0" in site.process.why_ended()
        await load.more()
        await serves(second, site.ports.sys, planet.sys_key)
    assert len(await digests(planet)) == 1
    await second.stop()


async def test_a_process_that_is_frozen_keeps_what_it_has_until_it_is_killed(planet: Planet, tmp_path: Path) -> None:
    site = planet.site("fra")
    elsewhere, port = standby_elsewhere(site, tmp_path)
    pid = site.process.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        elsewhere.start()
        await stands_by(elsewhere)
        await listening(elsewhere, port)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/livez") as answer:
                assert answer.status == 200
            async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                assert answer.status == 503
                assert (await answer.json())["missing"] == {
                    "lease": f"fra is run by process {pid} on {os.uname().nodename}; this process stands by"
                }
            async with session.get(f"http://127.0.0.1:{port}/v1/me") as answer:
                assert (answer.status, (await answer.json())["code"]) == (503, "not_serving")
                assert answer.headers["Retry-After"] == "1"
        site.process.kill()

        async def ready() -> bool:
            async with aiohttp.ClientSession() as session:
                try:
                    async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                        return answer.status == 200
                except aiohttp.ClientError:
                    return False

        assert await until(ready, RECOVER_S_MAX), log_of(elsewhere)
    finally:
        site.process.kill()
        elsewhere.kill()


async def test_who_removes_the_folder_of_a_running_process_ends_its_writing_at_most_until_it_has_a_new_lease(
    planet: Planet,
) -> None:
    """It begins a new session in a new folder: nobody else took it."""
    site = planet.site("fra")
    folder = site.disks / "data" / "coordination"
    (folder / "members").rename(folder / "gone")

    async def is_back() -> bool:
        found = (await status(planet, "fra"))["coordination"]
        return not found["refuses"] and [one["id"][-2:] for one in found["processes"]] == [".2"]

    assert await until(is_back, RECOVER_S_MAX)
    assert site.process.running
    async with loaded(planet, "folder"):
        pass
