"""The front and the framework behind it: the same answers, one order, nothing lost when it closes."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import pytest

from api.door import Door
from api.front import Front
from api.metrics import Metrics
from core import limits
from core.errors import StoreUnavailable
from core.system import wall_clock_ms
from stores.ports import EpochLost
from tests.support.api import ApiDc, User, api_dc

BODY = {"to": "Ugrace", "text": "Hello"}


class Shown(NamedTuple):
    status: int
    headers: dict[str, str]
    body: Any


class Client:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> Shown:
        async with asyncio.timeout(10):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines[1:-2])
            body = await self.reader.readexactly(int(headers["Content-Length"]))
        return Shown(int(lines[0].split()[1]), headers, json.loads(body))

    async def ask(self, data: bytes) -> Shown:
        self.send(data)
        return await self.answer()


class World:
    def __init__(self, api: ApiDc, front: Front, port: int) -> None:
        self.api = api
        self.front = front
        self.port = port
        self.serves = True
        self.ada: User = api.user("Uada")
        self._open: list[Client] = []

    async def connect(self, port: int | None = None) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", port or self.port))
        self._open.append(client)
        return client

    async def framework(self) -> Client:
        """A connection that never meets the front."""
        return await self.connect(self.api.http.port)

    def post(self, body: Any = BODY, *more: str, raw: bytes | None = None, token: str | None = None) -> bytes:
        data = json.dumps(body).encode() if raw is None else raw
        lines = ["POST /v1/messages HTTP/1.1", "Host: planb", f"Authorization: Bearer {token or self.ada.token}"]
        lines += [*more, "Content-Type: application/json", f"Content-Length: {len(data)}", "", ""]
        return "\r\n".join(lines).encode() + data

    async def texts(self) -> list[str]:
        found = await self.ada.ok("GET", "/v1/dialogs/Ugrace/messages")
        return [message["text"] for message in found["messages"]]

    def close(self) -> None:
        for client in self._open:
            client.writer.close()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with api_dc() as api:
        await api.sign_up("Uada", "Ugrace")
        runner = api.http.server.runner
        assert runner is not None and runner.server is not None
        front = Front(
            api.parts.plain, api.parts.guard, runner.server, lambda: made.serves, wall_clock_ms, Door(100, Metrics())
        )
        await front.start("127.0.0.1", 0, 64)
        assert front.port
        made = World(api, front, front.port)
        yield made
        made.close()
        await front.close(1)


def held(api: ApiDc, patch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    """Commits wait: (one has begun, let them go)."""
    stuck, go = asyncio.Event(), asyncio.Event()

    def slowed(commit: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def slow(*write: Any) -> Any:
            stuck.set()
            await go.wait()
            return await commit(*write)

        return slow

    for name in ("commit", "commit_each"):
        patch.setattr(api.dc.writer, name, slowed(getattr(api.dc.writer, name)))
    return stuck, go


def of_framework(shown: Shown) -> bool:
    """aiohttp names itself; the front names nothing."""
    return "Server" in shown.headers


def comparable(shown: Shown) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """Without what differs from call to call."""
    headers = {name: value for name, value in shown.headers.items() if name not in ("Date", "Server", "Content-Length")}
    body = dict(shown.body)
    for name in ("id", "request"):
        if name in body:
            body[name] = name
    if "X-Clock" in headers:
        headers["X-Clock"] = "a clock"
    return shown.status, headers, body


CASES: dict[str, tuple[Any, ...]] = {
    "a message": (BODY,),
    "with a key": (BODY, "Idempotency-Key: {new}"),
    "again under its key": (BODY, "Idempotency-Key: again"),
    "another under its key": ({**BODY, "text": "other"}, "Idempotency-Key: again"),
    "with a wish": (BODY, "Prefer: durability=remote"),
    "with a wrong wish": (BODY, "Prefer: durability=forever"),
    "with a wrong key": (BODY, "Idempotency-Key: a b"),
    "with a wrong clock": (BODY, "X-Clock: PX1.AAAA.BBBB"),
    "with a wrong cursor": (BODY, "X-Cursor: PC1.AAAA.BBBB"),
    "to nobody": ({**BODY, "to": "Unobody"},),
    "to a chat that is not mine": ({**BODY, "to": "G7"},),
    "empty": ({**BODY, "text": ""},),
    "too long": ({**BODY, "text": "x" * (limits.MESSAGE_BYTES_MAX + 1)},),
    "with an unknown field": ({**BODY, "colour": "red"},),
    "with a missing field": ({"to": "Ugrace"},),
    "of a wrong type": ({**BODY, "text": 7},),
    "an answer to nothing": ({**BODY, "reply_to": "7"},),
    "a list": ([1],),
    "not ASCII": ({**BODY, "text": "héllo \U0001f600"},),
}


@pytest.mark.parametrize("case", CASES)
async def test_front_and_framework_answer_alike(world: World, case: str) -> None:
    body, *headers = CASES[case]
    fronted, framed = await world.connect(), await world.framework()
    await fronted.ask(world.post(BODY, "Idempotency-Key: again"))
    shown = await fronted.ask(world.post(body, *(line.format(new="new-1") for line in headers)))
    wanted = await framed.ask(world.post(body, *(line.format(new="new-2") for line in headers)))
    assert (of_framework(shown), of_framework(wanted)) == (False, True)
    assert comparable(shown) == comparable(wanted)
    assert "Date" in shown.headers


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"\xff", b'{"to":"a","to":"b"}', b'{"to":"Ugrace","text":"\\ud800"}', b"[" * 100]
)
async def test_bodies_that_are_refused_are_refused_alike(world: World, raw: bytes) -> None:
    fronted, framed = await world.connect(), await world.framework()
    shown, wanted = await fronted.ask(world.post(raw=raw)), await framed.ask(world.post(raw=raw))
    assert not of_framework(shown)
    assert comparable(shown) == comparable(wanted)
    assert shown.status == 400


@pytest.mark.parametrize("error", [StoreUnavailable("busy"), EpochLost("gone"), RuntimeError("a defect")])
async def test_failures_of_ours_are_told_alike_and_counted(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def failing(*_: Any) -> None:
        raise error

    fronted, framed = await world.connect(), await world.framework()
    with monkeypatch.context() as patch:
        for name in ("result", "results_of"):
            patch.setattr(world.api.dc.hot, name, failing)
        shown = await fronted.ask(world.post(BODY, "Idempotency-Key: k"))
        wanted = await framed.ask(world.post(BODY, "Idempotency-Key: k"))
    assert comparable(shown) == comparable(wanted)
    assert shown.status in (500, 503)
    assert "defect" not in json.dumps(shown.body)
    counted = f'planb_http_requests_total{{route="POST /v1/messages",status="{shown.status}"}} 2'
    assert counted in world.api.parts.metrics.text()
    assert world.api.parts.metrics.in_flight == 0


async def test_who_has_no_valid_token_is_told_so(world: World) -> None:
    fronted, framed = await world.connect(), await world.framework()
    shown, wanted = await fronted.ask(world.post(token="PB1.a.b")), await framed.ask(world.post(token="PB1.a.b"))
    assert comparable(shown) == comparable(wanted)
    assert (shown.status, shown.headers["WWW-Authenticate"]) == (401, "Bearer")


async def test_a_connection_goes_on_after_something_else_and_keeps_its_order(world: World) -> None:
    client = await world.connect()
    assert not of_framework(await client.ask(world.post({**BODY, "text": "one"})))
    auth = f"Authorization: Bearer {world.ada.token}"
    history = await client.ask(f"GET /v1/dialogs/Ugrace/messages HTTP/1.1\r\nHost: planb\r\n{auth}\r\n\r\n".encode())
    assert [message["text"] for message in history.body["messages"]] == ["one"]
    assert of_framework(await client.ask(world.post({**BODY, "text": "two"})))
    assert await world.texts() == ["one", "two"]


async def test_requests_that_are_sent_without_waiting_are_answered_in_order(world: World) -> None:
    client = await world.connect()
    for number in range(5):
        client.send(world.post({**BODY, "text": str(number)}))
        await asyncio.sleep(0)
    answers = [await client.answer() for _ in range(5)]
    ids = [int(shown.body["id"]) for shown in answers]
    assert ids == sorted(ids)
    assert await world.texts() == ["0", "1", "2", "3", "4"]


async def test_what_comes_while_one_is_being_answered_waits_for_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, go = held(world.api, monkeypatch)
    client = await world.connect()
    client.send(world.post({**BODY, "text": "one"}))
    await stuck.wait()
    for text in ("two", "three"):
        client.send(world.post({**BODY, "text": text}))
        await client.writer.drain()
        await asyncio.sleep(0.02)
    go.set()
    answers = [await client.answer() for _ in range(3)]
    assert [of_framework(shown) for shown in answers] == [False, True, True]
    assert await world.texts() == ["one", "two", "three"]


@pytest.mark.parametrize("cut", [1, 20, 60, 200, -31, -1])
async def test_a_request_in_two_pieces_is_answered_too(world: World, cut: int) -> None:
    client, data = await world.connect(), world.post()
    client.send(data[:cut])
    await client.writer.drain()
    await asyncio.sleep(0.02)
    assert (await client.ask(data[cut:])).status == 200


async def test_a_header_of_the_internal_listener_is_refused(world: World) -> None:
    client = await world.connect()
    shown = await client.ask(world.post(BODY, "dc: iad"))
    assert (shown.status, shown.body["code"]) == (403, "forbidden_header")


async def test_while_the_gate_is_closed_the_framework_speaks(world: World) -> None:
    world.serves = False
    client = await world.connect()
    assert of_framework(await client.ask(world.post()))


async def test_beyond_the_bound_of_requests_in_flight_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with api_dc(in_flight_max=1) as api:
        await api.sign_up("Uada", "Ugrace")
        runner = api.http.server.runner
        assert runner is not None and runner.server is not None
        front = Front(
            api.parts.plain, api.parts.guard, runner.server, lambda: True, wall_clock_ms, Door(100, Metrics())
        )
        await front.start("127.0.0.1", 0, 64)
        world = World(api, front, front.port)
        stuck, go = held(api, monkeypatch)
        first = await world.connect()
        first.send(world.post())
        await stuck.wait()
        second = await (await world.connect()).ask(world.post())
        assert (second.status, second.body["code"]) == (503, "overloaded")
        go.set()
        assert (await first.answer()).status == 200
        world.close()
        await front.close(1)


async def test_closing_waits_for_what_is_being_answered_and_ends_the_rest(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, go = held(world.api, monkeypatch)
    idle, busy = await world.connect(), await world.connect()
    busy.send(world.post())
    await stuck.wait()
    closing = asyncio.create_task(world.front.close(5))
    assert await idle.reader.read() == b"", "an idle connection is closed at once"
    assert not closing.done()
    go.set()
    assert (await busy.answer()).status == 200
    assert await busy.reader.read() == b""
    await closing
    assert not world.front.connections
    with pytest.raises(OSError):
        await world.connect()


async def test_a_client_that_goes_away_leaves_its_write_done(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck, go = held(world.api, monkeypatch)
    client = await world.connect()
    client.send(world.post())
    await stuck.wait()
    client.writer.transport.abort()
    while world.front.connections:  # noqa: ASYNC110  (the server notices in its own time)
        await asyncio.sleep(0.005)
    go.set()
    await world.front.answered(5)
    assert await world.texts() == ["Hello"]


async def test_a_connection_without_requests_is_closed_in_the_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "KEEP_ALIVE_S", 0.2)
    monkeypatch.setattr(limits, "HEAD_WAIT_S_MAX", 0.2)
    silent, after_one = await world.connect(), await world.connect()
    assert (await after_one.ask(world.post())).status == 200
    async with asyncio.timeout(5):
        assert await silent.reader.read() == b""
        assert await after_one.reader.read() == b""
    assert not world.front.connections


async def drained(api: ApiDc) -> tuple[World, asyncio.Task[None], list[Client]]:
    """A front on a shared port that begins to drain while three connections wait in the kernel to be taken."""
    runner = api.http.server.runner
    assert runner is not None and runner.server is not None
    door = Door(100, Metrics())
    front = Front(api.parts.plain, api.parts.guard, door.watched(runner.server), lambda: True, wall_clock_ms, door)
    await front.start("127.0.0.1", 0, 64, shared=True)
    world = World(api, front, front.port)
    world.ada = api.user("Uada")
    # Nothing of the loop runs meanwhile, so nothing is taken.
    sockets = [socket.create_connection(("127.0.0.1", front.port)) for _ in range(3)]
    draining = asyncio.create_task(front.drain(10))
    clients = []
    for sock in sockets:
        sock.setblocking(False)
        clients.append(Client(*await asyncio.open_connection(sock=sock)))
    return world, draining, clients


async def test_who_drains_answers_whoever_had_connected_and_says_that_it_is_the_last_answer() -> None:
    async with api_dc() as api:
        await api.sign_up("Uada", "Ugrace")
        world, draining, clients = await drained(api)
        me = f"GET /v1/me HTTP/1.1\r\nHost: planb\r\nAuthorization: Bearer {world.ada.token}\r\n\r\n".encode()
        for client, data in zip(clients, (world.post(), me, world.post(b"{", raw=b"{")), strict=True):
            assert not draining.done()
            shown = await client.ask(data)
            assert shown.headers["Connection"] == "close"
            assert await client.reader.read() == b"", "and it is"
            client.writer.close()
        async with asyncio.timeout(5):
            await draining
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", world.port)
        await world.front.close(1)


async def test_several_share_a_port_and_who_does_not_share_is_refused() -> None:
    async with api_dc() as api:
        await api.sign_up("Uada", "Ugrace")
        fronts = []
        port = 0
        for _ in range(2):
            runner = api.http.server.runner
            assert runner is not None and runner.server is not None
            front = Front(
                api.parts.plain, api.parts.guard, runner.server, lambda: True, wall_clock_ms, Door(9, Metrics())
            )
            await front.start("127.0.0.1", port, 64, shared=True)
            port = front.port
            fronts.append(front)
        alone = Front(api.parts.plain, api.parts.guard, runner.server, lambda: True, wall_clock_ms, Door(9, Metrics()))
        with pytest.raises(OSError, match="in use"):
            await alone.start("127.0.0.1", port, 64)
        await fronts[0].drain(1)
        client = Client(*await asyncio.open_connection("127.0.0.1", port))
        world = World(api, fronts[1], port)
        world.ada = api.user("Uada")
        assert (await client.ask(world.post())).status == 200
        client.writer.close()
        await fronts[1].close(1)
        await fronts[0].close(1)
