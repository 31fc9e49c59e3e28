"""Bodies that are made to cost much: bounded answers, little time, nothing read that is beyond a bound."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from core import limits
from tests.support.api import ApiDc, api_dc

CPU_S_MAX = 0.1
"""Client and server together; what was mended here took 0.5 to 6 s."""


@pytest.fixture
async def api() -> AsyncIterator[ApiDc]:
    async with api_dc() as started:
        await started.sign_up("Uada", "Ugrace")
        yield started


def names(count: int, more: bytes = b"") -> bytes:
    return b"{" + b",".join(b'"a%d":1' % n for n in range(count)) + more + b"}"


HOSTILE: dict[str, bytes] = {
    "200,000 unknown fields": names(200_000),
    "as many unknown fields as fit": names(3_000),
    "a name twice among 20,000": names(20_000, b',"z":1,"z":1'),
    "a name twice among those that fit": b'{"\\u0061":1,' + names(2_900, b',"z":1,"z":1')[1:],
    "700,000 empty lists": b'{"user":[' + b",".join([b"[]"] * 700_000) + b"]}",
    "as many empty lists as fit": b'{"user":[' + b",".join([b"[]"] * 10_000) + b"]}",
    "as deep as fits": b'{"user":' + b"[" * 16_000 + b"]" * 16_000 + b"}",
    "a long number": b'{"user":' + b"9" * 30_000 + b"}",
    "a long fraction": b'{"user":0.' + b"9" * 30_000 + b"}",
    "a long name around NUL": b'{"' + b"x" * 30_000 + b'":"\\u0000"}',
    "long names inside each other": b'{"' + (b"x" * 900 + b'":{"') * 30 + b'a":"\\u0000"}' + b"}" * 30,
    "a long name twice": b'{"' + b"x" * 15_000 + b'":1,"' + b"x" * 15_000 + b'":2}',
}


@pytest.mark.parametrize("what", HOSTILE)
async def test_a_body_from_anybody_costs_little_and_is_answered_shortly(api: ApiDc, what: str) -> None:
    took_s = []
    for _ in range(3):  # the least of them: a collection of the whole test process is no part of it
        begun = time.thread_time()
        async with api.http.request("POST", "/v1/login", data=HOSTILE[what]) as answer:
            text = await answer.read()
        took_s.append(time.thread_time() - begun)
    assert min(took_s) < CPU_S_MAX
    assert answer.status == (400 if len(HOSTILE[what]) <= limits.ANONYMOUS_BYTES_MAX else 413)
    assert len(text) < 2_048, text[:200]


async def test_of_many_fields_at_fault_the_first_are_told(api: ApiDc) -> None:
    reply = await api.user("Uada").call("POST", "/v1/messages", {f"field{n}": n for n in range(40)})
    assert len(reply.fields) == limits.ERRORS_LISTED_MAX + 1
    assert reply.body["errors"][-1] == {"field": "", "problem": f"{40 + 1 - limits.ERRORS_LISTED_MAX} more"}


async def test_a_body_without_a_length_is_counted_while_it_comes(api: ApiDc) -> None:
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < limits.BODY_BYTES_MAX:
            sent += 16_384
            yield b" " * 16_384

    reply = await api.user("Uada").call("POST", "/v1/login", data=chunks(), Authorization=None)  # type: ignore[arg-type]
    assert (reply.status, reply.code) == (413, "too_large")


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/updates", "/v1/chats"])
async def test_only_a_batch_may_be_large(api: ApiDc, path: str) -> None:
    reply = await api.user("Uada").call("POST", path, data=b" " * (limits.REQUEST_BYTES_MAX + 1))
    assert (reply.status, reply.code) == (413, "too_large")


@pytest.mark.parametrize(
    ("char", "escaped"), [("\u00e9", "\\u00e9"), ("\u4e2d", "\\u4e2d"), ("\U0001f600", "\\ud83d\\ude00")]
)
async def test_a_full_batch_fits_with_all_that_is_not_ascii_escaped(api: ApiDc, char: str, escaped: str) -> None:
    text = escaped * (limits.MESSAGE_BYTES_MAX // len(char.encode()))
    messages = ",".join(f'{{"key":"{n:064}","to":"Ugrace","text":"{text}"}}' for n in range(limits.BATCH_MESSAGES_MAX))
    reply = await api.user("Uada").call("POST", "/v1/messages/batch", data=f'{{"messages":[{messages}]}}'.encode())
    assert reply.status == 200, reply
    assert all("id" in result for result in reply.body["results"])


MESSAGE = {"to": "Ugrace", "text": "Hello"}


class Raw:
    """Connections that send what they are told, and no more."""

    def __init__(self, api: ApiDc) -> None:
        self._api = api
        self.writers: list[asyncio.StreamWriter] = []

    async def send(self, path: str, token: str, announced: int, body: bytes = b"") -> asyncio.StreamReader:
        reader, writer = await asyncio.open_connection(self._api.http.host, self._api.http.port)
        self.writers.append(writer)
        said = f"Authorization: Bearer {token}\r\n" if token else ""
        head = f"POST {path} HTTP/1.1\r\nHost: planb\r\n{said}Content-Length: {announced}\r\n\r\n"
        writer.write(head.encode() + body)
        return reader

    async def shows(self, metric: str, value: float) -> None:
        """Waits until it is so."""
        async with asyncio.timeout(10):
            while f"\nplanb_http_{metric} {value:g}\n" not in self._api.parts.metrics.text():  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    def close(self) -> None:
        for writer in self.writers:
            writer.close()


async def test_a_request_whose_body_does_not_come_has_no_place_in_flight() -> None:
    async with api_dc(in_flight_max=3) as api:
        await api.sign_up("Uada", "Ugrace")
        raw = Raw(api)
        for _ in range(5):
            await raw.send("/v1/login", "", 60)
        ended = await raw.send("/v1/messages", api.user("Uada").token, 40)
        await raw.shows("bodies_coming", 6)
        assert api.parts.metrics.in_flight == 0
        assert (await api.user("Uada").get("/v1/me")).status == 200
        assert (await api.user("Uada").call("POST", "/v1/messages", MESSAGE)).status == 200
        api.parts.metrics.in_flight = 3
        raw.writers[-1].write(b'{"to":"Ugrace","text":"in the end"}'.ljust(40))
        assert b" 503 " in await ended.readline(), "once it is there it needs a place"
        assert api.parts.metrics.in_flight == 3
        api.parts.metrics.in_flight = 0
        raw.close()


async def test_what_is_announced_and_does_not_come_costs_nobody_anything(api: ApiDc) -> None:
    """Of old 44 idle connections of one token took the whole bound."""
    raw, grace = Raw(api), api.user("Ugrace")
    for _ in range(12):
        await raw.send("/v1/messages/batch", api.user("Uada").token, limits.BODY_BYTES_MAX)
    for _ in range(32):
        await raw.send("/v1/messages", api.user("Uada").token, limits.REQUEST_BYTES_MAX)
    await raw.shows("bodies_coming", 44)
    await raw.shows("bodies_bytes", 0)
    sent = await grace.call("POST", "/v1/messages", {"to": "Uada", "text": "Hello"})
    assert sent.status == 200
    edited = await grace.call("PATCH", f"/v1/messages/{sent.body['id']}", {"text": "Hello!"})
    assert edited.status == 200, edited
    raw.close()


@pytest.mark.parametrize("bound", ["bodies_bytes_max", "bodies_bytes_of_one_max"])
async def test_bodies_under_way_are_bounded_by_what_has_come(bound: str) -> None:
    most = limits.REQUEST_BYTES_MAX + 10
    async with api_dc(**{bound: most}) as api:
        await api.sign_up("Uada", "Ugrace")
        ada, raw = api.user("Uada"), Raw(api)
        body = b'{"to":"Ugrace","text":"slow"}'.ljust(limits.REQUEST_BYTES_MAX)
        reader = await raw.send("/v1/messages", ada.token, limits.REQUEST_BYTES_MAX, body[:-1])
        await raw.shows("bodies_bytes", limits.REQUEST_BYTES_MAX - 1)
        longer = {"bio": "x" * 20}
        refused = await ada.call("PATCH", "/v1/me", longer)
        assert (refused.status, refused.code, refused.headers["Retry-After"]) == (503, "overloaded", "1")
        assert ("your" in refused.body["detail"]) == (bound == "bodies_bytes_of_one_max")
        other = await api.user("Ugrace").call("PATCH", "/v1/me", longer)
        assert other.status == (503 if bound == "bodies_bytes_max" else 400)
        assert (await ada.get("/v1/me")).status == 200, "what brings no body is answered"
        raw.writers[0].write(body[-1:])
        async with asyncio.timeout(10):
            assert b" 200 " in await reader.readline()
        assert (await ada.call("PATCH", "/v1/me", longer)).status == 400
        await raw.shows("bodies_bytes", 0)
        assert api.parts.metrics.in_flight == 0
        raw.close()
