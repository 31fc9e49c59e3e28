"""sdk/js in Node against whole datacenters: real processes, real servers, kill -9, a cut link, a reload."""

import asyncio
import json
import subprocess
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from cli.planet import Planet
from cli.sys_client import SysClient
from tests.support.markdown import ROOT, blocks
from tests.support.node_client import MODULE, Driver, NodeClient, Refused, driver, node

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]
OPTIONS = {"requestTimeoutMs": 2_000, "backoffMaxMs": 500, "resendAfterMs": 1_000, "spreadMs": 50}
CONVERGE_S_MAX = 60.0
README = ROOT / "sdk/js/README.md"


@pytest.fixture
async def js() -> AsyncIterator[Driver]:
    async with driver() as made:
        yield made


@pytest.fixture
async def planet(js: Driver, tmp_path: Path) -> AsyncIterator[Planet]:
    """After Node, without which nothing has to be started."""
    planet = Planet(tmp_path, ("fra", "syd"))
    try:
        await planet.start()
        yield planet
    finally:
        await planet.stop()
        for site in planet.sites.values():  # shown where a test fails
            print(site.name, (site.home / "serve.log").read_text()[-4_000:])


class People:
    """Users, and clients of theirs."""

    def __init__(self, js: Driver, planet: Planet) -> None:
        self.js = js
        self.planet = planet

    async def token(self, user: str, region: str, **fields: str) -> str:
        site = self.planet.site(region)
        async with SysClient(region, f"http://127.0.0.1:{site.ports.sys}", self.planet.sys_key) as sys:
            await sys.call("PUT", f"/sys/v1/users/{user}", {"name": user, **fields}, key=str(uuid.uuid4()))
            answer = await sys.call("POST", "/sys/v1/tokens", {"user": user, "device": "t"}, key=str(uuid.uuid4()))
        return str(answer["token"])

    def urls(self, *regions: str) -> list[str]:
        return [self.planet.site(region).url for region in regions]

    async def follower(self, user: str, *regions: str) -> NodeClient:
        """A new user at home in the first region, known in all, with a client that follows."""
        token = await self.token(user, regions[0])
        made = await self.js.client(self.urls(*regions), token, user=user, keepState=True, options=OPTIONS)
        await made.follow()
        await until(lambda: _loaded(made))
        for url in self.urls(*self.planet.sites):
            there = await self.js.client([url], token, options=OPTIONS)
            await until(lambda there=there: _knows(there, user))
            await there.call("close")
        return made


@pytest.fixture
def people(js: Driver, planet: Planet) -> People:
    return People(js, planet)


async def _loaded(one: NodeClient) -> bool:
    return bool((await one.get("state"))["loaded"])


async def _knows(there: NodeClient, user: str) -> bool:
    try:
        await there.call("profile", user)
    except Refused as error:
        assert error.code == "not_found", error
        return False
    return True


async def _has(one: NodeClient, keys: set[str]) -> bool:
    assert not one.ended, one.ended
    return keys <= set(one.firsts())


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(CONVERGE_S_MAX):
        while not await true():  # noqa: ASYNC110  (the datacenters tell nobody)
            await asyncio.sleep(0.05)


async def until_fresh(one: NodeClient) -> None:
    """Until its stale state plus updates equals a fresh fetch."""

    async def same() -> bool:
        return await one.snapshot() == await one.snapshot(fresh=True)

    await until(same)


async def test_nothing_is_missed_or_doubled_while_a_datacenter_is_killed_and_clients_move(
    people: People, planet: Planet
) -> None:
    ada, bob = await people.follower("Uada", "fra", "syd"), await people.follower("Ubob", "syd", "fra")
    group = (await ada.call("createGroup", "lunch", ["Ubob"]))["answer"]["chat"]
    big = (await ada.call("createSupergroup", "news", ["Ubob"]))["answer"]["chat"]
    keys: dict[str, str] = {}
    """Key -> id of the message as it was answered."""

    async def say(to: str, client: NodeClient = ada) -> str:
        receipt = await client.call("send", to, f"message {len(keys)}")
        keys[receipt["key"]] = receipt["id"]
        return str(receipt["id"])

    async def talk(times: int) -> None:
        for _ in range(times):
            for to in ("Ubob", group, big):
                await say(to)

    await talk(3)
    fra, syd = planet.site("fra"), planet.site("syd")
    talking = asyncio.create_task(talk(15))
    await until(lambda: _has(bob, set(list(keys)[:12])))
    fra.kill()
    await talking  # at syd since
    assert await ada.get("region") == syd.url
    await fra.start()
    await fra.ready()
    for _ in range(3):  # there and back
        await ada.call("switch", fra.url)
        await bob.call("switch", fra.url)
        await talk(2)
        await ada.call("switch", syd.url)
        edited = await say(group)
        await ada.call("edit", edited, "edited")
        await ada.call("react", edited, "👍")
        await bob.call("switch", syd.url)
        await talk(2)
    await ada.call("read", "Ubob", await say("Ubob"))
    await ada.call("pin", group, "i")
    asked = await say(group)
    place = {"kind": "location", "latitude": 50.1, "longitude": 8.7}
    for how in ({"content": place}, {}):
        answer = await bob.call("send", group, "a reply", {"replyTo": asked, **how})
        keys[answer["key"]] = answer["id"]
    named = await ada.call("send", group, "look", {"mentions": ["Ubob"]})
    keys[named["key"]] = named["id"]
    await ada.call("handOver", group, "Ubob")
    await ada.call("settled")
    for one in (ada, bob):
        await until(lambda one=one: _has(one, set(keys)))
        await until_fresh(one)
        sent = {key: count for key, count in one.firsts().items() if key in keys}
        assert sent == dict.fromkeys(keys, 1), "each message is shown first once"
        assert (await one.get("stats"))["missed"] == 0
    assert [one["key"] for one in await bob.every("mentions", group)] == [named["key"]]
    assert [one["text"] for one in await ada.every("replies", asked)] == ["a reply"] * 2
    assert (await ada.call("thread", asked))["count"] == 2 and (await ada.call("chat", group))["owner"] == "Ubob"
    history = await bob.every("history", big)
    assert Counter(one["key"] for one in history if one["key"] in keys).most_common(1)[0][1] == 1
    assert [int(one["id"]) for one in history] == sorted((int(one["id"]) for one in history), reverse=True)
    (pinned,) = [one for one in await ada.every("dialogs") if one["conversation"] == group]
    assert pinned["pin"] == "i"


