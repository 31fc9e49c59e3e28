"""Dialogs, histories, members: what a user sees, in pages, and no more than that."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.app import PARTS
from tests.support.api import ApiDc, User, api_dc


@pytest.fixture
async def api() -> AsyncIterator[ApiDc]:
    async with api_dc() as started:
        await started.sign_up("Uada", "Ugrace", "Ulinus")
        yield started


@pytest.fixture
async def ada(api: ApiDc) -> User:
    return api.user("Uada")


async def texts(user: User, peer: str, query: str = "") -> list[str]:
    found = await user.ok("GET", f"/v1/dialogs/{peer}/messages{query}")
    return [message["text"] for message in found["messages"] if not message["system"]]


async def chat_of(owner: User, kind: str, *users: str) -> str:
    body = {"kind": kind, "title": "Lunch", "users": list(users)}
    return str((await owner.ok("POST", "/v1/chats", body))["chat"])


async def all_dialogs(user: User, limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        page = await user.ok("GET", f"/v1/dialogs?limit={limit}" + (f"&after={after}" if after else ""))
        found += page["dialogs"]
        if page["after"] is None:
            return found
        after = page["after"]


async def test_dialogs_come_pinned_first_then_newest_in_pages(api: ApiDc, ada: User) -> None:
    names = [f"Uuser{number}" for number in range(7)]
    await api.sign_up(*names)
    for name in names:
        await ada.send(name, f"hello {name}")
    group, channel = await chat_of(ada, "group"), await chat_of(ada, "supergroup")
    await ada.send(group, "in the group")
    await ada.send(channel, "in the channel")
    await ada.ok("PUT", "/v1/dialogs/Uuser3/pin", {"rank": "b"})
    await ada.ok("PUT", f"/v1/dialogs/{group}/pin", {"rank": "a"})
    await ada.ok("PUT", "/v1/dialogs/Uuser5/mute", {"until_ms": 99})
    for limit in (2, 3, 100):
        found = await all_dialogs(ada, limit)
        shown = [(one["peer"].get("user") or one["peer"]["chat"])["id"] for one in found]
        assert shown == [group, "Uuser3", channel, "Uuser6", "Uuser5", "Uuser4", "Uuser2", "Uuser1", "Uuser0"]
    assert [one["pin"] for one in found[:3]] == ["a", "b", None]
    assert found[0]["top"]["text"] == "in the group"
    assert found[4]["muted_until_ms"] == 99


async def test_a_dialog_with_settings_and_no_message_is_listed_with_its_user(api: ApiDc, ada: User) -> None:
    await ada.ok("PUT", "/v1/dialogs/Ugrace/pin", {"rank": "b"})
    await ada.ok("PUT", "/v1/dialogs/Ulinus/mute", {"until_ms": 99})
    for limit in (1, 100):
        found = await all_dialogs(ada, limit)
        assert [(one["peer"]["user"]["id"], one["pin"], one["muted_until_ms"]) for one in found] == [
            ("Ugrace", "b", None),
            ("Ulinus", None, 99),
        ]
    for one in found:
        assert await texts(ada, one["conversation"]) == []


async def test_a_former_members_dialog_shows_the_last_message_that_he_may_read(api: ApiDc, ada: User) -> None:
    """Also where his end was applied before it, so that it was never given to him."""
    grace = api.user("Ugrace")
    group = await chat_of(ada, "group", "Ugrace")
    await ada.send(group, "before")
    await ada.ok("DELETE", f"/v1/chats/{group}/members/Ugrace")
    await ada.send(group, "after")
    api.dc.hot._state.dialogs["Ugrace"][group] = 1
    (found,) = await all_dialogs(grace, 10)
    assert found["top"]["content"] == {"kind": "system", "what": "member.kick", "users": ["Ugrace"]}
    assert not found["present"]


async def test_a_place_in_the_dialogs_of_another_is_refused(api: ApiDc, ada: User) -> None:
    await ada.send("Ugrace", "x")
    await ada.send("Ulinus", "x")
    after = (await ada.ok("GET", "/v1/dialogs?limit=1"))["after"]
    assert (await api.user("Ugrace").get(f"/v1/dialogs?after={after}")).fields == ["after"]


async def test_histories_page_in_both_directions_and_around(api: ApiDc, ada: User) -> None:
    sent = [await ada.send("Ugrace", str(number)) for number in range(25)]
    wanted = [str(number) for number in range(25)]
    assert await texts(ada, "Ugrace", "?limit=5") == wanted[-5:]
    for limit in (1, 7, 25, 100):
        found: list[str] = []
        query = ""
        while True:
            page = await ada.ok("GET", f"/v1/dialogs/Ugrace/messages?limit={limit}{query}")
            found = [message["text"] for message in page["messages"]] + found
            if page["next_before"] is None:
                break
            query = f"&before={page['next_before']}"
        assert found == wanted
        found, query = [], "&after=1"
        while True:
            page = await ada.ok("GET", f"/v1/dialogs/Ugrace/messages?limit={limit}{query}")
            found += [message["text"] for message in page["messages"]]
            if page["next_after"] is None:
                break
            query = f"&after={page['next_after']}"
        assert found == wanted
    assert await texts(ada, "Ugrace", f"?around={sent[12]}&limit=5") == ["10", "11", "12", "13", "14"]
    assert await texts(ada, "Ugrace", f"?around={sent[12]}&limit=1") == ["12"]


async def test_a_history_passes_over_what_is_hidden_and_cleared(api: ApiDc, ada: User) -> None:
    sent = [await ada.send("Ugrace", str(number)) for number in range(60)]
    for id in sent[30:59]:
        await ada.ok("DELETE", f"/v1/messages/{id}?for=me")
    cursor = (await ada.ok("GET", "/v1/state"))["cursor"]
    await ada.ok("POST", "/v1/dialogs/Ugrace/clear", {"message": sent[9], "cursor": cursor})
    assert await texts(ada, "Ugrace", "?limit=3") == ["28", "29", "59"]
    assert await texts(ada, "Ugrace", "?limit=100") == [str(n) for n in (*range(10, 30), 59)]
    assert await texts(ada, "Ugrace", "?limit=2&after=1") == ["10", "11"]
    assert len(await texts(api.user("Ugrace"), "Uada", "?limit=100")) == 60


async def test_a_dialog_whose_messages_are_all_gone_shows_no_message(api: ApiDc, ada: User) -> None:
    id = await ada.send("Ugrace", "x")
    await ada.ok("DELETE", f"/v1/messages/{id}?for=me")
    (dialog,) = (await ada.ok("GET", "/v1/dialogs"))["dialogs"]
    assert dialog["top"] is None


async def test_an_empty_conversation_is_empty(api: ApiDc, ada: User) -> None:
    page = await ada.ok("GET", "/v1/dialogs/Ugrace/messages")
    assert (page["messages"], page["next_before"], page["next_after"]) == ([], None, None)


@pytest.mark.parametrize("kind", ["group", "supergroup"])
async def test_a_removed_member_keeps_the_dialog_up_to_his_end(api: ApiDc, ada: User, kind: str) -> None:
    grace = api.user("Ugrace")
    chat = await chat_of(ada, kind, "Ugrace")
    await ada.send(chat, "before")
    await ada.ok("DELETE", f"/v1/chats/{chat}/members/Ugrace")
    secret = await ada.send(chat, "after")
    assert await texts(grace, chat) == ["before"]
    assert (await grace.call("PUT", f"/v1/messages/{secret}/reactions/x")).status == 404
    (dialog,) = (await grace.ok("GET", "/v1/dialogs"))["dialogs"]
    assert (dialog["present"], dialog["unread"], dialog["top"]["content"]["what"]) == (False, 0, "member.kick")
    assert (await grace.ok("GET", f"/v1/chats/{chat}"))["me"] == {"present": False, "role": ""}
    await ada.ok("POST", f"/v1/chats/{chat}/members", {"users": ["Ugrace"]})
    assert await texts(grace, chat) == ["before", "after"]


async def test_a_dissolved_chat_stays_readable(api: ApiDc, ada: User) -> None:
    grace = api.user("Ugrace")
    chat = await chat_of(ada, "group", "Ugrace")
    await ada.send(chat, "last")
    await ada.ok("DELETE", f"/v1/chats/{chat}")
    (dialog,) = (await grace.ok("GET", "/v1/dialogs"))["dialogs"]
    assert dialog["peer"]["chat"]["dissolved"] and dialog["top"]["content"]["what"] == "group.dissolve"
    assert await texts(grace, chat) == ["last"]
    reply = await grace.call("POST", "/v1/messages", {"to": chat, "text": "x"})
    assert (reply.status, reply.code) == (410, "gone")


async def test_a_joiner_of_a_supergroup_has_nothing_unread(api: ApiDc, ada: User) -> None:
    grace = api.user("Ugrace")
    chat = await chat_of(ada, "supergroup")
    await ada.send(chat, "old")
    await grace.ok("POST", f"/v1/chats/{chat}/join")
    (dialog,) = (await grace.ok("GET", "/v1/dialogs"))["dialogs"]
    assert (dialog["unread"], dialog["top"]["content"]["what"]) == (0, "member.join")
    await ada.send(chat, "new")
    (dialog,) = (await grace.ok("GET", "/v1/dialogs"))["dialogs"]
    assert (dialog["unread"], dialog["top"]["text"]) == (1, "new")


async def test_members_come_in_pages_with_their_roles(api: ApiDc, ada: User) -> None:
    names = [f"Uuser{number}" for number in range(5)]
    await api.sign_up(*names)
    chat = await chat_of(ada, "supergroup", *names)
    await ada.ok("PATCH", f"/v1/chats/{chat}/members/Uuser1", {"role": "admin"})
    found, after = [], ""
    while True:
        page = await ada.ok("GET", f"/v1/chats/{chat}/members?limit=2{after}")
        assert page["count"] is None  # nobody counts through a supergroup for one page
        found += [(one["user"], one["role"]) for one in page["members"]]
        if page["after"] is None:
            break
        after = f"&after={page['after']}"
    roles = {"Uada": "owner", "Uuser1": "admin"}
    assert found == [(name, roles.get(name, "member")) for name in ["Uada", *names]]


async def test_profiles_show_nothing_private(api: ApiDc, ada: User) -> None:
    await api.sign_up("Uada", passwords=True)
    shown = await api.user("Ugrace").ok("GET", "/v1/users/Uada")
    assert shown == {"id": "Uada", "name": "Ada", "avatar": "", "about": "", "handle": None}
    assert "argon2" not in str(await ada.ok("GET", "/v1/me"))


async def test_health_and_metrics_need_no_token(api: ApiDc, ada: User) -> None:
    await ada.send("Ugrace", "x")
    assert (await ada.get("/livez", Authorization=None)).body == {"alive": True}
    assert (await ada.get("/readyz", Authorization=None)).body == {"ready": True, "missing": {}}
    async with api.http.get("/metrics") as answer:
        text = await answer.text()
    assert 'planb_http_requests_total{route="POST /v1/messages",status="200"} 1' in text
    assert "planb_http_requests_in_flight 0" in text
    async with api.http.get("/docs") as answer:
        assert "/v1/messages/{message}" in await answer.text()
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert api.app[PARTS].metrics.in_flight == 0


async def test_readiness_names_what_is_missing() -> None:
    async def log_check() -> str:
        return "no connection"

    async def fine() -> str:
        return ""

    async with api_dc(checks={"log": log_check, "hot": fine}) as api:
        reply = await api.user("Uada").get("/readyz")
        assert (reply.status, reply.body) == (503, {"ready": False, "missing": {"log": "no connection"}})


async def test_presence_tells_who_holds_a_lease_and_refuses_what_is_no_user(api: ApiDc, ada: User) -> None:
    await api.dc.hot.present("Ubob", "c1", 60)
    reply = await ada.call("GET", "/v1/presence?users=Ubob,Ucleo")
    assert reply.body == {"presence": [{"user": "Ubob", "online": True}, {"user": "Ucleo", "online": False}]}
    await api.dc.hot.present("Ubob", "c1", 0)
    assert (await ada.call("GET", "/v1/presence?users=Ubob")).body["presence"][0]["online"] is False
    for wrong in ("", "Ubob,", "Gbob", ",".join(f"U{n}" for n in range(101))):
        assert (await ada.call("GET", f"/v1/presence?users={wrong}")).status == 400
