"""What happened to a chat stands in its history, as a line that nobody wrote."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any, get_args

import pytest

from core import limits
from core.actions.lines import Told
from stores.adapters.memory_hot import MemoryHot
from tests.support.api import ApiDc, User, api_dc
from tests.support.dc import OneDc

KINDS = pytest.mark.parametrize("kind", ["group", "supergroup"])


@contextlib.asynccontextmanager
async def two_dcs() -> AsyncIterator[tuple[ApiDc, ApiDc]]:
    async with api_dc(OneDc("fra", 1)) as fra, api_dc(OneDc("nyc", 2)) as nyc:
        await fra.sign_up("Uada", "Ugrace", "Ulinus", "Uzoe")
        await nyc.dc.pull(fra.dc)
        yield fra, nyc


@pytest.fixture
async def api() -> AsyncIterator[ApiDc]:
    async with api_dc() as started:
        await started.sign_up("Uada", "Ugrace", "Ulinus", "Uzoe")
        yield started


async def chat_of(api: ApiDc, kind: str, *users: str) -> str:
    body = {"kind": kind, "title": "Lunch", "users": list(users)}
    return str((await api.user("Uada").ok("POST", "/v1/chats", body))["chat"])


async def history(user: User, chat: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await user.ok("GET", f"/v1/dialogs/{chat}/messages?limit=100"))["messages"]
    return found


async def lines(user: User, chat: str) -> list[tuple[str, str, Any]]:
    """(who, what, the rest)."""
    found = []
    for one in await history(user, chat):
        assert one["system"] and one["text"] == "" and one["content"]["kind"] == "system"
        rest = {name: value for name, value in one["content"].items() if name not in ("kind", "what")}
        found.append((one["from"], one["content"]["what"], rest))
    return found


@KINDS
async def test_what_is_done_to_a_chat_is_told_in_histories_updates_and_dialogs(api: ApiDc, kind: str) -> None:
    ada, grace, linus = (api.user(name) for name in ("Uada", "Ugrace", "Ulinus"))
    chat = await chat_of(api, kind, "Ugrace")
    cursor = (await grace.ok("GET", "/v1/state"))["cursor"]
    await ada.ok("POST", f"/v1/chats/{chat}/members", {"users": ["Uzoe", "Ulinus"]})
    await ada.ok("PATCH", f"/v1/chats/{chat}/members/Uzoe", {"role": "admin"})
    await ada.ok("PATCH", f"/v1/chats/{chat}", {"title": "Dinner", "about": "is not told", "entry": "open"})
    await linus.ok("DELETE", f"/v1/chats/{chat}/members/me")
    await linus.ok("POST", f"/v1/chats/{chat}/join")
    await ada.ok("DELETE", f"/v1/chats/{chat}/members/Ulinus")
    link = (await ada.ok("POST", f"/v1/chats/{chat}/invites", {}))["link"]
    await linus.ok("POST", "/v1/invites/accept", {"link": link})
    await ada.ok("PUT", f"/v1/chats/{chat}/bans/Ulinus")
    await ada.ok("DELETE", f"/v1/chats/{chat}/bans/Ulinus")
    await ada.ok("PATCH", f"/v1/chats/{chat}", {"entry": "approval"})
    await linus.ok("POST", f"/v1/chats/{chat}/requests")
    await ada.ok("POST", f"/v1/chats/{chat}/requests/Ulinus/approve")
    await ada.ok("PUT", f"/v1/chats/{chat}/owner", {"user": "Ugrace"})
    await grace.ok("DELETE", f"/v1/chats/{chat}")
    wanted = [
        ("Uada", f"{kind}.create", {"users": ["Ugrace"], "new": {"title": "Lunch"}}),
        ("Uada", "member.add", {"users": ["Ulinus", "Uzoe"]}),
        ("Uada", "member.role", {"users": ["Uzoe"], "old": {"role": "member"}, "new": {"role": "admin"}}),
        ("Uada", "group.update", {"old": {"title": "Lunch"}, "new": {"title": "Dinner"}}),
        ("Ulinus", "member.leave", {"users": ["Ulinus"]}),
        ("Ulinus", "member.join", {"users": ["Ulinus"]}),
        ("Uada", "member.kick", {"users": ["Ulinus"]}),
        ("Ulinus", "invite.accept", {"users": ["Ulinus"]}),
        ("Uada", "chat.ban", {"users": ["Ulinus"]}),
        ("Uada", "group.update", {"old": {"entry": "open"}, "new": {"entry": "approval"}}),
        ("Uada", "request.approve", {"users": ["Ulinus"]}),
        ("Uada", "chat.owner", {"users": ["Ugrace"], "old": {"owner": "Uada"}, "new": {"owner": "Ugrace"}}),
        ("Ugrace", "group.dissolve", {}),
    ]
    assert {what for _, what, _ in wanted} | {"group.create", "supergroup.create"} == set(get_args(Told))
    for user in (ada, grace, linus):
        assert await lines(user, chat) == wanted
        (dialog,) = (await user.ok("GET", "/v1/dialogs"))["dialogs"]
        assert (dialog["top"]["content"]["what"], dialog["unread"]) == ("group.dissolve", 0)
    told = [one["update"]["message"] for one in (await grace.updates(cursor))[0] if one["update"]["type"] == "message"]
    assert told == (await history(grace, chat))[1:]


@KINDS
async def test_who_is_removed_is_shown_that_line_and_nothing_later(api: ApiDc, kind: str) -> None:
    ada, grace = api.user("Uada"), api.user("Ugrace")
    chat = await chat_of(api, kind, "Ugrace")
    await ada.ok("DELETE", f"/v1/chats/{chat}/members/Ugrace")
    await ada.ok("POST", f"/v1/chats/{chat}/members", {"users": ["Ulinus"]})
    assert [what for _, what, _ in await lines(grace, chat)] == [f"{kind}.create", "member.kick"]
    assert [what for _, what, _ in await lines(api.user("Ulinus"), chat)][-1] == "member.add"


async def test_both_datacenters_show_the_same_and_a_retry_elsewhere_is_no_second_line() -> None:
    async with two_dcs() as (fra, nyc):
        chat = await chat_of(fra, "group", "Ugrace")
        await nyc.dc.pull(fra.dc)
        for dc in (fra, nyc):  # a retry of one call
            body = {"users": ["Ulinus"]}
            await dc.user("Uada").ok("POST", f"/v1/chats/{chat}/members", body, Idempotency_Key="once")
        await fra.user("Uada").ok("DELETE", f"/v1/chats/{chat}/members/Ugrace")
        await nyc.user("Uada").ok("PATCH", f"/v1/chats/{chat}", {"title": "Dinner"})
        await nyc.dc.pull(fra.dc)
        await fra.dc.pull(nyc.dc)
        shown = await history(fra.user("Ulinus"), chat)
        assert shown == await history(nyc.user("Ulinus"), chat)
        told = sorted(one["content"]["what"] for one in shown)
        assert told == ["group.create", "group.update", "member.add", "member.kick"]
        # She was named, by a datacenter that did not know of her end; of what a chat is called since she hears nothing.
        for dc in (fra, nyc):
            assert [what for _, what, _ in await lines(dc.user("Ugrace"), chat)] == [
                one["content"]["what"] for one in shown if one["content"]["what"] != "group.update"
            ]


async def test_an_add_that_a_concurrent_kick_undoes_was_done_all_the_same() -> None:
    """The line tells what was done; that he is in the chat, nobody says."""
    async with two_dcs() as (fra, nyc):
        chat = await chat_of(fra, "group", "Ugrace")
        await nyc.dc.pull(fra.dc)
        await fra.user("Uada").ok("PUT", f"/v1/chats/{chat}/bans/Ulinus")
        await nyc.user("Uada").ok("POST", f"/v1/chats/{chat}/members", {"users": ["Ulinus"]})
        await nyc.dc.pull(fra.dc)
        await fra.dc.pull(nyc.dc)
        for dc in (fra, nyc):
            ada = dc.user("Uada")
            assert (await lines(ada, chat))[-1] == ("Uada", "member.add", {"users": ["Ulinus"]})
            members = (await ada.ok("GET", f"/v1/chats/{chat}/members"))["members"]
            assert [one["user"] for one in members] == ["Uada", "Ugrace"]


async def test_what_changes_nothing_is_not_told(api: ApiDc) -> None:
    ada = api.user("Uada")
    chat = await chat_of(api, "group", "Ugrace")
    await ada.ok("PATCH", f"/v1/chats/{chat}", {"title": "Lunch", "about": "new"})
    await ada.ok("PATCH", f"/v1/chats/{chat}/members/Ugrace", {"role": "member"})
    assert (await ada.post(f"/v1/chats/{chat}/members", {"users": ["Ugrace"]})).code == "conflict"
    await ada.ok("PUT", f"/v1/chats/{chat}/bans/Uzoe")
    assert [what for _, what, _ in await lines(ada, chat)] == ["group.create"]
    assert (await api.user("Uzoe").ok("GET", "/v1/dialogs"))["dialogs"] == [], "he never was in it"


async def test_nobody_writes_changes_judges_repeats_or_takes_back_a_line(api: ApiDc) -> None:
    ada, grace = api.user("Uada"), api.user("Ugrace")
    chat = await chat_of(api, "group", "Ugrace")
    (line,) = await history(ada, chat)
    path = f"/v1/messages/{line['id']}"
    assert (await ada.post("/v1/messages", {"to": chat, "content": line["content"]})).fields == ["content"]
    for reply in (
        await ada.call("PATCH", path, {"text": "Grace created the group"}),
        await ada.call("DELETE", f"{path}?for=all"),
        await grace.call("PUT", f"{path}/reactions/x"),
        await grace.post("/v1/messages", {"to": chat, "forward_of": line["id"]}),
    ):
        assert (reply.status, reply.code) == (403, "forbidden")
    reply_id = (await grace.ok("POST", "/v1/messages", {"to": chat, "text": "hi", "reply_to": line["id"]}))["id"]
    assert (await ada.ok("GET", f"{path}/replies"))["root"]["system"]
    await ada.ok("DELETE", f"{path}?for=me")
    assert [one["id"] for one in await history(ada, chat)] == [reply_id]


@KINDS
async def test_a_rebuild_counts_and_places_as_before(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines stand among the newest messages of a conversation, of which so many are counted."""
    monkeypatch.setattr(limits, "RECENT_KEPT_MAX", 4)
    async with api_dc(OneDc(hot=MemoryHot(recent_kept=4))) as api:
        await api.sign_up("Uada", "Ugrace", "Ulinus")
        ada, grace = api.user("Uada"), api.user("Ugrace")
        chat = await chat_of(api, kind, "Ugrace")
        for number in range(3):
            await ada.send(chat, str(number))
        for number in range(6):
            await ada.ok("PATCH", f"/v1/chats/{chat}", {"title": f"Title {number}"})
        for more in (0, 2):
            for number in range(more):
                await ada.send(chat, f"more {number}")
            before = [await user.ok("GET", "/v1/dialogs") for user in (ada, grace)]
            await api.dc.applier.rebuild_hot(api.dc.applier.epoch)
            after = [await user.ok("GET", "/v1/dialogs") for user in (ada, grace)]
            assert [one["dialogs"] for one in after] == [one["dialogs"] for one in before]
            (dialog,) = after[1]["dialogs"]
            assert (dialog["unread"], dialog["unread_more"]) == ((4, True) if more else (3, False))
