"""POST /v1/updates: a client misses nothing, in one DC or roaming between two, and is told when something is gone."""

import contextlib
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from stores.adapters.memory_hot import MemoryHot
from tests.support.api import ApiDc, User, api_dc
from tests.support.dc import OneDc


@pytest.fixture
async def api() -> AsyncIterator[ApiDc]:
    async with api_dc() as started:
        await started.sign_up("Uada", "Ugrace", "Ulinus")
        yield started


@contextlib.asynccontextmanager
async def two_dcs(**hot: int) -> AsyncIterator[tuple[ApiDc, ApiDc]]:
    """fra and nyc, both with the same users."""
    async with (
        api_dc(OneDc("fra", 1, hot=MemoryHot(**hot))) as fra,
        api_dc(OneDc("nyc", 2, hot=MemoryHot(**hot))) as nyc,
    ):
        await fra.sign_up("Uada", "Ugrace", "Ulinus")
        await nyc.dc.pull(fra.dc)
        yield fra, nyc


async def cursor_of(user: User) -> str:
    return str((await user.ok("GET", "/v1/state"))["cursor"])


def texts(updates: list[dict[str, Any]]) -> list[str]:
    messages = [one["update"]["message"] for one in updates if one["update"]["type"] == "message"]
    return [message["text"] for message in messages if not message.get("system")]


async def chat_of(owner: User, kind: str, *users: str) -> str:
    body = {"kind": kind, "title": "Lunch", "users": list(users)}
    return str((await owner.ok("POST", "/v1/chats", body))["chat"])


async def test_everything_after_the_cursor_comes_once_and_in_order(api: ApiDc) -> None:
    ada, grace = api.user("Uada"), api.user("Ugrace")
    await ada.send("Ugrace", "before")
    cursor = await cursor_of(grace)
    wanted = [f"message {number}" for number in range(25)]
    for text in wanted:
        await ada.send("Ugrace", text)
    for limit in (1, 7, 100):
        found, after = await grace.updates(cursor, limit)
        assert texts(found) == wanted
        first = found[0]["pts"]
        assert [one["pts"] for one in found] == list(range(first, first + 25))
        assert (await grace.updates(after))[0] == []


async def test_without_a_cursor_one_is_told_to_begin_afresh(api: ApiDc) -> None:
    ada, grace = api.user("Uada"), api.user("Ugrace")
    await ada.send("Ugrace", "before")
    page = await grace.ok("POST", "/v1/updates", {})
    assert (page["updates"], page["more"], page["reset"]) == ([], False, True)
    await ada.send("Ugrace", "after")
    assert texts((await grace.updates(page["cursor"]))[0]) == ["after"]


async def test_an_update_shows_the_present_and_no_recalled_text(api: ApiDc) -> None:
    ada, grace = api.user("Uada"), api.user("Ugrace")
    cursor = await cursor_of(grace)
    first, second = await ada.send("Ugrace", "secret"), await ada.send("Ugrace", "draft")
    await ada.ok("DELETE", f"/v1/messages/{first}?for=all")
    await ada.ok("PATCH", f"/v1/messages/{second}", {"text": "final"})
    found, _ = await grace.updates(cursor)
    assert texts(found) == [None, "final", None, "final"]
    assert [one["update"]["event"] for one in found[:2]] == [first, second]


async def test_the_cursor_of_the_dialogs_covers_what_they_show(api: ApiDc) -> None:
    ada, grace = api.user("Uada"), api.user("Ugrace")
    await ada.send("Ugrace", "shown")
    page = await grace.ok("GET", "/v1/dialogs")
    await ada.send("Ugrace", "later")
    assert texts((await grace.updates(page["cursor"]))[0]) == ["later"]


async def test_a_supergroups_updates_come_with_its_own_positions(api: ApiDc) -> None:
    ada, grace = api.user("Uada"), api.user("Ugrace")
    chat = await chat_of(ada, "supergroup", "Ugrace")
    cursor = await cursor_of(grace)
    for text in ("one", "two", "three"):
        await ada.send(chat, text)
    await ada.send("Ugrace", "direct")
    for limit in (1, 100):
        found, after = await grace.updates(cursor, limit)
        assert sorted(texts(found)) == ["direct", "one", "three", "two"]
        places = [one["pts"] for one in found if one.get("channel") == chat]
        assert places == list(range(places[0], places[0] + 3))
        assert (await grace.updates(after))[0] == []
    assert texts((await api.user("Ulinus").updates(await cursor_of(api.user("Ulinus"))))[0]) == []


