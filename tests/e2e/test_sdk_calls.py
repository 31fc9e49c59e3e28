"""The newer calls of both SDKs, and what their state holds of mentions, against one live datacenter."""

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from cli.planet import Planet
from cli.sys_client import SysClient
from planb_sdk import ApiError, Client, Options, Receipt, Replies, Update
from tests.support.node_client import Driver, NodeClient, Refused, driver

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]
SOON_S_MAX = 20.0
_numbers = itertools.count()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def planet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Planet]:
    home: Path = tmp_path_factory.mktemp("planet")
    planet = Planet(home, ("fra",))
    try:
        await planet.start()
        yield planet
    finally:
        await planet.stop()
        print((planet.site("fra").home / "serve.log").read_text()[-4_000:])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node() -> AsyncIterator[Driver]:
    async with driver() as made:
        yield made


async def token_of(planet: Planet, user: str) -> str:
    site = planet.site("fra")
    async with SysClient("fra", f"http://127.0.0.1:{site.ports.sys}", planet.sys_key) as sys:
        await sys.call("PUT", f"/sys/v1/users/{user}", {"name": user}, key=str(uuid.uuid4()))
        answer = await sys.call("POST", "/sys/v1/tokens", {"user": user, "device": "t"}, key=str(uuid.uuid4()))
    return str(answer["token"])


def names() -> list[str]:
    """Users that no other test has."""
    number = next(_numbers)
    return [f"U{name}{number}" for name in ("ada", "bob", "eve")]


@pytest_asyncio.fixture(loop_scope="module")
async def three(planet: Planet) -> AsyncIterator[list[Client]]:
    """Ada, Bob and Eve; Bob's client keeps state."""
    users = names()
    url = planet.site("fra").url
    clients = [
        Client([url], await token_of(planet, user), user=user, keep_state=user == users[1], options=Options(spread_s=0))
        for user in users
    ]
    yield clients
    for client in clients:
        await client.close()


@pytest_asyncio.fixture(loop_scope="module")
async def three_js(node: Driver, planet: Planet) -> list[NodeClient]:
    users = names()
    url = planet.site("fra").url
    return [
        await node.client([url], await token_of(planet, user), user=user, keepState=user == users[1]) for user in users
    ]


async def until(true: Callable[[], Awaitable[bool]], told: Callable[[], object] = lambda: "") -> None:
    try:
        async with asyncio.timeout(SOON_S_MAX):
            while not await true():  # noqa: ASYNC110  (the datacenter tells nobody)
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(told()) from None


# -- Python


async def test_links_lead_into_a_chat_or_to_a_request(three: list[Client]) -> None:
    ada, bob, eve = three
    chat = (await ada.create_group("lunch", entry="closed")).chat
    made = await ada.create_invite(chat, uses_max=5, expires_ms=4_000_000_000_000)
    [link] = await ada.invites(chat)
    assert (link.link, link.creator, link.uses_max, link.used, link.approval) == (
        made.answer["link"], ada.user, 5, 0, False,
    )  # fmt: skip
    shown = await bob.look_at_invite(link.link)
    assert (shown["chat"], shown["title"], shown["present"]) == (chat, "lunch", False)
    assert (await bob.accept_invite(link.link)).answer["joined"] is True
    assert {one.user async for one in ada.members(chat)} == {ada.user, bob.user}
    assert (await ada.invites(chat))[0].used == 1
    await ada.revoke_invite(chat, link.invite)
    with pytest.raises(ApiError):
        await eve.accept_invite(link.link)
    second = (await ada.create_invite(chat, approval=True)).answer["link"]
    assert (await eve.accept_invite(second)).answer["joined"] is False
    [asking] = [one async for one in ada.requests(chat)]
    assert (asking.user.id, asking.invite, await eve.my_requests()) == (
        eve.user,
        (await ada.invites(chat))[0].invite,
        [chat],
    )
    await ada.let_in(chat, eve.user)
    assert eve.user in {one.user async for one in bob.members(chat)} and await eve.my_requests() == []


