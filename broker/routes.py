"""GET /v1/stream and POST /v1/stream/ticket. docs/websocket.md is their contract."""

import asyncio
import contextlib
import logging
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator

from aiohttp import ClientConnectionResetError, WSMsgType, web

from broker import frames
from broker.connection import REPLACED, TOO_MUCH, Connection
from broker.deps import BrokerDeps
from broker.frames import Close
from broker.greeting import Greeting
from broker.hub import Hub
from broker.inbound import Flooded, Inbound, Metered
from broker.places import Visit
from broker.tickets import Holder, Tickets
from core import limits
from core.action import Position
from core.errors import Invalid, NotServing, Overloaded, PlanBError, TooMany, Unauthenticated

log = logging.getLogger(__name__)

STREAM_PATHS = (("GET", "/v1/stream"), ("POST", "/v1/stream/ticket"))
SECRETS = frozenset(("token", "access_token", "authorization", "bearer"))


def add_routes(app: web.Application, deps: BrokerDeps) -> Hub:
    """Adds the stream to the public app. Errors before the upgrade are raised as core.errors for its middleware.

    The hub starts and closes with the app; the answer is for `metrics` and an early `drain`.
    """
    hub = Hub(deps)
    stream = _Stream(hub, deps)
    for (method, path), handler in zip(STREAM_PATHS, (stream.connect, stream.ticket), strict=True):
        app.router.add_route(method, path, handler)

    async def life(_: web.Application) -> AsyncIterator[None]:
        await hub.start()
        yield
        await hub.close()

    async def shutdown(_: web.Application) -> None:
        await hub.drain()

    app.cleanup_ctx.append(life)
    app.on_shutdown.append(shutdown)
    return hub


