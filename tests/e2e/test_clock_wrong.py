"""A datacenter whose clock is wrong, among two whose clocks are right: real processes, one clock moved."""

import asyncio
import base64
import os
import re
import signal
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from cli.planet import Planet, Site
from cli.servers import listening
from cli.waiting import until
from core import ids, limits
from core.errors import LaneLost
from core.system import wall_clock_ms
from tests.support.bad_days import RECOVER_S_MAX, Load, Told, digests, is_read, missing, request, status, user
from tests.support.clocks import MovedClock
from tests.support.processes import second_process

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]
AHEAD_MS = 30_000
"""Less than a signature between datacenters may be old: what is written so far ahead gets to the others."""
FAR_MS = 3_600_000
"""More than that: they do not even talk to each other."""


class World(Planet):
    def __init__(self, home: Path) -> None:
        super().__init__(home, ("fra", "iad", "nrt"))
        self.bad = self.site("nrt")
        self.clock = MovedClock(self.bad)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def planet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    planet = World(tmp_path_factory.mktemp("planet"))
    try:
        await planet.start()
        yield planet
    finally:
        await planet.stop()


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def all_is_well(planet: World) -> None:
    planet.clock.set(0)
    for pair in (("fra", "nrt"), ("iad", "nrt")):
        planet.heal(*pair)
    for site in planet.sites.values():
        await site.start()
        await site.ready()
    await measured(planet)


async def soon(condition: Callable[[], Awaitable[object]], what: str) -> None:
    assert await until(condition, RECOVER_S_MAX), what


async def measured(planet: World) -> None:
    """Every datacenter knows the clocks of both others."""
    for name in planet.sites:

        async def knows(name: str = name) -> bool:
            return len((await status(planet, name))["clock"]["peers"]) == 2

        await soon(knows, f"{name} does not know the others' clocks")


@asynccontextmanager
async def undisturbed(planet: World, name: str) -> AsyncIterator[None]:
    """Clients of the two good datacenters write all the time, and not one of them is told anything but yes."""
    async with AsyncExitStack() as stack:
        loads = []
        for region in ("fra", "iad"):
            site, reader = planet.site(region), f"U{name}-{region}-reader"
            token = await user(planet, f"U{name}-{region}", region)
            await user(planet, reader, region)
            load = Load(site.url, token, reader, writers=2)
            loads.append(await stack.enter_async_context(load.running()))
            await load.more()
        yield
        for load in loads:
            await load.more()
    assert [dict(load.said) for load in loads] == [{}, {}]


async def send(site: Site, token: str, to: str, x_clock: str = "") -> Told:
    return await send_to(site.url, token, to, x_clock)


async def send_to(url: str, token: str, to: str, x_clock: str = "") -> Told:
    async with aiohttp.ClientSession(headers={"X-Clock": x_clock} if x_clock else {}) as session:
        key = str(uuid.uuid4())
        return await request(session, "POST", f"{url}/v1/messages", token, {"to": to, "text": f"text of {key}"}, key)


def ahead_ms(told: Told) -> int:
    """How far the id of what was written lies ahead."""
    return ids.time_ms_of(int(told.body["id"])) - wall_clock_ms()


def header_ahead_ms(x_clock: str) -> int:
    payload = base64.urlsafe_b64decode(x_clock.split(".")[1] + "==")
    return ids.time_ms_of(int.from_bytes(payload[:8])) - wall_clock_ms()


async def people(planet: World, name: str) -> tuple[str, str]:
    """A user and whom he writes to, known everywhere; his token."""
    token = await user(planet, f"U{name}")
    await user(planet, f"U{name}-friend")
    for site in planet.sites.values():
        for path in ("/v1/me", f"/v1/users/U{name}-friend"):
            await soon(lambda site=site, path=path: is_read(site, token, path), "news of users is slow")
    return token, f"U{name}-friend"


async def restarted_unmeasured(planet: World, ms: int) -> None:
    """nrt is cut off and started with a clock that nobody can tell it is wrong."""
    planet.cut("fra", "nrt")
    planet.cut("iad", "nrt")
    planet.bad.process.kill()
    planet.clock.set(ms)
    await planet.bad.start()
    await planet.bad.ready()


async def refuses(site: Site, word: str) -> bool:
    return word in (await missing(site)).get("clock", "")


async def test_a_clock_that_is_set_wrong_stops_writes_there_at_once_and_nothing_elsewhere(planet: World) -> None:
    token, friend = await people(planet, "set")
    pid = planet.bad.process.pid
    async with undisturbed(planet, "set"):
        assert (await send(planet.bad, token, friend)).acknowledged
        for ms, side in ((FAR_MS, "ahead of"), (-FAR_MS, "behind")):
            planet.clock.set(ms)
            told = await send(planet.bad, token, friend)
            assert told.polite and told.code == "clock_refused", told
            found = re.search(rf"(\d+) ms {side} the other datacenters", told.body["detail"])
            assert found and int(found[1]) == pytest.approx(FAR_MS, abs=limits.CLOCK_ERROR_MS_MAX)
            assert await refuses(planet.bad, side)
            async with aiohttp.ClientSession() as session:
                read = await request(session, "GET", f"{planet.bad.url}/v1/me", token)
                assert read.acknowledged, "reads go on"
                async with session.get(f"http://127.0.0.1:{planet.bad.ports.sys}/metrics") as answer:
                    assert "planb_clock_refusing 1" in await answer.text()
            assert header_ahead_ms(read.headers["X-Clock"]) <= limits.CLOCK_SKEW_MS_MAX
            told = await send(planet.site("fra"), token, friend, read.headers["X-Clock"])
            assert told.acknowledged, "its clients are welcome elsewhere"
        planet.clock.set(0)
        assert (await send(planet.bad, token, friend)).acknowledged, "nothing had to be waited for"
        await planet.bad.ready()
    assert planet.bad.process.pid == pid
    assert len(await digests(planet)) == 1