async def test_who_asks_is_refused_or_asks_no_more_and_a_ban_keeps_him_out(three: list[Client]) -> None:
    ada, bob, eve = three
    chat = (await ada.create_supergroup("news", [bob.user], entry="approval")).chat
    await eve.ask_to_join(chat)
    assert await eve.my_requests() == [chat]
    await eve.withdraw_request(chat)
    assert await eve.my_requests() == [] and [one async for one in ada.requests(chat)] == []
    await eve.ask_to_join(chat)
    await ada.refuse(chat, eve.user)
    assert await eve.my_requests() == []
    await ada.ban(chat, bob.user)
    assert [one.id async for one in ada.bans(chat)] == [bob.user]
    assert {one.user async for one in ada.members(chat)} == {ada.user}
    with pytest.raises(ApiError, match="forbidden"):
        await bob.ask_to_join(chat)
    await ada.unban(chat, bob.user)
    assert [one async for one in ada.bans(chat)] == []
    await bob.ask_to_join(chat)
    await ada.let_in(chat, bob.user)
    assert {one.user async for one in ada.members(chat)} == {ada.user, bob.user}


async def test_a_chat_is_handed_over_and_threads_and_forwards_are_read(three: list[Client]) -> None:
    ada, bob, eve = three
    chat = (await ada.create_group("lunch", [bob.user])).chat
    await ada.hand_over(chat, bob.user)
    assert (await bob.chat(chat)).owner == bob.user
    assert {one.user: one.role async for one in ada.members(chat)} == {ada.user: "admin", bob.user: "owner"}
    asked = (await ada.send(chat, "who comes?")).id
    first = (await bob.send(chat, "I", reply_to=asked)).id
    second = (await ada.send(chat, "good", reply_to=first)).id
    thread = await bob.thread(second)
    assert (thread.id, thread.root and thread.root.text, thread.count, thread.count_more) == (
        asked,
        "who comes?",
        2,
        False,
    )
    assert [(one.text, one.thread, one.reply_to) async for one in ada.replies(asked)] == [
        ("I", asked, asked), ("good", asked, first),
    ]  # fmt: skip
    assert [one.id async for one in ada.replies(asked, after=first)] == [second]
    assert [one.id async for one in ada.replies_before(asked)] == [second, first]
    assert [one.id async for one in ada.replies_before(asked, before=second)] == [first]
    told = {one.id: one.replies async for one in bob.history(chat)}
    assert told[asked] == Replies(2, False, second) and told[first] is None
    after = {one.id: one.replies async for one in bob.history_after(chat, "1")}
    assert after == told
    again = await bob.forward(first, eve.user)
    [copy] = [one async for one in eve.history(bob.user)]
    assert (copy.id, copy.text, copy.forwarded) == (again.id, "I", {"from": bob.user, "message": first})


async def test_state_holds_how_many_mentions_are_unread_whatever_changes_them(three: list[Client]) -> None:
    ada, bob, eve = three
    got: list[Update] = []

    async def follow() -> None:
        async for update in bob.updates():
            got.append(update)

    following = asyncio.create_task(follow())
    state = bob.state
    assert state is not None
    chat = (await ada.create_group("lunch", [bob.user, eve.user])).chat

    async def unread() -> int:
        return int(state.dialogs.get(chat, {"unread_mentions": 0})["unread_mentions"])

    async def becomes(count: int) -> None:
        async def is_so() -> bool:
            if following.done():
                following.result()
            return await unread() == count and state.snapshot() == (await bob.fresh_state()).snapshot()

        await until(is_so, lambda: (count, state.snapshot()))

    async def name(*users: str) -> Receipt:
        return await ada.send(chat, "look", mentions=users)

    try:
        sent = [(await name(bob.user)).id, (await name("all")).id, (await name(bob.user, eve.user)).id]
        await becomes(3)
        assert [one.id async for one in bob.mentions(chat)] == sent
        await bob.hide(sent[2])
        await becomes(2)
        await ada.recall(sent[1])
        await becomes(1)
        await bob.read(chat, sent[2])
        await becomes(0)
        await name(bob.user)
        await becomes(1)
        await ada.kick(chat, bob.user)
        await becomes(0)
        await ada.add_members(chat, [bob.user])
        await becomes(0)
        await name("all")
        await becomes(1)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


# -- JavaScript


