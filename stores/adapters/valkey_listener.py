"""One subscription that comes back by itself. What is announced while it is away is lost, as pub/sub may."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import hiredis

from core.errors import StoreUnavailable
from stores.adapters.valkey_batcher import TIMEOUT_S, Argument, Server

QUEUE_MAX = 1_000
"""Frames read ahead of the consumer; then the socket is not read, and the server drops who is too far behind."""
RETRY_S_MAX = 1.0
PING_S = 10.0
"""A silent connection is asked for a sign of life this often."""


class _Ear(asyncio.Protocol):
    def __init__(self, server: Server, channel: str) -> None:
        self._server = server
        self._channel = channel
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self._replies: deque[asyncio.Future[Any]] = deque()
        self._grew = asyncio.Event()
        self._reading = True
        self.frames: deque[bytes] = deque()
        self.heard = False
        """Something arrived since this was last set to False."""
        self.lost: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class

    def connection_lost(self, exc: Exception | None) -> None:
        self.end(f"lost: {exc or 'closed by the server'}")

    def end(self, cause: str) -> None:
        if self.lost is None:
            self.lost = cause
            if self._transport is not None:
                self._transport.abort()
            for future in self._replies:
                if not future.done():
                    future.set_exception(StoreUnavailable(private=cause))
        self._grew.set()

    def write(self, *command: Argument) -> None:
        if self._transport is not None:
            self._transport.write(hiredis.pack_command(command))  # type: ignore[arg-type]  # as in the batcher

    def ask(self, *command: Argument) -> asyncio.Future[Any]:
        """A command with a reply; only before the subscription."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._replies.append(future)
        self.write(*command)
        return future

    def data_received(self, data: bytes) -> None:
        self.heard = True
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                if self._replies:
                    future = self._replies.popleft()
                    if future.done():  # nobody waits any more
                        continue
                    if isinstance(reply, hiredis.ReplyError):
                        future.set_exception(reply)
                    else:
                        future.set_result(reply)
                elif isinstance(reply, list) and reply[0] == b"message":
                    self.frames.append(reply[2])
        except hiredis.ProtocolError as error:
            self.end(f"not the protocol: {error!r}")
        if self._reading and len(self.frames) >= QUEUE_MAX and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()
        self._grew.set()

    async def more(self) -> None:
        """Waits for frames or the end; a silent server must answer a ping."""
        if not self._reading and self._transport is not None and self.lost is None:
            self._reading = True
            self._transport.resume_reading()
        while not self.frames and self.lost is None:
            self._grew.clear()
            self.heard = False
            try:
                async with asyncio.timeout(PING_S):
                    await self._grew.wait()
            except TimeoutError:
                await self._prove()

    async def _prove(self) -> None:
        self._grew.clear()
        self.write("PING")
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._grew.wait()
        except TimeoutError:
            self.end(f"silent for {PING_S + TIMEOUT_S} s")


async def _connect(server: Server, channel: str) -> _Ear:
    ear = _Ear(server, channel)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await server.connect(lambda: ear)
            await server.greet(ear.ask)
            await ear.ask("SUBSCRIBE", channel)
    except BaseException:
        ear.end("not opened")
        raise
    return ear


async def subscribe(server: Callable[[], Server], channel: str) -> AsyncIterator[bytes]:
    """Every frame that arrives; reconnects for ever, with a growing pause, and says so by an empty frame. Close the
    iterator to end it. `server` says where, each time anew."""
    pause_s = 0.0
    again = False
    while True:
        try:
            ear = await _connect(server(), channel)
        except (OSError, TimeoutError, StoreUnavailable, hiredis.HiredisError):
            pause_s = min(RETRY_S_MAX, max(0.02, 2 * pause_s))
            await asyncio.sleep(pause_s)
            continue
        pause_s = 0.0
        try:
            if again:
                yield b""
            again = True
            while True:
                await ear.more()
                while ear.frames:
                    yield ear.frames.popleft()
                if ear.lost is not None:
                    break
        finally:
            ear.end("closed here")
