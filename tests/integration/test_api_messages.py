"""Messages through the API: what they hold, and where it is shown."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from core import limits
from core.ids import ID_MAX
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


# -- threads


async def reply(user: User, to: str, message: str, text: str) -> str:
    return str((await user.ok("POST", "/v1/messages", {"to": to, "text": text, "reply_to": message}))["id"])


def texts(page: dict[str, Any]) -> list[str | None]:
    return [one["text"] for one in page["replies"]]


async def test_a_thread_has_its_first_message_and_all_replies_in_pages(ada: User, grace: User) -> None:
    root = await ada.send("Ugrace", "who comes?")
    await ada.send("Ugrace", "not in it")
    first = await reply(grace, "Uada", root, "I")
    second = await reply(ada, "Ugrace", first, "great")
    third = await reply(grace, "Uada", root, "at noon")
    for message in (root, first, third):
        page = await ada.ok("GET", f"/v1/messages/{message}/replies?limit=2")
        assert (page["thread"], page["root"]["text"], texts(page)) == (root, "who comes?", ["I", "great"])
        assert (page["count"], page["count_more"], page["next_after"]) == (3, False, second)
    page = await ada.ok("GET", f"/v1/messages/{root}/replies?after={page['next_after']}")
    assert (texts(page), page["next_after"], page["count"]) == (["at noon"], None, 3)
    kept = (await grace.ok("GET", "/v1/dialogs/Uada/messages"))["messages"]
    assert [one.get("thread") for one in kept] == [None, None, root, root, root]
    assert [one["reply_to"] for one in kept] == [None, None, root, first, root]


async def test_of_a_thread_what_was_recalled_hidden_or_cleared_is_shown_as_everywhere(ada: User, grace: User) -> None:
    root = await ada.send("Ugrace", "root")
    replies = [await reply(grace, "Uada", root, text) for text in ("one", "two", "three")]
    await grace.ok("DELETE", f"/v1/messages/{replies[0]}?for=all")
    await ada.ok("DELETE", f"/v1/messages/{replies[1]}?for=me")
    page = await ada.ok("GET", f"/v1/messages/{root}/replies")
    assert (texts(page), page["count"]) == ([None, "three"], 2)
    assert texts(await grace.ok("GET", f"/v1/messages/{root}/replies")) == [None, "two", "three"]
    await ada.ok("DELETE", f"/v1/messages/{root}?for=all")
    page = await grace.ok("GET", f"/v1/messages/{replies[2]}/replies")
    assert (page["root"]["text"], page["root"]["recalled"], page["count"]) == (None, True, 2)
    assert (await grace.call("POST", "/v1/messages", {"to": "Uada", "text": "x", "reply_to": root})).code == "gone"
    again = await reply(grace, "Uada", replies[2], "still in it")
    assert (await ada.ok("GET", f"/v1/messages/{again}/replies"))["thread"] == root
    state = await ada.ok("GET", "/v1/state")
    body = {"message": again, "cursor": state["cursor"], "at": state["position"]}
    await ada.ok("POST", "/v1/dialogs/Ugrace/clear", body)
    page = await ada.ok("GET", f"/v1/messages/{again}/replies")
    assert (page["root"], page["replies"]) == (None, [])


@pytest.mark.parametrize("kind", ["group", "supergroup"])
async def test_a_former_member_sees_no_later_reply_nor_how_many(api: ApiDc, ada: User, grace: User, kind: str) -> None:
    chat = (await ada.ok("POST", "/v1/chats", {"kind": kind, "title": "g", "users": ["Ugrace"]}))["chat"]
    root = await ada.send(chat, "root")
    await reply(ada, chat, root, "before")
    await ada.ok("DELETE", f"/v1/chats/{chat}/members/Ugrace")
    later = await reply(ada, chat, root, "after")
    await ada.ok("PATCH", f"/v1/messages/{root}", {"text": "edited since"})
    page = await grace.ok("GET", f"/v1/messages/{root}/replies")
    assert (page["root"]["text"], texts(page), page["count"]) == ("root", ["before"], 1)
    assert (await grace.get(f"/v1/messages/{later}/replies")).status == 404
    assert (await grace.call("POST", "/v1/messages", {"to": chat, "text": "x", "reply_to": root})).status == 403
    assert (await api.user("Ulinus").get(f"/v1/messages/{root}/replies")).status == 404
    assert texts(await ada.ok("GET", f"/v1/messages/{root}/replies")) == ["before", "after"]


async def test_a_thread_is_paged_from_its_end_too(ada: User, grace: User) -> None:
    root = await ada.send("Ugrace", "root")
    ids = [await reply(grace, "Uada", root, str(count)) for count in range(5)]
    before, shown = str(ID_MAX), list[str | None]()
    while before:
        page = await ada.ok("GET", f"/v1/messages/{root}/replies?before={before}&limit=2")
        assert page["next_after"] is None and page["root"]["text"] == "root"
        shown = texts(page) + shown
        before = page["next_before"]
    assert shown == ["0", "1", "2", "3", "4"]
    assert texts(await ada.ok("GET", f"/v1/messages/{ids[1]}/replies?before={ids[1]}")) == ["0"]
    wrong = await ada.get(f"/v1/messages/{root}/replies?before={ids[1]}&after={ids[1]}")
    assert (wrong.status, wrong.code) == (400, "invalid")


async def counts(user: User, peer: str, query: str = "") -> dict[str, Any]:
    page = await user.ok("GET", f"/v1/dialogs/{peer}/messages{query}")
    return {id: (told["count"], told["more"], told["newest"]) for id, told in page["replies"].items()}


async def test_a_history_tells_how_many_replies_its_reader_may_see(ada: User, grace: User) -> None:
    root, other = await ada.send("Ugrace", "root"), await ada.send("Ugrace", "nobody answers")
    assert await counts(ada, "Ugrace") == {}
    replies = [await reply(grace, "Uada", root, text) for text in ("one", "two", "three")]
    inner = await reply(ada, "Ugrace", replies[0], "a reply to a reply is one to the first")
    for user, peer in ((ada, "Ugrace"), (grace, "Uada")):
        assert await counts(user, peer) == {root: (4, False, inner)}
    assert await counts(ada, "Ugrace", f"?before={other}") == {root: (4, False, inner)}
    assert await counts(ada, "Ugrace", f"?after={root}") == {}
    await ada.ok("DELETE", f"/v1/messages/{inner}?for=all")
    await ada.ok("DELETE", f"/v1/messages/{replies[2]}?for=me")
    assert await counts(ada, "Ugrace") == {root: (2, False, replies[1])}
    assert await counts(grace, "Uada") == {root: (3, False, replies[2])}
    await ada.ok("DELETE", f"/v1/messages/{root}?for=all")
    assert await counts(grace, "Uada") == {root: (3, False, replies[2])}
    state = await ada.ok("GET", "/v1/state")
    body = {"message": replies[0], "cursor": state["cursor"], "at": state["position"]}
    await ada.ok("POST", "/v1/dialogs/Ugrace/clear", body)
    assert await counts(ada, "Ugrace") == {}, "the root is cleared as well"


async def test_a_former_member_is_not_told_of_later_replies(ada: User, grace: User) -> None:
    chat = (await ada.ok("POST", "/v1/chats", {"kind": "group", "title": "g", "users": ["Ugrace"]}))["chat"]
    root = await ada.send(chat, "root")
    known = await reply(ada, chat, root, "before")
    await ada.ok("DELETE", f"/v1/chats/{chat}/members/Ugrace")
    later = await reply(ada, chat, root, "after")
    assert await counts(grace, chat) == {root: (1, False, known)}
    assert await counts(ada, chat) == {root: (2, False, later)}


async def test_the_replies_of_a_page_cost_one_query(
    monkeypatch: pytest.MonkeyPatch, api: ApiDc, ada: User, grace: User
) -> None:
    monkeypatch.setattr(limits, "REPLIES_SHOWN_MAX", 2)
    roots = [await ada.send("Ugrace", f"root {count}") for count in range(10)]
    for root in roots[1:]:
        newest = [await reply(grace, "Uada", root, "x") for _ in range(3)][-1]
    asked: list[int] = []
    pages = api.dc.relational.pages

    async def looked(table: str, wheres: Any, scan: Any) -> Any:
        found = await pages(table, wheres, scan)
        asked.append(sum(map(len, found)))
        return found

    monkeypatch.setattr(api.dc.relational, "pages", looked)
    found = await counts(ada, "Ugrace")
    assert asked == [9 * 3], "rows of each thread are bounded"
    assert found.keys() == set(roots[1:]) and found[roots[-1]] == (2, True, newest)


async def test_more_replies_than_are_counted(monkeypatch: pytest.MonkeyPatch, ada: User, grace: User) -> None:
    monkeypatch.setattr(limits, "REPLIES_COUNTED_MAX", 3)
    root = await ada.send("Ugrace", "root")
    for count in range(1, 5):
        await reply(grace, "Uada", root, str(count))
        page = await ada.ok("GET", f"/v1/messages/{root}/replies")
        assert (page["count"], page["count_more"]) == (min(count, 3), count > 3)


# -- mentions


async def mentioning(user: User, to: str, *names: str, text: str = "hey") -> str:
    return str((await user.ok("POST", "/v1/messages", {"to": to, "text": text, "mentions": list(names)}))["id"])


async def unread(user: User, peer: str) -> tuple[int, list[str]]:
    """The count in the list of dialogs, and the messages that it is of."""
    dialogs = (await user.ok("GET", "/v1/dialogs"))["dialogs"]
    page = await user.ok("GET", f"/v1/dialogs/{peer}/mentions")
    (dialog,) = [one for one in dialogs if one["conversation"] == page["conversation"]]
    assert (page["count"], page["more"]) == (dialog["unread_mentions"], dialog["unread_mentions_more"])
    return page["count"], [one["id"] for one in page["messages"]]


async def mark(user: User, what: str, peer: str, message: str) -> None:
    state = await user.ok("GET", "/v1/state")
    body = {"message": message, "cursor": state["cursor"], "at": state["position"]}
    await user.ok("POST", f"/v1/dialogs/{peer}/{what}", body)


@pytest.mark.parametrize("kind", ["group", "supergroup"])
async def test_who_is_mentioned_is_told_and_counts_until_he_reads(ada: User, grace: User, kind: str) -> None:
    chat = (await ada.ok("POST", "/v1/chats", {"kind": kind, "title": "g", "users": ["Ugrace", "Ulinus"]}))["chat"]
    cursor = await start(grace)
    first = await mentioning(ada, chat, "Ugrace")
    await ada.send(chat, "nobody is meant")
    second = await mentioning(ada, chat, "Ulinus", "Ugrace")
    assert await unread(grace, chat) == (2, [first, second])
    assert await unread(ada, chat) == (0, [])
    told, cursor = await grace.updates(cursor)
    shown = [one["update"]["message"].get("mentions") for one in told if one["update"]["type"] == "message"]
    assert shown == [["Ugrace"], None, ["Ugrace", "Ulinus"]]
    assert [one["update"]["dialog"]["unread_mentions"] for one in told if one["update"]["type"] == "dialog"] == [2, 2]
    await mark(grace, "read", chat, first)
    assert await unread(grace, chat) == (1, [second])
    told, cursor = await grace.updates(cursor)
    assert [one["update"]["dialog"]["unread_mentions"] for one in told] == [1]
    await ada.ok("DELETE", f"/v1/messages/{second}?for=all")
    assert await unread(grace, chat) == (0, [])
    told, _ = await grace.updates(cursor)
    assert [one["update"]["dialog"]["unread_mentions"] for one in told if one["update"]["type"] == "dialog"] == [0]


async def test_all_of_a_group_are_mentioned_by_who_may(api: ApiDc, ada: User, grace: User) -> None:
    linus = api.user("Ulinus")
    chat = (await ada.ok("POST", "/v1/chats", {"kind": "group", "title": "g", "users": ["Ugrace"]}))["chat"]
    cursor = await start(grace)
    first = await mentioning(ada, chat, "all")
    assert (await grace.call("POST", "/v1/messages", {"to": chat, "text": "x", "mentions": ["all"]})).status == 403
    await ada.ok("POST", f"/v1/chats/{chat}/members", {"users": ["Ulinus"]})
    second = await mentioning(ada, chat, "all", "Ugrace")
    assert [await unread(user, chat) for user in (ada, grace, linus)] == [
        (0, []), (2, [first, second]), (1, [second]),
    ]  # fmt: skip
    told, _ = await grace.updates(cursor)
    assert [one["update"]["dialog"]["unread_mentions"] for one in told if one["update"]["type"] == "dialog"] == [2, 2]


async def test_hidden_and_cleared_mentions_do_not_count_nor_those_of_a_former_member(ada: User, grace: User) -> None:
    chat = (await ada.ok("POST", "/v1/chats", {"kind": "group", "title": "g", "users": ["Ugrace"]}))["chat"]
    sent = [await mentioning(ada, chat, "Ugrace") for _ in range(4)]
    await grace.ok("DELETE", f"/v1/messages/{sent[2]}?for=me")
    assert await unread(grace, chat) == (3, [sent[0], sent[1], sent[3]])
    await mark(grace, "clear", chat, sent[0])
    assert await unread(grace, chat) == (2, [sent[1], sent[3]])
    page = await grace.ok("GET", f"/v1/dialogs/{chat}/mentions?limit=1")
    assert ([one["id"] for one in page["messages"]], page["next_after"]) == ([sent[1]], sent[1])
    page = await grace.ok("GET", f"/v1/dialogs/{chat}/mentions?limit=1&after={sent[1]}")
    assert [one["id"] for one in page["messages"]] == [sent[3]]
    await ada.ok("DELETE", f"/v1/chats/{chat}/members/Ugrace")
    assert await unread(grace, chat) == (0, [])


async def test_of_very_many_mentions_the_newest_are_counted(
    monkeypatch: pytest.MonkeyPatch, ada: User, grace: User
) -> None:
    monkeypatch.setattr(limits, "MENTIONS_COUNTED_MAX", 3)
    chat = (await ada.ok("POST", "/v1/chats", {"kind": "group", "title": "g", "users": ["Ugrace"]}))["chat"]
    old = await mentioning(ada, chat, "Ugrace")
    sent = [await mentioning(ada, "Ugrace", "Ugrace") for _ in range(5)]
    assert await unread(grace, chat) == (1, [old]), "those elsewhere do not crowd it out"
    assert await unread(grace, "Uada") == (3, sent[2:])
    assert (await grace.ok("GET", "/v1/dialogs/Uada/mentions"))["more"] is True
    await mark(grace, "read", "Uada", sent[3])
    assert await unread(grace, "Uada") == (1, sent[4:])
    assert (await grace.ok("GET", "/v1/dialogs/Uada/mentions"))["more"] is False


async def test_other_mentions_are_refused(ada: User) -> None:
    for names, status, field in (
        (["Unobody"], 404, []),
        (["Ulinus"], 404, []),
        (["all"], 400, ["mentions"]),
        (["x"], 400, ["mentions.0"]),
        (["Ugrace"] * (limits.MENTIONS_MAX + 1), 400, ["mentions"]),
    ):
        reply = await ada.call("POST", "/v1/messages", {"to": "Ugrace", "text": "x", "mentions": names})
        assert (reply.status, reply.fields) == (status, field), names


# -- forwarding


async def test_a_forward_shows_whose_words_they_are(api: ApiDc, ada: User, grace: User) -> None:
    chat = (await ada.ok("POST", "/v1/chats", {"kind": "group", "title": "g", "users": ["Ugrace"]}))["chat"]
    said = (await ada.ok("POST", "/v1/messages", {"to": chat, "text": "one", "content": PLACE}))["id"]
    linus = api.user("Ulinus")
    cursor = await start(linus)
    await ada.ok("DELETE", f"/v1/chats/{chat}/members/Ugrace")
    await ada.ok("PATCH", f"/v1/messages/{said}", {"text": "two"})
    copy = (await grace.ok("POST", "/v1/messages", {"to": "Ulinus", "forward_of": said}))["id"]
    (told,), _ = await linus.updates(cursor)
    (kept,) = (await linus.ok("GET", "/v1/dialogs/Ugrace/messages"))["messages"]
    for shown in (told["update"]["message"], kept):
        assert (shown["id"], shown["from"], shown["text"], shown["content"]) == (copy, "Ugrace", "one", PLACE)
        assert shown["forwarded"] == {"from": "Uada", "message": said}
    assert chat not in str(kept)
    assert (await linus.call("POST", "/v1/messages", {"to": "Uada", "forward_of": said})).status == 404
    reply = await grace.call("POST", "/v1/messages", {"to": "Ulinus", "forward_of": said, "text": "x"})
    assert (reply.status, reply.fields) == (400, ["forward_of"])
    assert (await grace.call("PATCH", f"/v1/messages/{copy}", {"text": "x"})).status == 403
    await ada.ok("DELETE", f"/v1/messages/{said}?for=all")
    assert (await grace.call("POST", "/v1/messages", {"to": "Ulinus", "forward_of": said})).code == "gone"
    batch = [{"to": "Ulinus", "forward_of": copy}, {"to": "Ulinus", "forward_of": said}]
    results = (await grace.ok("POST", "/v1/messages/batch", {"messages": batch}))["results"]
    assert [one.get("problem", {}).get("code") for one in results] == [None, "gone"]
