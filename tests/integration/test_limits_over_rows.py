"""Limits over several rows hold within one datacenter, however many come at once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.tokens import Caller
from core import limits
from core.errors import LogUnavailable
from tests.support.api import ApiDc, Reply, User, api_dc
from tests.support.dc import ACTIONS

CROWD = [f"Uguest{number}" for number in range(60)]


@pytest.fixture
async def api() -> AsyncIterator[ApiDc]:
    async with api_dc() as started:
        await started.sign_up("Uada", *CROWD)
        yield started


async def group_of(ada: User, *users: str, kind: str = "group") -> str:
    body = {"kind": kind, "title": "Lunch", "users": list(users)}
    return str((await ada.ok("POST", "/v1/chats", body))["chat"])


def codes(replies: list[Reply]) -> Counter[str]:
    return Counter(reply.code for reply in replies)


async def test_of_sixty_who_join_at_once_as_many_get_in_as_there_is_room_for(api: ApiDc) -> None:
    ada = api.user("Uada")
    chat = await group_of(ada)
    replies = await asyncio.gather(*(api.user(one).post(f"/v1/chats/{chat}/join") for one in CROWD))
    room = limits.GROUP_MEMBERS_MAX - 1
    assert codes(replies) == {"": room, "group_full": len(CROWD) - room}
    assert (await ada.ok("GET", f"/v1/chats/{chat}/members"))["count"] == limits.GROUP_MEMBERS_MAX


async def test_adds_and_joins_share_the_room(api: ApiDc) -> None:
    ada = api.user("Uada")
    chat = await group_of(ada, *CROWD[:10])
    adds = (ada.post(f"/v1/chats/{chat}/members", {"users": CROWD[at : at + 3]}) for at in range(10, 40, 3))
    joins = (api.user(one).post(f"/v1/chats/{chat}/join") for one in CROWD[40:])
    await asyncio.gather(*adds, *joins)
    assert (await ada.ok("GET", f"/v1/chats/{chat}/members"))["count"] == limits.GROUP_MEMBERS_MAX


async def test_a_write_that_failed_or_was_cancelled_holds_no_place(api: ApiDc, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = api.user("Uada")
    chat = await group_of(ada, *CROWD[:18])
    started = asyncio.Event()

    async def failing(*write: object) -> None:
        raise LogUnavailable()

    async def hanging(*write: object) -> None:
        started.set()
        await asyncio.Event().wait()

    path = f"/v1/chats/{chat}/join"
    with monkeypatch.context() as patch:
        patch.setattr(api.dc.writer, "commit", failing)
        assert (await api.user(CROWD[20]).post(path)).code == "log_unavailable"
        patch.setattr(api.dc.writer, "commit", hanging)
        writes, caller = api.parts.writes, Caller(CROWD[21], "s1", 0)
        leaving = asyncio.create_task(writes.submit(ACTIONS["member.join"], {"chat": chat}, caller))
        await started.wait()
        waiting = asyncio.create_task(writes.submit(ACTIONS["member.join"], {"chat": chat}, Caller(CROWD[22], "s1", 0)))
        await asyncio.sleep(0)
        for task in (waiting, leaving):
            task.cancel()
        await asyncio.gather(waiting, leaving, return_exceptions=True)
    replies = await asyncio.gather(*(api.user(one).post(path) for one in CROWD[23:26]))
    assert codes(replies) == {"": 1, "group_full": 2}
    assert not api.parts.writes.turns.held, "nothing is kept of a chat where nobody waits"


async def test_a_supergroup_and_other_chats_wait_for_nobody(api: ApiDc, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that hangs in one group holds up nothing but limited writes of that group."""
    ada = api.user("Uada")
    busy, other, open_to_all = await group_of(ada), await group_of(ada), await group_of(ada, kind="supergroup")
    commit, started = api.dc.writer.commit, asyncio.Event()

    async def hanging(action: str, version: int, actor: str, *write: object) -> object:
        if actor == CROWD[0]:
            started.set()
            await asyncio.Event().wait()
        return await commit(action, version, actor, *write)

    monkeypatch.setattr(api.dc.writer, "commit", hanging)
    submit = api.parts.writes.submit
    stuck = asyncio.create_task(submit(ACTIONS["member.join"], {"chat": busy}, Caller(CROWD[0], "s1", 0)))
    await started.wait()
    for chat in (other, open_to_all):
        await api.user(CROWD[1]).ok("POST", f"/v1/chats/{chat}/join")
    await ada.send(busy, "still here")
    stuck.cancel()
    await asyncio.gather(stuck, return_exceptions=True)


# -- what one message can be made to carry


async def shown(user: User, chat: str) -> dict[str, Any]:
    found = (await user.ok("GET", f"/v1/dialogs/{chat}/messages"))["messages"]
    (message,) = (one for one in found if not one["system"])
    return dict(message)


async def react(user: User, message: str, emoji: str, method: str = "PUT") -> Reply:
    return await user.call(method, f"/v1/messages/{message}/reactions/{emoji}")


async def test_one_user_has_so_many_reactions_on_a_message_at_once(api: ApiDc) -> None:
    ada = api.user("Uada")
    chat = await group_of(ada)
    message = await ada.send(chat, "Hello")
    most = limits.REACTIONS_PER_USER_MAX
    replies = await asyncio.gather(*(react(ada, message, f"e{n}") for n in range(3 * most)))
    assert codes(replies) == {"": most, "message_full": 2 * most}
    mine = sorted((await shown(ada, chat))["reactions"])
    assert len(mine) == most
    assert (await react(ada, message, mine[0], "DELETE")).status == 200
    assert (await react(ada, message, "another")).status == 200
    assert (await react(ada, message, "one-more")).code == "message_full"


