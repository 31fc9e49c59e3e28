"""Writes over HTTP: one key is one intention, durability is what was promised, a batch keeps its order."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from core import limits
from core.errors import OutcomeUnknown
from core.ids import direct_conversation
from tests.support.api import ApiDc, User, api_dc

SEND = {"to": "Ugrace", "text": "Hello"}


@pytest.fixture
async def api() -> AsyncIterator[ApiDc]:
    async with api_dc() as started:
        await started.sign_up("Uada", "Ugrace")
        yield started


@pytest.fixture
async def ada(api: ApiDc) -> User:
    return api.user("Uada")


async def messages(user: User, peer: str) -> list[str]:
    found = await user.ok("GET", f"/v1/dialogs/{peer}/messages")
    return [message["text"] for message in found["messages"]]


async def test_a_repeated_key_gets_the_same_answer_and_writes_once(api: ApiDc, ada: User) -> None:
    first = await ada.call("POST", "/v1/messages", SEND, Idempotency_Key="k1")
    again = await ada.call("POST", "/v1/messages", SEND, Idempotency_Key="k1")
    assert again.body == first.body == {"id": first.body["id"], "conversation": direct_conversation("Uada", "Ugrace")}
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert await messages(ada, "Ugrace") == ["Hello"]


async def test_a_key_with_another_body_or_another_action_is_refused(api: ApiDc, ada: User) -> None:
    id = (await ada.call("POST", "/v1/messages", SEND, Idempotency_Key="k1")).body["id"]
    for method, path, body in (
        ("POST", "/v1/messages", SEND | {"text": "Bye"}),
        ("PATCH", f"/v1/messages/{id}", {"text": "Hello"}),
    ):
        reply = await ada.call(method, path, body, Idempotency_Key="k1")
        assert (reply.status, reply.code) == (422, "key_reused")
    assert await messages(ada, "Ugrace") == ["Hello"]


async def test_a_key_is_the_users_own(api: ApiDc, ada: User) -> None:
    await ada.send("Ugrace", "from ada", Idempotency_Key="k1")
    await api.user("Ugrace").send("Uada", "from grace", Idempotency_Key="k1")
    assert await messages(ada, "Ugrace") == ["from ada", "from grace"]


async def test_without_a_key_a_repetition_is_a_second_write(api: ApiDc, ada: User) -> None:
    await ada.send("Ugrace", "Hello")
    await ada.send("Ugrace", "Hello")
    assert await messages(ada, "Ugrace") == ["Hello", "Hello"]


async def test_concurrent_requests_with_one_key_write_once(api: ApiDc, ada: User) -> None:
    replies = await asyncio.gather(
        *(ada.call("POST", "/v1/messages", SEND, Idempotency_Key="k1") for _ in range(10)),
        ada.call("POST", "/v1/messages", SEND | {"text": "other"}, Idempotency_Key="k1"),
    )
    assert len({reply.body["id"] for reply in replies[:-1]}) == 1
    assert replies[-1].code == "key_reused"
    assert await messages(ada, "Ugrace") == ["Hello"]


async def test_after_an_unknown_outcome_the_same_key_tells_it(
    api: ApiDc, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = api.dc.writer.commit

    async def in_doubt(*write: Any) -> None:
        await commit(*write)
        raise OutcomeUnknown()

    with monkeypatch.context() as patch:
        patch.setattr(api.dc.writer, "commit", in_doubt)
        replies = await asyncio.gather(
            *(ada.call("POST", "/v1/messages", SEND, Idempotency_Key="k1") for _ in range(2))
        )
        for reply in replies:
            assert (reply.status, reply.code, reply.headers["Retry-After"]) == (503, "outcome_unknown", "1")
    assert (await ada.call("POST", "/v1/messages", SEND, Idempotency_Key="k1")).status == 200
    assert await messages(ada, "Ugrace") == ["Hello"]


async def test_a_refused_write_leaves_its_key_free(api: ApiDc, ada: User) -> None:
    body = {"to": "Ulinus", "text": "Hello"}
    assert (await ada.call("POST", "/v1/messages", body, Idempotency_Key="k1")).status == 404
    await api.sign_up("Ulinus")
    assert (await ada.call("POST", "/v1/messages", body, Idempotency_Key="k1")).status == 200


async def test_durability_is_what_was_reached(api: ApiDc, ada: User) -> None:
    plain = await ada.call("POST", "/v1/messages", SEND)
    assert "Preference-Applied" not in plain.headers
    local = await ada.call("POST", "/v1/messages", SEND, Prefer="durability=local")
    assert local.headers["Preference-Applied"] == "durability=local"
    assert api.remote.waits == []
    unreached = await ada.call("POST", "/v1/messages", SEND, Prefer="respond-async; x=1, durability=remote; y=2")
    assert unreached.headers["Preference-Applied"] == "durability=local"
    api.remote.holds = True
    reached = await ada.call("POST", "/v1/messages", SEND, Prefer='durability="remote"')
    assert reached.headers["Preference-Applied"] == "durability=remote"
    assert api.remote.waits[-1] == (api.dc.lane, api.dc.applier.progress.applied[api.dc.lane].seq)


async def test_kicks_and_revocations_ask_for_remote_durability_by_themselves(api: ApiDc, ada: User) -> None:
    api.remote.holds = True
    chat = (await ada.ok("POST", "/v1/chats", {"kind": "group", "title": "Lunch", "users": ["Ugrace"]}))["chat"]
    kicked = await ada.call("DELETE", f"/v1/chats/{chat}/members/Ugrace")
    assert kicked.headers["Preference-Applied"] == "durability=remote"


async def test_a_batch_keeps_its_order_and_each_message_its_own_outcome(api: ApiDc, ada: User) -> None:
    await ada.send("Ugrace", "zero", Idempotency_Key="k0")
    batch = [
        {"key": "k1", "to": "Ugrace", "text": "one"},
        {"key": "k2", "to": "Unobody", "text": "two"},
        {"to": "Ugrace", "text": "three"},
        {"key": "k0", "to": "Ugrace", "text": "zero"},
        {"key": "k1", "to": "Ugrace", "text": "another"},
        {"key": "k1", "to": "Ugrace", "text": "one"},
        {"key": "k6", "to": "Ugrace", "text": ""},
        {"key": 7, "to": "Ugrace", "text": "x"},
        "x",
        {"to": "Ugrace", "text": "last"},
    ]
    results = (await ada.ok("POST", "/v1/messages/batch", {"messages": batch}))["results"]
    codes = [result["problem"]["code"] if "problem" in result else "" for result in results]
    assert codes == ["", "not_found", "", "", "key_reused", "", "invalid", "invalid", "invalid", ""]
    assert results[5]["id"] == results[0]["id"]
    assert await messages(ada, "Ugrace") == ["zero", "one", "three", "last"]
    for wrong in ([], [{}] * (limits.BATCH_MESSAGES_MAX + 1), {}, "x", None):
        assert (await ada.call("POST", "/v1/messages/batch", {"messages": wrong})).fields == ["messages"]
    reply = await ada.call("POST", "/v1/messages/batch", {"messages": batch}, Idempotency_Key="k9")
    assert reply.fields == ["Idempotency-Key"]


async def test_a_hundred_messages_in_one_batch_stay_in_order(api: ApiDc, ada: User) -> None:
    texts = [f"message {number}" for number in range(limits.BATCH_MESSAGES_MAX)]
    batch = [{"key": text.replace(" ", "-"), "to": "Ugrace", "text": text} for text in texts]
    results = (await ada.ok("POST", "/v1/messages/batch", {"messages": batch}))["results"]
    assert sorted(results, key=lambda result: int(result["id"])) == results
    found = await ada.ok("GET", f"/v1/dialogs/Ugrace/messages?limit={limits.PAGE_MAX}")
    assert [message["text"] for message in found["messages"]] == texts


async def test_two_actions_on_one_path_are_told_apart(api: ApiDc, ada: User) -> None:
    grace = api.user("Ugrace")
    first, second = await ada.send("Ugrace", "one"), await ada.send("Ugrace", "two")
    await ada.ok("DELETE", f"/v1/messages/{first}?for=me")
    await ada.ok("DELETE", f"/v1/messages/{second}?for=all")
    assert await messages(ada, "Ugrace") == [None]
    assert await messages(grace, "Uada") == ["one", None]
    group = (await ada.ok("POST", "/v1/chats", {"kind": "group", "title": "G"}))["chat"]
    supergroup = (await ada.ok("POST", "/v1/chats", {"kind": "supergroup", "title": "C"}))["chat"]
    assert (group[0], supergroup[0]) == ("G", "C")
    for kind, chat in (("group", group), ("supergroup", supergroup)):
        shown = await ada.ok("GET", f"/v1/chats/{chat}")
        assert (shown["kind"], shown["me"]) == (kind, {"present": True, "role": "owner"})


async def test_leaving_and_being_removed_are_two_calls_on_one_pattern(api: ApiDc, ada: User) -> None:
    grace = api.user("Ugrace")
    chat = (await ada.ok("POST", "/v1/chats", {"kind": "group", "title": "G", "users": ["Ugrace"]}))["chat"]
    await grace.ok("DELETE", f"/v1/chats/{chat}/members/me")
    members = await ada.ok("GET", f"/v1/chats/{chat}/members")
    assert [(one["user"], one["role"]) for one in members["members"]] == [("Uada", "owner")]
    assert (await grace.get(f"/v1/chats/{chat}/members")).status == 403
