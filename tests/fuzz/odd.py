"""Shapes of HTTP that two readers might take for different requests, slow ones, and those that never end."""

import asyncio
from random import Random

from tests.fuzz.pipes import Lost, Pipe

SMUGGLED = "smuggled"
"""The text of the message that would be there if what is inside a body had been taken for a request."""


def hidden(token: bytes, to: bytes) -> bytes:
    """The request that must never be read as one."""
    body = b'{"to":"%b","text":"%b"}' % (to, SMUGGLED.encode())
    return b"POST /v1/messages HTTP/1.1\r\nHost: planb\r\nAuthorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b" % (
        token,
        len(body),
        body,
    )


def shapes(token: bytes, to: bytes) -> list[bytes]:
    """Bytes of one connection each, with a request inside what is, by one reading or another, a body."""
    inside = hidden(token, to)
    head = b"POST /v1/messages HTTP/1.1\r\nHost: planb\r\nAuthorization: Bearer " + token + b"\r\n"
    length = b"Content-Length: %d\r\n" % len(inside)
    chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(inside), inside)
    upgrade = b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
    return [
        head + length + b"\r\n" + inside,
        head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk,
        head + length + b"Transfer-Encoding: chunked\r\n\r\n" + chunk,
        head + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n" + chunk,
        head + b"Content-Length: 0\r\n" + length + b"\r\n" + inside,
        head + length + b"Content-Length: 0\r\n\r\n" + inside,
        head + b"Transfer-Encoding: xchunked\r\n" + length + b"\r\n" + inside,
        head + b"Transfer-Encoding: chunked, identity\r\n" + length + b"\r\n" + inside,
        head + b"Transfer-Encoding : chunked\r\n" + length + b"\r\n" + inside,
        head + b"Transfer-Encoding:\x0bchunked\r\n" + length + b"\r\n" + inside,
        head + b" Transfer-Encoding: chunked\r\n" + length + b"\r\n" + inside,
        head + b"X: y\r\n\tContent-Length: 0\r\n" + length + b"\r\n" + inside,
        head + b"Content-Length: +%d\r\n\r\n" % len(inside) + inside,
        head + b"Content-Length: 0x%x\r\n\r\n" % len(inside) + inside,
        head + b"Content-Length: %d, %d\r\n\r\n" % (len(inside), len(inside)) + inside,
        head + b"Content-Length: -1\r\n\r\n" + inside,
        head + b"Content-Length: \r\n\r\n" + inside,
        head + length.replace(b"\r\n", b"\n") + b"\n" + inside,
        head + b"X: " + b"y" * 9_000 + b"\r\n" + length + b"\r\n" + inside,
        head + b"Transfer-Encoding: chunked\r\n\r\n%x;%b\r\n" % (len(inside), b"e" * 20_000) + inside,
        head + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n" + inside,
        head + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n" + inside,
        head + b"Expect: 100-continue\r\n" + length + b"\r\n" + inside,
        head.replace(b"POST /v1/messages", b"GET /v1/me") + length + b"\r\n" + inside,
        b"GET /v1/me HTTP/0.9\r\n" + length + b"\r\n" + inside,
        b"GET http://elsewhere/v1/me HTTP/1.1\r\nHost: planb\r\n" + length + b"\r\n" + inside,
        b"CONNECT planb:80 HTTP/1.1\r\nHost: planb\r\n" + length + b"\r\n" + inside,
        head.replace(b"POST /v1/messages", b"GET /v1/stream") + upgrade + length + b"\r\n" + inside,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + inside[:40],
        b"\x16\x03\x01" + bytes(range(256)),
    ]


async def one(rng: Random, port: int, token: bytes, to: bytes) -> list[int]:
    """Sends one shape, mostly in pieces; the statuses that came. The connection ends with it."""
    pipe = await Pipe.open(port)
    data = rng.choice(shapes(token, to))
    try:
        if rng.random() < 0.5:
            at = rng.randrange(len(data))
            pipe.send(data[:at])
            await asyncio.sleep(rng.random() / 5)  # slow, as such clients are
            data = data[at:]
        pipe.send(data)
        return [answer.status for answer in await pipe.answers(2, timeout_s=0.5)]
    except Lost as error:
        return [answer.status for answer in error.answers]
    except TimeoutError:
        return []
    finally:
        pipe.close()