async def test_a_message_shows_so_many_different_emoji(api: ApiDc) -> None:
    ada = api.user("Uada")
    chat = await group_of(ada, kind="supergroup")
    message = await ada.send(chat, "Hello")
    most, each = limits.EMOJI_PER_MESSAGE_MAX, limits.REACTIONS_PER_USER_MAX
    crowd = [api.user(one) for one in CROWD[: most // each + 2]]
    for one in crowd:
        await one.ok("POST", f"/v1/chats/{chat}/join")
    calls = (react(one, message, f"e{at * each + n}") for at, one in enumerate(crowd) for n in range(each))
    assert codes(await asyncio.gather(*calls)) == {"": most, "message_full": 2 * each}
    taken = sorted((await shown(ada, chat))["reactions"])
    assert len(taken) == most
    assert (await react(crowd[-1], message, taken[0])).status == 200, "one that is there already"


async def test_who_reacts_on_and_off_uses_up_his_own_share_and_what_is_on_can_still_be_taken_back(api: ApiDc) -> None:
    ada, guest = api.user("Uada"), api.user(CROWD[0])
    chat = await group_of(ada, CROWD[0])
    message = await ada.send(chat, "Hello")
    most = limits.REACTED_PER_USER_MAX
    for n in range(most):
        assert (await react(ada, message, "+1", ("PUT", "DELETE")[n % 2])).status == 200
    for method, emoji in (("PUT", "+1"), ("PUT", "other"), ("DELETE", "+1")):
        assert (await react(ada, message, emoji, method)).code == "message_full"
    for n in range(most):
        replied = await react(guest, message, f"e{n}")
        assert replied.code == ("" if n < limits.REACTIONS_PER_USER_MAX else "message_full")
    on = list((await shown(ada, chat))["reactions"])
    for n in range(most):
        if (await react(guest, message, on[0], ("DELETE", "PUT")[n % 2])).status != 200:
            break
    assert n % 2, "it was the setting again that was too much"
    for emoji in (await shown(ada, chat))["reactions"]:
        assert (await react(guest, message, emoji, "DELETE")).status == 200
    assert (await react(guest, message, on[0], "DELETE")).code == "message_full"
    assert (await shown(ada, chat))["reactions"] == {}
    (folded,) = (await api.dc.view.messages([int(message)])).values()
    assert folded.reacted["Uada"] == most and most - 1 <= folded.reacted[CROWD[0]] <= most


async def test_nobody_sets_what_he_could_not_take_back_within_his_share(api: ApiDc) -> None:
    ada = api.user("Uada")
    message = await ada.send(await group_of(ada), "Hello")
    most = limits.REACTED_PER_USER_MAX
    assert (await react(ada, message, "+1", "DELETE")).status == 200, "it may have been set elsewhere"
    for n in range(1, most - 1):
        assert (await react(ada, message, "+1", ("DELETE", "PUT")[n % 2])).status == 200
    assert (await react(ada, message, "+1", "PUT")).code == "message_full"
    assert (await react(ada, message, "+1", "DELETE")).status == 200
    assert (await react(ada, message, "+1", "DELETE")).code == "message_full"


async def test_in_a_full_group_there_is_room_for_him_who_comes_last_whatever_the_others_did(api: ApiDc) -> None:
    ada = api.user("Uada")
    others = CROWD[: limits.GROUP_MEMBERS_MAX - 1]
    chat = await group_of(ada, *others)
    message = await ada.send(chat, "Hello")
    for one in others:
        for n in range(limits.REACTED_PER_USER_MAX + 6):
            await react(api.user(one), message, "+1", ("PUT", "DELETE")[n % 2])
    for n in range(limits.REACTIONS_PER_USER_MAX):
        assert (await react(ada, message, f"e{n}")).status == 200


async def test_a_message_of_a_supergroup_is_full_for_all_at_last(api: ApiDc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MESSAGE_REACTIONS_MAX", 6)
    ada = api.user("Uada")
    chat = await group_of(ada, CROWD[0], kind="supergroup")
    message = await ada.send(chat, "Hello")
    for method in ("PUT", "DELETE", "PUT", "DELETE", "DELETE", "PUT"):
        assert (await react(ada, message, "+1", method)).status == 200
    guest = api.user(CROWD[0])
    assert (await react(guest, message, "+1")).code == "message_full"
    assert (await react(guest, message, "+1", "DELETE")).code == "message_full", "nothing of his to take back"
    assert (await react(ada, message, "+1", "DELETE")).status == 200
    assert (await react(ada, message, "+1", "DELETE")).code == "message_full"
    assert (await shown(ada, chat))["reactions"] == {}


async def test_a_message_has_so_many_revisions(api: ApiDc) -> None:
    ada = api.user("Uada")
    message = await ada.send("Uada", "0")
    most = limits.MESSAGE_EDITS_MAX
    edits = (ada.call("PATCH", f"/v1/messages/{message}", {"text": f"text {n}"}) for n in range(most + 10))
    assert codes(await asyncio.gather(*edits)) == {"": most, "message_full": 10}
    assert (await ada.call("DELETE", f"/v1/messages/{message}?for=all")).status == 200


async def test_a_message_is_recalled_once(api: ApiDc) -> None:
    ada = api.user("Uada")
    message = await ada.send("Uada", "Hello")
    recalls = (ada.call("DELETE", f"/v1/messages/{message}?for=all") for _ in range(5))
    assert codes(await asyncio.gather(*recalls)) == {"": 1, "gone": 4}
