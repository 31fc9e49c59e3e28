"""The wire: requests between hosts, with delay, loss, doubles and cuts in either direction.

It takes the place of aiohttp's client session and of its server, and of nothing else: what is signed, encoded, refused
or routed is so by production code. A request is handled in the process that listens; if that process dies, whoever
waits is told, or, where the link is cut, hears nothing until his own patience ends.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, NamedTuple

import aiohttp
from aiohttp import web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.http_writer import HttpVersion11
from aiohttp.streams import EMPTY_PAYLOAD
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from tests.simulation.loop import OUTSIDE, PROCESS, Process, SimLoop
from tests.simulation.sockets import Dialled, ServerSide, Wire

FOREVER_S = 24 * 3_600.0


class Weather(NamedTuple):
    """How bad the wire is. Shares are of messages."""

    loss: float = 0.0
    doubled: float = 0.0
    reset: float = 0.0
    """A request that fails at once: half of them were handled all the same."""
    slow: float = 0.0
    """Messages that take up to `slow_s`."""
    slow_s: float = 3.0


FAIR = Weather()


class Listener(NamedTuple):
    process: Process
    app: web.Application


class Answer(NamedTuple):
    status: int
    headers: CIMultiDictProxy[str]
    body: bytes


Watch = Callable[[str, str, str, str, Answer], None]
"""(from host, to host, method, target, answer)."""


class Network:
    """All hosts. A host is known by the first part of its URL's host name."""

    def __init__(self, loop: SimLoop, random: Random) -> None:
        self.loop = loop
        self.random = random
        self.weather = FAIR
        self.listeners: dict[tuple[str, int], Listener] = {}
        self.hosts: dict[Process, str] = {}
        self.base_s: dict[tuple[str, str], float] = {}
        self.cuts: Counter[tuple[str, str]] = Counter()
        self.wires: list[Wire] = []
        self.counts: Counter[str] = Counter()
        self.watch: Watch = lambda *_: None
        """Told of answers that arrive."""
        self.served: Callable[[Process, Answer], None] = lambda *_: None
        """Told of answers as they leave."""

    # -- hosts and links

    def listen(self, host: str, port: int, process: Process, app: web.Application) -> None:
        listener = Listener(process, app)
        self.listeners[host, port] = listener

        def gone() -> None:
            if self.listeners.get((host, port)) is listener:
                del self.listeners[host, port]

        process.on_death.append(gone)

    def unlisten(self, process: Process) -> None:
        self.listeners = {place: one for place, one in self.listeners.items() if one.process is not process}

    def cut(self, a: str, b: str) -> None:
        """What `a` sends to `b` does not arrive any more; cuts add up."""
        self.cuts[a, b] += 1
        for wire in self.wires:
            wire.stalled(a, b)

    def mend(self, a: str, b: str) -> None:
        self.cuts[a, b] -= 1

    def is_cut(self, a: str, b: str) -> bool:
        return self.cuts[a, b] > 0

    def delay_s(self, a: str, b: str) -> float:
        if a == b:
            return 0.000_1
        base = self.base_s.get((min(a, b), max(a, b)))
        if base is None:
            base = self.base_s[min(a, b), max(a, b)] = self.random.uniform(0.002, 0.08)
        weather = self.weather
        if weather.slow and self.random.random() < weather.slow:
            self.counts["slow"] += 1
            return base + self.random.random() * weather.slow_s
        return base * self.random.uniform(1, 1.5)

    def lost(self, a: str, b: str) -> bool:
        if a == b:
            return False
        if self.cuts[a, b] > 0:
            self.counts["cut"] += 1
            return True
        if self.weather.loss and self.random.random() < self.weather.loss:
            self.counts["lost"] += 1
            return True
        return False

    # -- a request

    async def exchange(self, method: str, url: URL, headers: Mapping[str, str], body: bytes) -> Answer:
        """Waits for ever where nothing comes back: the caller has the timeout."""
        here, there = self.hosts[PROCESS.get()], _host(url)
        weather = self.weather if here != there else FAIR
        reset = weather.reset and self.random.random() < weather.reset
        if reset:
            self.counts["reset"] += 1
        if reset and self.random.random() < 0.5:
            await asyncio.sleep(self.delay_s(here, there))
            raise aiohttp.ServerDisconnectedError
        if self.lost(here, there):
            await asyncio.sleep(FOREVER_S)
        await asyncio.sleep(self.delay_s(here, there))
        listener = self.listeners.get((there, url.port or 80))
        if listener is None:
            if self.is_cut(there, here):
                await asyncio.sleep(FOREVER_S)
            raise aiohttp.ClientConnectionError("connection refused")
        answer = self._serve(listener, method, url, headers, body)
        if weather.doubled and self.random.random() < weather.doubled:
            self.counts["doubled"] += 1
            again = self.delay_s(here, there) * self.random.choice((1, 10, 100))
            self.loop.call_later(again, self._serve, listener, method, url, headers, body, context=OUTSIDE.context())
        got = await answer
        if got is None:
            if self.is_cut(there, here):
                await asyncio.sleep(FOREVER_S)
            raise aiohttp.ServerDisconnectedError
        if reset:
            raise aiohttp.ServerDisconnectedError
        if self.lost(there, here):
            await asyncio.sleep(FOREVER_S)
        await asyncio.sleep(self.delay_s(there, here))
        self.watch(here, there, method, url.raw_path_qs, got)
        return got

    def _serve(
        self, listener: Listener, method: str, url: URL, headers: Mapping[str, str], body: bytes
    ) -> "asyncio.Future[Answer | None]":
        """The answer to be; None if the process died before it."""
        answer: asyncio.Future[Answer | None] = self.loop.create_future()
        if listener.process.dead:
            answer.set_result(None)
            return answer

        def died() -> None:
            if not answer.done():
                answer.set_result(None)

        async def handle() -> None:
            request = request_of(method, url, headers, body, self.loop)
            try:
                response = await listener.app._handle(request)
            except web.HTTPException as error:
                response = error
            assert isinstance(response, web.Response)
            content = response.body if isinstance(response.body, bytes) else b""
            made = Answer(response.status, CIMultiDictProxy(CIMultiDict(response.headers)), content)
            self.served(listener.process, made)
            if not answer.done():
                answer.set_result(made)
            listener.process.on_death.remove(died)

        listener.process.on_death.append(died)
        self.loop.start(listener.process, handle(), f"{method} {url.path}")
        return answer

    # -- a websocket

    async def dial(self, url: URL) -> Dialled:
        """Opens a websocket; as `exchange`."""
        here, there = self.hosts[PROCESS.get()], _host(url)
        if self.lost(here, there):
            await asyncio.sleep(FOREVER_S)
        await asyncio.sleep(self.delay_s(here, there))
        listener = self.listeners.get((there, url.port or 80))
        if listener is None:
            raise aiohttp.ClientConnectionError("connection refused")
        wire = Wire(self, here, there, PROCESS.get(), listener.process)
        self.wires = [one for one in self.wires if not one.over] + [wire]

        async def handle() -> None:
            request = request_of("GET", url, {}, b"", self.loop)
            request[SOCKET] = wire.server
            protocol: Any = request.protocol
            protocol.transport = _Transport()
            try:
                await listener.app._handle(request)
            except web.HTTPException:
                pass
            finally:
                wire.handled()

        self.loop.start(listener.process, handle(), f"stream {here}")
        if not await wire.accepted:
            raise aiohttp.ClientConnectionError("the websocket was refused")
        if self.lost(there, here):
            await asyncio.sleep(FOREVER_S)
        await asyncio.sleep(self.delay_s(there, here))
        return wire.client