async def test_a_joiner_gets_what_comes_after_his_cursor(api: ApiDc) -> None:
    ada, grace = api.user("Uada"), api.user("Ugrace")
    chat = await chat_of(ada, "supergroup")
    await ada.send(chat, "before the cursor")
    cursor = await cursor_of(grace)
    await ada.send(chat, "before the join")
    await grace.ok("POST", f"/v1/chats/{chat}/join")
    await ada.send(chat, "after the join")
    for limit in (1, 100):
        found, after = await grace.updates(cursor, limit)
        assert texts(found) == ["before the join", "after the join"]
        assert (await grace.updates(after))[0] == []


async def test_a_former_member_gets_nothing_later_than_his_end(api: ApiDc) -> None:
    ada, grace = api.user("Uada"), api.user("Ugrace")
    chat = await chat_of(ada, "supergroup", "Ugrace")
    cursor = await cursor_of(grace)
    await ada.send(chat, "before")
    await ada.ok("DELETE", f"/v1/chats/{chat}/members/Ugrace")
    await ada.send(chat, "after")
    found, cursor = await grace.updates(cursor)
    assert texts(found) == ["before"]
    (end,) = (one["update"] for one in found if one["update"]["type"] == "member" and "channel" not in one)
    assert {"chat": chat, "user": "Ugrace", "present": False}.items() <= end.items()
    await ada.send(chat, "still after")
    assert (await grace.updates(cursor))[0] == []
    # In a new life of the hot store everything is searched again.
    assert texts((await grace.updates(await elsewhere(api, grace)))[0]) == ["before"]


async def elsewhere(api: ApiDc, user: User) -> str:
    """A cursor that another DC would have given to someone who has seen nothing."""
    from api.cursors import Cursor

    return api.parts.cursors.seal(Cursor(user.user, "nyc", 1, 0, {}, {}))


async def test_a_cursor_from_another_dc_brings_what_lies_beyond_its_v() -> None:
    async with two_dcs() as (fra, nyc):
        ada, grace = fra.user("Uada"), fra.user("Ugrace")
        chat = await chat_of(ada, "supergroup", "Ugrace")
        await nyc.dc.pull(fra.dc)
        await ada.send("Ugrace", "seen")
        cursor = await cursor_of(grace)
        await nyc.user("Uada").send("Ugrace", "late, from nyc")
        await nyc.user("Uada").send(chat, "late in the channel")
        await ada.send("Ugrace", "new")
        await nyc.dc.pull(fra.dc)
        for limit in (1, 2, 100):
            found, after = await nyc.user("Ugrace").updates(cursor, limit)
            assert sorted(texts(found)) == ["late in the channel", "late, from nyc", "new"]
            assert (await nyc.user("Ugrace").updates(after))[0] == []
        await fra.dc.pull(nyc.dc)
        found, _ = await grace.updates(after)
        assert texts(found) == []


async def test_pages_of_a_search_keep_the_old_v_while_more_is_applied() -> None:
    async with two_dcs() as (fra, nyc):
        ada, grace = fra.user("Uada"), nyc.user("Ugrace")
        cursor = await cursor_of(fra.user("Ugrace"))
        for number in range(6):
            await ada.send("Ugrace", f"{number}")
        await nyc.dc.pull(fra.dc)
        page = await grace.ok("POST", "/v1/updates", {"cursor": cursor, "limit": 3})
        assert page["more"]
        await ada.send("Ugrace", "6")
        await nyc.user("Uada").send("Ugrace", "7")
        await nyc.dc.pull(fra.dc)
        # The client goes back to fra in the middle of the search: nothing that it has not had may count as had.
        await fra.dc.pull(nyc.dc)
        found, _ = await fra.user("Ugrace").updates(page["cursor"])
        got = set(texts(page["updates"])) | set(texts(found))
        assert got == {"0", "1", "2", "3", "4", "5", "6", "7"}


async def test_what_was_trimmed_beyond_the_cursor_is_a_reset_and_only_then() -> None:
    async with api_dc(OneDc(hot=MemoryHot(updates_kept=10))) as api:
        await api.sign_up("Uada", "Ugrace")
        ada, grace = api.user("Uada"), api.user("Ugrace")
        cursor = await cursor_of(grace)
        for number in range(10):
            await ada.send("Ugrace", str(number))
        found, middle = await grace.updates(cursor)
        assert len(texts(found)) == 10
        await ada.send("Ugrace", "10")
        page = await grace.ok("POST", "/v1/updates", {"cursor": cursor})
        assert page["reset"] and page["updates"] == [] and not page["more"]
        assert (await grace.updates(page["cursor"]))[0] == []
        assert texts((await grace.updates(middle))[0]) == ["10"]
        roamed = await elsewhere(api, grace)
        assert (await grace.ok("POST", "/v1/updates", {"cursor": roamed}))["reset"]


