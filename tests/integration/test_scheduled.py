"""Messages that are sent later, over HTTP and by the datacenters themselves."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.scheduler import Scheduler
from core import limits
from core.errors import StoreUnavailable
from core.system import wall_clock_ms
from tests.integration.test_own_account import Two, cursor, told
from tests.support.api import ApiDc, User, api_dc
from tests.support.dc import ACTIONS, OneDc


@pytest.fixture
async def two() -> AsyncIterator[Two]:
    async with contextlib.AsyncExitStack() as stack:
        fra = await stack.enter_async_context(api_dc(OneDc("fra", 1)))
        ams = await stack.enter_async_context(api_dc(OneDc("ams", 2)))
        made = Two(fra, ams)
        await fra.sign_up("Uada", "Ugrace", "Ulinus")
        await made.settle()
        yield made


class Later:
    """A datacenter's scheduler, at a time that the test sets."""

    def __init__(self, at: ApiDc) -> None:
        self.ahead_ms = 0
        self.serves = True
        writes = at.parts.writes
        self.scheduler = Scheduler(
            at.dc.name, at.dc.view, writes, ACTIONS, lambda: wall_clock_ms() + self.ahead_ms, lambda: self.serves
        )

    async def look(self, ahead_ms: int) -> int:
        self.ahead_ms = ahead_ms
        return await self.scheduler.look()


async def schedule(user: User, to: str, text: str, ahead_ms: int = 10_000, **headers: str) -> str:
    body = {"to": to, "text": text, "at_ms": wall_clock_ms() + ahead_ms}
    return str((await user.ok("POST", "/v1/scheduled", body, **headers))["scheduled"])


async def texts(user: User, peer: str) -> list[str]:
    page = await user.ok("GET", f"/v1/dialogs/{peer}/messages")
    said = [message for message in page["messages"] if not message["system"]]
    return [message["text"] for message in sorted(said, key=lambda one: int(one["id"]))]


async def waiting(user: User) -> list[dict[str, Any]]:
    return list((await user.ok("GET", "/v1/scheduled"))["scheduled"])


async def test_it_is_sent_once_at_its_time_by_its_home(two: Two) -> None:
    here, there = two.user("Uada")
    grace = two.ams.user("Ugrace")
    fra, ams = Later(two.fra), Later(two.ams)
    since, hers = await cursor(there), await cursor(grace)
    later = await schedule(here, "Ugrace", "second", 20_000)
    first = await schedule(here, "Ugrace", "first", 10_000)
    await two.settle()
    assert [one["scheduled"] for one in await waiting(there)] == [first, later]
    assert (await waiting(there))[0]["message"] == {"to": "Ugrace", "text": "first"}
    assert await waiting(grace) == []
    assert [await fra.look(0), await ams.look(30_000)] == [0, 0]
    fra.serves = False
    assert await fra.look(30_000) == 0
    fra.serves = True
    assert [await fra.look(30_000), await fra.look(30_000), fra.scheduler.sent] == [2, 0, 2]
    await two.settle()
    assert [await ams.look(10**6), ams.scheduler.sent] == [0, 0]
    assert await texts(grace, "Uada") == ["first", "second"]
    assert await waiting(there) == []
    updates = await told(there, since)
    assert {one["state"] for one in updates if one["type"] == "scheduled"} == {"sent"}
    assert {one["message"] for one in updates if one["type"] == "scheduled"} == {
        one["message"]["id"] for one in updates if one["type"] == "message"
    }
    assert [one["type"] for one in await told(grace, hers)] == ["message", "message"]


async def test_another_datacenter_sends_what_is_overdue_and_it_is_one_message(two: Two) -> None:
    """Its home is away, or only cut off: then both send."""
    here, there = two.user("Uada")
    fra, ams = Later(two.fra), Later(two.ams)
    await schedule(here, "Ugrace", "once")
    await two.settle()
    overdue = 10_000 + limits.SCHEDULED_TAKEOVER_MS
    assert await ams.look(overdue - 5_000) == 0, "its home still has time"
    assert await ams.look(overdue + 5_000) == 2, "taken and sent"
    assert await fra.look(overdue + 5_000) == 1, "its home has not heard of it"
    await two.settle()
    for at in two:
        assert await texts(at.user("Ugrace"), "Uada") == ["once"]
    assert [await waiting(here), await waiting(there)] == [[], []]


async def test_what_is_refused_at_its_time_is_kept_with_the_reason(two: Two) -> None:
    here, there = two.user("Uada")
    grace = two.fra.user("Ugrace")
    fra = Later(two.fra)
    chat = (await grace.ok("POST", "/v1/chats", {"kind": "group", "title": "g", "users": ["Uada"]}))["chat"]
    scheduled = await schedule(here, chat, "too late")
    await grace.ok("DELETE", f"/v1/chats/{chat}/members/Uada")
    assert [await fra.look(20_000), fra.scheduler.failed] == [1, 1]
    await two.settle()
    [one] = await waiting(there)
    assert (one["scheduled"], one["failure"]["code"]) == (scheduled, "forbidden")
    assert await fra.look(20_000) == 0
    await there.ok("DELETE", f"/v1/scheduled/{scheduled}")
    assert await waiting(there) == []
    assert await texts(grace, chat) == []


async def test_a_store_that_is_away_fails_no_message(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    ada, fra = two.fra.user("Uada"), Later(two.fra)
    await schedule(ada, "Ugrace", "in the end")

    commit = two.fra.dc.writer.commit

    async def away(action: str, *rest: Any) -> Any:
        if action == "message.send":
            raise StoreUnavailable("away")
        return await commit(action, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(two.fra.dc.writer, "commit", away)
        assert await fra.look(20_000) == 0
    assert [one["failure"] for one in await waiting(ada)] == [None]
    assert await fra.look(20_000) == 1
    assert await texts(ada, "Ugrace") == ["in the end"]


async def test_a_client_has_no_key_under_which_a_scheduled_message_is_sent(two: Two) -> None:
    ada = two.fra.user("Uada")
    reply = await ada.post("/v1/messages", {"to": "Ugrace", "text": "x"}, Idempotency_Key="s:S1")
    assert (reply.status, reply.fields) == (400, ["Idempotency-Key"])
    item = {"to": "Ugrace", "text": "x", "key": "s:S1"}
    batch = await ada.post("/v1/messages/batch", {"messages": [item]})
    assert "s:" in str(batch.body), batch


async def test_a_retry_schedules_once(two: Two) -> None:
    here, there = two.user("Uada")
    at_ms = wall_clock_ms() + 10_000
    body = {"to": "Ugrace", "text": "once", "at_ms": at_ms}
    made = [await user.ok("POST", "/v1/scheduled", body, Idempotency_Key="k") for user in (here, there, here)]
    await two.settle()
    assert len({one["scheduled"] for one in made}) == 1
    assert len(await waiting(here)) == 1
    fra, ams = Later(two.fra), Later(two.ams)
    assert await fra.look(20_000) + await ams.look(20_000) == 1