async def test_what_was_stamped_ahead_before_anybody_could_know_disturbs_nobody_and_is_kept(planet: World) -> None:
    token, friend = await people(planet, "ahead")
    async with undisturbed(planet, "ahead"):
        await restarted_unmeasured(planet, AHEAD_MS)
        far = await send(planet.bad, token, friend)
        assert far.acknowledged, "nobody can tell it that its clock is wrong"
        assert ahead_ms(far) > AHEAD_MS / 2
        x_clock = far.headers["X-Clock"]
        told = await send(planet.site("fra"), token, friend, x_clock)
        assert (told.status, told.code) == (409, "clock_ahead"), "what it has seen is not here yet"
        assert int(told.headers["Retry-After"]) <= limits.CLOCK_AHEAD_RETRY_S_MAX

        planet.heal("fra", "nrt")
        planet.heal("iad", "nrt")
        await soon(lambda: refuses(planet.bad, "ahead of"), "it never learns that its clock is wrong")
        assert (await send(planet.bad, token, friend)).code == "clock_refused"
        shown = (await status(planet, "nrt"))["clock"]
        assert shown["error_ms"] == pytest.approx(AHEAD_MS, abs=limits.CLOCK_ERROR_MS_MAX)

        for name in ("fra", "iad"):

            async def counted(name: str = name) -> bool:
                far_ahead = (await status(planet, name))["clock"]["far_ahead"]
                return any(lane.startswith("nrt/") and count for lane, count in far_ahead.items())

            await soon(counted, f"{name} raises no alarm")
            told = await send(planet.site(name), token, friend, x_clock)
            assert told.acknowledged, "what this client has seen is here"
            assert ahead_ms(told) <= limits.CLOCK_SKEW_MS_MAX, "and moves no clock"
            assert header_ahead_ms(told.headers["X-Clock"]) <= limits.CLOCK_SKEW_MS_MAX
            for other in planet.sites.values():
                if other is not planet.bad:
                    assert (await send(other, token, friend, told.headers["X-Clock"])).acknowledged

        planet.bad.process.kill()
        planet.clock.set(0)
        await planet.bad.start()
        await planet.bad.ready()
        told = await send(planet.bad, token, friend)
        assert told.acknowledged, "its own lane ends ahead: it writes on another"
        assert ahead_ms(told) <= limits.CLOCK_SKEW_MS_MAX
        assert int(told.body["id"]) & 0xFFFF != int(far.body["id"]) & 0xFFFF
    assert len(await digests(planet)) == 1


async def test_whoever_still_writes_on_a_lane_that_was_left_is_fenced(planet: World, tmp_path: Path) -> None:
    """A process that was taken for dead wakes up; the one that replaced it writes on another lane."""
    token, friend = await people(planet, "fenced")
    await restarted_unmeasured(planet, FAR_MS)
    far = await send(planet.bad, token, friend)
    assert far.acknowledged
    pid = planet.bad.process.pid
    assert pid is not None
    second, port = second_process(planet.bad, tmp_path)

    async def writes() -> Told:
        return await send_to(f"http://127.0.0.1:{port}", token, friend)

    async def has_ended() -> bool:
        return not planet.bad.process.running

    os.kill(pid, signal.SIGSTOP)
    try:
        second.start()
        await listening(second, port)
        written = await until(writes, RECOVER_S_MAX)
        assert written, "the second does not write"
        assert int(written.body["id"]) & 0xFFFF != int(far.body["id"]) & 0xFFFF
        os.kill(pid, signal.SIGCONT)
        told = await send(planet.bad, token, friend)
        assert not told.acknowledged, "it would be on a lane that nobody looks at any more"
        await soon(has_ended, "the first goes on")
        assert f"[{LaneLost.code}]" in planet.bad.process.why_ended()
        assert (await writes()).acknowledged
    finally:
        planet.bad.process.kill()
        second.kill()
    planet.clock.set(0)
    planet.heal("fra", "nrt")
    planet.heal("iad", "nrt")
    await planet.bad.start()
    await planet.bad.ready()
    assert len(await digests(planet)) == 1


async def test_a_clock_that_is_put_right_while_it_runs_is_believed_without_a_restart_by_hand(planet: World) -> None:
    token, friend = await people(planet, "right")
    async with undisturbed(planet, "right"):
        await restarted_unmeasured(planet, FAR_MS)
        pid = planet.bad.process.pid
        far = await send(planet.bad, token, friend)
        assert far.acknowledged and ahead_ms(far) > FAR_MS / 2
        planet.clock.set(0)
        told = await send(planet.bad, token, friend)
        assert (told.status, told.code) == (503, "clock_refused")
        assert "ahead of this machine's wall clock" in told.body["detail"]

        async def writes() -> Told:
            return await send(planet.bad, token, friend)

        written = await until(writes, RECOVER_S_MAX)
        assert written, "it does not come back by itself"
        assert ahead_ms(written) <= limits.CLOCK_SKEW_MS_MAX
        assert planet.bad.process.pid == pid
        planet.heal("fra", "nrt")
        planet.heal("iad", "nrt")
    assert len(await digests(planet)) == 1
    async with asyncio.timeout(RECOVER_S_MAX):
        planet.bad.process.kill()
        await planet.bad.start()
        await planet.bad.ready()
    assert (await send(planet.bad, token, friend)).acknowledged, "nor does it need one to stay"
