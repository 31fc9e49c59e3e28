"""What the front reads, the framework reads alike: no request is understood in two ways."""

import asyncio
from collections.abc import Iterable

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpRequestParser
from hypothesis import example, given, settings
from hypothesis import strategies as st

from api import plain_request

BODY = b'{"to":"Ugrace","text":"Hello"}'


def request(*headers: bytes, body: bytes = BODY, first: bytes = b"POST /v1/messages HTTP/1.1") -> bytes:
    lines = [first, b"Host: planb", b"Authorization: Bearer PB1.abc.def", *headers]
    return b"\r\n".join((*lines, b"Content-Length: %d" % len(body), b"", body))


EXPERIENCED = plain_request.Reader()
"""Remembers lines of all requests of these tests."""


async def check_alike(data: bytes) -> None:
    """What `read` takes is one request for aiohttp too, with the same parts. What was read before changes nothing."""
    found = plain_request.Reader().read(data)
    assert EXPERIENCED.read(data) == found
    if found is None:
        return
    loop = asyncio.get_running_loop()
    parser = HttpRequestParser(BaseProtocol(loop), loop, 2**16, max_line_size=8190, max_field_size=8190)
    messages, upgraded, tail = parser.feed_data(data)
    assert (len(messages), upgraded, tail) == (1, False, b"")
    message, payload = messages[0]
    assert (message.method, message.path, tuple(message.version)) == ("POST", found.path, (1, 1))
    assert not (message.should_close or message.upgrade or message.chunked or message.compression)
    assert _lower(message.headers.items()) == _lower(found.headers.items())
    assert await payload.read() == found.body