SOCKET: web.RequestKey[ServerSide] = web.RequestKey("sim socket", ServerSide)


def _host(url: URL) -> str:
    return url.host or ""


class _Protocol:
    ssl_context = peername = sockname = transport = None


class _Transport:
    """What of a websocket's transport is used: its bytes are counted by none here, for no client sends too many."""

    def __init__(self) -> None:
        self._protocol = asyncio.Protocol()

    def get_protocol(self) -> asyncio.Protocol:
        return self._protocol

    def set_protocol(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol

    def set_write_buffer_limits(self, high: int) -> None:
        """The wire takes all."""

    def abort(self) -> None:
        """The other end is told by the wire."""


class _Whole:
    """A body that has arrived."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def is_eof(self) -> bool:
        return True

    async def iter_any(self) -> Any:
        yield self._body


def request_of(method: str, url: URL, headers: Mapping[str, str], body: bytes, loop: SimLoop) -> web.Request:
    """As aiohttp's server would hand it to the application."""
    target = url.raw_path_qs
    multi = CIMultiDict(headers)
    message = RawRequestMessage(
        method,
        target,
        HttpVersion11,
        CIMultiDictProxy(multi),
        (),
        False,
        None,
        False,
        False,
        URL(target, encoded=True),
    )
    payload: Any = _Whole(body) if body else EMPTY_PAYLOAD
    nothing: Any = None
    protocol: Any = _Protocol()
    request = web.Request(message, payload, protocol, nothing, nothing, loop)
    request._read_bytes = body
    return request


class _Content:
    def __init__(self, body: bytes) -> None:
        self._body = body

    async def iter_any(self) -> Any:
        if self._body:
            yield self._body


class _Response:
    """What of aiohttp.ClientResponse is used."""

    def __init__(self, answer: Answer) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self.content = _Content(answer.body)
        self._body = answer.body

    async def read(self) -> bytes:
        return self._body

    def close(self) -> None:
        """Nothing is open."""


class _Exchange:
    def __init__(self, network: Network, method: str, url: URL, headers: Mapping[str, str], body: bytes, s: float):
        self._asked = (method, url, headers, body)
        self._network = network
        self._patience_s = s

    async def __aenter__(self) -> _Response:
        async with asyncio.timeout(self._patience_s):
            return _Response(await self._network.exchange(*self._asked))

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""


class Session:
    """What of aiohttp.ClientSession is used, for the process that calls."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.closed = False

    def request(
        self,
        method: str,
        url: str,
        *,
        data: bytes | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: aiohttp.ClientTimeout | None = None,
        allow_redirects: bool = True,
    ) -> _Exchange:
        whole = URL(url)
        if params:
            whole = whole.update_query(params)
        patience_s = (timeout.total if timeout else None) or 60.0
        return _Exchange(self._network, method, whole, headers or {}, data or b"", patience_s)

    async def ws_connect(self, url: str, *, max_msg_size: int = 0, autoclose: bool = True) -> Dialled:
        return await self._network.dial(URL(url))

    async def close(self) -> None:
        self.closed = True
