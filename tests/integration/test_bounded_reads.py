"""What one request costs is bounded, whatever its user, or others, have piled up before it."""

import contextlib
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from cli.waiting import until
from core import limits
from core.ids import Lane, make_id
from core.system import wall_clock_ms
from core.tables import Effect
from stores.adapters.memory_hot import MemoryHot
from stores.ports import RelationalBatch, Scan, Stamped
from stores.view import StoreView
from tests.support.api import ApiDc, User, api_dc
from tests.support.counting import Reads
from tests.support.dc import OneDc


@pytest.fixture
async def api() -> AsyncIterator[ApiDc]:
    async with api_dc() as started:
        await started.sign_up("Uada", "Ugrace", "Ulinus")
        yield started


@contextlib.asynccontextmanager
async def two_dcs() -> AsyncIterator[tuple[ApiDc, ApiDc]]:
    async with api_dc(OneDc("fra", 1)) as fra, api_dc(OneDc("nyc", 2)) as nyc:
        await fra.sign_up("Uada", "Ugrace", "Ulinus")
        await nyc.dc.pull(fra.dc)
        yield fra, nyc


async def chat_of(api: ApiDc, kind: str, *users: str) -> str:
    body = {"kind": kind, "title": "Lunch", "users": list(users)}
    return str((await api.user("Uada").ok("POST", "/v1/chats", body))["chat"])


async def talk(api: ApiDc, chat: str, count: int) -> list[int]:
    """So many messages of Uada, without HTTP."""
    return [(await api.dc.do("message.send", "Uada", to=chat, text=f"text {n}")).id for n in range(count)]


async def dialogs_of(user: User, limit: int = 100) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        page = await user.ok("GET", f"/v1/dialogs?limit={limit}{after}")
        found += page["dialogs"]
        if page["after"] is None:
            return found
        after = f"&after={page['after']}"


# -- dialogs


