"""A bounded set of connections to one Valkey or Redis, whose failures say whether the server may have acted.

redis-py's client folds "could not connect" and "no answer" into one error and retries by itself; a log must know the
difference. So connecting is apart from asking here, nothing is ever retried, and a connection that was left in the
middle of an answer is closed. Of redis-py only the reading of addresses is used: its connections cost several times
what an append costs otherwise.
"""

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any, cast

import hiredis
from redis.asyncio.connection import SSLConnection, parse_url

from core.cause import cause_of

Command = Sequence[str | bytes | int]


class NotSent(Exception):
    """The server did not get the command."""


class Unanswered(Exception):
    """The server may have got the command, and may yet act on it."""


class _Address:
    """Where the server is, and how to become somebody there."""

    def __init__(self, url: str) -> None:
        options: dict[str, Any] = dict(parse_url(url))
        kind = options.pop("connection_class", None)
        self._path: str | None = options.get("path")
        self._host, self._port = options.get("host", "127.0.0.1"), int(options.get("port", 6379))
        secure = kind is not None and issubclass(kind, SSLConnection)
        self._tls: ssl.SSLContext | None = SSLConnection(**options).ssl_context.get() if secure else None
        self.greeting: list[Command] = []
        if options.get("password"):
            named = [options["username"]] if options.get("username") else []
            self.greeting.append(("AUTH", *named, options["password"]))
        if options.get("db"):
            self.greeting.append(("SELECT", int(options["db"])))
        # A server that is starting, full of clients or closed to us says so here, before anything is at stake.
        self.greeting.append(("PING",))

    def __str__(self) -> str:
        return self._path or f"{self._host}:{self._port}"

    async def connect(self) -> "_Connection":
        """OSError if that fails."""
        loop = asyncio.get_running_loop()
        if self._path:
            _, made = await loop.create_unix_connection(_Connection, self._path)
        else:
            _, made = await loop.create_connection(_Connection, self._host, self._port, ssl=self._tls)
        return made


class _Connection(asyncio.Protocol):
    """One connection, with one exchange at a time."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self._wanted = 0
        self._answers: list[Any] = []
        self._complete: asyncio.Future[list[Any]] | None = None

    @property
    def usable(self) -> bool:
        """Nothing came that was not asked for, its end among that."""
        return self._transport is not None and not self._transport.is_closing()

    def ask(self, commands: Sequence[Command]) -> "asyncio.Future[list[Any]]":
        """An answer for each command, error replies as hiredis.ReplyError. OSError when the connection breaks."""
        self._complete = asyncio.get_running_loop().create_future()
        self._wanted, self._answers = len(commands), []
        if self._transport is None or not self.usable:
            self._fail("closed")
        else:
            packed = [hiredis.pack_command(tuple(command)) for command in commands]  # type: ignore[arg-type]
            self._transport.write(b"".join(packed))
        return self._complete

    def close(self) -> None:
        """At once."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail(str(exc or "closed by the server"))

    def data_received(self, data: bytes) -> None:
        if self._complete is None or self._complete.done():
            self.close()  # an answer that somebody else was owed
            return
        self._reader.feed(data)
        try:
            while len(self._answers) < self._wanted and (answer := self._reader.gets()) is not False:
                self._answers.append(answer)
        except hiredis.ProtocolError as error:
            self._fail(f"not the protocol: {error}")
            self.close()
            return
        if len(self._answers) == self._wanted:
            self._complete.set_result(self._answers)
            if self._reader.has_data():
                self.close()

    def _fail(self, why: str) -> None:
        if self._complete is not None and not self._complete.done():
            self._complete.set_exception(ConnectionError(why))


class Wire:
    """At most `connections_max` connections, opened when needed. Cancelling a call closes its connection."""

    def __init__(self, url: str, *, connections_max: int, connect_s: float, answer_s: float) -> None:
        """`connect_s` bounds waiting for a free connection and opening it, `answer_s` everything after that."""
        self._address = _Address(url)
        self._connect_s = connect_s
        self._answer_s = answer_s
        self._slots = asyncio.Semaphore(connections_max)
        self._idle: list[_Connection] = []
        self._closed = False

    async def ask(self, *commands: Command) -> list[Any]:
        """Sends the commands in one go and returns their answers; an error reply is returned as a hiredis.ReplyError.
        Raises NotSent and Unanswered.
        """
        try:
            async with asyncio.timeout(self._connect_s):
                await self._slots.acquire()
        except TimeoutError as error:
            raise NotSent("all connections are busy") from error
        try:
            connection = await self._connected()
            complete = False
            try:
                answers = await self._exchange(connection, commands)
                complete = True
            finally:
                if complete and not self._closed:
                    self._idle.append(connection)
                else:
                    connection.close()
        finally:
            self._slots.release()
        return answers

    async def close(self) -> None:
        """Closes idle connections now and the others when their call ends; later calls raise NotSent."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    async def _connected(self) -> _Connection:
        if self._closed:
            raise NotSent("the log was closed")
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
            connection.close()
        opened: _Connection | None = None
        welcome = False
        try:
            async with asyncio.timeout(self._connect_s):
                opened = await self._address.connect()
                for answer in await opened.ask(self._address.greeting):
                    if isinstance(answer, hiredis.ReplyError):
                        raise ConnectionError(str(answer))
            welcome = True
        except (OSError, TimeoutError) as error:
            raise NotSent(f"no connection to {self._address}: {cause_of(error)}") from error
        finally:
            if opened is not None and not welcome:
                opened.close()
        return opened

    async def _exchange(self, connection: _Connection, commands: Sequence[Command]) -> list[Any]:
        try:
            async with asyncio.timeout(self._answer_s):
                answers = await connection.ask(commands)
        except (OSError, TimeoutError) as error:
            raise Unanswered(f"no answer: {cause_of(error)}") from error
        if any(isinstance(answer, hiredis.ReplyError) and str(answer).startswith("LOADING ") for answer in answers):
            raise NotSent("the server is loading its data")
        return answers