async def test_the_js_sdk_brings_people_into_chats_and_keeps_them_out(three_js: list[NodeClient]) -> None:
    ada, bob, eve = three_js
    bob_id, eve_id = [await one.get("user") for one in (bob, eve)]
    chat = (await ada.call("createGroup", "lunch", [], {"key": "made"}))["answer"]["chat"]
    await ada.call("updateChat", chat, {"entry": "approval"})
    made = await ada.call("createInvite", chat, {"usesMax": 5, "expiresMs": 4_000_000_000_000})
    [link] = await ada.call("invites", chat)
    assert (link["link"], link["uses_max"], link["approval"]) == (made["answer"]["link"], 5, False)
    assert (await bob.call("lookAtInvite", link["link"]))["title"] == "lunch"
    assert (await bob.call("acceptInvite", link["link"]))["answer"]["joined"] is True
    await ada.call("revokeInvite", chat, link["invite"])
    with pytest.raises(Refused):
        await eve.call("acceptInvite", link["link"])
    second = (await ada.call("createInvite", chat, {"approval": True}))["answer"]["link"]
    assert (await eve.call("acceptInvite", second))["answer"]["joined"] is False
    assert [one["user"]["id"] for one in await ada.every("requests", chat)] == [eve_id]
    await ada.call("refuse", chat, eve_id)
    assert await eve.call("myRequests") == []
    await eve.call("askToJoin", chat)
    assert await eve.call("myRequests") == [chat]
    await eve.call("withdrawRequest", chat)
    await eve.call("askToJoin", chat)
    await ada.call("letIn", chat, eve_id)
    await ada.call("ban", chat, bob_id)
    assert [one["id"] for one in await ada.every("bans", chat)] == [bob_id]
    assert bob_id not in {one["user"] for one in await ada.every("members", chat)}
    with pytest.raises(Refused, match="forbidden"):
        await bob.call("askToJoin", chat)
    await ada.call("unban", chat, bob_id)
    assert await ada.every("bans", chat) == []
    await ada.call("handOver", chat, eve_id)
    assert (await eve.call("chat", chat))["owner"] == eve_id


async def test_the_js_sdk_reads_threads_and_forwards(three_js: list[NodeClient]) -> None:
    ada, bob, eve = three_js
    bob_id, eve_id = [await one.get("user") for one in (bob, eve)]
    asked = (await ada.call("send", bob_id, "who comes?"))["id"]
    first = (await bob.call("send", await ada.get("user"), "I", {"replyTo": asked}))["id"]
    second = (await ada.call("send", bob_id, "good", {"replyTo": first}))["id"]
    thread = await bob.call("thread", second)
    assert (thread["thread"], thread["root"]["text"], thread["count"]) == (asked, "who comes?", 2)
    assert [one["text"] for one in await ada.every("replies", asked)] == ["I", "good"]
    assert [one["id"] for one in await ada.every("replies", asked, {"after": first})] == [second]
    assert [one["id"] for one in await ada.every("repliesBefore", asked)] == [second, first]
    assert [one["id"] for one in await ada.every("repliesBefore", asked, {"before": second})] == [first]
    for method, *more in (("history",), ("historyAfter", "1")):
        told = {one["id"]: one.get("replies") for one in await ada.every(method, bob_id, *more)}
        assert told == {asked: {"count": 2, "more": False, "newest": second}, first: None, second: None}
    await bob.call("forward", first, eve_id)
    [told] = await eve.every("history", bob_id)
    assert (told["text"], told["forwarded"]) == ("I", {"from": bob_id, "message": first})


async def test_state_of_the_js_sdk_holds_how_many_mentions_are_unread(three_js: list[NodeClient]) -> None:
    ada, bob, eve = three_js
    bob_id = await bob.get("user")
    await bob.follow()
    chat = (await ada.call("createGroup", "lunch", [bob_id, await eve.get("user")]))["answer"]["chat"]

    async def becomes(count: int) -> None:
        async def is_so() -> bool:
            assert not bob.ended, bob.ended
            mine: dict[str, Any] = await bob.snapshot()
            told = mine["dialogs"].get(chat, {"unread_mentions": 0})["unread_mentions"]
            return told == count and mine == await bob.snapshot(fresh=True)

        await until(is_so)

    sent = [(await ada.call("send", chat, "look", {"mentions": [name]}))["id"] for name in (bob_id, "all", bob_id)]
    await becomes(3)
    assert [one["id"] for one in await bob.every("mentions", chat)] == sent
    await bob.call("hide", sent[2])
    await becomes(2)
    await ada.call("recall", sent[1])
    await becomes(1)
    await ada.call("kick", chat, bob_id)
    await becomes(0)
    await ada.call("addMembers", chat, [bob_id])
    last = (await ada.call("send", chat, "look", {"mentions": ["all"]}))["id"]
    await becomes(1)
    await bob.call("read", chat, last)
    await becomes(0)
