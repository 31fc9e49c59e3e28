"""One connection that many callers share: what one tick of the loop asks for leaves in one write.

An awaited redis-py command costs about 105 us of Python; here a command costs about 7 us alone and less in company,
because a tick's commands share one write and their replies one read.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

import hiredis

from core.cause import cause_of
from core.errors import ConfigError, Overloaded, StoreUnavailable

Argument = str | bytes | int | float
Send = Callable[..., Awaitable[Any]]
"""One command on the connection that is just being opened, or on the shared one."""

TIMEOUT_S = 5.0
"""A connection on which nothing was answered for so long, although something was asked, is given up."""
IN_FLIGHT_MAX = 20_000
"""Commands that wait for their reply; beyond it `Overloaded`."""
UNSENT_BYTES_MAX = 64 << 20
"""Bytes that the server does not take yet; beyond it `Overloaded`."""
RETRY_S = 0.05
"""After a connection attempt failed, callers fail at once for so long."""


class Server:
    """Where a Valkey server is: `redis://[:password@]host[:port][/db]` or `unix://[:password@]/path[?db=n]`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("redis", "unix"):
            raise ConfigError(f"not a redis:// or unix:// address: {parts.scheme}://…")
        self.path = parts.path if parts.scheme == "unix" else None
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 6379
        self.password = unquote(parts.password) if parts.password else None
        self.username = unquote(parts.username) if parts.username else None
        query = parse_qs(parts.query)
        self.db = int(query["db"][0]) if "db" in query else int(parts.path.strip("/") or 0) if not self.path else 0

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"

    async def connect(self, make: Callable[[], asyncio.BaseProtocol]) -> None:
        """Opens a connection for the protocol that `make` makes. OSError if that fails."""
        loop = asyncio.get_running_loop()
        if self.path:
            await loop.create_unix_connection(make, self.path)
        else:
            await loop.create_connection(make, self.host, self.port)

    async def greet(self, send: Send) -> None:
        """Authenticates and selects the database."""
        if self.password is not None:
            await send(*(("AUTH", self.username, self.password) if self.username else ("AUTH", self.password)))
        if self.db:
            await send("SELECT", self.db)


class _Wire(asyncio.Protocol):
    """One connection. Replies come in the order of the commands, so a queue of futures is all the bookkeeping."""

    def __init__(self, server: Server, timeout_s: float, lost: Callable[["_Wire"], None]) -> None:
        self._server = server
        self._timeout_s = timeout_s
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._flushing = False
        self._paused = False
        self._moved_at = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    def send(self, *command: Argument) -> asyncio.Future[Any]:
        """Queues one command; the future gets its reply, hiredis.ReplyError or StoreUnavailable."""
        if self._transport is None or self._transport.is_closing():
            raise StoreUnavailable(private=f"not connected to {self._server}")
        if len(self._waiting) >= IN_FLIGHT_MAX or self._unsent_bytes > UNSENT_BYTES_MAX:
            raise Overloaded(retry_after_s=1, private=f"{len(self._waiting)} commands wait for {self._server}")
        packed = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub knows one argument
        future: asyncio.Future[Any] = self._loop.create_future()
        if not self._waiting:
            self._moved_at = self._loop.time()
            if self._watch is None:
                self._watch = self._loop.call_later(self._timeout_s, self._look)
        self._waiting.append(future)
        self._unsent.append(packed)
        self._unsent_bytes += len(packed)
        if not self._flushing and not self._paused:
            self._flushing = True
            self._loop.call_soon(self._flush)
        return future

    def _flush(self) -> None:
        self._flushing = False
        if self._unsent and not self._paused and self._transport is not None:
            self._transport.write(b"".join(self._unsent) if len(self._unsent) > 1 else self._unsent[0])
            self._unsent.clear()
            self._unsent_bytes = 0

    def _look(self) -> None:
        """Gives the connection up when nothing has moved for the timeout."""
        self._watch = None
        if not self._waiting:
            return
        left = self._moved_at + self._timeout_s - self._loop.time()
        if left <= 0:
            self.end(f"{self._server} did not answer for {self._timeout_s} s")
        else:
            self._watch = self._loop.call_later(left, self._look)

    def end(self, cause: str) -> None:
        """Closes at once; all who wait get StoreUnavailable."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
            self._lost(self)
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        waiting, self._waiting = self._waiting, deque()
        for future in waiting:
            if not future.done():
                future.set_exception(StoreUnavailable(private=cause))
                future.exception()  # a caller that is gone need not be told
        self._unsent.clear()
        self._unsent_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class

    def connection_lost(self, exc: Exception | None) -> None:
        self.end(f"connection to {self._server} lost: {exc or 'closed by the server'}")

    def data_received(self, data: bytes) -> None:
        reader, waiting = self._reader, self._waiting
        reader.feed(data)
        self._moved_at = self._loop.time()
        try:
            while (reply := reader.gets()) is not False:
                future = waiting.popleft()
                if future.done():
                    continue
                if isinstance(reply, hiredis.ReplyError):
                    future.set_exception(reply)
                else:
                    future.set_result(reply)
        except (hiredis.ProtocolError, IndexError) as error:
            self.end(f"{self._server} does not speak the protocol: {cause_of(error)}")

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._flush()


class Batcher:
    """The shared connection: opened at the first call, and again at the first call after it was lost.

    `greet` runs on each new connection before anyone else may use it. A call raises StoreUnavailable when the outcome
    is not known, Overloaded when nothing was sent because too much waits, hiredis.ReplyError for an error reply.
    """

    def __init__(
        self, url: str, *, greet: Callable[[Send], Awaitable[None]] | None = None, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._server = Server(url)
        self._greet = greet
        self._timeout_s = timeout_s
        self._wire: _Wire | None = None
        self._opening: asyncio.Task[_Wire] | None = None
        self._failed_at = -RETRY_S
        self._failure = ""
        self._closed = False

    async def call(self, *command: Argument) -> Any:
        """One command and its reply."""
        wire = self._wire
        if wire is None:
            wire = await self._open()
        return await wire.send(*command)

    async def _open(self) -> _Wire:
        if self._closed:
            raise StoreUnavailable(private=f"the connection to {self._server} was closed here")
        if self._opening is None:
            if asyncio.get_running_loop().time() < self._failed_at + RETRY_S:
                raise StoreUnavailable(private=self._failure)
            self._opening = asyncio.create_task(self._connect())
            self._opening.add_done_callback(self._opened)
        return await asyncio.shield(self._opening)

    async def _connect(self) -> _Wire:
        wire = _Wire(self._server, self._timeout_s, self._drop)
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._server.connect(lambda: wire)
                await self._server.greet(wire.send)
                if self._greet is not None:
                    await self._greet(wire.send)
        except (OSError, TimeoutError, StoreUnavailable, hiredis.HiredisError) as error:
            cause = f"no connection to {self._server}: {getattr(error, 'private', '') or cause_of(error)}"
            wire.end(cause)
            raise StoreUnavailable(private=cause) from error
        except BaseException:
            wire.end("the connection was not wanted any more")
            raise
        self._wire = wire
        return wire

    def _opened(self, task: asyncio.Task[_Wire]) -> None:
        self._opening = None
        if task.cancelled():
            return
        if error := task.exception():
            self._failed_at = task.get_loop().time()
            self._failure = getattr(error, "private", "") or cause_of(error)

    def _drop(self, wire: _Wire) -> None:
        if self._wire is wire:
            self._wire = None

    async def close(self) -> None:
        """Ends the connection; who still waits gets StoreUnavailable. Repeatable."""
        self._closed = True
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        if self._wire is not None:
            self._wire.end("closed here")
