"""What users set for themselves, over HTTP: alike in every datacenter, told to their devices and to nobody else."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest

from tests.support.api import ApiDc, User, api_dc
from tests.support.dc import OneDc


class Two(NamedTuple):
    """Two datacenters that hear of each other when they are told to."""

    fra: ApiDc
    ams: ApiDc

    async def settle(self) -> None:
        await self.ams.dc.pull(self.fra.dc)
        await self.fra.dc.pull(self.ams.dc)

    def user(self, user: str) -> tuple[User, User]:
        return self.fra.user(user), self.ams.user(user)


@pytest.fixture
async def two() -> AsyncIterator[Two]:
    async with contextlib.AsyncExitStack() as stack:
        fra = await stack.enter_async_context(api_dc(OneDc("fra", 1)))
        ams = await stack.enter_async_context(api_dc(OneDc("ams", 2)))
        made = Two(fra, ams)
        await fra.sign_up("Uada", "Ugrace", "Ulinus")
        await made.settle()
        yield made


async def dialog(user: User, peer: str) -> dict[str, Any]:
    found = (await user.ok("GET", "/v1/dialogs"))["dialogs"]
    (one,) = [one for one in found if one["peer"].get("user", {}).get("id") == peer]
    return dict(one)


async def cursor(user: User) -> str:
    return str((await user.ok("GET", "/v1/state"))["cursor"])


async def told(user: User, since: str) -> list[dict[str, Any]]:
    return [item["update"] for item in (await user.updates(since))[0]]


async def test_a_dialog_is_marked_as_unread_until_it_is_read_anywhere(two: Two) -> None:
    here, there = two.user("Uada")
    grace = two.fra.user("Ugrace")
    said = await grace.send("Uada", "hello")
    await two.settle()
    since, graces = await cursor(there), await cursor(grace)
    await here.ok("PUT", "/v1/dialogs/Ugrace/unread", {"on": True}, Idempotency_Key="k")
    again = await here.call("PUT", "/v1/dialogs/Ugrace/unread", {"on": True}, Idempotency_Key="k")
    assert again.headers["Idempotency-Replayed"] == "true"
    await two.settle()
    assert [(await dialog(one, "Ugrace"))["marked_unread"] for one in (here, there)] == [True, True]
    (update,) = await told(there, since)
    assert (update["type"], update["dialog"]["marked_unread"]) == ("dialog", True)
    assert await told(grace, graces) == []
    page = await there.ok("GET", "/v1/dialogs")
    await there.ok("POST", "/v1/dialogs/Ugrace/read", {"message": said, "cursor": page["cursor"]})
    await two.settle()
    assert [(await dialog(one, "Ugrace"))["marked_unread"] for one in (here, there)] == [False, False]


async def test_a_draft_is_on_all_devices_and_goes_with_the_message_that_is_sent_from_it(two: Two) -> None:
    here, there = two.user("Uada")
    grace = two.fra.user("Ugrace")
    made = await here.ok("PUT", "/v1/dialogs/Ugrace/draft", {"text": "Dear Grace"})
    await two.settle()
    shown = await dialog(there, "Ugrace")
    assert shown["draft"] == {"text": "Dear Grace", "reply_to": None, "revision": made["id"]}
    since, graces = await cursor(here), await cursor(grace)
    await there.ok("POST", "/v1/messages", {"to": "Ugrace", "text": "Dear Grace, hello", "draft": made["id"]})
    await two.settle()
    assert [update["type"] for update in await told(here, since)] == ["message", "dialog"]
    assert [update["type"] for update in await told(grace, graces)] == ["message"], "it is none of hers"
    for one in (here, there):
        assert (await dialog(one, "Ugrace"))["draft"] is None
    await here.ok("PUT", "/v1/dialogs/Ugrace/draft", {"text": "One more thing"})
    await two.settle()
    assert (await dialog(there, "Ugrace"))["draft"]["text"] == "One more thing"
    await there.ok("DELETE", "/v1/dialogs/Ugrace/draft")
    assert (await dialog(there, "Ugrace"))["draft"] is None


async def test_a_draft_for_a_supergroup_is_told_to_its_writer_alone(two: Two) -> None:
    ada, grace = two.fra.user("Uada"), two.fra.user("Ugrace")
    chat = (await ada.ok("POST", "/v1/chats", {"kind": "supergroup", "title": "News", "users": ["Ugrace"]}))["chat"]
    revision = (await ada.ok("PUT", f"/v1/dialogs/{chat}/draft", {"text": "Hear"}))["id"]
    adas, graces = await cursor(ada), await cursor(grace)
    await ada.ok("POST", "/v1/messages", {"to": chat, "text": "Hear, hear", "draft": revision})
    assert sorted(update["type"] for update in await told(ada, adas)) == ["dialog", "message"]
    assert [update["type"] for update in await told(grace, graces)] == ["message"]


async def test_what_is_only_set_is_listed_although_nothing_was_written(two: Two) -> None:
    ada = two.fra.user("Uada")
    await ada.ok("PUT", "/v1/dialogs/Ugrace/draft", {"text": "Dear Grace"})
    await ada.ok("PUT", "/v1/dialogs/Ulinus/unread", {"on": True})
    assert (await dialog(ada, "Ugrace"))["draft"]["text"] == "Dear Grace"
    assert (await dialog(ada, "Ulinus"))["marked_unread"]
    await ada.ok("DELETE", "/v1/dialogs/Ugrace/draft")
    await ada.ok("PUT", "/v1/dialogs/Ulinus/unread", {"on": False})
    assert (await ada.ok("GET", "/v1/dialogs"))["dialogs"] == []


async def test_a_block_holds_where_it_is_applied_and_is_told_to_the_blocker_alone(two: Two) -> None:
    here, there = two.user("Uada")
    grace_here, grace_there = two.user("Ugrace")
    since, graces = await cursor(there), await cursor(grace_there)
    await here.ok("PUT", "/v1/blocks/Ugrace")
    kept = await grace_there.send("Uada", "accepted where nobody knew")
    refused = await grace_here.post("/v1/messages", {"to": "Uada", "text": "x"})
    assert (refused.status, refused.code) == (403, "forbidden")
    batch = await grace_here.ok("POST", "/v1/messages/batch", {"messages": [{"to": "Uada", "text": "x"}]})
    assert batch["results"][0]["problem"]["code"] == "forbidden"
    await two.settle()
    assert (await grace_there.post("/v1/messages", {"to": "Uada", "text": "x"})).code == "forbidden"
    history = await here.ok("GET", "/v1/dialogs/Ugrace/messages")
    assert [message["id"] for message in history["messages"]] == [kept]
    blocks = [update for update in await told(there, since) if update["type"] == "block"]
    assert [(one["user"], one["blocked"]) for one in blocks] == [("Ugrace", True)]
    assert [update["type"] for update in await told(grace_there, graces)] == ["message"]
    await there.ok("DELETE", "/v1/blocks/Ugrace")
    await two.settle()
    assert not (await here.ok("GET", "/v1/blocks/Ugrace"))["blocked"]
    await grace_here.send("Uada", "hello again")


async def test_blocks_are_listed_in_pages(two: Two) -> None:
    ada = two.fra.user("Uada")
    for user in ("Ugrace", "Ulinus"):
        await ada.ok("PUT", f"/v1/blocks/{user}")
    first = await ada.ok("GET", "/v1/blocks?limit=1")
    assert ([one["id"] for one in first["users"]], first["after"]) == (["Ugrace"], "Ugrace")
    second = await ada.ok("GET", "/v1/blocks?limit=1&after=Ugrace")
    assert ([one["id"] for one in second["users"]], second["after"]) == (["Ulinus"], None)
    assert (await two.fra.user("Ulinus").ok("GET", "/v1/blocks"))["users"] == []


async def test_contacts_are_asked_accepted_and_deleted_and_both_are_told(two: Two) -> None:
    ada, grace = two.fra.user("Uada"), two.ams.user("Ugrace")
    since, graces = await cursor(ada), await cursor(grace)
    await ada.ok("POST", "/v1/contacts", {"user": "Ugrace"})
    await ada.ok("POST", "/v1/contacts", {"user": "Ulinus"})
    await two.settle()
    await grace.ok("POST", "/v1/contacts/Uada/accept")
    await two.settle()
    page = await ada.ok("GET", "/v1/contacts?limit=1")
    assert ([(one["user"]["id"], one["state"]) for one in page["contacts"]], page["after"]) == (
        [("Ugrace", "contact")],
        "Ugrace",
    )
    page = await ada.ok("GET", "/v1/contacts?after=Ugrace")
    assert ([(one["user"]["id"], one["state"]) for one in page["contacts"]], page["after"]) == (
        [("Ulinus", "asked")],
        None,
    )
    assert [one["state"] for one in (await ada.ok("GET", "/v1/contacts?state=contact"))["contacts"]] == ["contact"]
    shown = [(one["contact"]["user"]["id"], one["contact"]["state"]) for one in await told(ada, since)]
    assert shown == [("Ugrace", "contact"), ("Ulinus", "asked"), ("Ugrace", "contact")]
    assert [one["contact"]["user"]["id"] for one in await told(grace, graces)] == ["Uada", "Uada"]
    await grace.ok("DELETE", "/v1/contacts/Uada")
    assert (await grace.ok("GET", "/v1/contacts"))["contacts"] == []
    assert (await grace.call("DELETE", "/v1/contacts/Uada")).code == "not_found"


async def test_do_not_disturb_is_shown_to_me_alone(two: Two) -> None:
    here, there = two.user("Uada")
    since = await cursor(there)
    night = {"zone": "Europe/Berlin", "from": "22:00", "to": "07:00"}
    await here.ok("PUT", "/v1/me/dnd", {"until_ms": None, "schedule": night})
    await two.settle()
    wanted = {"until_ms": None, "schedule": night | {"days": [1, 2, 3, 4, 5, 6, 7]}}
    assert (await there.ok("GET", "/v1/me"))["dnd"] == wanted
    assert [(one["type"], one["dnd"]) for one in await told(there, since)] == [("dnd", wanted)]
    assert "dnd" not in await two.fra.user("Ugrace").ok("GET", "/v1/users/Uada")
    for wrong in ({"zone": "x y"}, {"from": "24:00"}, {"to": "7:00"}, {"days": []}, {"days": [8]}, {"hours": 1}):
        reply = await here.call("PUT", "/v1/me/dnd", {"until_ms": None, "schedule": night | wrong})
        assert reply.status == 400, wrong
    await there.ok("PUT", "/v1/me/dnd", {"until_ms": None, "schedule": None})
    assert (await there.ok("GET", "/v1/me"))["dnd"] is None


async def test_a_device_is_registered_at_home_and_its_token_goes_with_who_has_it(two: Two) -> None:
    here, there = two.user("Uada")
    grace = two.ams.user("Ugrace")
    since = await cursor(there)
    await here.ok("PUT", "/v1/devices/phone", {"provider": "fcm", "token": "secret-1"})
    await two.settle()
    shown = {"device": "phone", "provider": "fcm", "home": "fra", "pushes": True}
    assert (await there.ok("GET", "/v1/devices"))["devices"] == [shown]
    assert [(one["device"], one["registered"]) for one in await told(there, since)] == [("phone", True)]
    await grace.ok("PUT", "/v1/devices/hers", {"provider": "fcm", "token": "secret-1"})
    await two.settle()
    assert (await here.ok("GET", "/v1/devices"))["devices"] == [shown | {"pushes": False}]
    assert "secret" not in str([await one.dc.relational.conflicts() for one in two])
    await there.ok("DELETE", "/v1/devices/phone")
    await two.settle()
    assert (await here.ok("GET", "/v1/devices"))["devices"] == []
    assert (await here.call("DELETE", "/v1/devices/phone")).code == "not_found"


def handles(updates: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    return [(one["handle"], one["user"]) for one in updates if one["type"] == "handle"]


async def test_who_loses_a_handle_is_told_wherever_he_is(two: Two) -> None:
    ada = two.fra.user("Uada")
    grace, moved = two.ams.user("Ugrace"), two.fra.user("Ugrace")
    since = await cursor(ada)
    await ada.ok("PUT", "/v1/me/handle", {"handle": "countess"})
    await grace.ok("PUT", "/v1/me/handle", {"handle": "countess"})
    assert (await grace.ok("GET", "/v1/me"))["handle"] == "countess"
    at = await cursor(grace)
    await two.fra.dc.pull(two.ams.dc)
    # At fra, her claim came after the one that has the name, which her cursor does not cover.
    assert ("countess", "Uada") in handles(await told(moved, at))
    await two.settle()
    assert handles(await told(grace, at)) == [("countess", "Uada")]
    assert {user for _, user in handles(await told(ada, since))} == {"Uada"}
    for where in two:
        one = where.user("Ugrace")
        assert (await one.ok("GET", "/v1/me"))["handle"] is None
        assert (await one.ok("GET", "/v1/users/Uada"))["handle"] == "countess"
        assert (await one.ok("GET", "/v1/handles/countess"))["user"]["id"] == "Uada"
    assert (await grace.call("PUT", "/v1/me/handle", {"handle": "countess"})).code == "conflict"
    await ada.ok("DELETE", "/v1/me/handle")
    assert (await ada.call("GET", "/v1/handles/countess")).code == "not_found"
    assert (await ada.call("PUT", "/v1/me/handle", {"handle": "No Name"})).fields == ["handle"]


async def test_of_two_who_claim_a_handle_at_once_in_one_datacenter_one_is_refused(two: Two) -> None:
    users = [two.fra.user(user) for user in ("Uada", "Ugrace", "Ulinus")]
    claims = (user.call("PUT", "/v1/me/handle", {"handle": "first"}) for user in users)
    assert sorted(reply.status for reply in await asyncio.gather(*claims)) == [200, 409, 409]
