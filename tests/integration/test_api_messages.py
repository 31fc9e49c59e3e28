"""Messages through the API: what they hold, and where it is shown."""

import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.support.api import ApiDc, User, api_dc

PLACE = {"kind": "location", "latitude": 52.5, "longitude": -13.25}
POLL = {"kind": "custom", "type": "poll", "data": {"question": "Lunch?", "votes": [1, 2.5, None]}}


@contextlib.asynccontextmanager
async def people() -> AsyncIterator[ApiDc]:
    async with api_dc() as api:
        await api.sign_up("Uada", "Ugrace", "Ulinus")
        yield api


@pytest.fixture
async def api() -> AsyncIterator[ApiDc]:
    async with people() as api:
        yield api


@pytest.fixture
def ada(api: ApiDc) -> User:
    return api.user("Uada")


@pytest.fixture
def grace(api: ApiDc) -> User:
    return api.user("Ugrace")


async def start(user: User) -> str:
    return str((await user.ok("GET", "/v1/state"))["cursor"])


async def test_content_is_shown_in_history_updates_and_dialogs(ada: User, grace: User) -> None:
    cursor = await start(grace)
    sent = await ada.ok("POST", "/v1/messages", {"to": "Ugrace", "content": PLACE}, Idempotency_Key="k")
    assert (await ada.ok("POST", "/v1/messages", {"to": "Ugrace", "content": PLACE}, Idempotency_Key="k")) == sent
    (told,), cursor = await grace.updates(cursor)
    (dialog,) = (await grace.ok("GET", "/v1/dialogs"))["dialogs"]
    (kept,) = (await grace.ok("GET", "/v1/dialogs/Uada/messages"))["messages"]
    for message in (told["update"]["message"], dialog["top"], kept):
        assert (message["id"], message["text"], message["content"]) == (sent["id"], "", PLACE)
    await ada.ok("PATCH", f"/v1/messages/{sent['id']}", {"text": "here", "content": POLL})
    (told,), cursor = await grace.updates(cursor)
    assert (told["update"]["message"]["text"], told["update"]["message"]["content"]) == ("here", POLL)
    await ada.ok("DELETE", f"/v1/messages/{sent['id']}?for=all")
    (told,), _ = await grace.updates(cursor)
    assert told["update"]["message"]["text"] is None and "content" not in told["update"]["message"]


async def test_a_batch_holds_all_kinds(ada: User, grace: User) -> None:
    items = [{"to": "Ugrace", "text": "one"}, {"to": "Ugrace", "content": POLL}, {"to": "Ugrace"}]
    results = (await ada.ok("POST", "/v1/messages/batch", {"messages": items}))["results"]
    assert [result.get("problem", {}).get("code") for result in results] == [None, None, "invalid"]
    shown = (await grace.ok("GET", "/v1/dialogs/Uada/messages"))["messages"]
    assert [(one["text"], one.get("content")) for one in shown] == [("one", None), ("", POLL)]


async def test_content_that_is_refused_names_its_field(ada: User) -> None:
    for content, field in (
        ({"kind": "location", "latitude": 91, "longitude": 0}, "content.location.latitude"),
        ({"kind": "image"}, "content.image"),
        ({"kind": "custom", "type": "t", "data": {"a": {"": 1}}}, "content.custom.data"),
        ({"kind": "song"}, "content"),
        (7, "content"),
    ):
        reply = await ada.call("POST", "/v1/messages", {"to": "Ugrace", "content": content})
        assert (reply.status, reply.fields) == (400, [field])
    assert (await ada.call("POST", "/v1/messages", {"to": "Ugrace"})).fields == ["text"]


async def test_a_page_of_a_history_counts_the_bytes_of_content(ada: User, grace: User) -> None:
    poll = {"kind": "custom", "type": "t", "data": {"x": "x" * 16_000}}
    for _ in range(40):
        await ada.ok("POST", "/v1/messages", {"to": "Ugrace", "content": poll})
    page = await grace.ok("GET", "/v1/dialogs/Uada/messages?limit=40")
    assert len(page["messages"]) == 33 and page["next_before"] is not None
