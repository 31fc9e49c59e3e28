"""Clients as cheap as Python has them: HTTP with keep-alive and websockets, straight on asyncio's protocols.

They parse what our own server sends and no more, so that a load generator costs a small part of what it measures.
"""

import asyncio
import base64
import os
from collections.abc import Callable
from typing import cast

_END = b"\r\n\r\n"
_LENGTH = b"Content-Length: "
_CLOCK = b"X-Clock: "


class Http(asyncio.Protocol):
    """One connection, one request at a time. `answered(status, body)` is called for each answer."""

    def __init__(self, answered: "Callable[[Http, int, bytes], None]", lost: Callable[[str], None]) -> None:
        self._answered = answered
        self._lost = lost
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self.clock = b""
        """The last X-Clock that was answered; sent back, as every client does."""

    def post(self, path: str, token: str, key: str, body: bytes) -> None:
        """Sends one request as the SDK does; without a `key` where the body names its own."""
        named = f"Idempotency-Key: {key}\r\n" if key else ""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: planb\r\nAuthorization: Bearer {token}\r\n{named}"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        ).encode()
        clock = b"X-Clock: %b\r\n" % self.clock if self.clock else b""
        assert self._transport is not None, "connected"
        self._transport.write(b"%b%b\r\n%b" % (head, clock, body))

    def close(self) -> None:
        if self._transport is not None:
            transport, self._transport = self._transport, None
            transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._lost(f"a connection was lost: {exc or 'closed by the server'}")

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        end = data.find(_END)
        if end < 0:
            self._buffer = data
            return
        begin = data.index(_LENGTH) + len(_LENGTH)
        size = end + len(_END) + int(data[begin : data.index(b"\r", begin)])
        if len(data) < size:
            self._buffer = data
            return
        self._buffer = b""
        clock = data.find(_CLOCK, 0, end)
        if clock >= 0:
            self.clock = data[clock + len(_CLOCK) : data.index(b"\r", clock)]
        self._answered(self, int(data[9:12]), data[end + len(_END) : size])


class Stream(asyncio.Protocol):
    """A websocket that only listens: `heard(payload)` for each frame. It answers no pings: too short-lived."""

    def __init__(self, token: str, heard: Callable[[bytes], None], lost: Callable[[str], None]) -> None:
        self._token = token
        self._heard = heard
        self._lost = lost
        self._buffer = b""
        self._open = False
        self._transport: asyncio.Transport | None = None
        self.greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def close(self) -> None:
        if self._transport is not None:
            transport, self._transport = self._transport, None
            transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        key = base64.b64encode(os.urandom(16)).decode()
        self._transport.write(
            f"GET /v1/stream HTTP/1.1\r\nHost: planb\r\nAuthorization: Bearer {self._token}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._lost(f"a websocket was lost: {exc or 'closed by the server'}")

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        at = 0
        if not self._open:
            end = data.find(_END)
            if end < 0:
                self._buffer = data
                return
            if not data.startswith(b"HTTP/1.1 101"):
                self._lost(f"no websocket: {data[:100]!r}")
                return
            self._open = True
            assert self._transport is not None, "connected"
            self._transport.write(_masked(b'{"type":"hello"}'))
            at = end + len(_END)
        while (frame := _frame(data, at)) is not None:
            begin, at = frame
            self._hear(data[begin:at])
        self._buffer = data[at:]

    def _hear(self, payload: bytes) -> None:
        if not self.greeted.done() and payload.startswith(b'{"type":"hello"'):
            self.greeted.set_result(None)
        else:
            self._heard(payload)


def _frame(data: bytes, at: int) -> tuple[int, int] | None:
    """Begin and end of the payload of the (unmasked) frame at `at`; None while it is not here whole."""
    if len(data) < at + 2:
        return None
    size, begin = data[at + 1], at + 2
    if size >= 126:
        more = 2 if size == 126 else 8
        begin += more
        if len(data) < begin:
            return None
        size = int.from_bytes(data[begin - more : begin])
    return (begin, begin + size) if len(data) >= begin + size else None


def _masked(payload: bytes) -> bytes:
    """A short text frame of a client, its mask all zeros."""
    return bytes((0x81, 0x80 | len(payload))) + bytes(4) + payload
