"""Who may have a connection to a listener, and for how long without asking for anything.

Connections are counted from accept to loss, whoever answers on them. Beyond the bound a new one is told 503 and
closed. One that does not come to a complete request head, or takes nothing of what it is answered, is closed.
"""

import asyncio
from collections.abc import Callable
from typing import cast

from api import problems
from api.metrics import Metrics
from core import limits
from core.errors import Overloaded

Make = Callable[[], asyncio.Protocol]
_HEAD_END = b"\r\n\r\n"
_RETRY_AFTER_S = 5


def _refusal() -> bytes:
    answer = problems.response(Overloaded("too many connections", retry_after_s=_RETRY_AFTER_S), "")
    assert isinstance(answer.body, bytes)
    lines = ["HTTP/1.1 503 Service Unavailable", *(f"{name}: {value}" for name, value in answer.headers.items())]
    return (
        "\r\n".join([*lines, f"Content-Length: {len(answer.body)}", "Connection: close", "", ""]).encode() + answer.body
    )


class Door:
    """Of one listener."""

    def __init__(self, connections_max: int, metrics: Metrics) -> None:
        self._connections_max = connections_max
        self._refusal = _refusal()
        self._server: asyncio.Server | None = None
        self.open = 0
        """Connections that are there."""
        self._left = asyncio.Event()
        self.refused = 0
        self.silent = 0
        """Those that were closed because nothing came, or nothing was taken."""
        metrics.gauge("planb_http_connections", "Open connections, websockets included.", lambda: self.open)
        metrics.gauge("planb_http_connections_refused", "Connections beyond the bound.", lambda: self.refused)
        metrics.gauge("planb_http_connections_silent", "Connections closed for silence.", lambda: self.silent)

    def enter(self, transport: asyncio.Transport) -> bool:
        """Counts a new connection; False if it was refused. `leave` in either case."""
        self.open += 1
        if self.open <= self._connections_max:
            return True
        self.refused += 1
        transport.write(self._refusal)
        transport.close()
        return False

    def leave(self) -> None:
        """A connection is lost."""
        self.open -= 1
        self._left.set()

    async def emptied(self, timeout_s: float) -> bool:
        """Returns when no connection is there any more; False after the timeout."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.open:
                    self._left.clear()
                    await self._left.wait()
        except TimeoutError:
            return False
        return True

    def silence(self, transport: asyncio.Transport) -> None:
        """Closes a connection on which nothing moves."""
        self.silent += 1
        if transport.get_write_buffer_size():
            transport.abort()
        else:
            transport.close()

    def watched(self, make: Make) -> Make:
        """Makes the framework's protocol of a connection that has entered."""
        return lambda: _Watched(self, make(), entered=True)

    async def listen(self, host: str, port: int, backlog: int, make: Make) -> None:
        """Listens, for a listener of which the framework answers everything. OSError if the port is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Watched(self, make(), entered=False), host, port, backlog=backlog
        )

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None, "listens"
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Listens no more; the framework closes its connections."""
        if self._server is not None:
            self._server.close()


class _Watched(asyncio.Protocol):
    """The framework's protocol of one connection, with two clocks: to its first complete head, and, while the client
    does not take what it gets, to its taking anything (the framework waits for it, and reads nothing meanwhile)."""

    def __init__(self, door: Door, inner: asyncio.Protocol, *, entered: bool) -> None:
        self._door = door
        self._inner = inner
        self._entered = entered
        self._transport: asyncio.Transport | None = None
        self._end_of_data = b""
        self._heading: asyncio.TimerHandle | None = None
        self._stuck: asyncio.TimerHandle | None = None
        self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class
        if not self._entered and not self._door.enter(self._transport):
            return
        self._entered = True
        self._heading = asyncio.get_running_loop().call_later(limits.HEAD_WAIT_S_MAX, self._silent)
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._headed()
        self._moving()
        if self._entered:
            self._inner.connection_lost(exc)
        self._door.leave()

    def data_received(self, data: bytes) -> None:
        if self._heading is not None:
            if _HEAD_END in self._end_of_data + data:
                self._headed()
            else:
                self._end_of_data = (self._end_of_data + data)[1 - len(_HEAD_END) :]
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        assert self._transport is not None, "made"
        self._inner.pause_writing()
        self._left = self._transport.get_write_buffer_size()
        self._stuck = asyncio.get_running_loop().call_later(limits.TAKE_WAIT_S_MAX, self._look)

    def resume_writing(self) -> None:
        self._moving()
        self._inner.resume_writing()

    def _look(self) -> None:
        """Closes a connection whose client has taken nothing since the last look."""
        assert self._transport is not None, "made"
        left, before = self._transport.get_write_buffer_size(), self._left
        if left >= before:
            self._silent()
        else:
            self._left = left
            self._stuck = asyncio.get_running_loop().call_later(limits.TAKE_WAIT_S_MAX, self._look)

    def _silent(self) -> None:
        assert self._transport is not None, "made"
        self._door.silence(self._transport)

    def _headed(self) -> None:
        if self._heading is not None:
            self._heading.cancel()
            self._heading = None
            self._end_of_data = b""

    def _moving(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None
