"""Whoever has left a chat, or was removed from it, sees it as it was then: nothing of what happened after."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from api.cursors import Cursor
from tests.support.api import ApiDc, User, api_dc
from tests.support.dc import OneDc

KINDS = pytest.mark.parametrize("kind", ["group", "supergroup"])
ENDS = pytest.mark.parametrize("end", ["left", "kicked"])


@contextlib.asynccontextmanager
async def two_dcs() -> AsyncIterator[tuple[ApiDc, ApiDc]]:
    async with api_dc(OneDc("fra", 1)) as fra, api_dc(OneDc("nyc", 2)) as nyc:
        await fra.sign_up("Uada", "Ugrace", "Ulinus")
        await nyc.dc.pull(fra.dc)
        yield fra, nyc


@pytest.fixture
async def api() -> AsyncIterator[ApiDc]:
    async with api_dc() as started:
        await started.sign_up("Uada", "Ugrace", "Ulinus")
        yield started


async def chat_of(api: ApiDc, kind: str, title: str = "Lunch") -> str:
    body = {"kind": kind, "title": title, "about": "At noon", "users": ["Ugrace", "Ulinus"]}
    return str((await api.user("Uada").ok("POST", "/v1/chats", body))["chat"])


async def end_of(api: ApiDc, chat: str, end: str, user: str = "Ulinus") -> None:
    if end == "left":
        await api.user(user).ok("DELETE", f"/v1/chats/{chat}/members/me")
    else:
        await api.user("Uada").ok("DELETE", f"/v1/chats/{chat}/members/{user}")


def nothing_yet(api: ApiDc, user: str) -> str:
    """A cursor that covers nothing."""
    return api.parts.cursors.seal(Cursor(user, api.dc.name, api.dc.applier.epoch, 0, {}, {}))


async def message_of(user: User, chat: str) -> dict[str, Any]:
    found = (await user.ok("GET", f"/v1/dialogs/{chat}/messages"))["messages"]
    (message,) = (one for one in found if not one["system"])
    return dict(message)


async def dialog_of(user: User, chat: str) -> dict[str, Any]:
    found = [one for one in (await user.ok("GET", "/v1/dialogs"))["dialogs"] if one["conversation"] == chat]
    return dict(found[0])


async def told(api: ApiDc, user: str) -> list[dict[str, Any]]:
    """All updates, as they are shown to whoever fetches them only now."""
    found, _ = await api.user(user).updates(nothing_yet(api, user))
    return [one["update"] for one in found]


@KINDS
@ENDS
async def test_edits_and_reactions_that_came_after_are_not_shown_and_those_before_are(
    api: ApiDc, kind: str, end: str
) -> None:
    ada, grace, linus = (api.user(name) for name in ("Uada", "Ugrace", "Ulinus"))
    chat = await chat_of(api, kind)
    id = await ada.send(chat, "first")
    await ada.ok("PATCH", f"/v1/messages/{id}", {"text": "second"})
    await grace.ok("PUT", f"/v1/messages/{id}/reactions/before")
    await end_of(api, chat, end)
    await ada.ok("PATCH", f"/v1/messages/{id}", {"text": "third"})
    await grace.ok("PUT", f"/v1/messages/{id}/reactions/after")
    await grace.ok("DELETE", f"/v1/messages/{id}/reactions/before")
    seen = [
        await message_of(linus, chat),
        *(update["message"] for update in await told(api, "Ulinus") if update["type"] == "message"),
    ]
    seen = [message for message in seen if not message["system"]]
    assert len(seen) >= 3
    for message in seen:
        assert (message["text"], message["reactions"]) == ("second", {"before": ["Ugrace"]})
    now = await message_of(grace, chat)
    assert (now["text"], now["reactions"]) == ("third", {"after": ["Ugrace"]})


async def test_a_recall_is_for_him_too(api: ApiDc) -> None:
    ada, linus = api.user("Uada"), api.user("Ulinus")
    chat = await chat_of(api, "group")
    id = await ada.send(chat, "a secret")
    await end_of(api, chat, "left")
    await ada.ok("DELETE", f"/v1/messages/{id}?for=all")
    assert (await message_of(linus, chat))["text"] is None


async def test_who_is_back_sees_what_happened_meanwhile(api: ApiDc) -> None:
    ada, linus = api.user("Uada"), api.user("Ulinus")
    chat = await chat_of(api, "group")
    id = await ada.send(chat, "first")
    await end_of(api, chat, "kicked")
    await ada.ok("PATCH", f"/v1/messages/{id}", {"text": "second"})
    await ada.ok("PATCH", f"/v1/chats/{chat}", {"title": "Dinner"})
    await ada.ok("POST", f"/v1/chats/{chat}/members", {"users": ["Ulinus"]})
    assert (await message_of(linus, chat))["text"] == "second"
    assert (await dialog_of(linus, chat))["peer"]["chat"]["title"] == "Dinner"


@KINDS
@ENDS
async def test_a_chat_is_shown_with_the_title_that_it_had(api: ApiDc, kind: str, end: str) -> None:
    ada, grace, linus = (api.user(name) for name in ("Uada", "Ugrace", "Ulinus"))
    chat = await chat_of(api, kind)
    await ada.ok("PATCH", f"/v1/chats/{chat}", {"title": "Early lunch"})
    await end_of(api, chat, end)
    for title in ("Dinner", "Supper"):
        await ada.ok("PATCH", f"/v1/chats/{chat}", {"title": title, "about": "Without Linus", "avatar": "F1"})
    seen = [
        await linus.ok("GET", f"/v1/chats/{chat}"),
        (await dialog_of(linus, chat))["peer"]["chat"],
        *(update["chat"] for update in await told(api, "Ulinus") if update["type"] == "chat"),
    ]
    assert len(seen) >= 3
    for shown in seen:
        assert (shown["title"], shown["about"], shown["avatar"]) == ("Early lunch", "At noon", "")
    assert (await grace.ok("GET", f"/v1/chats/{chat}"))["title"] == "Supper"


async def test_who_else_has_gone_since_is_not_told(api: ApiDc) -> None:
    chat = await chat_of(api, "group")
    await end_of(api, chat, "left")
    await end_of(api, chat, "kicked", "Ugrace")
    members = {one["user"]: one["present"] for one in await told(api, "Ulinus") if one["type"] == "member"}
    assert members == {"Uada": True, "Ugrace": True, "Ulinus": False}


async def test_how_much_is_written_in_a_supergroup_that_he_left_is_not_told(api: ApiDc) -> None:
    ada, linus = api.user("Uada"), api.user("Ulinus")
    chat, other = await chat_of(api, "supergroup"), await chat_of(api, "supergroup", "Others")
    await ada.send(chat, "before")
    await ada.send(other, "elsewhere")
    drained = (await linus.updates(nothing_yet(api, "Ulinus")))[1]
    await end_of(api, chat, "left")

    async def all_that_he_sees() -> Any:
        state = await linus.ok("GET", "/v1/state")
        page = await linus.ok("POST", "/v1/updates", {"cursor": drained})
        again = await linus.ok("POST", "/v1/updates", {"cursor": page["cursor"]})
        dialogs = await linus.ok("GET", "/v1/dialogs")
        answers = (state, page, again, dialogs)
        cursors = [api.parts.cursors.open(answer["cursor"], "Ulinus").channels for answer in answers]
        positions = [answer["position"]["channels"] for answer in answers]
        return cursors, positions, dialogs["dialogs"], page["updates"], again["updates"]

    before = await all_that_he_sees()
    for cursors in before[:2]:
        assert all(chat not in channels and other in channels for channels in cursors[:1] + cursors[2:])
    assert [one["conversation"] for one in before[2]] == [chat, other]
    await ada.send(other, "now this one is newer")
    order = [one["conversation"] for one in (await linus.ok("GET", "/v1/dialogs"))["dialogs"]]
    for _ in range(3):
        await ada.send(chat, "without linus")
    assert order == [one["conversation"] for one in (await linus.ok("GET", "/v1/dialogs"))["dialogs"]]
    after = await all_that_he_sees()
    assert [sorted(one) for one in after[0]] == [sorted(one) for one in before[0]]
    for at in (3, 4):
        assert [one for one in after[at] if one.get("channel") == chat] == [
            one for one in before[at] if one.get("channel") == chat
        ]


async def test_a_page_of_dialogs_goes_on_after_a_supergroup_that_he_left(api: ApiDc) -> None:
    linus = api.user("Ulinus")
    chats = [await chat_of(api, kind, f"{n}") for n, kind in enumerate(("supergroup", "group") * 3)]
    for chat in chats[::3]:
        await end_of(api, chat, "left")
    await linus.ok("PUT", f"/v1/dialogs/{chats[1]}/pin", {"rank": "i"})
    found: list[str] = []
    path = "/v1/dialogs?limit=2"
    while True:
        page = await linus.ok("GET", path)
        found += [one["conversation"] for one in page["dialogs"]]
        if page["after"] is None:
            break
        path = f"/v1/dialogs?limit=2&after={page['after']}"
    assert found == [chats[n] for n in (1, 3, 0, 5, 4, 2)], "pinned, where his ends were, by the newest message"


@KINDS
async def test_he_can_still_clear_it(api: ApiDc, kind: str) -> None:
    ada, linus = api.user("Uada"), api.user("Ulinus")
    chat = await chat_of(api, kind)
    await ada.send(chat, "Hello")
    await end_of(api, chat, "left")
    id = (await linus.ok("GET", f"/v1/dialogs/{chat}/messages"))["messages"][-1]["id"]
    cursor = (await linus.updates(nothing_yet(api, "Ulinus")))[1]
    await linus.ok("POST", f"/v1/dialogs/{chat}/clear", {"message": id, "cursor": cursor})
    assert (await linus.ok("GET", f"/v1/dialogs/{chat}/messages"))["messages"] == []


@pytest.mark.parametrize("own", [False, True], ids=["elsewhere", "here, a moment before"])
async def test_what_a_datacenter_did_that_did_not_know_of_his_end_is_not_streamed_to_him(own: bool) -> None:
    """It names him among the recipients; his client has to fetch, and is shown what there was."""
    async with two_dcs() as (fra, nyc):
        chat = await chat_of(fra, "group")
        id = await fra.user("Uada").send(chat, "first")
        await nyc.dc.pull(fra.dc)
        await end_of(fra, chat, "kicked")
        await nyc.user("Uada").ok("PATCH", f"/v1/messages/{id}", {"text": "second"})
        await nyc.user("Uada").ok("PATCH", f"/v1/chats/{chat}", {"title": "Dinner"})
        frames: list[bytes] = []
        announcer = fra.dc.applier._announcer
        announcer._own_lanes = (fra.dc.lane, nyc.dc.lane) if own else (fra.dc.lane,)
        announce = announcer._announce

        async def heard(frame: bytes) -> None:
            frames.append(frame)
            await announce(frame)

        announcer._announce = heard
        await fra.dc.pull(nyc.dc)
        delivered: dict[str, set[Any]] = {}
        for frame in frames:
            deliveries, updates, _ = msgspec.msgpack.decode(frame)
            for owner, _, index in deliveries:
                delivered.setdefault(owner, set()).add(None if index is None else bytes(updates[index]))
        assert delivered["Ulinus"] == {None}
        assert None not in delivered["Ugrace"] and len(delivered["Ugrace"]) == 3
        for update in await told(fra, "Ulinus"):
            assert update.get("message", {}).get("text", "first") in ("first", "")
            assert update.get("message", {}).get("content", {}).get("what") in (None, "group.create", "member.kick")
            assert update.get("chat") == chat or update.get("chat", {}).get("title", "Lunch") == "Lunch"
