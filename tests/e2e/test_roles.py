"""One datacenter as several processes: each killed at any moment, each restarted in turn, while clients go on."""

import asyncio
import json
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from cli.planet import Planet
from cli.servers import free_ports
from cli.sys_client import SysRefused
from cli.waiting import until
from core import limits
from core.ids import Lane
from events.adapters.valkey import ValkeyLog
from tests.support.bad_days import (
    RECOVER_S_MAX,
    Told,
    check_log,
    digests,
    loaded,
    planb,
    request,
    status,
    sys_of,
    user,
)
from tests.support.processes import stands_by
from tests.support.roles import RoleSite, listening, planet_with_roles

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]
SOON_S = 5.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Planet, RoleSite]]:
    planet, site = planet_with_roles(tmp_path_factory.mktemp("roles"), "fra", ("iad",))
    try:
        await planet.start()
        yield planet, site
    finally:
        await planet.stop()


class Rest:
    """A client of one address, which keeps its connections."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str) -> None:
        self._session = session
        self._url = url
        self._token = token
        self._keys = 0

    async def ask(self, method: str, path: str, fields: dict[str, Any] | None = None) -> Told:
        self._keys += 1
        return await request(self._session, method, self._url + path, self._token, fields, os.urandom(9).hex())

    async def ok(self, method: str, path: str, fields: dict[str, Any] | None = None) -> dict[str, Any]:
        told = await self.ask(method, path, fields)
        assert told.acknowledged, told
        return told.body


@asynccontextmanager
async def two_apis(site: RoleSite) -> AsyncIterator[tuple[str, str]]:
    """Two more of them, each at an address of its own."""
    ports = free_ports(2)
    children = [site.serve(f"api-at-{port}", "api", "--port", str(port)) for port in ports]
    try:
        for child in children:
            child.start()
        for child, port in zip(children, ports, strict=True):
            await listening(child, port)
        yield f"http://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}"
    finally:
        await asyncio.gather(*(child.stop() for child in children))


async def test_what_one_process_wrote_all_of_them_read(world: tuple[Planet, RoleSite]) -> None:
    planet, site = world
    ada, bob = await user(planet, "Uada"), await user(planet, "Ubob")
    async with aiohttp.ClientSession() as session, two_apis(site) as (first, second):
        at_first, at_second = Rest(session, first, ada), Rest(session, second, ada)
        bob_at_second = Rest(session, second, bob)
        for number in range(20):  # read your writes: by rows that are written behind, and by rows that are kept
            sent = await at_first.ok("POST", "/v1/messages", {"to": "Ubob", "text": f"{number}"})
            page = await at_first.ok("GET", "/v1/dialogs/Ubob/messages")
            assert page["messages"][-1]["id"] == sent["id"]
            await at_first.ok("PATCH", "/v1/me", {"name": f"Ada {number}"})
            assert (await at_first.ok("GET", "/v1/me"))["name"] == f"Ada {number}"

        async def name_at_second() -> bool:
            return bool((await at_second.ok("GET", "/v1/me"))["name"] == "Ada 19")

        assert await until(name_at_second, SOON_S)
        page = await bob_at_second.ok("GET", "/v1/dialogs/Uada/messages")
        assert [one["text"] for one in page["messages"]][-2:] == ["18", "19"]

        chat = (await at_first.ok("POST", "/v1/chats", {"kind": "group", "title": "Two", "users": ["Ubob"]}))["chat"]

        async def writes(wanted: int) -> bool:
            return (await bob_at_second.ask("POST", "/v1/messages", {"to": chat, "text": "Hi"})).status == wanted

        assert await until(lambda: writes(200), SOON_S)
        assert (await bob_at_second.ask("PATCH", f"/v1/chats/{chat}", {"title": "Mine"})).status == 403
        await at_first.ok("PATCH", f"/v1/chats/{chat}/members/Ubob", {"role": "admin"})

        async def may_rename() -> bool:
            return (await bob_at_second.ask("PATCH", f"/v1/chats/{chat}", {"title": "Mine"})).acknowledged

        assert await until(may_rename, SOON_S)
        await at_first.ok("DELETE", f"/v1/chats/{chat}/members/Ubob")
        assert await until(lambda: writes(403), SOON_S)
    assert len(await digests(planet)) == 1


async def test_streams_are_where_the_broker_is(world: tuple[Planet, RoleSite]) -> None:
    planet, site = world
    ada, eve = await user(planet, "Uada"), await user(planet, "Ueve")
    async with aiohttp.ClientSession() as session:
        rest = Rest(session, site.url, ada)
        for method, path in (("GET", "/v1/stream"), ("POST", "/v1/stream/ticket")):
            told = await rest.ask(method, path)
            assert (told.status, told.code) == (404, "not_found")
            assert "planb serve broker" in told.body["detail"]
        async with session.ws_connect(f"http://127.0.0.1:{site.broker_port}/v1/stream") as stream:
            await stream.send_str(json.dumps({"type": "hello", "token": eve}))
            assert (await stream.receive_json(timeout=SOON_S))["type"] == "hello"
            sent = await rest.ok("POST", "/v1/messages", {"to": "Ueve", "text": "Hello"})
            async with asyncio.timeout(SOON_S):
                while sent["id"] not in await stream.receive_str():
                    pass
        async with session.get(f"http://127.0.0.1:{site.broker_port}/readyz") as answer:
            assert answer.status == 200


async def test_the_line_is_for_those_who_have_the_key(world: tuple[Planet, RoleSite]) -> None:
    planet, site = world
    line = f"http://127.0.0.1:{site.ports.sys}/sys/v1/line?role=api"
    async with aiohttp.ClientSession() as session, session.get(line) as answer:
        assert answer.status == 401
    async with sys_of(planet, "fra") as sys:
        with pytest.raises(SysRefused, match="must be one of"):
            await sys.call("GET", "/sys/v1/line?role=all")
    async with sys_of(planet, "iad") as sys:
        with pytest.raises(SysRefused) as refused:
            await sys.call("GET", "/sys/v1/line?role=api")
        assert refused.value.status == 404


class Steady:
    """Clients that keep their connections and try each write once."""

    def __init__(self, url: str, token: str, to: str) -> None:
        self.rest_url = url
        self.token = token
        self.to = to
        self.told: list[Told] = []
        self.slowest_s = 0.0

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Steady"]:
        sessions = [aiohttp.ClientSession() for _ in range(6)]
        tasks = [asyncio.create_task(self._write(session)) for session in sessions]
        try:
            await self.more()
            yield self
            await self.more()
        finally:
            self._over = True
            await asyncio.gather(*tasks)
            for session in sessions:
                await session.close()

    _over = False

    async def _write(self, session: aiohttp.ClientSession) -> None:
        rest = Rest(session, self.rest_url, self.token)
        loop = asyncio.get_running_loop()
        while not self._over:
            began = loop.time()
            self.told.append(await rest.ask("POST", "/v1/messages", {"to": self.to, "text": "x"}))
            self.told.append(await rest.ask("GET", "/v1/me"))
            self.slowest_s = max(self.slowest_s, loop.time() - began)

    async def more(self, count: int = 60) -> None:
        wanted = len(self.told) + count

        async def enough() -> bool:
            return len(self.told) >= wanted

        assert await until(enough, RECOVER_S_MAX)

    @property
    def failed(self) -> list[Told]:
        return [one for one in self.told if not one.acknowledged]


async def test_no_request_fails_while_api_processes_are_restarted(world: tuple[Planet, RoleSite]) -> None:
    planet, site = world
    token = await user(planet, "Usteady")
    await user(planet, "Uheard")
    async with Steady(site.url, token, "Uheard").running() as steady:
        for name in ("api-1", "api-2"):
            await site.restart(name)
            await steady.more()
    assert not steady.failed, steady.failed[:3]
    assert len(await digests(planet)) == 1


async def test_a_sys_that_is_told_to_go_hands_over_to_one_that_stands_by(
    world: tuple[Planet, RoleSite], record_property: Any
) -> None:
    planet, site = world
    token = await user(planet, "Uwaits")
    await user(planet, "Uheard")
    second = site.serve("sys-2", "sys")
    second.start()
    await stands_by(second)
    async with Steady(site.url, token, "Uheard").running() as steady:
        first, site.process = site.process, second
        await first.stop()
        await site.serving()
        await steady.more()
    record_property("slowest_s", steady.slowest_s)
    # Within LANE_ANSWER_MS_MAX nobody notices; on a slow machine it takes longer.
    assert all(one.polite for one in steady.failed), steady.failed[:3]
    assert steady.slowest_s >= limits.LANE_ANSWER_MS_MAX / 1_000 or not steady.failed, steady.failed[:3]
    assert len(await digests(planet)) == 1


@pytest.mark.parametrize("role", ["api-1", "sys", "broker"])
async def test_a_role_killed_under_load_loses_nothing(world: tuple[Planet, RoleSite], role: str) -> None:
    planet, site = world
    rng = random.Random(role)
    async with loaded(planet, f"killed-{role}", reads_in="iad", several=True) as (_, load, _reader):
        await load.more(rng.randrange(5, 80))
        child = site.process if role == "sys" else site.edges[role]
        child.kill()
        if role != "sys":  # the others go on
            await load.more(20)
        child.start()
        await site.serving()
    assert len(await digests(planet)) == 1
    lanes = (await status(planet, "fra"))["lanes"]
    assert {lane.split(".")[0] for lane in lanes} == {"fra/0"}, "it costs no incarnation"
    assert len(lanes) >= 3, "nobody else may write on the lanes of any of them"
    await check_log(site)


async def test_the_lane_of_a_process_that_was_killed_is_not_called_written(world: tuple[Planet, RoleSite]) -> None:
    planet, site = world

    async def written() -> set[str]:
        return set((await status(planet, "fra"))["written"])

    async def fewer() -> bool:
        return await written() < before

    before = await written()
    assert len(before) == 3, "of sys and two api"
    site.edges["api-2"].kill()
    try:
        assert await until(fewer, SOON_S), f"{before} are written"
    finally:
        await site.start()
    assert len(await written()) == 3


async def test_what_an_api_process_had_appended_when_it_was_killed_is_applied(world: tuple[Planet, RoleSite]) -> None:
    """sys is frozen meanwhile, so nothing can be applied."""
    planet, site = world
    token, to = await user(planet, "Uappends"), "Ufinds"
    finds = await user(planet, to)
    lanes = await ValkeyLog.connect(f"redis://127.0.0.1:{site.ports.log}/0")
    (port,) = free_ports(1)
    child = site.serve("api-dies", "api", "--port", str(port))
    child.start()
    await listening(child, port)
    sys_pid = site.process.pid
    assert sys_pid is not None
    try:
        async with aiohttp.ClientSession() as session:
            before = await lanes.tops()
            os.kill(sys_pid, signal.SIGSTOP)
            url = f"http://127.0.0.1:{port}/v1/messages"
            asked = asyncio.create_task(request(session, "POST", url, token, {"to": to, "text": "left"}, "left"))

            async def appended() -> bool:
                return await lanes.tops() != before

            assert await until(appended, RECOVER_S_MAX)
            child.kill()
            assert (await asked).status == -1, "it was sent, and not answered"
    finally:
        os.kill(sys_pid, signal.SIGCONT)
        child.kill()
    grown = {lane: top.seq for lane, top in (await lanes.tops()).items() if top != before.get(lane)}
    await lanes.close()
    assert len(grown) == 1, "of the one process"
    (lane,) = grown
    async with aiohttp.ClientSession() as session:
        rest = Rest(session, site.url, finds)

        async def found() -> bool:
            told = await rest.ask("GET", "/v1/dialogs/Uappends/messages")
            return told.acknowledged and [one["text"] for one in told.body["messages"]] == ["left"]

        assert await until(found, RECOVER_S_MAX)
        again = await request(session, "POST", f"{site.url}/v1/messages", token, {"to": to, "text": "left"}, "left")
        assert again.acknowledged, "its key tells the result"
    applied = (await status(planet, "fra"))["applied"]
    assert applied[f"fra/0.{Lane.of(lane).worker}"] >= grown[lane]
    assert len(await digests(planet)) == 1


async def test_all_in_one_process_takes_over_from_the_roles_and_gives_back(
    world: tuple[Planet, RoleSite], tmp_path: Path
) -> None:
    """Roles end, `all` runs the same datacenter, then roles again: one state, no incarnation."""
    planet, site = world
    for edge in site.edges.values():
        await edge.stop()
    everything = site.serve("all", "all")
    everything.start()
    await stands_by(everything)
    await site.process.stop()
    await listening(everything, site.ports.public)

    async def serves() -> bool:
        return {everything.pid} == await site.pids()

    assert await until(serves, RECOVER_S_MAX)
    token = await user(planet, "Uall")
    await user(planet, "Uheard")
    async with aiohttp.ClientSession() as session:
        await Rest(session, site.url, token).ok("POST", "/v1/messages", {"to": "Uheard", "text": "one process"})
    await everything.stop()
    await site.start()
    async with loaded(planet, "again", reads_in="iad", several=True):
        pass
    assert len(await digests(planet)) == 1
    assert {lane.split(".")[0] for lane in (await status(planet, "fra"))["lanes"]} == {"fra/0"}
    await check_log(site)


async def test_hot_state_that_is_rebuilt_by_a_command_is_read_by_all_processes(world: tuple[Planet, RoleSite]) -> None:
    planet, site = world
    eve = await user(planet, "Uheidi")
    config = ("--config", str(site.settings))
    async with aiohttp.ClientSession() as session, two_apis(site) as urls:
        everywhere = [Rest(session, url, eve) for url in urls]
        sent = await everywhere[0].ok("POST", "/v1/messages", {"to": "Uheidi", "text": "before"})
        found = await planb("rebuild", "hot", *config, "--json")
        assert (found.code, found.json["epoch"]) == (0, found.json["epoch_before"] + 1), found
        for rest in everywhere:

            async def is_read(rest: Rest = rest) -> bool:
                told = await rest.ask("GET", "/v1/dialogs")
                return told.acknowledged and [one["conversation"] for one in told.body["dialogs"]] == [
                    sent["conversation"]
                ]

            assert await until(is_read, SOON_S)
        await everywhere[1].ok("POST", "/v1/messages", {"to": "Uheidi", "text": "after"})
        examined = await planb("doctor", *config, "--json")
        assert examined.code == 0, examined
        facts = [one["fact"] for one in examined.json["checks"] if one["check"] in ("processes", "this process")]
        assert any("runs it; beside it 4 api serving, 1 broker serving" in fact for fact in facts), facts
        assert any("clients may come" in fact for fact in facts), facts
        assert (await status(planet, "fra"))["epoch"] == found.json["epoch"]
