"""What an Idempotency-Key means: one request of one caller, for ever. Nothing else is folded into it, nor refused.

`forgotten` is a datacenter a day later: its answers are gone, its rows are not.
"""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from core import limits
from core.ids import direct_conversation
from core.system import wall_clock_ms
from stores.adapters.memory_hot import MemoryHot
from tests.support.api import ApiDc, User, api_dc
from tests.support.dc import OneDc


@contextlib.asynccontextmanager
async def two_dcs() -> AsyncIterator[tuple[ApiDc, ApiDc]]:
    async with api_dc(OneDc("fra", 1)) as fra, api_dc(OneDc("nyc", 2)) as nyc:
        await fra.sign_up("Uada", "Ugrace", "Ulinus", passwords=True)
        await nyc.dc.pull(fra.dc)
        yield fra, nyc


@pytest.fixture
async def api() -> AsyncIterator[ApiDc]:
    async with api_dc() as started:
        await started.sign_up("Uada", "Ugrace", "Ulinus", passwords=True)
        yield started


async def meet(*dcs: ApiDc) -> None:
    for one in dcs:
        for other in dcs:
            if one is not other:
                await one.dc.pull(other.dc)


def forgotten(api: ApiDc, later_ms: int = limits.RESULT_KEPT_S * 1000) -> None:
    pushed_out(api)
    api.dc.relational._results.clear()
    api.parts.writes._wall = lambda: wall_clock_ms() + later_ms


def pushed_out(api: ApiDc) -> None:
    """Its users have written so much since that the hot store has forgotten their answers."""
    assert isinstance(api.dc.hot, MemoryHot)
    assert api.dc.hot._state.results, "there was something to forget"
    api.dc.hot._state.results.clear()


async def post(user: User, body: dict[str, Any], key: str = "k1") -> dict[str, Any]:
    return await user.ok("POST", "/v1/messages", body, Idempotency_Key=key)


async def history(user: User, peer: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await user.ok("GET", f"/v1/dialogs/{peer}/messages"))["messages"]
    return found


async def texts(user: User, peer: str) -> list[str]:
    return [message["text"] for message in await history(user, peer)]


async def test_one_key_for_two_people_in_two_datacenters_makes_two_messages() -> None:
    async with two_dcs() as (fra, nyc):
        await post(fra.user("Uada"), {"to": "Ugrace", "text": "for grace"})
        await post(nyc.user("Uada"), {"to": "Ulinus", "text": "for linus"})
        await meet(fra, nyc)
        for dc in (fra, nyc):
            assert await texts(dc.user("Ugrace"), "Uada") == ["for grace"]
            assert await texts(dc.user("Ulinus"), "Uada") == ["for linus"]
            for user, other in (("Ugrace", "Ulinus"), ("Ulinus", "Ugrace")):
                direct = direct_conversation("Uada", other)
                assert (await dc.user(user).get(f"/v1/dialogs/{direct}/messages")).status == 404
            updates, _ = await dc.user("Ulinus").updates(await beginning(dc, "Ulinus"))
            assert shown_texts(updates) == ["for linus"]


async def beginning(dc: ApiDc, user: str) -> str:
    """A cursor that covers nothing."""
    from api.cursors import Cursor

    return dc.parts.cursors.seal(Cursor(user, dc.dc.name, dc.dc.applier.epoch, 0, {}, {}))


def shown_texts(updates: list[dict[str, Any]]) -> list[str]:
    return [one["update"]["message"]["text"] for one in updates if one["update"]["type"] == "message"]


async def test_two_bodies_under_one_key_in_two_datacenters_are_two_messages_and_each_is_shown() -> None:
    async with two_dcs() as (fra, nyc):
        first = await post(fra.user("Uada"), {"to": "Ugrace", "text": "see you at six"})
        second = await post(nyc.user("Uada"), {"to": "Ugrace", "text": "see you at nine"})
        await meet(fra, nyc)
        for dc in (fra, nyc):
            found = await history(dc.user("Ugrace"), "Uada")
            assert [message["id"] for message in found] == [first["id"], second["id"]]
            assert [message["text"] for message in found] == ["see you at six", "see you at nine"]
            assert len({message["class"] for message in found}) == 2


