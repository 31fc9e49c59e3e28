"""A chat that is handed over, through the API of two datacenters: its members are told, and what lost is listed."""

import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.support.api import ApiDc, api_dc
from tests.support.dc import OneDc


@pytest.fixture
async def two() -> AsyncIterator[tuple[ApiDc, ApiDc]]:
    async with contextlib.AsyncExitStack() as stack:
        fra = await stack.enter_async_context(api_dc(OneDc("fra", 1)))
        ams = await stack.enter_async_context(api_dc(OneDc("ams", 2)))
        await fra.sign_up("Uada", "Ugrace", "Ulinus")
        await ams.dc.pull(fra.dc)
        yield fra, ams


async def roles(api: ApiDc, user: str, chat: str) -> dict[str, str]:
    found = (await api.user(user).ok("GET", f"/v1/chats/{chat}/members"))["members"]
    return {one["user"]: one["role"] for one in found}


@pytest.mark.parametrize("kind", ["group", "supergroup"])
async def test_two_hand_overs_at_once_leave_one_owner_and_a_conflict(two: tuple[ApiDc, ApiDc], kind: str) -> None:
    fra, ams = two
    body = {"kind": kind, "title": "Lunch", "users": ["Ugrace", "Ulinus"]}
    chat = (await fra.user("Uada").ok("POST", "/v1/chats", body))["chat"]
    await ams.dc.pull(fra.dc)
    since = (await ams.user("Ulinus").ok("GET", "/v1/state"))["cursor"]
    path = f"/v1/chats/{chat}/owner"
    await fra.user("Uada").ok("PUT", path, {"user": "Ugrace"})
    again = await ams.user("Uada").call("PUT", path, {"user": "Ulinus"}, Idempotency_Key="k")
    assert again.status == 200
    assert (await ams.user("Uada").call("PUT", path, {"user": "Ulinus"}, Idempotency_Key="k")).body == again.body
    await ams.dc.pull(fra.dc)
    await fra.dc.pull(ams.dc)
    wanted = {"Uada": "admin", "Ugrace": "member", "Ulinus": "owner"}
    assert await roles(fra, "Uada", chat) == await roles(ams, "Uada", chat) == wanted
    told = [item["update"] for item in (await ams.user("Ulinus").updates(since))[0]]
    assert [one["chat"]["owner"] for one in told if one["type"] == "chat"] == ["Ulinus", "Ulinus"]
    for api in two:
        (conflict,) = await api.dc.relational.conflicts()
        assert (conflict["table"], conflict["key"], conflict["column"]) == ("chats", [chat], "owner")
        assert (conflict["value"], conflict["winner_value"]) == ("Ugrace", "Ulinus")


async def test_a_new_owner_who_leaves_gives_it_back_to_the_admin_who_had_it(two: tuple[ApiDc, ApiDc]) -> None:
    fra, ams = two
    body = {"kind": "group", "title": "Lunch", "users": ["Ugrace", "Ulinus"]}
    chat = (await fra.user("Uada").ok("POST", "/v1/chats", body))["chat"]
    await fra.user("Uada").ok("PUT", f"/v1/chats/{chat}/owner", {"user": "Ugrace"})
    await fra.user("Ugrace").ok("DELETE", f"/v1/chats/{chat}/members/me")
    await ams.dc.pull(fra.dc)
    for api in two:
        assert await roles(api, "Ulinus", chat) == {"Uada": "owner", "Ulinus": "member"}
    refused = await ams.user("Ugrace").call("PUT", f"/v1/chats/{chat}/owner", {"user": "Ulinus"})
    assert (refused.status, refused.code) == (403, "forbidden")
