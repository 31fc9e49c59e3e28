"""What a client sends on its stream, which only tells: a hello and pings. Whoever sends more is cut off.

    Metered  stands before the framework: bytes that no message comes of, pieces without end, cost nothing either
    Inbound  takes the messages, and answers the protocol's own pings

Each counts in a bucket that refills by time: a burst is allowed, a flood is not.
"""

import asyncio
from collections.abc import Callable
from typing import cast

from aiohttp import WSMessage, WSMsgType, web

from core import limits

_OVER = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)
_FRAME_BYTES = 16
"""Of a head and its mask, at most."""


class Flooded(Exception):
    """The client sent more than it may."""


class Bucket:
    """Full at first."""

    def __init__(self, most: float, per_s: float) -> None:
        self._most = self._left = most
        self._per_s = per_s
        self._time = asyncio.get_running_loop().time
        self._at = self._time()

    def take(self, count: int) -> bool:
        """False if there is not as much in it."""
        now = self._time()
        self._left = min(self._most, self._left + (now - self._at) * self._per_s)
        self._at = now
        if self._left < count:
            return False
        self._left -= count
        return True


class Metered(asyncio.Protocol):
    """The framework's protocol of one connection, as long as its client does not send too many bytes."""

    def __init__(self, transport: asyncio.Transport, flooded: Callable[[], None]) -> None:
        """Takes the place of the transport's protocol. `flooded` is called once, when nothing more is taken."""
        self._transport = transport
        self._inner = cast(asyncio.Protocol, transport.get_protocol())
        self._hello = limits.STREAM_RECEIVED_BYTES_MAX + _FRAME_BYTES
        """Bytes that may come besides: the first message is longer than all others."""
        self._bucket = Bucket(limits.STREAM_CLIENT_BYTES_MAX, limits.STREAM_CLIENT_BYTES_PER_S)
        self._over = False
        self.flooded = flooded
        transport.set_protocol(self)

    def greeted(self) -> None:
        """The hello is here."""
        self._hello = 0

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        size = len(data)
        free = min(size, self._hello)
        self._hello -= free
        if self._bucket.take(size - free):
            self._inner.data_received(data)
        else:
            self._over = True
            self.flooded()

    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()


class Inbound:
    """The messages of one websocket."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        """`socket` leaves pings to us."""
        self._socket = socket
        self._bucket = Bucket(limits.STREAM_CLIENT_FRAMES_MAX, limits.STREAM_CLIENT_FRAMES_PER_S)

    async def next(self) -> WSMessage | None:
        """The next one; None when the connection is over. Raises Flooded."""
        while True:
            message = await self._socket.receive()
            if message.type in _OVER:
                return None
            if not self._bucket.take(1):
                raise Flooded
            if message.type is WSMsgType.PING:
                await self._socket.pong(message.data)
            elif message.type is not WSMsgType.PONG:
                return message
