"""Who asks too fast waits, and keeps nobody else waiting."""

import json
from collections.abc import AsyncIterator

import pytest

from api.attempts import Attempts
from api.rates import Kind, Rates
from core import limits
from core.errors import TooMany
from core.system import wall_clock_ms
from tests.support.api import ApiDc, api_dc

USERS = ("Uada", "Ugrace", "Ulinus")
PER_S = {Kind.MESSAGES: 2, Kind.WRITES: 1, Kind.READS: 1}
SEND, BATCH = ("POST", "/v1/messages"), ("POST", "/v1/messages/batch")
HELLO = {"to": "Ugrace", "text": "Hello"}


class Time:
    now_s = 0.0


@pytest.fixture
async def api() -> AsyncIterator[ApiDc]:
    Time.now_s = 0.0
    async with api_dc(rates=Rates(PER_S, lambda: Time.now_s)) as started:
        await started.sign_up(*USERS)
        yield started


async def statuses(
    api: ApiDc, method: str, path: str, times: int, body: object = None, user: str = "Uada"
) -> list[int]:
    return [(await api.user(user).call(method, path, body)).status for _ in range(times)]


async def test_messages_beyond_the_rate_wait_and_nothing_is_written(api: ApiDc) -> None:
    burst = PER_S[Kind.MESSAGES] * limits.RATE_BURST_S
    assert await statuses(api, *SEND, burst, HELLO) == [200] * burst
    refused = await api.user("Uada").call(*SEND, HELLO)
    assert (refused.status, refused.code, refused.headers["Retry-After"]) == (429, "too_many_requests", "1")
    assert await statuses(api, *SEND, 1, HELLO, "Ulinus") == [200], "another user does not wait"
    assert await statuses(api, *SEND, 1, {"to": "Uada", "text": "Hello"}, "Ugrace") == [200]
    Time.now_s = 1.0
    assert await statuses(api, *SEND, 3, HELLO) == [200, 200, 429], "two came back in a second"
    history = await api.user("Uada").call("GET", "/v1/dialogs/Ugrace/messages?limit=100")
    assert len(history.body["messages"]) == burst + 3


async def test_a_batch_counts_each_message_and_is_let_in_whole_or_not_at_all(api: ApiDc) -> None:
    burst = PER_S[Kind.MESSAGES] * limits.RATE_BURST_S
    messages = [HELLO | {"key": f"k{at}"} for at in range(burst - 2)]
    assert (await api.user("Uada").call(*BATCH, {"messages": messages})).status == 200
    three = {"messages": [HELLO | {"key": f"m{at}"} for at in range(3)]}
    refused = await api.user("Uada").call(*BATCH, three)
    assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
    assert await statuses(api, *SEND, 3, HELLO) == [200, 200, 429], "what was refused counts not; one route's share"
    Time.now_s = 1.5
    assert (await api.user("Uada").call(*BATCH, three)).status == 200


async def test_a_batch_greater_than_a_burst_is_let_in_by_an_empty_bucket(api: ApiDc) -> None:
    messages = [HELLO | {"key": f"k{at}"} for at in range(100)]
    assert (await api.user("Uada").call(*BATCH, {"messages": messages})).status == 200
    assert await statuses(api, *SEND, 1, HELLO) == [429]


async def test_requests_past_the_framework_count_like_others(api: ApiDc) -> None:
    plain = api.parts.plain["/v1/messages"]
    headers = {"Authorization": f"Bearer {api.user('Uada').token}", "Host": "x"}
    burst = PER_S[Kind.MESSAGES] * limits.RATE_BURST_S
    assert await statuses(api, *SEND, burst, HELLO) == [200] * burst
    with pytest.raises(TooMany, match="messages are answered 2 times a second"):
        plain.begin(headers, json.dumps(HELLO).encode(), wall_clock_ms())
    with pytest.raises(TooMany):
        await plain.alone(headers, json.dumps(HELLO).encode())


async def test_a_plain_request_is_counted_once(api: ApiDc) -> None:
    plain = api.parts.plain["/v1/messages"]
    headers = {"Authorization": f"Bearer {api.user('Uada').token}", "Host": "x"}
    burst = PER_S[Kind.MESSAGES] * limits.RATE_BURST_S
    for _ in range(burst):
        begun = plain.begin(headers, json.dumps(HELLO).encode(), wall_clock_ms())
        if begun is None:
            await plain.alone(headers, json.dumps(HELLO).encode())
        else:
            await plain.finish([begun])
    assert await statuses(api, *SEND, 1, HELLO) == [429]


async def test_each_route_has_a_bucket_of_its_own(api: ApiDc) -> None:
    reads, writes = PER_S[Kind.READS] * limits.RATE_BURST_S, PER_S[Kind.WRITES] * limits.RATE_BURST_S
    assert await statuses(api, "GET", "/v1/dialogs", reads + 1) == [200] * reads + [429]
    assert await statuses(api, "GET", "/v1/state", 1) == [200]
    assert await statuses(api, "PATCH", "/v1/me", writes + 1, {"name": "Ada"}) == [200] * writes + [429]
    assert await statuses(api, "PUT", "/v1/blocks/Ulinus", 1) == [200]
    assert "planb_rate_refused 2\n" in await (await api.http.get("/metrics")).text()


async def test_a_wrong_token_counts_for_nobody(api: ApiDc) -> None:
    stranger = api.user("Uada", expires_ms=1)
    for _ in range(50):
        assert (await stranger.call(*SEND, HELLO)).status == 401
    assert await statuses(api, *SEND, 1, HELLO) == [200]


def test_without_a_rate_everybody_asks_as_often_as_he_likes() -> None:
    rates = Rates({Kind.READS: 0})
    for _ in range(10_000):
        rates.of(Kind.READS, "GET /v1/me").enter("Uada")
    assert rates.refused == 0


def test_many_at_once_are_counted_together_or_not_at_all() -> None:
    now_s = 0.0
    attempts = Attempts(10, 0.5, 2, lambda: now_s)
    assert attempts.admit("a", 8) == 0
    assert attempts.admit("a", 4) == 1, "two are there, the others come in a second"
    assert attempts.admit("a", 2) == 0
    assert attempts.admit("a", 10) == 5
    now_s = 5.0
    assert attempts.admit("a", 10) == 0
    for key in ("b", "c"):
        assert attempts.admit(key, 1) == 0
    assert set(attempts._empty_s) == {"b", "c"}, "of more keys than it has room for the oldest is forgotten"
