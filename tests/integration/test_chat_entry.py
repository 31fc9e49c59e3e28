"""Links into chats and requests, through the API of two datacenters: who sees them, who is told, who is refused."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from core import limits
from tests.support.api import ApiDc, User, api_dc
from tests.support.dc import OneDc

KINDS = pytest.mark.parametrize("kind", ["group", "supergroup"])


@pytest.fixture
async def two() -> AsyncIterator[tuple[ApiDc, ApiDc]]:
    async with contextlib.AsyncExitStack() as stack:
        fra = await stack.enter_async_context(api_dc(OneDc("fra", 1)))
        ams = await stack.enter_async_context(api_dc(OneDc("ams", 2)))
        await fra.sign_up("Uada", "Ugrace", "Ulinus", "Uken")
        await ams.dc.pull(fra.dc)
        yield fra, ams


async def chat_of(api: ApiDc, kind: str, **fields: Any) -> str:
    body = {"kind": kind, "title": "Secret", "users": ["Ugrace"], **fields}
    return str((await api.user("Uada").ok("POST", "/v1/chats", body))["chat"])


async def settle(two: tuple[ApiDc, ApiDc]) -> None:
    await two[1].dc.pull(two[0].dc)
    await two[0].dc.pull(two[1].dc)


async def told(user: User, since: str, kind: str) -> list[dict[str, Any]]:
    return [item["update"] for item in (await user.updates(since))[0] if item["update"]["type"] == kind]


async def state(user: User) -> str:
    return str((await user.ok("GET", "/v1/state"))["cursor"])


@KINDS
async def test_a_link_is_shown_to_managers_and_lets_its_bearer_in_anywhere(two: tuple[ApiDc, ApiDc], kind: str) -> None:
    fra, ams = two
    chat = await chat_of(fra, kind, entry="closed")
    await settle(two)
    ada, grace, linus, ken = (fra.user(name) for name in ("Uada", "Ugrace", "Ulinus", "Uken"))
    path = f"/v1/chats/{chat}/invites"
    since = await state(ada)
    made = await ada.ok("POST", path, {"uses_max": 1}, Idempotency_Key="k")
    again = await ada.call("POST", path, {"uses_max": 1}, Idempotency_Key="k")
    assert (again.body, again.headers["Idempotency-Replayed"]) == (made, "true")
    assert [one["revoked"] for one in await told(ada, since, "invite")] == [False]
    stored = [await api.dc.relational.results(0, 100) for api in two]
    assert made["link"] not in str(stored), "what is kept of the answer lets nobody in"
    look = await ams.user("Ulinus").ok("POST", "/v1/invites/look", {"link": made["link"]})
    assert (look["title"], look["approval"], look["present"]) == ("Secret", False, False)
    refused = await linus.call("POST", f"/v1/chats/{chat}/join")
    assert (refused.status, refused.code) == (403, "forbidden")
    # The row has not come to ams; the link says all that is needed.
    done = await ams.user("Ulinus").ok("POST", "/v1/invites/accept", {"link": made["link"]}, Idempotency_Key="a")
    assert (done["chat"], done["joined"]) == (chat, True)
    again = await ams.user("Ulinus").call("POST", "/v1/invites/accept", {"link": made["link"]}, Idempotency_Key="a")
    assert again.body == done
    await settle(two)
    for api in two:
        (shown,) = (await api.user("Uada").ok("GET", path))["invites"]
        assert (shown["link"], shown["used"], shown["uses_max"], shown["creator"]) == (made["link"], 1, 1, "Uada")
        assert (await api.user("Uken").post("/v1/invites/accept", {"link": made["link"]})).code == "gone"
    for user, status in ((grace, 403), (ken, 404)):
        assert (await user.get(path)).status == status
    await ada.ok("DELETE", f"{path}/{made['invite']}")
    await settle(two)
    for api in two:
        assert (await api.user("Uada").ok("GET", path))["invites"] == []
        assert (await api.user("Uken").post("/v1/invites/look", {"link": made["link"]})).code == "gone"


@KINDS
async def test_requests_are_listed_answered_and_told_to_managers_and_to_who_asks(
    two: tuple[ApiDc, ApiDc], kind: str
) -> None:
    fra, ams = two
    chat = await chat_of(fra, kind, entry="approval")
    await fra.user("Uada").ok("PATCH", f"/v1/chats/{chat}/members/Ugrace", {"role": "admin"})
    await settle(two)
    path = f"/v1/chats/{chat}/requests"
    linus, ken = ams.user("Ulinus"), ams.user("Uken")
    since = {name: await state(fra.user(name)) for name in ("Uada", "Ugrace", "Ulinus", "Uken")}
    await linus.ok("POST", path)
    await ken.ok("POST", path)
    await settle(two)
    for name in ("Uada", "Ugrace"):
        shown = await told(fra.user(name), since[name], "request")
        assert [(one["user"], one["pending"]) for one in shown] == [("Ulinus", True), ("Uken", True)]
    page = await fra.user("Ugrace").ok("GET", f"{path}?limit=1")
    assert [one["user"]["id"] for one in page["requests"]] == ["Ulinus"]
    page = await fra.user("Ugrace").ok("GET", f"{path}?limit=1&after={page['after']}")
    assert [one["user"]["id"] for one in page["requests"]] == ["Uken"]
    assert [one["chat"] for one in (await fra.user("Ulinus").ok("GET", "/v1/me/requests"))["requests"]] == [chat]
    for user in (linus, ken):  # strangers who ask
        assert (await user.get(path)).status == 404
    refused = await ken.call("POST", f"{path}/Uken/approve")
    assert (refused.status, refused.code) == (403, "forbidden")
    await fra.user("Ugrace").ok("POST", f"{path}/Ulinus/approve")
    await fra.user("Uada").ok("DELETE", f"{path}/Uken")
    await settle(two)
    assert [one["pending"] for one in await told(ams.user("Uken"), since["Uken"], "request")] == [False, False]
    mine = [one for one in await told(ams.user("Ulinus"), since["Ulinus"], "member") if one["user"] == "Ulinus"]
    assert mine and all(one["present"] for one in mine)
    for api in two:
        assert (await api.user("Uada").ok("GET", path))["requests"] == []
        assert (await api.user("Ulinus").ok("GET", "/v1/me/requests"))["requests"] == []
        members = (await api.user("Uada").ok("GET", f"/v1/chats/{chat}/members"))["members"]
        assert [one["user"] for one in members] == ["Uada", "Ugrace", "Ulinus"]
    assert (await ken.call("DELETE", f"{path}/me")).code == "not_found"


async def test_who_manages_no_more_is_not_shown_who_asks(two: tuple[ApiDc, ApiDc]) -> None:
    fra, _ = two
    chat = await chat_of(fra, "group", entry="approval")
    ada, grace = fra.user("Uada"), fra.user("Ugrace")
    await ada.ok("PATCH", f"/v1/chats/{chat}/members/Ugrace", {"role": "admin"})
    since = await state(grace)
    await fra.user("Ulinus").ok("POST", f"/v1/chats/{chat}/requests")
    await ada.ok("PATCH", f"/v1/chats/{chat}/members/Ugrace", {"role": "member"})
    assert [one["pending"] for one in await told(grace, since, "request")] == [False]
    await ada.ok("DELETE", f"/v1/chats/{chat}/members/Ugrace")
    for path in (f"/v1/chats/{chat}/requests", f"/v1/chats/{chat}/invites"):
        assert (await grace.get(path)).status == 403, "a former member"
    assert (await grace.call("POST", f"/v1/chats/{chat}/invites", {})).status == 403


async def test_uses_of_a_link_are_bounded_however_many_come_at_once(two: tuple[ApiDc, ApiDc]) -> None:
    fra, _ = two
    chat = await chat_of(fra, "supergroup", entry="closed")
    link = (await fra.user("Uada").ok("POST", f"/v1/chats/{chat}/invites", {"uses_max": 1}))["link"]
    users = [fra.user(name) for name in ("Ulinus", "Uken")]
    replies = await asyncio.gather(*(user.post("/v1/invites/accept", {"link": link}) for user in users))
    assert sorted(reply.status for reply in replies) == [200, 410]


async def test_managers_that_are_told_are_bounded(two: tuple[ApiDc, ApiDc], monkeypatch: pytest.MonkeyPatch) -> None:
    fra, _ = two
    monkeypatch.setattr(limits, "MANAGERS_TOLD_MAX", 2)
    for kind in ("group", "supergroup"):
        chat = await chat_of(fra, kind)
        for name in ("Ugrace", "Ulinus", "Uken"):
            if name != "Ugrace":
                await fra.user("Uada").ok("POST", f"/v1/chats/{chat}/members", {"users": [name]})
            await fra.user("Uada").ok("PATCH", f"/v1/chats/{chat}/members/{name}", {"role": "admin"})
        assert await fra.dc.view.managers(chat) == ["Uada", "Ugrace"]


@KINDS
async def test_a_ban_is_told_listed_and_holds_in_every_datacenter(two: tuple[ApiDc, ApiDc], kind: str) -> None:
    fra, ams = two
    chat = await chat_of(fra, kind)
    path = f"/v1/chats/{chat}/bans"
    ada, grace = fra.user("Uada"), fra.user("Ugrace")
    since = await state(grace)
    await ada.ok("PUT", f"{path}/Ugrace")
    await ada.ok("PUT", f"{path}/Uken")
    shown = await told(grace, since, "ban")  # in her own list, and of a supergroup in its list as well
    assert {(one["user"], one["banned"]) for one in shown} == {("Ugrace", True)}
    await settle(two)
    page = await ams.user("Uada").ok("GET", f"{path}?limit=1")
    assert ([one["id"] for one in page["users"]], page["after"]) == (["Ugrace"], "Ugrace")
    page = await ams.user("Uada").ok("GET", f"{path}?after=Ugrace")
    assert ([one["id"] for one in page["users"]], page["after"]) == (["Uken"], None)
    for api in two:
        for name in ("Ugrace", "Uken"):
            refused = await api.user(name).call("POST", f"/v1/chats/{chat}/join")
            assert (refused.status, refused.code) == (403, "forbidden")
        assert (await api.user("Ugrace").get(path)).status == 403, "a former member"
        assert (await api.user("Ulinus").get(path)).status == 404, "a stranger"
    await ams.user("Uada").ok("DELETE", f"{path}/Ugrace")
    await settle(two)
    await grace.ok("POST", f"/v1/chats/{chat}/join")
    assert (await grace.get(path)).status == 403, "a plain member"
