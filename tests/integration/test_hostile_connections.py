"""Connections that ask for nothing, or take nothing: closed in time, counted, and bounded on both listeners."""

import asyncio
import contextlib
import errno
import json
import socket
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
from aiohttp import web

from api.door import Door
from api.metrics import Metrics
from api.tokens import Caller, Tokens
from cli.listeners import open_public, open_sys, runner_of
from cli.settings import Listen
from core import limits
from core.system import wall_clock_ms
from tests.support.api import ApiDc, api_dc
from tests.support.replicated import ReplicatedDc, World, until

ANYWHERE = Listen.model_construct(host="127.0.0.1", port=0)
Pipe = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Place(NamedTuple):
    """A listener, as a datacenter opens it."""

    port: int
    door: Door
    metrics: Metrics
    dc: ApiDc | ReplicatedDc
    runner: web.AppRunner

    async def connect(self) -> Pipe:
        return await asyncio.open_connection("127.0.0.1", self.port)


@contextlib.asynccontextmanager
async def public(connections_max: int = 100) -> AsyncIterator[Place]:
    async with api_dc() as api:
        await api.sign_up("Uada", "Ugrace")
        runner = await runner_of(api.app)
        door = Door(connections_max, api.parts.metrics)
        front = await open_public(runner, ANYWHERE, door, lambda: True, wall_clock_ms)
        try:
            yield Place(front.port, door, api.parts.metrics, api, runner)
        finally:
            await front.close(1)
            await runner.cleanup()


@contextlib.asynccontextmanager
async def internal(connections_max: int = 100) -> AsyncIterator[Place]:
    async with World("fra") as world:
        runner = await runner_of(world["fra"]._app())
        metrics = Metrics()
        door = Door(connections_max, metrics)
        await open_sys(runner, ANYWHERE, door)
        try:
            yield Place(door.port, door, metrics, world["fra"], runner)
        finally:
            await door.close()
            await runner.cleanup()


LISTENERS = {"public": public, "internal": internal}


@pytest.fixture(params=LISTENERS)
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    async with LISTENERS[request.param]() as place:
        yield place


ASK = b"GET /livez HTTP/1.1\r\nHost: planb\r\n\r\n"
NOTHING_WHOLE: dict[str, bytes] = {
    "nothing": b"",
    "half a line": b"POST /v1/mess",
    "half a head": b"POST /v1/messages HTTP/1.1\r\nHost: planb\r\nX-",
    "a head without its end": b"GET /livez HTTP/1.1\r\nHost: planb\r\n",
}


async def answered(pipe: Pipe) -> bytes:
    """Status line of the next answer."""
    async with asyncio.timeout(10):
        head = await pipe[0].readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: "))
        await pipe[0].readexactly(int(length[16:]))
    return head.partition(b"\r\n")[0]


