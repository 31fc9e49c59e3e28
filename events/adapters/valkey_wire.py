"""A bounded set of connections to one Valkey or Redis, whose failures say whether the server may have acted.

redis-py's client folds "could not connect" and "no answer" into one error and retries by itself; a log must know the
difference. So this uses redis-py's connections only: connecting is apart from asking, nothing is ever retried here,
and a connection that was left in the middle of an answer is closed.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Connection
from redis.asyncio.connection import parse_url
from redis.exceptions import BusyLoadingError, RedisError, ResponseError

Command = Sequence[str | bytes | int]


class NotSent(Exception):
    """The server did not get the command."""


class Unanswered(Exception):
    """The server may have got the command, and may yet act on it."""


class Wire:
    """At most `connections_max` connections, opened when needed. Cancelling a call closes its connection."""

    def __init__(self, url: str, *, connections_max: int, connect_s: float, answer_s: float) -> None:
        """`connect_s` bounds waiting for a free connection and opening it, `answer_s` everything after that."""
        # The timeouts are set around whole calls; RESP2 and no driver info save a round trip per connection.
        ours = {"socket_timeout": None, "socket_connect_timeout": connect_s, "protocol": 2, "driver_info": None}
        self._options: dict[str, Any] = {**parse_url(url), **ours}
        self._kind: type[Connection] = self._options.pop("connection_class", Connection)
        self._connect_s = connect_s
        self._answer_s = answer_s
        self._slots = asyncio.Semaphore(connections_max)
        self._idle: list[Connection] = []
        self._closed = False

    async def ask(self, *commands: Command) -> list[Any]:
        """Sends the commands in one go and returns their answers; an error reply is returned as a ResponseError.
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
                    await connection.disconnect(nowait=True)
        finally:
            self._slots.release()
        return answers

    async def close(self) -> None:
        """Closes idle connections now and the others when their call ends; later calls raise NotSent."""
        self._closed = True
        while self._idle:
            await self._idle.pop().disconnect()

    async def _connected(self) -> Connection:
        if self._closed:
            raise NotSent("the log was closed")
        while self._idle:
            connection = self._idle.pop()
            try:
                # Anything to read before we asked means that the server has gone, or that it owes an old answer.
                if connection.is_connected and not await connection.can_read():
                    return connection
            except (RedisError, OSError):
                pass  # it is as closed as can_read's True would have said
            await connection.disconnect(nowait=True)
        connection = self._kind(**self._options)
        try:
            async with asyncio.timeout(self._connect_s):
                await connection.connect()
                # A server that is starting, full of clients or closed to us says so here, before anything is at stake.
                await connection.send_command("PING", check_health=False)
                await connection.read_response()
        except (RedisError, OSError, TimeoutError) as error:
            await connection.disconnect(nowait=True)
            raise NotSent(f"no connection: {type(error).__name__} {error}") from error
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    async def _exchange(self, connection: Connection, commands: Sequence[Command]) -> list[Any]:
        answers: list[Any] = []
        try:
            async with asyncio.timeout(self._answer_s):
                await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
                for _ in commands:
                    try:
                        answers.append(await connection.read_response(disconnect_on_error=False))
                    except ResponseError as error:
                        answers.append(error)
        except BusyLoadingError as error:
            # A reply, although redis-py makes a ConnectionError of it: the server refused because it is starting.
            raise NotSent("the server is loading its data") from error
        except (RedisError, OSError, TimeoutError) as error:
            raise Unanswered(f"no answer: {type(error).__name__} {error}") from error
        return answers
