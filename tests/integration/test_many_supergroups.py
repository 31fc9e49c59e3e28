"""Who was put into more supergroups than a cursor holds still gets all that is for him, and is answered."""

from collections.abc import AsyncIterator

import pytest

from api import cursors
from core import limits
from tests.support.api import ApiDc, api_dc

CHATS = 40


@pytest.fixture
async def api() -> AsyncIterator[ApiDc]:
    async with api_dc() as started:
        await started.sign_up("Uada", "Ugrace")
        yield started


@pytest.mark.parametrize("room", [150, 400, 24_000])
async def test_nothing_is_missed_and_no_cursor_refused(api: ApiDc, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """`room`: bytes of a cursor. The least one holds a few positions, the greatest all of them."""
    monkeypatch.setattr(cursors, "_BYTES_MAX", room)
    monkeypatch.setattr(limits, "SCAN_ENTRIES_MAX", 7)
    ada, grace = api.user("Uada"), api.user("Ugrace")
    elsewhere = api.parts.cursors.seal(cursors.Cursor("Ugrace", "nyc", 1, 0, {}, {}))
    cursor = (await grace.ok("GET", "/v1/state"))["cursor"]
    body = {"kind": "supergroup", "title": "Junk", "users": ["Ugrace"]}
    chats = [(await ada.ok("POST", "/v1/chats", body))["chat"] for _ in range(CHATS)]
    places = (chats[0], max(chats), "Ugrace")
    wanted = {f"{text} to {place}" for text in ("one", "two") for place in places}
    for first in (cursor, elsewhere):
        cursor, reset = first, False
        seen: set[str] = set()
        for text in ("one", "two"):
            for place in places:
                await ada.send(place, f"{text} to {place}")
            for _ in range(60):
                page = await grace.ok("POST", "/v1/updates", {"cursor": cursor})
                cursor, reset = page["cursor"], reset or page["reset"]
                messages = [one["update"].get("message") for one in page["updates"]]
                seen |= {message["text"] for message in messages if message}
                if not page["more"]:
                    break
            assert not page["more"], "it comes to an end"
        assert wanted <= seen or (reset and room < 24_000)
        at = page["position"]
        newest = (await grace.ok("GET", f"/v1/dialogs/{max(chats)}/messages"))["messages"][-1]["id"]
        marked = await grace.post(f"/v1/dialogs/{max(chats)}/read", {"message": newest, "cursor": cursor, "at": at})
        assert marked.status == 200, marked
        dialogs = await grace.ok("GET", "/v1/dialogs?limit=100", X_Cursor=cursor)
        assert {one["conversation"]: one["unread"] for one in dialogs["dialogs"]}[max(chats)] == 0


async def test_others_fill_a_user_up_to_a_bound_and_he_may_still_join(
    api: ApiDc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SUPERGROUPS_ADDED_MAX", 3)
    monkeypatch.setattr(limits, "SUPERGROUPS_OF_USER_MAX", 5)
    ada, grace = api.user("Uada"), api.user("Ugrace")
    body = {"kind": "supergroup", "title": "Junk", "users": ["Ugrace"]}
    first = (await ada.ok("POST", "/v1/chats", body))["chat"]
    for _ in range(2):
        assert (await ada.post("/v1/chats", body)).status == 200
    refused = await ada.post("/v1/chats", body)
    assert (refused.status, refused.code) == (409, "user_full")
    others = [(await ada.ok("POST", "/v1/chats", body | {"users": []}))["chat"] for _ in range(2)]
    assert (await ada.post("/v1/chats", body | {"users": []})).code == "user_full", "his own are bounded, too"
    assert (await ada.post(f"/v1/chats/{others[0]}/members", {"users": ["Ugrace"]})).code == "user_full"
    assert (await ada.post("/v1/chats", body | {"kind": "group"})).status == 200, "a group has no list of its own"
    for chat in others:
        assert (await grace.post(f"/v1/chats/{chat}/join")).status == 200
    assert (await grace.post("/v1/chats", body | {"users": []})).code == "user_full"
    assert (await grace.call("DELETE", f"/v1/chats/{first}/members/me")).status == 200
    assert (await grace.post("/v1/chats", body | {"users": []})).status == 200, "who leaves one has room again"