async def ended(pipe: Pipe, timeout_s: float = 10) -> bytes:
    """What comes until the other side closes."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        async with asyncio.timeout(timeout_s):
            while part := await pipe[0].read(65_536):
                found += part
    return found


@pytest.mark.parametrize("what", NOTHING_WHOLE)
async def test_a_connection_without_a_whole_request_is_closed(
    place: Place, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HEAD_WAIT_S_MAX", 0.3)
    pipe = await place.connect()
    pipe[1].write(NOTHING_WHOLE[what])
    await until(lambda: place.door.open == 1)
    assert await ended(pipe) == b""
    await until(lambda: place.door.open == 0)
    assert "planb_http_connections_silent 1" in place.metrics.text()


async def test_one_that_comes_byte_by_byte_is_closed_too(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HEAD_WAIT_S_MAX", 0.5)
    pipe = await place.connect()

    async def trickle() -> None:
        with contextlib.suppress(ConnectionError):
            for byte in b"GET /livez HTTP/1.1\r\n" + b"X-A: 1\r\n" * 1_000:
                pipe[1].write(bytes([byte]))
                await pipe[1].drain()
                await asyncio.sleep(0.01)

    writing = asyncio.create_task(trickle())
    assert await ended(pipe) == b""
    writing.cancel()
    await until(lambda: place.door.open == 0)


NO_HTTP: dict[str, bytes] = {
    "another protocol": b"\x16\x03\x01\x02\x00" + b"\x01" * 10_000,
    "noise": bytes(range(1, 256)) * 400,
    "an unknown method": b"FOO /livez HTTP/1.1\r\nHost: p\r\n\r\n",
    "a long line": b"GET /" + b"a" * 50_000 + b" HTTP/1.1\r\n",
    "a long header": b"GET /livez HTTP/1.1\r\nHost: p\r\nX: " + b"y" * 100_000,
    "many headers": b"GET /livez HTTP/1.1\r\nHost: p\r\n" + b"X: y\r\n" * 10_000,
    "two lengths": b"POST /v1/login HTTP/1.1\r\nHost: p\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
    "length and chunks": b"POST /v1/login HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
    "NUL in a header": b"GET /livez HTTP/1.1\r\nHost: p\r\nX: a\0b\r\n\r\n",
    "CR in a header": b"GET /livez HTTP/1.1\r\nHost: p\r\nX: a\rb\r\n\r\n",
    "a broken chunk after a good request": ASK + b"GET /livez HTTP/1.1\r\nHost : p\r\n\r\n",
}


@pytest.mark.parametrize("what", NO_HTTP)
async def test_what_is_no_http_ends_the_connection_and_fills_no_log(
    place: Place, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    pipe = await place.connect()
    pipe[1].write(NO_HTTP[what])
    answer = await ended(pipe)
    assert len(answer) < 8_192 + 4 * len(NO_HTTP[what]), "no more than what was sent, escaped"
    assert b" 400 " in answer or not answer  # a reset may overtake it
    await until(lambda: place.door.open == 0)
    assert not [line for line in caplog.messages if "Error handling request" in line]


async def test_who_goes_away_in_the_middle_of_a_body_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    async with public() as place:
        pipe = await place.connect()
        pipe[1].write(b"POST /v1/login HTTP/1.1\r\nHost: planb\r\nContent-Length: 100\r\n\r\n{")
        await until(lambda: "planb_http_bodies_coming 1" in place.metrics.text())
        pipe[1].transport.abort()
        await until(lambda: "planb_http_bodies_coming 0" in place.metrics.text())
        assert 'planb_http_requests_total{route="POST /v1/login",status="400"} 1' in place.metrics.text()
        assert not [record for record in caplog.records if record.name == "planb.api"]


GONE: dict[str, OSError | None] = {
    "it closed": None,
    "nothing is heard of it": TimeoutError(errno.ETIMEDOUT, "Connection timed out"),
    "no way leads to it": OSError(errno.EHOSTUNREACH, "No route to host"),
}
"""What a socket says of a client."""


@pytest.mark.parametrize("missing", [0, 1])
@pytest.mark.parametrize("how", GONE)
async def test_who_goes_away_before_the_body_is_read_fills_no_log(
    how: str, missing: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a body that has come whole the framework then says, too, that the connection is lost."""
    asked, go = asyncio.Event(), asyncio.Event()
    of_header = Tokens.of_header

    async def slow(tokens: Tokens, header: str | None) -> Caller:
        asked.set()
        await go.wait()
        return await of_header(tokens, header)

    monkeypatch.setattr(Tokens, "of_header", slow)
    body = b'{"to":"Ugrace","text":"Hello"}'
    async with public() as place:
        assert isinstance(place.dc, ApiDc) and place.runner.server is not None
        pipe = await place.connect()
        head = "POST /v1/messages HTTP/1.1\r\nHost: planb\r\nX-Other: the framework's\r\n"
        said = f"Authorization: Bearer {place.dc.user('Uada').token}\r\nContent-Length: {len(body)}\r\n\r\n"
        pipe[1].write((head + said).encode() + body[: len(body) - missing])
        await asyncio.wait_for(asked.wait(), 10)
        (connection,) = place.runner.server.connections
        if (error := GONE[how]) is None:
            pipe[1].transport.abort()
        else:
            connection.transport._fatal_error(error)  # type: ignore[union-attr]  # as when a read fails
        await until(lambda: place.door.open == 0)
        go.set()
        counted = 'planb_http_requests_total{route="POST /v1/messages",status="400"} 1\n'
        await until(lambda: counted in place.metrics.text())
        assert place.metrics.in_flight == 0
    assert not [record for record in caplog.records if record.name == "planb.api"]