async def test_a_new_life_of_the_hot_store_loses_nothing() -> None:
    async with api_dc() as api:
        await api.sign_up("Uada", "Ugrace")
        ada, grace = api.user("Uada"), api.user("Ugrace")
        await ada.send("Ugrace", "seen")
        cursor = await cursor_of(grace)
        await ada.send("Ugrace", "missed")
        api.dc.hot.lose()
        reply = await grace.post("/v1/updates", {"cursor": cursor})
        assert (reply.status, reply.code) == (503, "store_unavailable")
        await ada.send("Ugrace", "after the loss")
        page = await grace.ok("POST", "/v1/updates", {"cursor": cursor})
        if page["reset"]:
            history = await grace.ok("GET", "/v1/dialogs/Uada/messages")
            assert [one["text"] for one in history["messages"]] == ["seen", "missed", "after the loss"]
        else:
            assert {"missed", "after the loss"} <= set(texts(page["updates"]))


@pytest.mark.parametrize("path", ["/v1/updates", "/v1/state", "/v1/dialogs"])
async def test_what_is_applied_while_an_answer_is_made_is_not_covered(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_dcs() as (fra, nyc):
        grace = nyc.user("Ugrace")
        cursor = await cursor_of(grace)
        read = nyc.dc.hot.pts

        async def meanwhile(owners: list[str]) -> list[int]:
            found = await read(owners)
            monkeypatch.setattr(nyc.dc.hot, "pts", read)
            await nyc.user("Uada").send("Ugrace", "meanwhile")
            return found

        monkeypatch.setattr(nyc.dc.hot, "pts", meanwhile)
        body = {"cursor": cursor} if path == "/v1/updates" else None
        page = await grace.ok("POST" if body else "GET", path, body)
        shown = [one["top"]["text"] for one in page.get("dialogs", [])]
        await fra.dc.pull(nyc.dc)
        assert texts((await fra.user("Ugrace").updates(page["cursor"]))[0]) == ["meanwhile"], shown


async def test_a_membership_on_its_way_is_no_refusal() -> None:
    async with two_dcs() as (fra, nyc):
        chat = await chat_of(fra.user("Uada"), "group")
        await nyc.dc.pull(fra.dc)
        await fra.user("Uada").ok("POST", f"/v1/chats/{chat}/members", {"users": ["Ugrace"]})
        cursor = await cursor_of(fra.user("Ugrace"))
        send = {"to": chat, "text": "hello"}
        grace = nyc.user("Ugrace")
        assert (await grace.call("POST", "/v1/messages", send)).code == "forbidden"
        reply = await grace.call("POST", "/v1/messages", send, X_Cursor=cursor)
        assert (reply.status, reply.code) == (409, "not_yet_here")
        await nyc.dc.pull(fra.dc)
        assert (await grace.call("POST", "/v1/messages", send, X_Cursor=cursor)).status == 200
        reply = await nyc.user("Ulinus").call("POST", "/v1/messages", send, X_Clock=reply.headers.get("X-Clock"))
        assert reply.code == "forbidden"


async def test_a_client_is_told_which_of_its_writes_have_not_arrived() -> None:
    async with two_dcs() as (fra, nyc):
        ada = nyc.user("Uada")
        arrived = await fra.user("Uada").send("Ugrace", "arrived")
        await nyc.dc.pull(fra.dc)
        missing = await fra.user("Uada").send("Ugrace", "not yet")
        asked = {"cursor": await cursor_of(ada), "kept": [missing, arrived]}
        assert (await ada.ok("POST", "/v1/updates", asked))["uncovered"] == [missing]
        await nyc.dc.pull(fra.dc)
        assert (await ada.ok("POST", "/v1/updates", asked))["uncovered"] == []


async def test_what_came_by_the_stream_is_not_sent_again(api: ApiDc) -> None:
    ada, grace = api.user("Uada"), api.user("Ugrace")
    chat = await chat_of(ada, "supergroup", "Ugrace")
    state = await grace.ok("GET", "/v1/state")
    at = state["position"]
    for text in ("one", "two", "three"):
        await ada.send("Ugrace", text)
        await ada.send(chat, f"{text} in the channel")
    had = at | {"pts": at["pts"] + 2, "channels": {chat: at["channels"][chat] + 1}}
    page = await grace.ok("POST", "/v1/updates", {"cursor": state["cursor"], "at": had})
    assert texts(page["updates"]) == ["three", "two in the channel", "three in the channel"]
    for other in ({"epoch": 99}, {"dc": "nyc"}):
        page = await grace.ok("POST", "/v1/updates", {"cursor": state["cursor"], "at": had | other})
        assert len(texts(page["updates"])) == 6


@pytest.mark.parametrize("kind", ["direct", "supergroup"])
async def test_a_mark_covers_what_the_stream_has_brought_and_no_more(api: ApiDc, kind: str) -> None:
    ada, grace = api.user("Uada"), api.user("Ugrace")
    to, peer = ("Ugrace", "Uada")
    if kind == "supergroup":
        to = peer = await chat_of(ada, "supergroup", "Ugrace")
    state = await grace.ok("GET", "/v1/state")
    at = state["position"]
    await ada.send(to, "one")
    last = await ada.send(to, "two")

    async def unread() -> int:
        return int((await grace.ok("GET", "/v1/dialogs"))["dialogs"][0]["unread"])

    async def read(**position: Any) -> None:
        await grace.ok("POST", f"/v1/dialogs/{peer}/read", {"message": last, **position})

    await read(cursor=state["cursor"])
    assert await unread() == 2
    one = {"pts": at["pts"] + 1} if kind == "direct" else {"channels": {to: at["channels"][to] + 1}}
    await read(cursor=state["cursor"], at=at | one | {"epoch": 99})
    assert await unread() == 2
    await read(cursor=state["cursor"], at=at | one)
    assert await unread() == 1
    two = {"pts": at["pts"] + 2} if kind == "direct" else {"channels": {to: at["channels"][to] + 2}}
    await read(at=at | two)
    assert await unread() == 0
    for wrong in ({}, "x", at | {"pts": -1}, at | {"colour": 1}, at | {"channels": {"G1": 1, "x": 2}}):
        reply = await grace.post(f"/v1/dialogs/{peer}/read", {"message": last, "at": wrong})
        assert reply.status == 400 and all(field.startswith("at") for field in reply.fields), reply


async def test_a_former_member_keeps_what_the_kick_knew_of_every_lane_and_no_more() -> None:
    async with two_dcs() as (fra, nyc):
        chat = await chat_of(fra.user("Uada"), "supergroup", "Ugrace")
        await nyc.dc.pull(fra.dc)
        cursor = await cursor_of(fra.user("Ugrace"))
        await nyc.user("Uada").send(chat, "known")
        await fra.dc.pull(nyc.dc)
        await nyc.user("Uada").send(chat, "unknown")
        await fra.user("Uada").ok("DELETE", f"/v1/chats/{chat}/members/Ugrace")
        await fra.dc.pull(nyc.dc)
        await nyc.dc.pull(fra.dc)
        for dc in (fra, nyc):
            grace = dc.user("Ugrace")
            shown = await grace.ok("GET", f"/v1/dialogs/{chat}/messages")
            assert [message["text"] for message in shown["messages"] if not message["system"]] == ["known"]
            assert texts((await grace.updates(cursor))[0]) == ["known"]


@pytest.mark.parametrize("seed", range(12))
async def test_a_roaming_client_misses_nothing(seed: int) -> None:
    """Hostile histories: writes in both DCs, replication now and then, a client that pages, stops and moves."""
    rng = random.Random(seed)
    async with two_dcs() as (fra, nyc):
        dcs = (fra, nyc)
        chat = await chat_of(fra.user("Uada"), "supergroup", "Ugrace")
        group = await chat_of(fra.user("Uada"), "group", "Ugrace")
        await nyc.dc.pull(fra.dc)
        cursor = await cursor_of(fra.user("Ugrace"))
        got: set[str] = set()
        sent: set[str] = set()
        for step in range(60):
            at = rng.choice(dcs)
            what = rng.random()
            if what < 0.5:
                text = f"message {step}"
                await at.user("Uada").send(rng.choice(["Ugrace", chat, group]), text)
                sent.add(text)
            elif what < 0.7:
                other = nyc if at is fra else fra
                await at.dc.pull(other.dc)
            else:
                body = {"cursor": cursor, "limit": rng.choice([1, 2, 5])}
                page = await at.user("Ugrace").ok("POST", "/v1/updates", body)
                assert not page["reset"]
                got |= set(texts(page["updates"]))
                cursor = page["cursor"]
        await fra.dc.pull(nyc.dc)
        await nyc.dc.pull(fra.dc)
        found, _ = await rng.choice(dcs).user("Ugrace").updates(cursor)
        assert got | set(texts(found)) == sent