def _lower(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return sorted((name.lower(), value) for name, value in headers)


PLAIN = request(b"Content-Type: application/json", b"Idempotency-Key: k1", b"X-Clock: PX1.AAAA.BBBB")

_NASTY = (
    b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b": ", b"\0", b"\x7f", b"\xff", b",", b"0", b"1", b"-", b"+", b"GET",
    b"chunked", b"?x=1", b"#", b"%2e", b"//", b"HTTP/1.0", b"\r\n\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 0\r\n", b"Content-Length: 5\r\n", b"Connection: close\r\n", b"Expect: 100-continue\r\n",
    b"Upgrade: websocket\r\n", b"Connection: upgrade\r\n", b"Content-Encoding: gzip\r\n", b"dc: fra\r\n",
    b"Host: other\r\n", b"Prefer: durability=remote\r\n", b"Idempotency-Key: k2\r\n", b"\r\nIdempotency-Key: ",
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = PLAIN
    for _ in range(draw(st.integers(0, 4))):
        begin = draw(st.integers(0, len(data)))
        end = min(len(data), begin + draw(st.integers(0, 12)))
        data = data[:begin] + draw(st.sampled_from(_NASTY)) + data[end:]
    return data


@settings(max_examples=1500, deadline=None)
@given(mutated())
@example(PLAIN)
def test_whatever_the_front_takes_the_framework_reads_the_same(data: bytes) -> None:
    asyncio.run(check_alike(data))


@pytest.mark.parametrize(
    "data",
    [
        PLAIN,
        request(b"content-type: application/json", b"X-CLOCK: PX1.A.B", b"Accept: */*", b"User-Agent: a (b; c) d/1.0"),
        request(b"Connection: keep-alive", b"Accept-Encoding: gzip, deflate"),
        request(b"Connection: Keep-Alive", b"Prefer:   durability=remote  "),
        request(b"X-Cursor: "),
        request(b"Idempotency-Key: "),
        request(b"Idempotency-Key:   k1  "),
        request(b"idempotency-KEY: k1"),
        request(body=b""),
        request(body='{"text":"é"}'.encode()),
    ],
)
async def test_a_plain_request_is_taken(data: bytes) -> None:
    assert plain_request.Reader().read(data) is not None
    await check_alike(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        PLAIN[:-1],
        PLAIN + b" ",
        PLAIN + PLAIN,
        PLAIN[:40],
        PLAIN.replace(b"POST", b"GET"),
        PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"),
        PLAIN.replace(b"/v1/messages", b"/v1/messages?for=all"),
        PLAIN.replace(b"/v1/messages", b"http://planb/v1/messages"),
        PLAIN.replace(b"\r\n", b"\n"),
        PLAIN.replace(b"Host: planb\r\n", b"Host: planb\r\n folded\r\n"),
        PLAIN.replace(b"Host: ", b"Host : "),
        PLAIN.replace(b"Host: ", b"Host:"),
        PLAIN.replace(b"Bearer", b"Bearer\t"),
        PLAIN.replace(b"Bearer", b"Bearer\xc3\xa9"),
        request(b"Content-Length: 30"),
        request(b"Idempotency-Key: k1", b"Idempotency-Key: k2"),
        request(b"idempotency-key: k1", b"Idempotency-Key: k2"),
        request(b"Idempotency-Key: k1", b"idempotency-key: k2"),
        request(b"Idempotency-Key: k1", b"Host: other"),
        request(b"Idempotency-Key: k\t1"),
        request(b"Idempotency-Key: k\x7f1"),
        request(b"Idempotency-Key: k\xc3\xa9"),
        request(b"Idempotency-Key: k\n1"),
        request(b"Transfer-Encoding: chunked"),
        request(b"Connection: close"),
        request(b"Connection: upgrade"),
        request(b"Content-Encoding: gzip"),
        request(b"Expect: 100-continue"),
        request(b"Authorization: Bearer other"),
        request(b"dc: fra"),
        request(b"Cookie: a=b"),
        request(b"User-Agent: " + b"x" * 9000),
        b"\r\n".join((b"POST /v1/messages HTTP/1.1", b"Host: planb", b"", b"")),
        b"\r\n".join((b"POST /v1/messages HTTP/1.1", b"Content-Length: +2", b"", b"{}")),
        b"\r\n".join((b"POST /v1/messages HTTP/1.1", b"Content-Length: 2, 2", b"", b"{}")),
        b"\r\n".join((b"POST /v1/messages HTTP/1.1", b"Content-Length: 00000002", b"", b"{}")),
    ],
)
def test_everything_else_is_left_to_the_framework(data: bytes) -> None:
    assert plain_request.Reader().read(data) is None


def test_little_is_remembered_nothing_long_and_no_keys() -> None:
    reader = plain_request.Reader()

    def remembered() -> tuple[int, int]:
        return len(reader.known), len(reader.begun)

    for number in range(plain_request.KNOWN_MAX + 10):
        assert reader.read(request(b"User-Agent: %d" % number, b"Idempotency-Key: k%d" % number)) is not None
        assert max(remembered()) <= plain_request.KNOWN_MAX
    before = remembered()
    assert reader.read(request(b"User-Agent: 0", b"idempotency-key: another", b"X-Clock: ")) is not None
    assert remembered() == (before[0] + 2, before[1]), "the lines, and not the key"
    assert reader.read(request(b"User-Agent: 1", b"Idempotency-Key: another")) is not None
    assert remembered() == (before[0] + 3, before[1] + 1), "what stands before the key, and nothing of it"
    assert reader.read(request(b"User-Agent: " + b"x" * 1100, b"Idempotency-Key: another")) is not None
    assert remembered() == (before[0] + 3, before[1] + 1)
    assert not any(b"another" in text for text in (*reader.known, *reader.begun))


def test_what_was_remembered_is_not_changed_by_what_follows_it() -> None:
    reader = plain_request.Reader()
    for key in (b"k1", b"k2"):
        found = reader.read(request(b"Idempotency-Key: " + key, b"X-Clock: " + key))
        assert found is not None
        assert found.headers["Idempotency-Key"] == found.headers["X-Clock"] == key.decode()
    without = reader.read(request(b"Idempotency-Key: k3"))
    assert without is not None
    assert "X-Clock" not in without.headers
