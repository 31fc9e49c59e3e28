"""A simulated websocket: two ends and the wire between them.

Each direction keeps its order. A cut stalls a direction for good: what is sent is gone, and nobody is told, as with a
connection whose packets are dropped; the ends find out by silence. When a process dies the other end hears it, unless
that direction is cut.
"""

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
from aiohttp import ClientConnectionResetError, WSMsgType

from tests.simulation.loop import OUTSIDE, Process

if TYPE_CHECKING:
    from tests.simulation.network import Network

ABNORMAL = 1006


class Message(NamedTuple):
    type: WSMsgType
    data: Any = None
    extra: Any = None


class _End:
    """What has arrived at one end."""

    def __init__(self, wire: "Wire") -> None:
        self.wire = wire
        self.arrived: asyncio.Queue[Message] = asyncio.Queue()
        self.close_code: int | None = None
        self.closed = False

    def over(self, code: int, reason: str) -> None:
        if self.close_code is None:
            self.close_code = code
            self.arrived.put_nowait(Message(WSMsgType.CLOSE if code != ABNORMAL else WSMsgType.CLOSED, code, reason))


class Wire:
    def __init__(self, network: "Network", here: str, there: str, client: Process, server: Process) -> None:
        self._network = network
        self._hosts = {True: (here, there), False: (there, here)}
        self._at = {True: 0.0, False: 0.0}
        """Per direction (up: True), when the last thing sent arrives."""
        self._stalled = {True: False, False: False}
        self.over = False
        self.accepted: asyncio.Future[bool] = network.loop.create_future()
        self.client = Dialled(self)
        self.server = ServerSide(self)
        client.on_death.append(lambda: self.broke(True))
        server.on_death.append(lambda: self.broke(False))

    def stalled(self, a: str, b: str) -> None:
        for up, hosts in self._hosts.items():
            if hosts == (a, b):
                self._stalled[up] = True

    def send(self, up: bool, message: Message) -> None:
        """Towards the server (`up`) or the client."""
        a, b = self._hosts[up]
        if self._stalled[up] or self._network.is_cut(a, b):
            self._stalled[up] = True
            return
        now_s = self._network.loop.time()
        # TCP sends what is lost again: loss is delay here.
        delay_s = self._network.delay_s(a, b) + (0.3 if self._network.lost(a, b) else 0.0)
        self._at[up] = max(self._at[up], now_s + delay_s)
        self._network.loop.call_at(self._at[up], self._deliver, up, message, context=OUTSIDE.context())

    def _deliver(self, up: bool, message: Message) -> None:
        end: _End = self.server if up else self.client
        if self._stalled[up]:
            return
        if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSED):
            end.over(message.data, message.extra)
        elif end.close_code is None:
            end.arrived.put_nowait(message)

    def broke(self, up: bool) -> None:
        """The end that sends `up` (or down) is gone without a word."""
        if not self.accepted.done():
            self.accepted.set_result(False)
        self.send(up, Message(WSMsgType.CLOSED, ABNORMAL, ""))
        self.over = True

    def handled(self) -> None:
        """The server's handler has returned."""
        if not self.accepted.done():
            self.accepted.set_result(False)
        if not self.server.closed:
            self.send(False, Message(WSMsgType.CLOSED, ABNORMAL, ""))
        self.over = True


class Dialled(_End):
    """What of aiohttp.ClientWebSocketResponse is used."""

    async def send_str(self, text: str) -> None:
        if self.close_code is not None:
            raise aiohttp.ClientConnectionResetError("closed")
        self.wire.send(True, Message(WSMsgType.TEXT, text))

    async def receive(self, timeout: float | None = None) -> Message:
        if self.closed:
            return Message(WSMsgType.CLOSED)
        async with asyncio.timeout(timeout):
            message = await self.arrived.get()
        if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSED):
            self.closed = True
        return message

    async def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.wire.send(True, Message(WSMsgType.CLOSE, 1000, ""))
        self.over(1000, "")


class ServerSide(_End):
    """What of aiohttp.web.WebSocketResponse is used."""

    def accept(self) -> None:
        if not self.wire.accepted.done():
            self.wire.accepted.set_result(True)

    async def receive(self) -> Message:
        message = await self.arrived.get()
        if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSED):
            self.closed = True
        return message

    async def send_frame(self, frame: bytes, type: WSMsgType) -> None:
        if self.closed or self.close_code is not None:
            raise ClientConnectionResetError("closed")
        await asyncio.sleep(0)
        self.wire.send(False, Message(WSMsgType.TEXT, frame.decode()))

    def __aiter__(self) -> "ServerSide":
        return self

    async def __anext__(self) -> Message:
        message = await self.receive()
        if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSED):
            raise StopAsyncIteration
        return message

    async def close(self, *, code: int = 1000, message: bytes = b"", drain: bool = True) -> None:
        if not self.closed:
            self.closed = True
            self.wire.send(False, Message(WSMsgType.CLOSE, int(code), message.decode()))
        self.over(int(code), "")


class WebSocketResponse:
    """Made by the broker, before it knows the request: hands everything on to the end of the wire."""

    def __init__(self, **_: Any) -> None:
        self._end: ServerSide | None = None

    async def prepare(self, request: Any) -> None:
        from tests.simulation.network import SOCKET

        self._end = request[SOCKET]
        self._end.accept()
        await asyncio.sleep(0)

    @property
    def close_code(self) -> int | None:
        assert self._end is not None
        return self._end.close_code

    def __aiter__(self) -> ServerSide:
        assert self._end is not None
        return self._end

    def __getattr__(self, name: str) -> Any:
        return getattr(self._end, name)