async def test_one_that_has_asked_stays_for_longer(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HEAD_WAIT_S_MAX", 0.2)
    pipe, silent = await place.connect(), await place.connect()
    pipe[1].write(ASK)
    assert b" 200 " in await answered(pipe)
    assert await ended(silent) == b"", "the bound has passed"
    pipe[1].write(ASK)
    assert b" 200 " in await answered(pipe)
    pipe[1].close()
    await until(lambda: place.door.open == 0)


METRICS = b"GET /metrics HTTP/1.1\r\nHost: planb\r\n\r\n"


async def test_a_client_that_takes_nothing_is_cut(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TAKE_WAIT_S_MAX", 0.3)
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    small.connect(("127.0.0.1", place.port))
    _, writer = await asyncio.open_connection(sock=small)
    writer.transport.pause_reading()  # type: ignore[attr-defined]

    async def ask() -> None:
        with contextlib.suppress(ConnectionError):
            while place.door.silent == 0:
                writer.write(METRICS * 100)
                await writer.drain()

    asking = asyncio.create_task(ask())
    await until(lambda: place.door.silent == 1, 30)
    await until(lambda: place.door.open == 0)
    writer.transport.abort()
    await asking


async def test_requests_sent_at_once_wait_in_the_socket_and_all_are_answered(place: Place) -> None:
    """The framework takes some at a time; the front must not undo its pause when it hands a connection over."""
    pipe, count = await place.connect(), 3_000
    reading = asyncio.create_task(_read_answers(pipe, count))
    for _ in range(count // 100):
        pipe[1].write(ASK * 100)
        await pipe[1].drain()
    assert await reading == count
    pipe[1].close()


async def _read_answers(pipe: Pipe, count: int) -> int:
    found = 0
    while found < count and b" 200 " in await answered(pipe):
        found += 1
    return found


@pytest.mark.parametrize("listener", LISTENERS)
async def test_beyond_the_bound_a_connection_is_told_503_and_closed(listener: str) -> None:
    async with LISTENERS[listener](2) as place:
        first, second = await place.connect(), await place.connect()
        await until(lambda: place.door.open == 2)
        refused = await ended(await place.connect())
        head, _, body = refused.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ") and b"\r\nRetry-After: 5\r\n" in head
        assert json.loads(body)["code"] == "overloaded"
        await until(lambda: place.door.open == 2)
        assert "planb_http_connections_refused 1" in place.metrics.text()
        second[1].write(ASK)
        assert b" 200 " in await answered(second)
        first[1].close()
        await until(lambda: place.door.open == 1)
        third = await place.connect()
        third[1].write(ASK)
        assert b" 200 " in await answered(third)
        for pipe in (second, third):
            pipe[1].close()


async def test_connections_are_counted_whoever_answers_on_them() -> None:
    async with public() as place:
        assert isinstance(place.dc, ApiDc)
        body = json.dumps({"to": "Ugrace", "text": "Hello"}).encode()
        token = place.dc.user("Uada").token
        lines = ["POST /v1/messages HTTP/1.1", "Host: planb", f"Authorization: Bearer {token}"]
        plain = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body
        pipes = [await place.connect() for _ in range(3)]
        for pipe, ask in zip(pipes, (plain, ASK, b""), strict=True):
            pipe[1].write(ask)
            if ask:
                assert b" 200 " in await answered(pipe)
        assert place.door.open == 3
        pipes[0][1].write(ASK)  # handed over
        assert b" 200 " in await answered(pipes[0])
        assert place.door.open == 3
        for pipe in pipes:
            pipe[1].close()
        await until(lambda: place.door.open == 0)


class Files:
    """The operating system's limit."""

    def __init__(self, soft: int, hard: int, most: int = 1 << 30) -> None:
        self.now = (soft, hard)
        self._most = most

    def getrlimit(self, _: int) -> tuple[int, int]:
        return self.now

    def setrlimit(self, _: int, wanted: tuple[int, int]) -> None:
        if wanted[0] > self._most:
            raise ValueError("not allowed to raise maximum limit")
        self.now = wanted


@pytest.mark.parametrize(
    ("files", "public_max"),
    [
        (Files(1 << 20, 1 << 20), limits.HTTP_CONNECTIONS_MAX),
        (Files(1_024, 1 << 20), limits.HTTP_CONNECTIONS_MAX),
        (Files(1_024, -1), limits.HTTP_CONNECTIONS_MAX),
        (Files(-1, -1), limits.HTTP_CONNECTIONS_MAX),
        (Files(1_024, 4_096), 4_096 - limits.SYS_CONNECTIONS_MAX - limits.FILES_KEPT),
        (Files(1_024, 1 << 20, most=10_000), 1_024 - limits.SYS_CONNECTIONS_MAX - limits.FILES_KEPT),
    ],
)
def test_connections_fit_into_the_limit_of_open_files(
    files: Files, public_max: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import resource

    from cli.file_limit import make_room

    monkeypatch.setattr(resource, "getrlimit", files.getrlimit)
    monkeypatch.setattr(resource, "setrlimit", files.setrlimit)
    room = make_room()
    assert room.public == public_max
    assert 0 < room.streams <= limits.CONNECTIONS_MAX
    assert room.streams < room.public
    lowered = public_max < limits.HTTP_CONNECTIONS_MAX
    assert lowered == any("room for" in line for line in caplog.messages)


def test_without_room_a_process_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    from cli.file_limit import make_room
    from core.errors import ConfigError

    files: Any = Files(256, 512)
    monkeypatch.setattr(resource, "getrlimit", files.getrlimit)
    monkeypatch.setattr(resource, "setrlimit", files.setrlimit)
    with pytest.raises(ConfigError, match="ulimit -n"):
        make_room()
