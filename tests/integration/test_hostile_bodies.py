"""Bodies that are made to cost much: bounded answers, little time, nothing read that is beyond a bound."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from core import limits
from tests.support.api import ApiDc, User, api_dc

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
    begun = time.thread_time()
    async with api.http.request("POST", "/v1/login", data=HOSTILE[what]) as answer:
        text = await answer.read()
    assert time.thread_time() - begun < CPU_S_MAX
    assert answer.status == (400 if len(HOSTILE[what]) <= limits.ANONYMOUS_BYTES_MAX else 413)
    assert len(text) < 2_048, text[:200]


async def test_of_many_fields_at_fault_the_first_are_told(api: ApiDc) -> None:
    reply = await api.user("Uada").call("POST", "/v1/messages", {f"field{n}": n for n in range(40)})
    assert len(reply.fields) == limits.ERRORS_LISTED_MAX + 1
    assert reply.body["errors"][-1] == {"field": "", "problem": f"{40 + 2 - limits.ERRORS_LISTED_MAX} more"}


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


async def test_bodies_under_way_are_bounded_in_sum() -> None:
    async with api_dc(bodies_bytes_max=limits.REQUEST_BYTES_MAX + 10) as api:
        await api.sign_up("Uada", "Ugrace")
        ada: User = api.user("Uada")
        reader, writer = await asyncio.open_connection("127.0.0.1", api.http.port)
        head = f"POST /v1/messages HTTP/1.1\r\nHost: planb\r\nAuthorization: Bearer {ada.token}\r\n"
        writer.write(f"{head}Content-Length: {limits.REQUEST_BYTES_MAX}\r\n\r\n".encode())
        async with asyncio.timeout(10):
            while f" {limits.REQUEST_BYTES_MAX}" not in api.parts.metrics.text():  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        message = {"to": "Ugrace", "text": "Hello"}
        refused = await ada.call("POST", "/v1/messages", message)
        assert (refused.status, refused.code, refused.headers["Retry-After"]) == (503, "overloaded", "1")
        assert (await ada.get("/v1/me")).status == 200, "what brings no body is answered"
        body = b'{"to":"Ugrace","text":"slow"}'
        writer.write(body + b" " * (limits.REQUEST_BYTES_MAX - len(body)))
        async with asyncio.timeout(10):
            assert b" 200 " in await reader.readline()
        assert (await ada.call("POST", "/v1/messages", message)).status == 200
        assert "planb_http_bodies_bytes 0" in api.parts.metrics.text()
        writer.close()
