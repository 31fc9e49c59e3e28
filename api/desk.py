"""Where the processes that serve clients have their lines to the one that applies (line_wire.py)."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from aiohttp import WSMsgType, web

from api.decoding import refused
from api.line_wire import FRAME_BYTES_MAX, NONCE_BYTES, PATH, ROLES, Ask, Seal, request_mac
from api.writes import RemoteDurability
from core import limits
from core.errors import Corrupt, Invalid, NotServing, Overloaded, PlanBError
from core.system import Clock, Entropy
from events.ports import Trimmed
from events.record import decode_all
from stores.lane_feed import LaneFeed
from stores.tidings import Answer, Line, News, Tidings

log = logging.getLogger(__name__)


class Desk:
    """One per process that applies. `add_to` the internal listener's application."""

    def __init__(
        self,
        *,
        key: bytes,
        entropy: Entropy,
        tidings: Tidings,
        feed: LaneFeed,
        remote: RemoteDurability,
        written: Callable[[], Awaitable[None]],
        wall: Clock,
        serves: Callable[[], bool],
    ) -> None:
        """`key`: of the internal listener. `written`: returns when the message rows of what is applied can be read by
        all. `wall`: what clocks are compared with. `serves`: nobody is let in before."""
        self._key = key
        self._entropy = entropy
        self._tidings = tidings
        self._feed = feed
        self._remote = remote
        self._written = written
        self._wall = wall
        self._serves = serves
        self._sockets: set[web.WebSocketResponse] = set()
        self._drains: set[asyncio.Task[None]] = set()

    def add_to(self, app: web.Application) -> None:
        """Lines end when it shuts down."""
        app.router.add_get(PATH, self.connect)

        async def shutdown(_: web.Application) -> None:
            for socket in list(self._sockets):
                await socket.close()
            for task in self._drains:
                task.cancel()

        app.on_shutdown.append(shutdown)

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        """A line, as long as it lasts."""
        role = request.query.get("role", "")
        if role not in ROLES:
            raise refused(f"must be one of {', '.join(ROLES)}", "role")
        if not self._serves():
            raise NotServing("what is in the log is being applied", retry_after_s=1)
        socket = web.WebSocketResponse(
            heartbeat=limits.LINE_SILENCE_MS_MAX / 1_000, compress=False, max_msg_size=FRAME_BYTES_MAX
        )
        await socket.prepare(request)
        self._sockets.add(socket)
        line = self._tidings.open(role == "broker")
        asks = _Asks(self, line)
        pump: asyncio.Task[None] | None = None
        try:
            nonce = self._entropy(NONCE_BYTES)
            await socket.send_bytes(nonce)
            mac = request_mac(request.headers["Authorization"])
            pump = asyncio.create_task(_pump(socket, line, Seal(self._key, mac, nonce, "news")), name="line")
            await asks.read(socket, Seal(self._key, mac, nonce, "asks"))
        except ConnectionError as error:
            log.info("a line broke: %s", error)
        except Corrupt as error:
            log.error("a line is closed: %s %s", error, error.private)
        finally:
            self._tidings.close(line)
            self._sockets.discard(socket)
            asks.close()
            for lane in asks.lanes:
                self._left(lane)
            if pump is not None:  # the framework may have cancelled this: what waits comes last
                pump.cancel()
                await asyncio.gather(pump, return_exceptions=True)
            await socket.close()
        return socket

    def _left(self, lane: int) -> None:
        """Nobody may hand over what is left of it."""
        task = asyncio.create_task(self._drain(lane), name=f"drain {lane}")
        self._drains.add(task)
        task.add_done_callback(self._drains.discard)

    async def _drain(self, lane: int) -> None:
        try:
            await self._feed.drain(lane)
        except (PlanBError, Trimmed) as error:  # LaneFeed.look tries again
            log.warning("what is left of lane %d is not applied yet: %s", lane, error)

    async def do(self, ask: Ask) -> int:
        """What is asked for. Raises as what it calls."""
        if ask.kind == "apply":
            await self._feed.apply(ask.lane, ask.seq, decode_all(ask.records))
            return 0
        if ask.kind == "remote":
            return int(await self._remote.wait(ask.lane, ask.seq, ask.timeout_ms / 1_000))
        if ask.kind == "written":
            await self._written()
            return 0
        if ask.kind == "clock":
            return self._wall()
        raise Invalid(f"nobody here knows how to do {ask.kind}")


async def _pump(socket: web.WebSocketResponse, line: Line, seal: Seal) -> None:
    with contextlib.suppress(ConnectionError):
        while not line.overrun:
            news: News | None = line.take()
            if news is None:
                await line.wake.wait()
            else:
                await socket.send_bytes(seal.seal(news))
        log.error("a line is closed: its process takes too little of what it is told")
    await socket.close()


class _Asks:
    """What one process asks."""

    def __init__(self, desk: Desk, line: Line) -> None:
        self._desk = desk
        self._line = line
        self._tasks: set[asyncio.Task[None]] = set()
        self.lanes: set[int] = set()
        """That it writes."""

    async def read(self, socket: web.WebSocketResponse, seal: Seal) -> None:
        async for message in socket:
            if message.type is not WSMsgType.BINARY:
                raise Corrupt("a line has binary frames")
            ask = seal.open(message.data, Ask)
            if ask.kind == "apply":
                self.lanes.add(ask.lane)
            if len(self._tasks) >= limits.LINE_ASKS_MAX:
                self._line.answer(Answer(ask.number, code=Overloaded.code, detail="too many asks of one process"))
                continue
            task = asyncio.create_task(self._answer(ask), name=f"line: {ask.kind}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _answer(self, ask: Ask) -> None:
        try:
            answer = Answer(ask.number, await self._desk.do(ask))
        except PlanBError as error:
            answer = Answer(ask.number, code=error.code, detail=error.detail)
        except Exception as error:
            log.exception("an ask failed: %s", ask.kind)
            answer = Answer(ask.number, code=PlanBError.code, detail=type(error).__name__)
        self._line.answer(answer)
