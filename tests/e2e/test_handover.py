"""A process that is told to go, and one whose lane is taken by another."""

import asyncio
import os
import signal
import sqlite3
import uuid
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from cli.planet import Planet, Site
from cli.servers import Child, listening
from cli.waiting import until
from core.errors import LaneLost
from tests.support.bad_days import (
    RECOVER_S_MAX,
    Load,
    Told,
    check_log,
    digests,
    loaded,
    missing,
    request,
    status,
    user,
)
from tests.support.processes import second_process

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]
MOVE = 4001
DRAIN_S_MAX = 4.0


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


async def ended(child: Child, timeout_s: float = RECOVER_S_MAX) -> str:
    async def has_ended() -> bool:
        return not child.running

    assert await until(has_ended, timeout_s), f"{child.name} runs on"
    return child.why_ended()


async def stopping(site: Site) -> bool:
    return (await missing(site)).get("process") == "stopping"


async def in_flight(planet: Planet, name: str, wanted: int) -> bool:
    return int((await status(planet, name))["queues"]["lane"]) >= wanted


async def test_sigterm_answers_what_is_under_way_and_sends_the_streams_elsewhere(planet: Planet) -> None:
    site = planet.site("fra")
    token = await user(planet, "Udrain-writer")
    await user(planet, "Udrain-reader")
    epoch = (await status(planet, "fra"))["epoch"]
    load = Load(site.url, token, "Udrain-reader")
    keys = [str(uuid.uuid4()) for _ in range(5)]
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{site.url}/v1/stream") as socket:
        await socket.send_json({"type": "hello", "token": token})
        assert (await socket.receive_json())["type"] == "hello"

        async def send(key: str) -> Told:
            return await request(session, "POST", f"{site.url}/v1/messages", token, load.message(key), key)

        log, process = site.log.pid, site.process.pid
        assert log is not None and process is not None
        os.kill(log, signal.SIGSTOP)  # so that they are under way when the signal comes
        try:
            writes = [asyncio.create_task(send(key)) for key in keys]
            assert await until(lambda: in_flight(planet, "fra", len(keys)), RECOVER_S_MAX)
            os.kill(process, signal.SIGTERM)
            began_s = loop.time()
            assert await until(lambda: stopping(site), RECOVER_S_MAX), "nobody is sent there any more"
        finally:
            os.kill(log, signal.SIGCONT)
        assert [told.status for told in await asyncio.gather(*writes)] == [200] * len(keys)
        while (frame := await socket.receive()).type is aiohttp.WSMsgType.TEXT:
            pass
        assert (frame.type, frame.data) == (aiohttp.WSMsgType.CLOSE, MOVE)
    assert "ended with 0" in await ended(site.process)
    assert loop.time() - began_s < DRAIN_S_MAX, "a peer's long poll does not hold it up"
    await site.start()
    await site.ready()
    assert (await status(planet, "fra"))["epoch"] == epoch, "hot state was there: it is not rebuilt"


async def test_sigterm_under_load_loses_nothing(planet: Planet) -> None:
    async with loaded(planet, "roll") as (site, load, _):
        for _ in range(2):
            await load.more(30)
            await site.process.stop()
            assert "ended with 0" in site.process.why_ended()
            await site.start()
            await site.ready()


async def test_a_second_process_takes_the_lane_and_the_first_stops_itself(planet: Planet, tmp_path: Path) -> None:
    fenced = f"[{LaneLost.code}]"
    async with loaded(planet, "second") as (site, load, _):
        second, port = second_process(site, tmp_path)
        try:
            second.start()
            await listening(second, port)
            why = await ended(site.process)
            assert f"ended with {LaneLost.exit_code}" in why
            assert fenced in why
            load.url = f"http://127.0.0.1:{port}"
            await load.more()
            await site.start()
            await site.ready()
            assert fenced in await ended(second), "the first, come back, is the second's second"
            load.url = site.url
        finally:
            second.kill()
    assert len(await digests(planet)) == 1
    assert (await status(planet, "fra"))["lanes"] == ["fra/0.0"], "that costs no incarnation"
    await check_log(site)


async def test_a_process_whose_lane_was_taken_notices_without_writing(planet: Planet, tmp_path: Path) -> None:
    site = planet.site("fra")
    second, port = second_process(site, tmp_path)
    try:
        second.start()
        await listening(second, port)
        assert f"[{LaneLost.code}]" in await ended(site.process)
        await site.start()
        await site.ready()
        assert f"[{LaneLost.code}]" in await ended(second)
    finally:
        second.kill()


def reserve(site: Site, incarnation: int) -> None:
    """The next start writes as this one: as after a restore, or when somebody knew the lane better than our log."""
    with closing(sqlite3.connect(site.disks / "data" / "relational.db", timeout=10)) as rows:
        rows.execute("UPDATE meta SET value = ? WHERE name = 'incarnation'", (str(incarnation),))
        rows.commit()


async def test_a_process_whose_incarnation_is_over_notices_without_writing(planet: Planet, tmp_path: Path) -> None:
    """Its own lane does not grow any more; what it shows would get older and older."""
    site = planet.site("fra")
    second, port = second_process(site, tmp_path)
    try:
        reserve(site, 1)
        second.start()
        await listening(second, port)
        assert f"[{LaneLost.code}]" in await ended(site.process)
    finally:
        second.kill()
    await site.start()
    await site.ready()
    assert (await status(planet, "fra"))["lanes"] == ["fra/1.0"]
    assert len(await digests(planet)) == 1
