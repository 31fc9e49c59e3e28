"""The SDK on whole datacenters: real processes, real servers, cut links, a datacenter that is killed."""

import asyncio
import json
import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.planet import Planet
from cli.sys_client import SysClient
from planb_sdk import ApiError, Client, Draft, Options, Receipt, Unauthenticated, Update

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
OPTIONS = Options(request_timeout_s=2.0, backoff_max_s=0.5, resend_after_s=1.0, spread_s=0.05)
CONVERGE_S_MAX = 30.0


@pytest.fixture
async def planet(tmp_path: Path) -> AsyncIterator[Planet]:
    planet = Planet(tmp_path, ("fra", "syd"))
    try:
        await planet.start()
        yield planet
    finally:
        await planet.stop()
        for site in planet.sites.values():  # shown where a test fails
            print(site.name, (site.home / "serve.log").read_text()[-4_000:])


@pytest.fixture
async def make(planet: Planet) -> AsyncIterator["Make"]:
    """`await make("Uada", "fra", "syd")`: a new user at home in the first region, and known in all."""
    made: list[Follower] = []

    async def one(user: str, *regions: str) -> Follower:
        made.append(await follower(planet, user, *regions))
        return made[-1]

    yield one
    for each in made:
        await each.stop()


class Follower:
    """A client with its updates, followed from the beginning to the end."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.got: list[Update] = []
        self.task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        async for update in self.client.updates():
            self.got.append(update)

    def firsts(self) -> Counter[str]:
        """How often each message, by key, was shown for the first time."""
        first = [update.message for update in self.got if update.message and update.first]
        return Counter(message.key or message.class_ for message in first)

    async def stop(self) -> None:
        self.task.cancel()
        outcome = (await asyncio.gather(self.task, return_exceptions=True))[0]
        await self.client.close()
        if isinstance(outcome, Exception):
            raise outcome


Make = Callable[..., Awaitable[Follower]]


async def follower(planet: Planet, user: str, *regions: str) -> Follower:
    site = planet.site(regions[0])
    async with SysClient(regions[0], f"http://127.0.0.1:{site.ports.sys}", planet.sys_key) as sys:
        await sys.call("PUT", f"/sys/v1/users/{user}", {"name": user}, key=str(uuid.uuid4()))
        fields = {"user": user, "device": "test"}
        token = (await sys.call("POST", "/sys/v1/tokens", fields, key=str(uuid.uuid4())))["token"]
    urls = [planet.site(region).url for region in regions]
    made = Follower(Client(urls, token, user=user, keep_state=True, options=OPTIONS))
    await until(lambda: _follows(made))
    for site in planet.sites.values():  # whoever writes to him where he has not arrived yet is told: no such user
        async with Client([site.url], token, options=OPTIONS) as there:
            await until(lambda there=there: _knows(there, user))
    return made


async def _knows(there: Client, user: str) -> bool:
    try:
        await there.profile(user)
    except ApiError as error:
        assert error.code == "not_found", error
        return False
    return True


async def _follows(one: Follower) -> bool:
    if one.task.done():
        one.task.result()
    return one.client.position is not None and one.client.state is not None and one.client.state.loaded


async def until(true: Callable[[], Awaitable[bool]], timeout_s: float = CONVERGE_S_MAX) -> None:
    async with asyncio.timeout(timeout_s):
        while not await true():  # noqa: ASYNC110  (the datacenters tell nobody)
            await asyncio.sleep(0.05)


async def until_fresh(one: Follower) -> None:
    """Until its stale state plus updates equals a fresh fetch; fails with what differs."""
    different: list[str] = []

    async def same() -> bool:
        if one.task.done():
            one.task.result()
        assert one.client.state is not None
        mine, fresh = one.client.state.snapshot(), (await one.client.fresh_state()).snapshot()
        different[:] = list(differences(mine, fresh, one.client.user))
        return not different

    try:
        await until(same)
    except TimeoutError:
        raise AssertionError("\n".join(different)) from None


def differences(mine: Any, fresh: Any, path: str) -> Iterator[str]:
    if mine == fresh:
        return
    if isinstance(mine, dict) and isinstance(fresh, dict):
        for name in sorted(mine.keys() | fresh.keys()):
            yield from differences(mine.get(name), fresh.get(name), f"{path}.{name}")
    else:
        yield f"{path}: {mine!r}, fresh: {fresh!r}"


async def quietly(write: Awaitable[object]) -> None:
    """What a lagging datacenter, or an earlier step, does not allow is left out."""
    try:
        await write
    except ApiError as error:
        assert error.status in (403, 404, 409, 410), error


async def test_stale_state_plus_updates_equals_a_fresh_fetch_whoever_roams(planet: Planet, make: Make) -> None:
    rng = random.Random(7)
    people = [
        await make("Uada", "fra", "syd"),
        await make("Ubob", "syd", "fra"),
        await make("Ueve", "fra", "syd"),
    ]
    ada, bob, eve = (one.client for one in people)
    group = (await ada.create_group("lunch", ["Ueve"])).chat
    big = (await ada.create_supergroup("news", ["Ueve"])).chat
    sent: list[str] = []
    said: set[str] = set()

    async def say(client: Client, to: str) -> None:
        for outcome in await client.send_many(Draft(to, f"{n}") for n in range(rng.randint(1, 4))):
            if isinstance(outcome, Receipt):
                sent.append(outcome.id)
                said.add(outcome.key)

    async def step() -> None:
        client = rng.choice((ada, bob, eve))
        message = rng.choice(sent)
        await rng.choice(
            (
                lambda: say(client, rng.choice((group, big, "Uada", "Ubob", "Ueve"))),
                lambda: say(client, rng.choice((group, big))),
                lambda: quietly(client.edit(message, f"edit {rng.random()}")),
                lambda: quietly(client.recall(message)),
                lambda: quietly(client.hide(message)),
                lambda: quietly(client.react(message, rng.choice("👍🎉"))),
                lambda: quietly(client.unreact(message, "👍")),
                lambda: quietly(client.pin(rng.choice((group, big)), rng.choice(("i", "r", None)))),
                lambda: quietly(client.mute(group, rng.choice((None, 1_900_000_000_000)))),
                lambda: quietly(client.mark_unread(group, rng.random() < 0.8)),
                lambda: quietly(client.set_draft(rng.choice((group, "Uada")), f"draft {rng.random()}")),
                lambda: quietly(client.clear(group, message)),
                lambda: quietly(client.read(big, message)),
                lambda: quietly(ada.kick(rng.choice((group, big)), rng.choice(("Ubob", "Ueve")))),
                lambda: quietly(ada.add_members(rng.choice((group, big)), [rng.choice(("Ubob", "Ueve"))])),
                lambda: quietly(client.leave(rng.choice((group, big))) if client is not ada else ada.me()),
                lambda: quietly(client.join(big)),
                lambda: quietly(ada.update_chat(group, title=f"title {rng.random()}")),
                lambda: roam(client),
            )
        )()

    async def roam(client: Client) -> None:
        client.switch(rng.choice([one.url for one in planet.sites.values()]))

    await say(ada, group)
    await say(ada, "Ueve")
    for turn in range(250):
        await step()
        if turn == 100:
            planet.cut("fra", "syd")
        if turn == 160:
            planet.heal("fra", "syd")
    for one in people:
        await until_fresh(one)
        assert one.client.stats.missed == 0
        assert set(one.firsts().values()) == {1}, "each message is shown first once"
    assert sum(one.client.stats.switches for one in people) > 3


async def test_what_only_a_dead_datacenter_held_is_sent_again_and_read_once(planet: Planet, make: Make) -> None:
    ada, bob = await make("Uada", "fra", "syd"), await make("Ubob", "syd", "fra")
    first = await ada.client.send("Ubob", "both know")
    await until(lambda: _has(bob, {first.key}))
    planet.cut("fra", "syd")
    alone = [await ada.client.send("Ubob", f"only fra knows {n}") for n in range(5)]
    edited = await ada.client.edit(alone[0].id, "edited where only fra knows")
    assert {receipt.durability for receipt in (*alone, edited)} == {"local"}
    planet.site("fra").kill()
    last = await ada.client.send("Ubob", "from the other side")
    assert ada.client.region == planet.site("syd").url
    await ada.client.settled()
    everything = {receipt.key for receipt in (first, *alone, last)}
    await until(lambda: _has(bob, everything))
    await until_fresh(bob)
    await until_fresh(ada)
    assert bob.firsts() == Counter(dict.fromkeys(everything, 1))
    assert ada.client.stats.resent == 6
    assert bob.client.state is not None
    texts = {one["key"]: one["text"] for one in bob.client.state.messages[first.conversation].values()}
    assert texts[alone[0].key] == "edited where only fra knows"
    for one in (ada, bob):
        assert one.client.stats.missed == 0


async def test_a_client_that_is_started_again_elsewhere_goes_on_where_it_was(planet: Planet, make: Make) -> None:
    ada, bob = await make("Uada", "fra", "syd"), await make("Ubob", "syd", "fra")
    had = await ada.client.send("Ubob", "had")
    await until(lambda: _has(bob, {had.key}))
    planet.cut("fra", "syd")
    mine = await ada.client.send("Ubob", "only fra has it")
    saved, token, taken = json.loads(json.dumps(ada.client.saved())), ada.client.token, set(ada.firsts())
    await ada.stop()
    planet.site("fra").kill()
    later = [await bob.client.send("Uada", f"meanwhile {n}") for n in range(3)]
    regions = [planet.site(name).url for name in ("syd", "fra")]
    again = Follower(Client(regions, token, user="Uada", options=OPTIONS, saved=saved))
    try:
        rest = {one.key for one in (*later, mine)} - taken
        await until(lambda: _has(again, rest))
        await again.client.settled()
        await until(lambda: _has(bob, {mine.key}))
        assert again.firsts() == Counter(dict.fromkeys(rest, 1)), "and nothing that it had"
        assert again.client.stats.resent == 1 and again.client.stats.missed == 0
    finally:
        await again.stop()


async def test_a_session_that_is_revoked_ends_the_updates_and_every_call(planet: Planet, make: Make) -> None:
    ada = await make("Uada", "fra", "syd")
    (session,) = await ada.client.sessions()
    await ada.client.revoke(session.session)
    with pytest.raises(Unauthenticated):
        await asyncio.wait_for(ada.task, CONVERGE_S_MAX)
    with pytest.raises(Unauthenticated):
        await ada.client.me()
    with pytest.raises(Unauthenticated):
        await ada.client.send("Uada", "too late")
    assert ada.client.unsent == 1, "another token may still send it"
    ada.task = asyncio.create_task(asyncio.sleep(0))  # its end was looked at


async def _has(one: Follower, keys: set[str]) -> bool:
    return keys <= set(one.firsts())