async def test_a_retry_through_another_datacenter_is_one_message_with_one_class() -> None:
    async with two_dcs() as (fra, nyc):
        body = {"to": "Ugrace", "text": "Hello"}
        first = await post(fra.user("Uada"), body)
        second = await post(nyc.user("Uada"), body)
        before = [(await history(dc.user("Ugrace"), "Uada"))[0]["class"] for dc in (fra, nyc)]
        assert before[0] == before[1]
        await meet(fra, nyc)
        for dc in (fra, nyc):
            (message,) = await history(dc.user("Ugrace"), "Uada")
            assert (message["id"], message["copies"], message["class"]) == (first["id"], [second["id"]], before[0])


async def test_a_day_later_a_retry_is_still_the_same_message_and_another_body_is_another(api: ApiDc) -> None:
    ada = api.user("Uada")
    first = await post(ada, {"to": "Ugrace", "text": "Hello"})
    forgotten(api)
    retry = await post(ada, {"to": "Ugrace", "text": "Hello"})
    assert [message["id"] for message in await history(ada, "Ugrace")] == [first["id"]]
    assert retry["id"] != first["id"]
    forgotten(api)
    await post(ada, {"to": "Ugrace", "text": "Bye"})
    assert await texts(api.user("Ugrace"), "Uada") == ["Hello", "Bye"]


async def test_a_retry_on_both_sides_of_the_day_converges() -> None:
    """fra answers from what it keeps, nyc has forgotten: every datacenter shows one message all the same."""
    async with two_dcs() as (fra, nyc):
        body = {"to": "Ugrace", "text": "Hello"}
        first = await post(fra.user("Uada"), body)
        await meet(fra, nyc)
        forgotten(nyc)
        assert (await post(fra.user("Uada"), body))["id"] == first["id"]
        assert (await post(nyc.user("Uada"), body))["id"] != first["id"]
        await meet(fra, nyc)
        for dc in (fra, nyc):
            assert [message["id"] for message in await history(dc.user("Ugrace"), "Uada")] == [first["id"]]


async def test_a_day_later_a_creation_is_not_made_again(api: ApiDc) -> None:
    ada, grace = api.user("Uada"), api.user("Ugrace")
    body = {"kind": "group", "title": "Lunch", "users": ["Ugrace"]}
    chat = (await ada.ok("POST", "/v1/chats", body, Idempotency_Key="k1"))["chat"]
    await ada.ok("PATCH", f"/v1/chats/{chat}", {"title": "Dinner"})
    await grace.ok("DELETE", f"/v1/chats/{chat}/members/me")
    forgotten(api)
    again = await ada.call("POST", "/v1/chats", body, Idempotency_Key="k1")
    assert (again.status, again.code, again.body["made"]) == (409, "conflict", chat)
    assert (await ada.ok("GET", f"/v1/chats/{chat}"))["title"] == "Dinner"
    assert [one["user"] for one in (await ada.ok("GET", f"/v1/chats/{chat}/members"))["members"]] == ["Uada"]
    other = await ada.ok("POST", "/v1/chats", body | {"title": "Supper"}, Idempotency_Key="k1")
    assert other["chat"] != chat


async def test_a_creation_whose_answer_is_on_its_way_is_asked_for_again(api: ApiDc) -> None:
    """Its row is here, its answer is not: a moment in each batch, and more after a crash."""
    ada = api.user("Uada", "s1")
    login = {"user": "Uada", "password": "password of Uada", "device": "phone"}
    for path, body in (("/v1/chats", {"kind": "supergroup", "title": "News"}), ("/v1/login", login)):
        await ada.ok("POST", path, body, Idempotency_Key="k1")
        forgotten(api, 0)
        again = await ada.call("POST", path, body, Idempotency_Key="k1")
        assert (again.status, again.code, again.headers["Retry-After"]) == (503, "outcome_unknown", "1")


def without_tokens(answer: dict[str, Any]) -> dict[str, Any]:
    """They are made anew for the same session: one that lives an hour would be of no use to who repeats after two."""
    return {name: value for name, value in answer.items() if name not in ("token", "refresh_token")}


async def test_a_creation_is_answered_for_a_day_whatever_was_written_since(api: ApiDc) -> None:
    ada = api.user("Uada", "s1")
    login = {"user": "Uada", "password": "password of Uada", "device": "phone"}
    group = {"kind": "group", "title": "Lunch", "users": ["Ugrace"]}
    for path, body in (
        ("/v1/chats", {"kind": "supergroup", "title": "News"}),
        ("/v1/chats", group),
        ("/v1/login", login),
    ):
        key = f"key of {path} {body.get('kind')}".replace(" ", "-")
        first = await ada.ok("POST", path, body, Idempotency_Key=key)
        pushed_out(api)
        again = await ada.ok("POST", path, body, Idempotency_Key=key)
        assert without_tokens(again) == without_tokens(first)
        other = await ada.call(
            "POST", path, body | ({"device": "desk"} if "device" in body else {"title": "New"}), Idempotency_Key=key
        )
        assert (other.status, other.code) == (422, "key_reused")