async def test_after_a_reload_what_only_a_dead_datacenter_held_is_sent_again_and_read_once(
    people: People, planet: Planet
) -> None:
    ada, bob = await people.follower("Uada", "fra", "syd"), await people.follower("Ubob", "syd", "fra")
    had = await ada.call("send", "Ubob", "had")
    await until(lambda: _has(bob, {had["key"]}))
    await until(lambda: _has(ada, {had["key"]}))
    planet.cut("fra", "syd")
    mine = await ada.call("send", "Ubob", "only fra has it")
    assert mine["durability"] == "local"
    await until(lambda: _has(ada, {mine["key"]}))
    planet.site("fra").kill()
    waits = str(uuid.uuid4())
    away = await people.js.client(
        people.urls("fra"),
        await ada.get("token"),
        user="Uada",
        options=OPTIONS | {"giveUpMs": 1_000},
        saved=await ada.call("saved"),
    )
    with pytest.raises(Refused, match="Unreachable"):
        await away.call("send", "Ubob", "nobody has it", {"key": waits})
    saved, token = json.loads(json.dumps(await away.call("saved"))), await ada.get("token")
    assert token not in json.dumps(saved)
    for one in (away, ada):
        await one.call("close")
    later = await bob.call("send", "Uada", "meanwhile")
    again = await people.js.client(people.urls("syd", "fra"), token, user="Uada", options=OPTIONS, saved=saved)
    await again.follow()
    await until(lambda: _has(again, {later["key"], mine["key"], waits} - set(ada.firsts())))
    await again.call("settled")
    await until(lambda: _has(bob, {mine["key"], waits}))
    await until_fresh(bob)
    assert had["key"] not in again.firsts(), "nothing that it had"
    assert {bob.firsts()[key] for key in (had["key"], mine["key"], waits)} == {1}
    assert await again.get("unsent") == 0 and (await again.get("stats"))["resent"] == 1


async def test_a_session_that_is_revoked_ends_the_updates_and_every_call(people: People) -> None:
    await people.token("Uada", "fra", password="correct horse")
    ada = await people.js.login(people.urls("fra", "syd"), "Uada", "correct horse", "desk", {"options": OPTIONS})
    await ada.follow()
    (session,) = [one for one in await ada.call("sessions") if one["current"]]
    await ada.call("revoke", session["session"])

    async def over() -> bool:
        return bool(ada.ended)

    await until(over)
    assert ada.ended[0] is not None and ada.ended[0]["name"] == "Unauthenticated"
    for call in (ada.call("me"), ada.call("send", "Uada", "too late")):
        with pytest.raises(Refused, match="Unauthenticated"):
            await call
    assert await ada.get("unsent") == 1, "another token may still send it"


async def test_the_first_program_of_the_readme_runs(people: People, planet: Planet, tmp_path: Path) -> None:
    first = next(block for block in blocks(README) if block.language == "js")
    (tmp_path / "first.mjs").write_text(first.text)
    (tmp_path / "planb.js").write_bytes(MODULE.read_bytes())
    token = await people.token("Uada", "fra")
    program = await asyncio.create_subprocess_exec(
        *node(),
        tmp_path / "first.mjs",
        *people.urls("fra", "syd"),
        stdout=subprocess.PIPE,
        env={"AUTH": f"Authorization: Bearer {token}"},
    )
    out, _ = await asyncio.wait_for(program.communicate(), CONVERGE_S_MAX)
    assert (program.returncode, out.decode()) == (0, "Uada wrote: note to self\n")


def test_the_page_of_the_readme_is_a_module_that_node_understands(tmp_path: Path) -> None:
    page = next(block for block in blocks(README) if block.language == "html")
    script = page.text.partition('<script type="module">')[2].partition("</script>")[0]
    (tmp_path / "page.mjs").write_text(script)
    assert "client.updates()" in script
    subprocess.run([*node(), "--check", tmp_path / "page.mjs"], check=True)
