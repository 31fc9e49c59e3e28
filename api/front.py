"""A listener that answers plain POSTs itself and leaves everything else to the framework.

What aiohttp does around a handler costs more than all that we do with a message. So a request that came whole, in one
piece, with none but well-known headers, to a route that was named for it, is read here and answered on the spot. Any
doubt about its form ends in `None`, and with it the connection goes to aiohttp for good, with every byte that came:
what is malformed, unusual, too large or too early is judged in one place only, and nothing is read in two ways.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from email.utils import formatdate
from http import HTTPStatus
from time import perf_counter
from typing import Any, Protocol, cast

from aiohttp import web

from api.door import Door
from api.guard import Guard
from api.plain_request import Reader, Request
from core import limits
from core.system import Clock

Wire = tuple[bytes, bytes]
"""Head, without the date and the empty line, and body of an answer."""


class Plain(Protocol):
    """Who answers the plain requests of a path. Headers come by their names in HEADERS, answers from `ok`."""

    async def alone(self, headers: Mapping[str, str], body: bytes) -> Wire:
        """One request. Raises as any handler."""
        ...

    def begin(self, headers: Mapping[str, str], body: bytes, now_ms: int) -> Any | None:
        """One that is to be answered with others of its tick, up to where it waits: something for `finish`, which has
        to follow at once. None if it has to be answered alone: nothing has happened. Raises as any handler."""
        ...

    async def finish(self, begun: Sequence[Any]) -> Sequence[Wire | Exception]:
        """The answers of those that were begun, or what a handler would have raised."""
        ...


_REASONS = {status.value: status.phrase for status in HTTPStatus}


def ok(body: bytes, headers: Mapping[str, str]) -> Wire:
    """A 200 with a JSON body."""
    more = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{more}Content-Length: {len(body)}\r\n"
    return head.encode(), body


def shown(answer: web.Response) -> Wire:
    """Any complete answer of the framework's making."""
    body = answer.body if isinstance(answer.body, bytes) else b""
    headers = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items() if name != "Content-Length")
    head = f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}\r\n{headers}Content-Length: {len(body)}\r\n"
    return head.encode(), body


class Front:
    """The public listener's socket. `start`, then `close` before the framework's own clean-up."""

    def __init__(
        self,
        routes: Mapping[str, Plain],
        guard: Guard,
        framework: Callable[[], asyncio.Protocol],
        serves: Callable[[], bool],
        wall: Clock,
        door: Door,
    ) -> None:
        """`routes`: path of a POST -> who answers it. `framework` makes the protocol of one connection, watched by the
        `door`. `serves` says whether requests are let in; while they are not, the framework says why."""
        self.door = door
        self._reader = Reader()
        self._routes = {path: (f"POST {path}", handler) for path, handler in routes.items()}
        self._guard = guard
        self._framework = framework
        self._serves = serves
        self._wall = wall
        self._second = 0
        self._date = b""
        self._server: asyncio.Server | None = None
        self._listening: socket.socket | None = None
        """Of a port that is shared: the same socket as the server's."""
        self.connections: set[Connection] = set()
        self.closing = False
        self.draining = False
        """Every answer is the last one on its connection."""
        self._tick: list[Asked] = []
        """What has come in this tick of the loop."""
        self._answering: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int, backlog: int, *, shared: bool = False) -> None:
        """Listens; on a `shared` port beside other processes of this user that share it. OSError if it is taken."""
        loop = asyncio.get_running_loop()
        if not shared:
            self._server = await loop.create_server(lambda: Connection(self), host, port, backlog=backlog)
            return
        sock = _shared(host, port)
        self._listening = sock.dup()
        self._server = await loop.create_server(lambda: Connection(self), sock=sock, backlog=backlog)

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None, "started"
        return int(self._server.sockets[0].getsockname()[1])

    async def drain(self, timeout_s: float) -> None:
        """Takes no more connections. Those that are here, and those that were made and not taken yet, are served until
        each was told with an answer that it is the last one. Returns when none is left, or after the timeout."""
        self.draining = self._guard.leaving = True
        if self._server is not None:
            self._server.close()
        if self._listening is not None:
            await self._take_all(self._listening)
        await self.door.emptied(timeout_s)

    async def _take_all(self, listening: socket.socket) -> None:
        """The kernel resets what was made and is not taken when a socket is closed; others that share the port do not
        get it."""
        loop = asyncio.get_running_loop()
        listening.setblocking(False)
        taken = []
        with contextlib.suppress(BlockingIOError):
            while True:
                taken.append(listening.accept()[0])
        listening.close()
        for sock in taken:
            await loop.connect_accepted_socket(lambda: Connection(self), sock)

    async def close(self, timeout_s: float) -> None:
        """Listens no more, waits for what is being answered, and closes the connections that are here."""
        self.closing = True
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            if not connection.busy:
                connection.end()
        await self.answered(timeout_s)
        for connection in list(self.connections):
            connection.end()

    def takes(self, data: bytes) -> Request | None:
        """The request, if it is answered here."""
        if not self._guard.takes_plain or not self._serves():
            return None
        request = self._reader.read(data)
        return request if request is not None and request.path in self._routes else None

    async def answered(self, timeout_s: float) -> None:
        """Returns when all that came in has its answer, or the time is up."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        self._begin()
        while self._answering and (left := end - loop.time()) > 0:
            await asyncio.wait(self._answering, timeout=left)

    def ask(self, connection: "Connection", request: Request) -> None:
        """The connection gets its answer, together with what else comes in this tick."""
        self._guard.enter_plain()
        if not self._tick:
            asyncio.get_running_loop().call_soon(self._begin)
        self._tick.append((connection, request))

    def _begin(self) -> None:
        tick, self._tick = self._tick, []
        by_path: dict[str, list[Asked]] = {}
        for asked in tick:
            by_path.setdefault(asked[1].path, []).append(asked)
        for path, all_asked in by_path.items():
            for at in range(0, len(all_asked), limits.TICK_REQUESTS_MAX):
                self._run(self._together(path, all_asked[at : at + limits.TICK_REQUESTS_MAX]))

    def _run(self, answering: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(answering)
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _together(self, path: str, tick: Sequence["Asked"]) -> None:
        """Answers them all. Raises nothing but what ends the process."""
        began, now_ms = perf_counter(), self._wall()
        name, plain = self._routes[path]
        connections: list[Connection] = []
        all_begun: list[Any] = []
        refused: list[tuple[Connection, Exception]] = []
        for connection, request in tick:
            try:
                begun = plain.begin(request.headers, request.body, now_ms)
            except Exception as error:
                refused.append((connection, error))
                continue
            if begun is None:
                self._run(self._alone(connection, request))
            else:
                connections.append(connection)
                all_begun.append(begun)
        for connection, refusal in refused:
            self._tell([connection], [refusal], name, began)
        if all_begun:
            self._tell(connections, await plain.finish(all_begun), name, began)

    async def _alone(self, connection: "Connection", request: Request) -> None:
        began = perf_counter()
        name, plain = self._routes[request.path]
        answer: Wire | Exception
        try:
            answer = await plain.alone(request.headers, request.body)
        except Exception as error:
            answer = error
        self._tell([connection], [answer], name, began)

    def _tell(
        self, connections: Sequence["Connection"], answers: Sequence[Wire | Exception], name: str, began: float
    ) -> None:
        """Writes the answers, each to its connection."""
        date, now, took = self._date_now(), asyncio.get_running_loop().time(), perf_counter() - began
        done = 0
        for connection, answer in zip(connections, answers, strict=True):
            if isinstance(answer, Exception):
                problem = self._guard.problem(answer, name)
                self._guard.leave_plain(name, problem.status, took)
                answer = shown(problem)
            else:
                done += 1
            head, body = answer
            if self.draining:
                head += b"Connection: close\r\n"
            connection.answer(b"%bDate: %b\r\n\r\n%b" % (head, date, body), now)
        if done:
            self._guard.leave_plain(name, 200, took, done)

    def hand_over(self, transport: asyncio.Transport, data: bytes) -> None:
        """The connection is the framework's from here on."""
        inner = self._framework()
        transport.set_protocol(inner)
        inner.connection_made(transport)
        inner.data_received(data)

    def _date_now(self) -> bytes:
        second = self._wall() // 1000
        if second != self._second:
            self._second, self._date = second, formatdate(second, usegmt=True).encode()
        return self._date