async def test_what_was_written_under_a_key_that_was_pushed_out_may_be_repeated(api: ApiDc) -> None:
    """A message stays one; any other write is done again, as a write of its own."""
    ada = api.user("Uada")
    first = await post(ada, {"to": "Ugrace", "text": "Hello"})
    name = await ada.ok("PATCH", "/v1/me", {"name": "Ada"}, Idempotency_Key="k2")
    pushed_out(api)
    assert (await post(ada, {"to": "Ugrace", "text": "Hello"}))["id"] != first["id"]
    assert [message["id"] for message in await history(ada, "Ugrace")] == [first["id"]]
    assert (await ada.ok("PATCH", "/v1/me", {"name": "Ada"}, Idempotency_Key="k2"))["id"] > name["id"]


async def test_nothing_is_kept_of_a_write_without_a_key(api: ApiDc) -> None:
    """Nobody can repeat it."""
    ada = api.user("Uada")
    await ada.send("Ugrace", "Hello")
    await ada.ok("POST", "/v1/messages/batch", {"messages": [{"to": "Ugrace", "text": "Hello"}] * 2})
    await ada.ok("PATCH", "/v1/me", {"name": "Ada"})
    body = {"kind": "group", "title": "Lunch", "users": ["Ugrace"]}
    made = [(await ada.ok("POST", "/v1/chats", body))["chat"] for _ in range(2)]
    assert len(set(made)) == 2
    assert [message["key"] for message in await history(ada, "Ugrace")] == [""] * 3
    assert api.dc.hot._state.results == {}  # type: ignore[attr-defined]
    assert await api.dc.relational.results(0, 99) == []


async def test_one_key_for_two_groups_in_two_datacenters_makes_two_groups() -> None:
    async with two_dcs() as (fra, nyc):
        one = {"kind": "group", "title": "Ours", "users": ["Ugrace"]}
        two = {"kind": "group", "title": "Theirs", "users": ["Ulinus"]}
        ours = (await fra.user("Uada").ok("POST", "/v1/chats", one, Idempotency_Key="k1"))["chat"]
        theirs = (await nyc.user("Uada").ok("POST", "/v1/chats", two, Idempotency_Key="k1"))["chat"]
        await meet(fra, nyc)
        for dc in (fra, nyc):
            assert (await dc.user("Ulinus").get(f"/v1/chats/{ours}")).status == 404
            assert (await dc.user("Ulinus").ok("GET", f"/v1/chats/{theirs}"))["title"] == "Theirs"


async def test_a_day_later_a_login_under_its_key_does_not_revive_a_session(api: ApiDc) -> None:
    ada = api.user("Uada", "s1")
    body = {"user": "Uada", "password": "password of Uada", "device": "phone"}
    first = await ada.ok("POST", "/v1/login", body, Idempotency_Key="k1")
    await ada.ok("DELETE", f"/v1/sessions/{first['session']}")
    forgotten(api)
    again = await ada.call("POST", "/v1/login", body, Idempotency_Key="k1")
    assert (again.status, again.code, again.body.get("token")) == (409, "conflict", None)
    fresh = await ada.ok("POST", "/v1/login", body, Idempotency_Key="k2")
    assert fresh["session"] != first["session"]


async def test_a_key_is_still_bound_to_its_request_after_hot_state_was_lost(api: ApiDc) -> None:
    ada = api.user("Uada", "s1")
    first = await post(ada, {"to": "Ugrace", "text": "Hello"})
    api.dc.hot._state.published = None  # type: ignore[attr-defined]
    await api.dc.applier.tick()
    login = {"user": "Uada", "password": "password of Uada", "device": "phone"}
    for path, body in (("/v1/messages", {"to": "Ugrace", "text": "Bye"}), ("/v1/login", login)):
        reply = await ada.call("POST", path, body, Idempotency_Key="k1")
        assert (reply.status, reply.code) == (422, "key_reused")
    assert (await post(ada, {"to": "Ugrace", "text": "Hello"}))["id"] == first["id"]
    assert await texts(ada, "Ugrace") == ["Hello"]