async def test_a_page_of_cleared_dialogs_looks_at_so_many_messages_in_all(
    api: ApiDc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SCAN_DIALOGS_MAX", 100)
    ada, count = api.user("Uada"), 12
    for n in range(count):
        chat = await chat_of(api, "group")
        last = (await talk(api, chat, 30 + n))[-1]
        await api.dc.do("dialog.clear", "Uada", position=api.dc.position(), peer=chat, message=str(last))
    reads = Reads(api.dc)
    shown = await dialogs_of(ada)
    assert len(shown) == count
    assert [one["top"] for one in shown] == [None] * count
    assert {one["top_more"] for one in shown} == {True}, "no dialog's share was enough to come to its end"
    # The tops, then what they may cost together.
    assert reads["messages.rows"] <= count + limits.SCAN_DIALOGS_MAX
    assert reads["messages"] <= 4 * count


async def test_a_dialog_alone_is_searched_as_far_as_all_of_them_together(
    api: ApiDc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SCAN_DIALOGS_MAX", 100)
    ada = api.user("Uada")
    await talk(api, await chat_of(api, "group"), 1)
    near, far, nothing = [await chat_of(api, "group") for _ in range(3)]
    for chat, hidden in ((nothing, 30), (near, 20), (far, 90)):
        sent = await talk(api, chat, hidden + (chat != nothing))
        for id in sent[-hidden:]:
            await api.dc.do("message.hide", "Uada", message=str(id), **{"for": "me"})
    found = {one["conversation"]: one for one in await dialogs_of(ada)}
    assert (found[near]["top"]["text"], found[near]["top_more"]) == ("text 0", False)
    line = {"kind": "system", "what": "group.create", "new": {"title": "Lunch"}}
    assert (found[nothing]["top"]["content"], found[nothing]["top_more"]) == (line, False), "all that was written"
    assert (found[far]["top"], found[far]["top_more"]) == (None, True), "the first of the list gets its share only"
    found = {one["conversation"]: one for one in await dialogs_of(ada, limit=1)}
    assert (found[far]["top"]["text"], found[far]["top_more"]) == ("text 0", False), "alone on its page"


async def test_many_hidden_messages_are_not_read_to_show_one_dialog(api: ApiDc) -> None:
    ada = api.user("Uada")
    chat = await chat_of(api, "group")
    for id in await talk(api, chat, 300):
        await api.dc.do("message.hide", "Uada", message=str(id), **{"for": "me"})
    await talk(api, chat, 20)
    for path in ("/v1/dialogs", f"/v1/dialogs/{chat}/messages?limit=10"):
        reads = Reads(api.dc)
        assert (await ada.get(path)).status == 200
        assert reads["relational.rows"] <= 20, path


# -- former members


@pytest.mark.parametrize("kind", ["group", "supergroup"])
async def test_a_former_members_dialog_keeps_its_top_and_its_place(api: ApiDc, kind: str) -> None:
    linus = api.user("Ulinus")
    before, chat, after = [await chat_of(api, kind, "Ulinus") for _ in range(3)]
    await talk(api, before, 1)
    await talk(api, chat, 3)
    await api.user("Uada").ok("DELETE", f"/v1/chats/{chat}/members/Ulinus")
    await talk(api, after, 1)
    shown = await dialogs_of(linus)
    assert [one["conversation"] for one in shown] == [after, chat, before]
    assert shown[1]["top"]["content"]["what"] == "member.kick"
    for n in range(limits.SCAN_MESSAGES_MAX + limits.RECENT_KEPT_MAX):
        await api.dc.do("message.send", "Uada", to=chat, text=f"without linus {n}")
    assert await dialogs_of(linus) == shown
    reads = Reads(api.dc)
    assert (await dialogs_of(linus, limit=2))[1] == shown[1]
    assert reads["messages.rows"] <= 60
    await lose_hot(api)
    assert await dialogs_of(linus) == shown
    assert await dialogs_of(linus, limit=1) == shown


async def lose_hot(api: ApiDc) -> None:
    """Hot state is lost, and derived again."""
    assert isinstance(api.dc.hot, MemoryHot)
    api.dc.hot.lose()
    await api.dc.applier.tick()


async def test_who_was_written_to_after_his_end_sees_one_list_everywhere_and_after_a_rebuild() -> None:
    """A datacenter that has not heard of his end goes on naming him; where his dialog stands does not follow it."""
    async with two_dcs() as (fra, nyc):
        chats = [await chat_of(fra, "group", "Ulinus") for _ in range(4)]
        for chat in chats:
            await talk(fra, chat, 2)
        await nyc.dc.pull(fra.dc)
        for chat in chats[1:3]:
            await fra.user("Uada").ok("DELETE", f"/v1/chats/{chat}/members/Ulinus")
        for chat in (chats[1], chats[0]):
            await nyc.dc.do("message.send", "Uada", to=chat, text="nyc has not heard of it")
        await fra.dc.pull(nyc.dc)
        await nyc.dc.pull(fra.dc)
        lists = []
        for limit in (1, 2, 100):
            for api in (fra, nyc):
                lists.append(await dialogs_of(api.user("Ulinus"), limit))
        await lose_hot(fra)
        lists.append(await dialogs_of(fra.user("Ulinus")))
        assert [one["conversation"] for one in lists[0]] == [chats[0], chats[2], chats[1], chats[3]]
        assert [one["top"]["text"] for one in lists[0]] == ["nyc has not heard of it", "", "", "text 1"]
        assert [one["top"]["content"]["what"] for one in lists[0][1:3]] == ["member.kick"] * 2
        assert all(one == lists[0] for one in lists)
        history = await fra.user("Ulinus").ok("GET", f"/v1/dialogs/{chats[1]}/messages")
        assert history["messages"][-1]["text"] == "nyc has not heard of it", "he is among its recipients"


async def test_what_others_wrote_meanwhile_is_not_searched_for_what_his_end_knew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "SCAN_DIALOGS_MAX", 10)
    async with two_dcs() as (fra, nyc):
        chat = await chat_of(fra, "supergroup", "Ulinus")
        await talk(fra, chat, 2)
        await nyc.dc.pull(fra.dc)
        await talk(nyc, chat, 40)
        await fra.user("Uada").ok("DELETE", f"/v1/chats/{chat}/members/Ulinus")
        await fra.dc.pull(nyc.dc)
        (dialog,) = await dialogs_of(fra.user("Ulinus"))
        assert (dialog["top"]["content"]["what"], dialog["top_more"]) == ("member.kick", False)


async def test_a_page_of_dialogs_comes_to_an_end_among_thousands_that_he_is_out_of(
    api: ApiDc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SCAN_FORMER_MAX", 6)
    chats = [await chat_of(api, "group", "Ulinus") for _ in range(30)]
    for chat in chats[::2]:
        await api.dc.do("member.kick", "Uada", chat=chat, user="Ulinus")
    wanted = [*reversed(chats[::2]), *reversed(chats[1::2])]
    await _lists(api, wanted)


async def test_nothing_is_listed_before_what_has_not_been_looked_at(
    api: ApiDc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index has twenty in a row that he is out of, and that were listed where their ends are."""
    monkeypatch.setattr(limits, "SCAN_FORMER_MAX", 6)
    first, present, *others = [await chat_of(api, "group", "Ulinus") for _ in range(22)]
    await api.dc.do("member.kick", "Uada", chat=first, user="Ulinus")
    await talk(api, present, 1)
    for chat in others:
        await talk(api, chat, 1)
    for chat in others:
        await api.dc.do("member.kick", "Uada", chat=chat, user="Ulinus")
    await _lists(api, [*reversed(others), present, first])


async def _lists(api: ApiDc, wanted: list[str]) -> None:
    linus = api.user("Ulinus")
    for limit in (1, 2, 3, 7, 100):
        assert [one["conversation"] for one in await dialogs_of(linus, limit)] == wanted
    reads = Reads(api.dc)
    await linus.ok("GET", "/v1/dialogs?limit=2")
    assert reads["hot"] <= 6


# -- what a chat was called


async def test_a_former_member_is_shown_the_title_of_his_time_without_reading_all_later_ones(api: ApiDc) -> None:
    ada, linus = api.user("Uada"), api.user("Ulinus")
    chat = await chat_of(api, "group", "Ulinus")
    await ada.ok("PATCH", f"/v1/chats/{chat}", {"title": "Early lunch"})
    await ada.ok("DELETE", f"/v1/chats/{chat}/members/Ulinus")
    for n in range(300):
        await api.dc.do("group.update", "Uada", chat=chat, title=f"Title {n}")
    reads = Reads(api.dc)
    assert (await linus.ok("GET", f"/v1/chats/{chat}"))["title"] == "Early lunch"
    (dialog,) = await dialogs_of(linus)
    assert dialog["peer"]["chat"]["title"] == "Early lunch"
    assert reads["relational.rows"] <= 40


# -- histories


async def test_a_history_reads_no_revision_that_it_does_not_show(api: ApiDc) -> None:
    ada, grace = api.user("Uada"), api.user("Ugrace")
    chat = await chat_of(api, "group", "Ugrace")
    size = limits.MESSAGE_BYTES_MAX
    for id in await talk(api, chat, 5):
        for n in range(20):
            await api.dc.do("message.edit", "Uada", message=str(id), text=f"{n % 10}" * size)
    await ada.ok("DELETE", f"/v1/chats/{chat}/members/Ugrace")
    for id in await talk(api, chat, 1):
        await api.dc.do("message.edit", "Uada", message=str(id), text="not for grace")
    for user, shown in ((ada, 6), (grace, 5)):
        reads = Reads(api.dc)
        found = (await user.ok("GET", f"/v1/dialogs/{chat}/messages"))["messages"]
        messages = [message for message in found if not message["system"]]
        assert [message["text"][:2] for message in messages[:5]] == ["99"] * 5
        assert len(messages) == shown
        assert reads["messages.bytes"] <= 3 * 6 * size
    first = int(messages[0]["id"])
    reads = Reads(api.dc)
    await ada.ok("PUT", f"/v1/messages/{first}/reactions/+1")
    assert reads["messages.bytes"] <= 6 * size, "so does a write about a message"


async def test_a_page_of_a_history_ends_where_its_bytes_do(api: ApiDc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HISTORY_BYTES_MAX", 1_000)
    ada = api.user("Uada")
    sent = [await ada.send("Uada", f"{n % 10}" * (100 if n < 35 else 1_500)) for n in range(40)]
    middle = sent[20]
    for begin in ("", f"around={middle}", f"after={sent[0]}"):
        page = await ada.ok("GET", f"/v1/dialogs/Uada/messages?limit=100&{begin}")
        total = sum(len(message["text"]) for message in page["messages"])
        assert 1 <= len(page["messages"]) <= 10
        assert total <= 2_500, "at most one message beyond it"
        ids = [message["id"] for message in page["messages"]]
        newest, oldest = page["next_after"], page["next_before"]
        while oldest:
            older = await ada.ok("GET", f"/v1/dialogs/Uada/messages?limit=100&before={oldest}")
            ids, oldest = [message["id"] for message in older["messages"]] + ids, older["next_before"]
        while newest:
            newer = await ada.ok("GET", f"/v1/dialogs/Uada/messages?limit=100&after={newest}")
            ids, newest = ids + [message["id"] for message in newer["messages"]], newer["next_after"]
        assert ids == (sent[1:] if begin.startswith("after") else sent)


# -- updates


async def test_a_page_of_updates_ends_where_its_bytes_do(api: ApiDc) -> None:
    """The longest messages that there are, in a list of one's own and in two supergroups."""
    ada, grace = api.user("Uada"), api.user("Ugrace")
    chats = [await chat_of(api, "supergroup", "Ugrace") for _ in range(2)]
    cursor = (await grace.ok("GET", "/v1/state"))["cursor"]
    sent = {
        (await ada.send(to, f"{n % 10}" * limits.MESSAGE_BYTES_MAX)) for n in range(30) for to in ("Ugrace", *chats)
    }
    found: list[str] = []
    here, pages, more = cursor, 0, True
    while more:
        reads = Reads(api.dc)
        page = await grace.ok("POST", "/v1/updates", {"cursor": here, "limit": 100})
        found += [one["update"]["message"]["id"] for one in page["updates"]]
        here, more, pages = page["cursor"], page["more"], pages + 1
        assert page["updates"], "each goes on"
        assert len(json.dumps(page["updates"])) <= limits.UPDATES_BYTES_MAX + 2 * limits.MESSAGE_BYTES_MAX
        assert reads["messages.bytes"] <= 2 * limits.UPDATES_BYTES_MAX
    assert len(found) == len(sent) and set(found) == sent, "each comes once, and none is left out"
    assert pages == 3
    assert (await grace.updates(here))[0] == []


async def test_what_a_page_of_updates_had_no_room_for_comes_to_a_client_from_elsewhere() -> None:
    """Whose lists are searched by V: where the search goes on is in the cursor as well."""
    async with two_dcs() as (fra, nyc):
        chat = await chat_of(fra, "supergroup", "Ugrace")
        cursor = (await fra.user("Ugrace").ok("GET", "/v1/state"))["cursor"]
        ada = fra.user("Uada")
        sent = [await ada.send(to, "x" * limits.MESSAGE_BYTES_MAX) for _ in range(40) for to in ("Ugrace", chat)]
        await nyc.dc.pull(fra.dc)
        grace = nyc.user("Ugrace")
        found, after = await grace.updates(cursor)
        shown = [one["update"]["message"]["id"] for one in found if one["update"]["type"] == "message"]
        assert sorted(shown) == sorted(sent)
        assert (await grace.updates(after))[0] == []


# -- what one user piles up


async def later(ms: int) -> bool:
    return wall_clock_ms() > ms


async def test_of_his_sessions_so_many_live_and_the_oldest_end(api: ApiDc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SESSIONS_OF_USER_MAX", 5)
    made = []
    for n in range(9):
        begun_ms = wall_clock_ms()
        made.append((await api.dc.do("token.issue", "sys", f"k{n}", user="Uada", device=f"d{n}")).args.session)
        assert await until(partial(later, begun_ms), 1), "each is older than the next"
    ada = api.user("Uada", made[-1])
    assert {one["session"] for one in (await ada.ok("GET", "/v1/sessions"))["sessions"]} == set(made[-5:])
    assert (await api.user("Uada", made[0]).get("/v1/me")).status == 401
    assert (await api.user("Uada", made[4]).get("/v1/me")).status == 200
    assert (await api.user("Ugrace").get("/v1/sessions")).body["sessions"] == []


async def test_sessions_that_are_over_are_not_read(api: ApiDc) -> None:
    for n in range(60):
        issued = await api.dc.do("token.issue", "sys", f"k{n}", user="Uada", device=f"d{n}")
        await api.dc.do("session.revoke", "Uada", session=issued.args.session)
    last = await api.dc.do("token.issue", "sys", "last", user="Uada", device="phone")
    reads = Reads(api.dc)
    (shown,) = (await api.user("Uada", last.args.session).ok("GET", "/v1/sessions"))["sessions"]
    assert shown["session"] == last.args.session
    await api.dc.do("token.issue", "sys", "more", user="Uada", device="phone")
    assert reads["relational.rows"] <= 10


async def test_settings_of_many_dialogs_are_not_read_to_list_some(api: ApiDc) -> None:
    ada = api.user("Uada")
    users = [f"Uguest{n}" for n in range(150)]
    await api.sign_up(*users)
    for user in users:
        await api.dc.do("dialog.pin", "Uada", peer=user, rank="i")
        await api.dc.do("dialog.pin", "Uada", peer=user, rank=None)
    await api.dc.do("dialog.mute", "Uada", peer="Ugrace", until_ms=4_000_000_000_000)
    await api.dc.do("dialog.pin", "Uada", peer="Ulinus", rank="i")
    await ada.send("Uguest1", "Hello")
    reads = Reads(api.dc)
    shown = {one["peer"]["user"]["id"]: one for one in await dialogs_of(ada)}
    assert list(shown) == ["Ulinus", "Uguest1", "Ugrace"]
    assert (shown["Ulinus"]["pin"], shown["Ugrace"]["muted_until_ms"]) == ("i", 4_000_000_000_000)
    await api.dc.do("dialog.pin", "Uada", peer="Uguest1", rank="m")
    assert reads["relational.rows"] <= 30


# -- supergroups


async def test_a_page_of_a_supergroups_members_reads_no_more_than_it_shows(api: ApiDc) -> None:
    ada = api.user("Uada")
    users = [f"Uguest{n:03}" for n in range(300)]
    await api.sign_up(*users)
    chat = await chat_of(api, "supergroup")
    for at in range(0, 300, 100):
        await api.dc.do("member.add", "Uada", chat=chat, users=users[at : at + 100])
    for user in users[5:25]:
        await api.dc.do("member.leave", user, chat=chat)
    reads = Reads(api.dc)
    page = await ada.ok("GET", f"/v1/chats/{chat}/members?limit=10")
    assert [one["user"] for one in page["members"]] == ["Uada", *users[:5], *users[25:29]]
    assert [one["role"] for one in page["members"]] == ["owner", *["member"] * 9]
    assert reads["relational.rows"] <= 250
    seen, after = [one["user"] for one in page["members"]], page["after"]
    while after:
        page = await ada.ok("GET", f"/v1/chats/{chat}/members?limit=50&after={after}")
        seen, after = seen + [one["user"] for one in page["members"]], page["after"]
    assert seen == ["Uada", *users[:5], *users[25:]]


async def test_an_owner_who_has_gone_is_followed_without_reading_all_members(api: ApiDc) -> None:
    users = [f"Uguest{n:03}" for n in range(600)]
    await api.sign_up(*users)
    chat = await chat_of(api, "supergroup", "Ugrace")
    for at in range(0, 600, 200):
        await api.dc.do("member.add", "Uada", chat=chat, users=users[at : at + 200])
    await api.dc.do("member.leave", "Uada", chat=chat)
    reads = Reads(api.dc)
    grace = api.user("Ugrace")
    assert (await grace.ok("GET", f"/v1/chats/{chat}"))["me"]["role"] == "owner"
    await grace.ok("PATCH", f"/v1/chats/{chat}/members/{users[7]}", {"role": "admin"})
    assert (await api.user(users[7]).ok("GET", f"/v1/chats/{chat}"))["me"]["role"] == "owner"
    assert (await grace.ok("GET", f"/v1/chats/{chat}"))["me"]["role"] == "member"
    await api.dc.do("member.leave", users[7], chat=chat)
    await api.dc.do("member.leave", "Ugrace", chat=chat)
    assert (await api.user(users[0]).ok("GET", f"/v1/chats/{chat}"))["me"]["role"] == "owner"
    assert (await api.user(users[1]).ok("GET", f"/v1/chats/{chat}"))["me"]["role"] == "member"
    assert reads["relational.rows"] <= 400
    await api.user(users[1]).ok("DELETE", f"/v1/chats/{chat}/members/me")
    reads.clear()
    assert (await api.user(users[0]).ok("GET", f"/v1/chats/{chat}"))["me"]["role"] == "owner"
    assert reads["relational.rows"] <= 20, "nobody else's going makes it looked for again"


async def test_those_who_have_gone_are_looked_at_once_for_who_follows_the_owner(api: ApiDc) -> None:
    users = [f"Uguest{n:03}" for n in range(200)]
    await api.sign_up(*users)
    chat = await chat_of(api, "supergroup")
    for at in range(0, 200, 10):
        await api.dc.do("member.add", "Uada", chat=chat, users=users[at : at + 10])
    for user in ("Uada", *users[:150]):
        await api.dc.do("member.leave", user, chat=chat)
    last = api.user(users[199])
    assert (await last.ok("GET", f"/v1/chats/{chat}"))["me"]["role"] == "member"
    reads = Reads(api.dc)
    for _ in range(3):
        await api.user("Ugrace").ok("POST", f"/v1/chats/{chat}/join")
        await api.dc.do("member.leave", "Ugrace", chat=chat)
        assert (await api.user(users[150]).ok("GET", f"/v1/chats/{chat}"))["me"]["role"] == "owner"
    assert reads["relational.rows"] <= 3 * 200, "the 150 who have gone are not looked at again"
    # A late add, from a lane that was behind, is before all that has been looked at.
    early = Lane(2, 0, 0).number
    first = (await api.dc.relational.page("member_adds", {"chat": chat}, Scan("knew_at", 1)))[0]["knew_at"]
    id = make_id((first >> 16) - 9, early)
    effect = Stamped(id, Effect("member_adds", (chat, "Ugrace", early), {"knew": {}}))
    await api.dc.relational.apply(RelationalBatch([effect], (), (), (), {}))
    api.dc.view.invalidate([effect])
    assert (await api.user("Ugrace").ok("GET", f"/v1/chats/{chat}"))["me"]["role"] == "owner"


async def test_what_the_view_keeps_is_bounded_by_what_it_weighs(api: ApiDc, monkeypatch: pytest.MonkeyPatch) -> None:
    user = "Uada"
    for _ in range(30):
        await chat_of(api, "group")
    light = StoreView("fra", api.dc.relational, api.dc.messages, api.dc.hot)
    await light.user("Ugrace")
    heavy = StoreView("fra", api.dc.relational, api.dc.messages, api.dc.hot)
    await heavy.memberships_of(user)
    assert heavy._cache.bytes > 15 * light._cache.bytes
    monkeypatch.setattr(limits, "VIEW_CACHE_BYTES_MAX", 3 * heavy._cache.bytes)
    view = StoreView("fra", api.dc.relational, api.dc.messages, api.dc.hot)
    for n in range(5):
        await view.memberships_of(user)
        view._cache.keep(("copy", str(n)), await view.memberships_of(user))
        assert view._cache.bytes <= limits.VIEW_CACHE_BYTES_MAX
    assert len(view._cache) == 3
    view._forget(*view._cache)
    assert view._cache.bytes == 0
