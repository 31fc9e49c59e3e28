"""One websocket: its pump writes what waits, its reader refuses all but pings."""

import asyncio
import contextlib

from aiohttp import ClientConnectionResetError, WSCloseCode, WSMsgType, web

from broker import frames
from broker.budget import Budget
from broker.frames import Close
from broker.inbound import Flooded, Inbound
from broker.outgoing import Outgoing
from core import limits

TOO_MUCH = "more than a client may send: a hello, and a ping now and then"
REPLACED = "replaced: another stream of this session took this one's place"
LINGER_S = limits.STREAM_LINGER_MS / 1000


class Connection:
    """A connection after its hello was understood."""

    def __init__(
        self,
        id: str,
        user: str,
        session: str,
        token: str,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport | None,
        budget: Budget,
    ) -> None:
        self.id = id
        self.user = user
        self.session = session
        self.token = token
        """Checked again at every heartbeat: a revocation's announcement may be lost, and tokens expire."""
        self.channels: frozenset[str] = frozenset()
        """Supergroups whose updates it gets."""
        self.memberships_asked = 0
        self.memberships_known = 0
        self.epoch = 0
        self.slot = 0
        self.frames = 0
        self.outgoing = Outgoing(budget)
        self.ended: tuple[Close, str] | None = None
        self._socket = socket
        self._transport = transport
        self._pump: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    async def send(self, frame: bytes) -> None:
        """Writes past the queue: before the pump runs."""
        self.frames += 1
        await self._socket.send_frame(frame, WSMsgType.TEXT)

    def start(self) -> None:
        """From here on the pump writes."""
        if self.ended is None:
            self._pump = asyncio.create_task(self._run(), name=f"stream {self.id}")

    def flooded(self) -> None:
        """The client sends more than it may."""
        self.end(Close.TOO_MUCH, TOO_MUCH)

    def displaced(self) -> None:
        """Another stream took its place."""
        self.end(Close.REPLACED, REPLACED)

    async def read(self, inbound: Inbound) -> None:
        """Until the connection is over. Anything but a ping ends it, and too many of them do."""
        while True:
            try:
                message = await inbound.next()
            except Flooded:
                self.flooded()
                return
            if message is None or self.ended is not None:
                return
            if message.type is WSMsgType.TEXT and isinstance(frames.from_client(message.data), frames.Ping):
                self.outgoing.pong()
            else:
                self.end(Close.REFUSED, 'after hello only {"type":"ping"} is understood')
                return

    def end(self, code: Close, reason: str) -> None:
        """Closes with a code; what waits is dropped. The first reason counts."""
        if self.ended is None:
            self.ended = (code, reason)
            self.outgoing.drop()
            self._closing = asyncio.create_task(self._close(code, reason), name=f"close {self.id}")

    async def finish(self) -> None:
        """Returns when nothing of the connection is left."""
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        if self._closing is not None:
            await asyncio.gather(self._closing, return_exceptions=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        written = loop.time() - LINGER_S
        with contextlib.suppress(ClientConnectionResetError, ConnectionError):  # the reader notices as well
            while True:
                await self.outgoing.filled.wait()
                busy_s = written + LINGER_S - loop.time()
                if busy_s > 0:
                    await asyncio.sleep(busy_s)
                for frame in self.outgoing.take():
                    await self.send(frame)
                    self.outgoing.left(len(frame))
                written = loop.time()

    async def _close(self, code: Close, reason: str) -> None:
        if self._pump is not None:
            self._pump.cancel()
        answered = False
        # A reader that stands still takes neither the close frame nor what lies before it.
        with contextlib.suppress(TimeoutError, ConnectionError, ClientConnectionResetError):
            async with asyncio.timeout(limits.CLOSE_S_MAX + 1):
                await self._socket.close(code=code, message=reason.encode(), drain=False)
                answered = self._socket.close_code not in (None, WSCloseCode.ABNORMAL_CLOSURE)
        if not answered and self._transport is not None:
            self._transport.abort()