def _shared(host: str, port: int) -> socket.socket:
    """A socket on a port that several processes listen on. OSError if one of them does not share it."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


class Connection(asyncio.Protocol):
    """One connection, while all its requests were plain ones. They are answered one after the other."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._early = b""
        """What came before the request at hand was answered."""
        self._idle: asyncio.TimerHandle | None = None
        self._moved_at = 0.0
        self._patience_s: float = limits.HEAD_WAIT_S_MAX
        self.busy = False
        """A request is at hand."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class
        self._front.connections.add(self)
        if not self._front.door.enter(self._transport):
            return
        if self._front.closing:
            self.end()
            return
        self._moved_at = self._loop.time()
        self._idle = self._loop.call_later(limits.HEAD_WAIT_S_MAX, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        self._front.door.leave()

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None, "made"
        if self.busy:
            self._early += data
            self._transport.pause_reading()
            return
        request = self._front.takes(data)
        if request is None:
            self._hand_over(data)
        else:
            self.busy = True
            self._front.ask(self, request)

    def pause_writing(self) -> None:
        """A client that does not take its answers gets to ask for no more."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None and not self._early:
            self._transport.resume_reading()

    def end(self) -> None:
        """Closes after what was written."""
        if self._transport is not None:
            self._transport.close()

    def answer(self, answer: bytes, now: float) -> None:
        """The whole answer of the request at hand. `now` by the loop's clock."""
        self.busy = False
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(answer)
        self._moved_at = now
        self._patience_s = limits.KEEP_ALIVE_S
        if self._front.closing or self._front.draining:
            transport.close()
        elif self._early:
            self._hand_over(self._early)

    def _hand_over(self, data: bytes) -> None:
        transport = self._transport
        assert transport is not None, "made"
        self._leave()
        # Before: the framework pauses it again if this is more than it takes at a time.
        transport.resume_reading()
        self._front.hand_over(transport, data)

    def _leave(self) -> None:
        self._transport = None
        self._front.connections.discard(self)
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _look(self) -> None:
        """Closes a connection on which nothing has moved for long."""
        left = self._moved_at + self._patience_s - self._loop.time() if not self.busy else self._patience_s
        if left <= 0:
            assert self._transport is not None, "made"
            self._front.door.silence(self._transport)
        else:
            self._idle = self._loop.call_later(left, self._look)


Asked = tuple[Connection, Request]