class _Stream:
    def __init__(self, hub: Hub, deps: BrokerDeps) -> None:
        self._hub = hub
        self._deps = deps
        self._tickets = Tickets(deps.entropy, deps.clock)

    async def ticket(self, request: web.Request) -> web.Response:
        """{ticket, expires_s} for the bearer of a token."""
        _refuse_query(request, frozenset())
        holder = await self._bearer(request.headers.get("Authorization"))
        if holder is None:
            raise Unauthenticated("send Authorization: Bearer <token>")
        return web.json_response({"ticket": self._tickets.issue(holder), "expires_s": limits.TICKET_S}, status=201)

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        """The stream. Refused before the upgrade: 400 a token in the URL, 401, 429 too many of one user, 503 draining
        or full."""
        _refuse_query(request, frozenset(("ticket",)))
        if self._hub.draining:
            raise NotServing("this server is going away", retry_after_s=1)
        if self._hub.sockets >= self._deps.connections_max:
            raise Overloaded("too many connections", retry_after_s=5)
        self._hub.sockets += 1
        visit = Visit(self._hub.places)
        try:
            holder = await self._known(request)
            if holder is not None:
                visit.take(holder)
            socket = web.WebSocketResponse(
                timeout=limits.CLOSE_S_MAX,
                autoping=False,
                heartbeat=self._deps.heartbeat_s * 2,
                compress=False,
                max_msg_size=limits.STREAM_RECEIVED_BYTES_MAX,
                writer_limit=limits.STREAM_BUFFER_BYTES,
            )
            await socket.prepare(request)
            if request.transport is not None:
                request.transport.set_write_buffer_limits(high=limits.STREAM_BUFFER_BYTES)
            with contextlib.suppress(ClientConnectionResetError, ConnectionError):
                await self._serve(request, socket, holder, visit)
        finally:
            self._hub.sockets -= 1
            visit.leave()
        return socket

    async def _known(self, request: web.Request) -> Holder | None:
        """Who connects, as far as the request tells."""
        header, ticket = request.headers.get("Authorization"), request.query.get("ticket")
        if header is not None and ticket is not None:
            raise Invalid("give an Authorization header or a ticket, not both")
        return self._tickets.take(ticket) if ticket is not None else await self._bearer(header)

    async def _bearer(self, header: str | None) -> Holder | None:
        if header is None:
            return None
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated("the Authorization header must be: Bearer <token>")
        return await self._holder(token.strip(" "))

    async def _holder(self, token: str) -> Holder:
        return Holder(*await self._deps.verify_token(token), token)

    async def _serve(
        self, request: web.Request, socket: web.WebSocketResponse, holder: Holder | None, visit: "Visit"
    ) -> None:
        transport = request.transport
        if transport is None:
            return
        cut = Cut(socket)
        visit.ended_by(cut.displaced)
        meter, inbound = Metered(transport, cut.flooded), Inbound(socket)
        try:
            hello = await self._hello(inbound)
            meter.greeted()
            holder = await self._agreed(hello, holder)
            visit.take(holder)
            position = self._position(hello, holder.user)
            if visit.displaced:
                return
        except Flooded:
            cut.flooded()
            return
        except TooMany as error:
            await socket.close(code=Close.TOO_MUCH, message=_reason(error))
            return
        except Unauthenticated as error:
            await socket.close(code=frames.of_refusal(error), message=_reason(error))
            return
        except Invalid as error:
            await socket.close(code=Close.REFUSED, message=_reason(error))
            return
        except PlanBError as error:
            log.warning("a stream can't be opened: %s %s", error, error.private)
            await socket.close(code=Close.TRY_LATER, message=_reason(error))
            return
        finally:
            await cut.finish()
        id = urlsafe_b64encode(self._deps.entropy(9)).decode()
        connection = Connection(id, holder.user, holder.session, holder.token, socket, transport, self._hub.budget)
        meter.flooded = connection.flooded
        visit.ended_by(connection.displaced)
        self._hub.add(connection)
        try:
            await self._greet(connection, position)
            await connection.read(inbound)
        finally:
            await self._hub.remove(connection)
            await connection.finish()

    async def _greet(self, connection: Connection, position: Position | None) -> None:
        try:
            # From here on a revocation that is announced ends it. One that was announced before is seen now; when the
            # upgrade, or the ticket, was looked at is long ago.
            await self._hub.verify(connection)
            if connection.ended is not None:
                return
            await self._hub.refresh(connection)
            await self._hub.present(connection)
            greeting = Greeting(self._deps, connection, position)
            await greeting.send()
        except PlanBError as error:
            log.warning("a stream can't be opened: %s %s", error, error.private)
            connection.end(Close.TRY_LATER, error.detail)
            return
        connection.outgoing.start(greeting.at)
        connection.start()

    async def _hello(self, inbound: Inbound) -> frames.Hello:
        try:
            async with asyncio.timeout(limits.HELLO_S_MAX):
                message = await inbound.next()
        except TimeoutError as error:
            raise Unauthenticated(f"no hello within {limits.HELLO_S_MAX} s") from error
        if message is None:
            raise ClientConnectionResetError("gone before its hello")
        hello = frames.from_client(message.data) if message.type is WSMsgType.TEXT else None
        if not isinstance(hello, frames.Hello):
            raise Invalid('the first frame must be {"type":"hello","token":…,"cursor":…,"at":…}')
        return hello

    async def _agreed(self, hello: frames.Hello, holder: Holder | None) -> Holder:
        if hello.token is None:
            if holder is None:
                raise Unauthenticated("the hello needs a token")
            return holder
        if holder is not None:
            raise Invalid("one token is enough: in the header or in the hello")
        return await self._holder(hello.token)

    def _position(self, hello: frames.Hello, user: str) -> Position | None:
        position = None if hello.cursor is None else self._deps.open_cursor(user, hello.cursor)
        if hello.at is None:
            return position
        at = hello.at
        return Position(at.dc, at.epoch, at.pts, position.v if position else {}, at.channels)


class Cut:
    """Closes a websocket whose hello was not understood yet."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket
        self._closing: asyncio.Task[bool] | None = None

    def flooded(self) -> None:
        """The client sends more than it may. Waits for nothing."""
        self._begin(Close.TOO_MUCH, TOO_MUCH)

    def displaced(self) -> None:
        """Another stream took its place. Waits for nothing."""
        self._begin(Close.REPLACED, REPLACED)

    def _begin(self, code: Close, reason: str) -> None:
        if self._closing is None:
            close = self._socket.close(code=code, message=reason.encode(), drain=False)
            self._closing = asyncio.create_task(close, name="close before the hello")

    async def finish(self) -> None:
        """Returns when it is closed, if it was begun."""
        if self._closing is not None:
            await self._closing


def _refuse_query(request: web.Request, known: frozenset[str]) -> None:
    for name in request.query:
        if name.lower() in SECRETS:
            problem = "a token in a URL ends up in logs: use the Authorization header, the hello, or a ticket"
            raise Invalid(f"{name}: {problem}", errors=[{"field": name, "problem": problem}])
        if name not in known:
            raise Invalid(f"{name}: unknown field", errors=[{"field": name, "problem": "unknown field"}])


def _reason(error: PlanBError) -> bytes:
    """A close frame holds at most 123 bytes of reason."""
    return error.detail.encode()[:120].decode(errors="ignore").encode()
